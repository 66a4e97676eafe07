//! `lunatic::process::{spawn, get_or_spawn}`: new processes.
//!
//! The child is entered and linked before it can run, in one host call: whatever it does at once, its parent is
//! told (spawn and link are atomic). Parameters come as 17-byte entries: the type as WebAssembly encodes it,
//! then the value in 16 bytes, little-endian.

use std::sync::Arc;

use lunatic_jit::{FuncIndex, Module, Value};

use crate::Capable;
use crate::declare::{HEAVY, Host, Permission, func, limits};
use lunatic_core::node::{NODE_ID, Spawn};
use lunatic_core::process::{
    EntryPoint, ProcessData, ProcessId, ProcessTableFull, ProcessTemplate, SHARDS, Unstarted,
};
use lunatic_core::registry::{Registration, bytes_of_name};
use lunatic_core::{Fault, HostState};
use lunatic_resources::{Quota, QuotaExceeded};

use crate::Guest;
use crate::memory::{GuestMemory, parts};

/// Results of the spawning functions.
pub(super) const SPAWNED: u32 = 0;
pub(super) const FAILED: u32 = 1;
const NAME_IS_TAKEN: u32 = 2;

/// "The caller's own", for configurations and modules.
const INHERIT: i64 = -1;

/// Bytes of a parameter.
const PARAM: usize = 17;

/// Parameters that a function may have; more than any compiler's limit is of no use.
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

/// Why a process was not spawned; the guest can ask for the text.
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

/// What a guest asks to be spawned, as it passes it.
pub(super) struct Request {
    pub(super) link: i64,
    pub(super) config: i64,
    pub(super) module: i64,
    pub(super) function: (u32, u32),
    pub(super) params: (u32, u32),
}

/// Spawns a process that runs an exported function. With `link` other than 0, it is linked to the caller under
/// that tag.
///
/// Returns 0 and writes the process's identifier to `id`, or 1 and writes an error's.
///
/// Traps: bad pointers, unknown configuration or module, malformed parameters, no permission to spawn.
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

/// What [`spawn`] does.
pub(super) fn spawn_request(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    request: &Request,
    id: u32,
) -> Result<u32, Fault> {
    memory.check(id, 8)?;
    let (result, value) = match request.enter(memory, data)? {
        Ok(child) => {
            let id = child.id().to_guest();
            child.start();
            (SPAWNED, id)
        }
        Err(error) => (FAILED, data.add_error(error)?),
    };
    memory.write_u64(id, value)?;
    Ok(result)
}

/// Spawns a process under a name, unless the name has an owner: then returns 2 and writes who that is.
/// Otherwise as [`spawn`].
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
            Named::LastSpawn(id) => (SPAWNED, NODE_ID, id.to_guest()),
            Named::Taken(owner) => (NAME_IS_TAKEN, owner.node, owner.process.to_guest()),
            Named::Failed(error) => (FAILED, NODE_ID, data.add_error(error)?),
        },
    };
    memory.write_u64(node_id, node_of)?;
    memory.write_u64(id, value)?;
    Ok(result)
}

/// What came of a spawn under a name.
enum Named {
    LastSpawn(ProcessId),
    /// Another process got the name meanwhile.
    Taken(Registration),
    Failed(SpawnError),
}

/// A function that was spawned by its name.
pub(super) struct LastSpawn {
    name: Box<[u8]>,
    function: FuncIndex,
    template: Arc<ProcessTemplate>,
    /// Whether only this process's children come from it.
    is_own: bool,
}

impl HostState for LastSpawn {}

impl LastSpawn {
    /// The template of another one of the same. A process that spawns more than once has one of its own for them.
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
    /// Enters the process and gives it the name, unless another one has it by then. Names are locked for a moment only,
    /// not while there is a process to be made: so of several that race, each makes one, and those that lose the race end
    /// theirs before its first instruction.
    fn enter_named(
        &self,
        memory: &GuestMemory<'_>,
        data: &mut ProcessData,
        name: &str,
    ) -> Result<Named, Fault> {
        let node = data.node().clone();
        let kept = data.keep(bytes_of_name(name.len()))?;
        let child = match self.enter(memory, data)? {
            Ok(child) => child,
            // The winner of a race may have taken the last place.
            Err(error) => {
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
        // It has not been started, so it has not ended.
        child.set_named();
        names.put(name.into(), Registration { node: NODE_ID, process: id }, Some(kept));
        drop(names);
        child.start();
        Ok(Named::LastSpawn(id))
    }

    /// Enters the process, linked and ready, but not yet running.
    fn enter(
        &self,
        memory: &GuestMemory<'_>,
        data: &mut ProcessData,
    ) -> Result<Result<Unstarted, SpawnError>, Fault> {
        if !data.process.config().can_spawn_processes {
            return Err(Fault::NotAllowed("spawn processes"));
        }
        if self.link != 0 {
            data.charge_for_relation()?;
        }
        let args = decode_params(memory.bytes(self.params.0, self.params.1)?)?;
        let (template, function) = match self.find(memory, data, &args)? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let place = match template.config.quota.as_ref().map(Quota::take).transpose() {
            Ok(place) => place,
            Err(error) => return Ok(Err(error.into())),
        };
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
        let child = match data.node().spawn(spawn) {
            Ok(child) => child,
            Err(error) => return Ok(Err(error.into())),
        };
        if self.link != 0 {
            data.relations.link(child.id(), self.link);
        }
        Ok(Ok(child))
    }

    /// The function, and what it runs in. Who spawns mostly spawns the same again, so the last one is looked at first.
    fn find(
        &self,
        memory: &GuestMemory<'_>,
        data: &mut ProcessData,
        args: &[Value],
    ) -> Result<Result<(Arc<ProcessTemplate>, FuncIndex), SpawnError>, Fault> {
        // Where functions are forbidden, the code may have to be linked again, which the caller pays for.
        let is_restricted = match self.config {
            INHERIT => data.process.config(),
            id => data.configs.get("configuration", id as u64)?,
        }
        .caps()
        .forbidden
        .is_some();
        let account = is_restricted.then(|| data.account().clone());
        let config = match self.config {
            INHERIT => data.process.config(),
            id => data.configs.get("configuration", id as u64)?,
        };
        let code = match self.module {
            INHERIT => data.process.code(),
            id => data.modules.get("module", id as u64)?,
        };
        // Most processes may call what they want.
        let restricted;
        let code = match (&config.caps().forbidden, account) {
            (Some(forbidden), Some(account)) => {
                let mut linked = 0;
                restricted = forbidden.without(code, |bytes| {
                    linked = bytes;
                    account.keep(bytes).map(Some)
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
            return Ok(Ok((last.template(), last.function)));
        }
        let name = memory.str(self.function.0, self.function.1)?;
        let function = match find(code.module(), name, args) {
            Ok(function) => function,
            Err(error) => return Ok(Err(error)),
        };
        let (own, is_own) = (data.process.template(), !data.process.template().is_of(code, config));
        let template = if is_own {
            Arc::new(ProcessTemplate { node: own.node.clone(), code: code.clone(), config: config.clone() })
        } else {
            own.clone()
        };
        let last = LastSpawn { name: name.as_bytes().into(), function, template: template.clone(), is_own };
        data.extensions.insert(last);
        Ok(Ok((template, function)))
    }
}

/// Where in the table a child is put. The first ones beside each other, so that a small program's processes have small
/// numbers. After that with its siblings: a worker on which one process spawns without end would otherwise fetch another
/// part of the table each time, which some other worker has changed; but not with the children of another process, and not
/// with all of them.
fn hint(parent: ProcessId, children: u32) -> u32 {
    /// Children that are together.
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
