//! `lunatic::process::{spawn, get_or_spawn}`: new processes.
//!
//! One host call adds the child to the node and links it before the child can run. So the parent is notified whatever
//! the child does first: spawning and linking are atomic. Parameters are entries of 17 bytes: the type as WebAssembly
//! encodes it, then the value in 16 bytes, little-endian.

use std::sync::Arc;

use lunatic_jit::{FuncIndex, Module, Value};

use crate::Capable;
use crate::declare::{HEAVY, Host, Permission, func, limits};
use lunatic_core::node::{NODE_ID, Spawn};
use lunatic_core::process::{
    CONFIGURATION, EntryPoint, ProcessData, ProcessId, ProcessTableFull, ProcessTemplate, SHARDS, Unstarted,
};
use lunatic_core::registry::{Registration, bytes_of_name};
use lunatic_core::{Fault, HostState};
use lunatic_resources::{Quota, QuotaExceeded};

use crate::Guest;
use crate::memory::{GuestMemory, parts};

/// Results of the functions that spawn.
pub(super) const SPAWNED: u32 = 0;
pub(super) const FAILED: u32 = 1;
const NAME_IS_TAKEN: u32 = 2;

/// Stands for the caller's own configuration or module.
const INHERIT: i64 = -1;

/// Bytes of a parameter.
const PARAM: usize = 17;

/// Parameters that a function may have. Compilers support no more.
const MAX_PARAMS: usize = 1000;

/// Bytes of a function's name that an error quotes.
const MAX_QUOTED: usize = 200;

pub(super) fn register(host: &mut Host) {
    func!(
        host,
        "lunatic::process",
        "spawn",
        HEAVY
            .range(3, limits::FUNCTION, "a function's name")
            .range(5, limits::PARAMETERS, "parameters")
            .place(7, 8)
            .needs(&[Permission::Spawn]),
        spawn
    );
    func!(
        host,
        "lunatic::process",
        "get_or_spawn",
        HEAVY
            .range(0, limits::NAME, "a name")
            .range(5, limits::FUNCTION, "a function's name")
            .range(7, limits::PARAMETERS, "parameters")
            .place(9, 8)
            .place(10, 8)
            .needs(&[Permission::Spawn]),
        get_or_spawn
    );
}

/// Why a process was not spawned. The guest can ask for the text.
#[derive(Debug, thiserror::Error)]
enum SpawnError {
    #[error("the module exports no function \"{0}\"")]
    NoFunction(String),
    #[error("the function \"{name}\" has the type {expected}, which the parameters do not fit")]
    WrongType { name: String, expected: String },
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
    #[error(transparent)]
    ProcessTableFull(#[from] ProcessTableFull),
}

/// Why a request to spawn has no process.
enum SpawnFailure {
    /// The caller made a mistake, which ends it.
    Trap(Fault),
    /// The caller gets an error.
    Refused(SpawnError),
}

impl From<Fault> for SpawnFailure {
    fn from(fault: Fault) -> SpawnFailure {
        SpawnFailure::Trap(fault)
    }
}

impl From<SpawnError> for SpawnFailure {
    fn from(error: SpawnError) -> SpawnFailure {
        SpawnFailure::Refused(error)
    }
}

/// A request to spawn a process, as the guest passes it.
pub(super) struct Request {
    pub(super) link: i64,
    pub(super) config: i64,
    pub(super) module: i64,
    pub(super) function: (u32, u32),
    pub(super) params: (u32, u32),
}

/// Spawns a process that runs an exported function. With a `link` other than 0, the child is linked to the caller
/// with that tag.
///
/// Returns 0 and writes the identifier of the process to `id`, or returns 1 and writes the identifier of an error.
///
/// Traps on bad pointers, an unknown configuration or module, malformed parameters, and without the permission to
/// spawn.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn spawn(
    guest: &mut Guest<'_>,
    link: i64,
    config: i64,
    module: i64,
    function: u32,
    function_len: u32,
    params: u32,
    params_len: u32,
    id: u32,
) -> Result<u32, Fault> {
    let request =
        Request { link, config, module, function: (function, function_len), params: (params, params_len) };
    let (mut memory, data) = parts(guest)?;
    spawn_request(&mut memory, data, &request, id)
}

/// Implements [`spawn`].
pub(super) fn spawn_request(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    request: &Request,
    id: u32,
) -> Result<u32, Fault> {
    memory.check(id, 8)?;
    let (result, value) = match request.enter(memory, data) {
        Ok(child) => {
            let id = child.id().to_guest();
            child.start();
            (SPAWNED, id)
        }
        Err(SpawnFailure::Trap(fault)) => return Err(fault),
        Err(SpawnFailure::Refused(error)) => (FAILED, data.add_error(error)?),
    };
    memory.write_u64(id, value)?;
    Ok(result)
}

/// Spawns a process with a name, unless the name is in use. In that case, returns 2 and writes its owner. Otherwise
/// like [`spawn`].
#[allow(clippy::too_many_arguments)] // The ABI's.
fn get_or_spawn(
    guest: &mut Guest<'_>,
    name: u32,
    name_len: u32,
    link: i64,
    config: i64,
    module: i64,
    function: u32,
    function_len: u32,
    params: u32,
    params_len: u32,
    node_id: u32,
    id: u32,
) -> Result<u32, Fault> {
    let request =
        Request { link, config, module, function: (function, function_len), params: (params, params_len) };
    let (mut memory, data) = parts(guest)?;
    memory.check(node_id, 8)?;
    memory.check(id, 8)?;
    let name = memory.str(name, name_len)?;
    let found = data.node().registry.lock().get(name);
    let (result, node_of, value) = match found {
        Some(owner) => (NAME_IS_TAKEN, owner.node, owner.process.to_guest()),
        None => match request.enter_named(&memory, data, name)? {
            Named::Spawned(id) => (SPAWNED, NODE_ID, id.to_guest()),
            Named::Taken(owner) => (NAME_IS_TAKEN, owner.node, owner.process.to_guest()),
            Named::Failed(error) => (FAILED, NODE_ID, data.add_error(error)?),
        },
    };
    memory.write_u64(node_id, node_of)?;
    memory.write_u64(id, value)?;
    Ok(result)
}

/// The result of a spawn with a name.
enum Named {
    Spawned(ProcessId),
    /// Another process got the name meanwhile.
    Taken(Registration),
    Failed(SpawnError),
}

/// The function that was spawned last, with its name.
pub(super) struct LastSpawn {
    name: Box<[u8]>,
    function: FuncIndex,
    template: Arc<ProcessTemplate>,
    /// Whether only children of this process have the template.
    is_own: bool,
}

impl HostState for LastSpawn {}

impl LastSpawn {
    /// Returns the template for another process like it. A process that spawns more than once has a template of its
    /// own for its children.
    fn template(&mut self) -> Arc<ProcessTemplate> {
        if !self.is_own {
            let ProcessTemplate { node, code, config } = &*self.template;
            let own = ProcessTemplate { node: node.clone(), code: code.clone(), config: config.clone() };
            (self.template, self.is_own) = (Arc::new(own), true);
        }
        self.template.clone()
    }
}

impl Request {
    /// Adds the process and gives it the name, unless another process has the name by then. The names are locked only
    /// for a moment, not while the process is made. So of several processes that race for a name, each makes a child,
    /// and those that lose end their child before its first instruction.
    fn enter_named(
        &self,
        memory: &GuestMemory<'_>,
        data: &mut ProcessData,
        name: &str,
    ) -> Result<Named, Fault> {
        let node = data.node().clone();
        let kept = data.keep(bytes_of_name(name.len()))?;
        let child = match self.enter(memory, data) {
            Ok(child) => child,
            Err(SpawnFailure::Trap(fault)) => return Err(fault),
            // The winner of a race may have taken the last permit.
            Err(SpawnFailure::Refused(error)) => {
                let owner = node.registry.lock().get(name);
                return Ok(owner.map_or(Named::Failed(error), Named::Taken));
            }
        };
        let id = child.id();
        let mut names = node.registry.lock();
        if let Some(owner) = names.get(name) {
            drop(names);
            if self.link != 0 {
                data.relations.link_died(id);
            }
            child.abandon();
            return Ok(Named::Taken(owner));
        }
        // The child has not been started, so it cannot have ended.
        child.set_named();
        names.put(name.into(), Registration { node: NODE_ID, process: id }, Some(kept));
        drop(names);
        child.start();
        Ok(Named::Spawned(id))
    }

    /// Adds the process, linked and prepared, but not started.
    fn enter(&self, memory: &GuestMemory<'_>, data: &mut ProcessData) -> Result<Unstarted, SpawnFailure> {
        if !data.process.config().can_spawn_processes {
            return Err(Fault::NotAllowed("spawn processes").into());
        }
        if self.link != 0 {
            data.charge_for_relation().map_err(Fault::from)?;
        }
        let args = decode_params(memory.bytes(self.params.0, self.params.1)?)?;
        let (template, function) = self.find(memory, data, &args)?;
        let quota = template.config.quota.as_ref();
        let place = quota.map(Quota::take).transpose().map_err(SpawnError::from)?;
        data.children = data.children.wrapping_add(1);
        let spawn = Spawn {
            template,
            entry: EntryPoint { function, args },
            place,
            spawner: Some(data.process.clone()),
            link: (self.link != 0).then_some(self.link),
            hint: hint(data.id(), data.children),
            extensions: None,
        };
        let child = data.node().spawn(spawn).map_err(SpawnError::from)?;
        if self.link != 0 {
            data.relations.link(child.id(), self.link);
        }
        Ok(child)
    }

    /// Returns the function and the template for it. A process mostly spawns the same function again, so the last one
    /// is tried first.
    fn find(
        &self,
        memory: &GuestMemory<'_>,
        data: &mut ProcessData,
        args: &[Value],
    ) -> Result<(Arc<ProcessTemplate>, FuncIndex), SpawnFailure> {
        // If functions are forbidden, the code may have to be linked again. The caller is charged for that.
        let is_restricted = match self.config {
            INHERIT => data.process.config(),
            id => data.configs.get(CONFIGURATION, id as u64)?,
        }
        .caps()
        .forbidden
        .is_some();
        let account = is_restricted.then(|| data.account().clone());
        let config = match self.config {
            INHERIT => data.process.config(),
            id => data.configs.get(CONFIGURATION, id as u64)?,
        };
        let code = match self.module {
            INHERIT => data.process.code(),
            id => data.modules.get("module", id as u64)?,
        };
        // Most configurations forbid no functions.
        let restricted;
        let code = match (&config.caps().forbidden, account) {
            (Some(forbidden), Some(account)) => {
                let mut linked = 0;
                restricted = forbidden.without(code, |bytes| {
                    linked = bytes;
                    account.keep(bytes).map(Some).map_err(Fault::from)
                })?;
                data.unpaid += linked / 8;
                &restricted
            }
            _ => code,
        };
        let name = memory.bytes(self.function.0, self.function.1)?;
        if let Some(last) = data.extensions.get_mut::<LastSpawn>()
            && last.template.is_of(code, config)
            && *last.name == *name
            && fits(code.module(), last.function, args)
        {
            return Ok((last.template(), last.function));
        }
        let name = memory.str(self.function.0, self.function.1)?;
        let function = find(code.module(), name, args)?;
        let (own, is_own) = (data.process.template(), !data.process.template().is_of(code, config));
        let template = if is_own {
            Arc::new(ProcessTemplate { node: own.node.clone(), code: code.clone(), config: config.clone() })
        } else {
            own.clone()
        };
        let last = LastSpawn { name: name.as_bytes().into(), function, template: template.clone(), is_own };
        data.extensions.insert(last);
        Ok((template, function))
    }
}

/// Returns the hint for the process table. The first children are beside each other, so that the processes of a small
/// program have small numbers. Later children are near their siblings: otherwise a worker on which one process spawns
/// without end would touch another shard each time, which other workers have changed. But they are not near the
/// children of other processes, and not all in one shard.
fn hint(parent: ProcessId, children: u32) -> u32 {
    /// Children that share a shard.
    const TOGETHER: u32 = 256;
    let slot = parent.to_guest() as u32;
    let further = if children < SHARDS { children } else { SHARDS + children / TOGETHER };
    slot.wrapping_add(slot / SHARDS).wrapping_add(further)
}

fn decode_params(bytes: &[u8]) -> Result<Box<[Value]>, Fault> {
    if !bytes.len().is_multiple_of(PARAM) || bytes.len() / PARAM > MAX_PARAMS {
        return Err(Fault::BadParams);
    }
    let decode = |entry: &[u8]| {
        let low = u64::from_le_bytes(entry[1..9].try_into().expect("8 of 17 bytes"));
        match entry[0] {
            0x7f => Ok(Value::I32(low as i32)),
            0x7e => Ok(Value::I64(low as i64)),
            _ => Err(Fault::BadParams),
        }
    };
    let mut params = Vec::with_capacity(bytes.len() / PARAM);
    for entry in bytes.chunks_exact(PARAM) {
        params.push(decode(entry)?);
    }
    Ok(params.into())
}

fn find(module: &Module, name: &str, args: &[Value]) -> Result<FuncIndex, SpawnError> {
    let quoted = || match name.floor_char_boundary(MAX_QUOTED) {
        end if end < name.len() => format!("{}…", &name[..end]),
        _ => name.to_owned(),
    };
    let function = module.exported_function(name).ok_or_else(|| SpawnError::NoFunction(quoted()))?;
    if !fits(module, function, args) {
        let expected = module.function_type(function).to_string();
        return Err(SpawnError::WrongType { name: quoted(), expected });
    }
    Ok(function)
}

fn fits(module: &Module, function: FuncIndex, args: &[Value]) -> bool {
    module.function_type(function).params.iter().copied().eq(args.iter().map(Value::ty))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(kind: u8, value: i128) -> Vec<u8> {
        [&[kind][..], &value.to_le_bytes()].concat()
    }

    #[test]
    fn parameters_are_decoded_as_the_guest_crate_encodes_them() {
        let bytes = [param(0x7f, -5), param(0x7e, i128::from(i64::MIN))].concat();
        assert_eq!(*decode_params(&bytes).unwrap(), [Value::I32(-5), Value::I64(i64::MIN)]);
        assert_eq!(*decode_params(&[]).unwrap(), []);
    }

    #[test]
    fn malformed_parameters_are_the_guests_fault() {
        for bytes in [vec![0x7f; 16], param(0x40, 1), param(0x7f, 1).repeat(MAX_PARAMS + 1)] {
            assert_eq!(decode_params(&bytes), Err(Fault::BadParams));
        }
    }
}
