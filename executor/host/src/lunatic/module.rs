//! `lunatic::process::{compile_module, drop_module}`: modules at run time.

use std::sync::Arc;
use std::time::Duration;

use lunatic_resources::sync::Mutex;

use lunatic_jit::{Cancellation, CompileError, Deadline, HostCall, RawValue};

use crate::declare::{CALL, HEAVY, Host, Permission, func};
use lunatic_core::{Fault, HostState, Node};
use lunatic_resources::Charge;

use crate::memory::{GuestMemory, parts};
use crate::{Guest, Services};

/// Bytes of WebAssembly that a guest may have compiled. Preparing takes three times as much memory, and compiling
/// more.
pub const MAX_GUEST_BYTES: usize = 8 << 20;

/// The time that compiling a module may take, on one thread.
pub const MAX_GUEST_TIME: Duration = Duration::from_secs(30);

/// Results of [`compile_module`].
const COMPILED: i32 = 0;
const FAILED: i32 = 1;
const NOT_PERMITTED: i32 = -1;

pub(crate) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::process";
    func!(
        host,
        MODULE,
        "compile_module",
        HEAVY.bytes(0).place(2, 8).needs(&[Permission::Compile]),
        compile_module
    );
    func!(host, MODULE, "drop_module", CALL, |guest: &mut Guest<'_>, id: u64| {
        guest.data_mut().modules.remove("module", id).map(drop)
    });
}

/// A module that is being compiled for a process. If the process ends, a compilation that has not begun is cancelled
/// at once.
pub(crate) struct Compiling {
    cancellation: Cancellation,
    source: Source,
}

/// The bytes of a module and the charge for them, until a thread compiles them or the process ends.
type Source = Arc<Mutex<Option<(Vec<u8>, Charge)>>>;

impl HostState for Compiling {}

impl Drop for Compiling {
    fn drop(&mut self) {
        self.cancellation.cancel();
        drop(take(&self.source));
    }
}

fn take(source: &Source) -> Option<(Vec<u8>, Charge)> {
    source.lock().take()
}

/// Prepares, verifies and compiles a module on a pool of its own, within limits.
///
/// Returns 0 and writes the identifier of the module, or 1 and writes the identifier of an error, or returns -1
/// without the permission. Traps on bad pointers.
fn compile_module(guest: &mut Guest<'_>, bytes: u32, length: u32, id: u32) -> Result<HostCall<i32>, Fault> {
    let (mut memory, data) = parts(guest)?;
    if !data.process.config().can_compile_modules {
        return Ok(HostCall::Return(NOT_PERMITTED));
    }
    memory.check(id, 8)?;
    let bytes = memory.bytes(bytes, length)?;
    if length as usize > MAX_GUEST_BYTES {
        let error = data.add_error(CompileError::OverBudget("WebAssembly"))?;
        memory.write_u64(id, error)?;
        return Ok(HostCall::Return(FAILED));
    }
    let kept = data.keep(length.into())?;
    let source = Source::new(Mutex::new(Some((bytes.to_vec(), kept))));
    let node = data.node().clone();
    let cancellation = Cancellation::default();
    data.extensions.insert(Compiling { cancellation: cancellation.clone(), source: source.clone() });
    let account = data.account().clone();
    let complete = data.wait_for_completion();
    let its_node = node.clone();
    let services = Services::of(&its_node);
    let compiler = services.compiler.clone();
    let job = Box::new(move || {
        let Some((bytes, kept)) = take(&source) else { return };
        let compiled = compiler.compile(&bytes, deadline(&node), cancellation);
        let compiled = compiled.and_then(|code| {
            let kept = account.keep(code.host_bytes()).map_err(|full| full.to_string())?;
            Ok(code.charged(kept))
        });
        drop((bytes, kept));
        complete(Box::new(move |memory, data| {
            data.extensions.remove::<Compiling>();
            let (result, value) = match compiled {
                Ok(module) => (COMPILED, data.modules.add("modules", data.process.config(), module)?),
                Err(error) => (FAILED, data.add_error(error)?),
            };
            GuestMemory(memory).write_u64(id, value)?;
            Ok(HostCall::Return(RawValue::from(u64::from(result as u32))))
        }));
    });
    its_node.submit_to(|job| services.compilers.submit(job), job);
    Ok(HostCall::Suspend)
}

/// Returns the deadline of a compilation that begins now. Simulations have none, because their results must not
/// depend on the speed of the machine.
fn deadline(node: &Arc<Node>) -> Option<Deadline> {
    if node.is_driven() {
        return None;
    }
    let node = node.clone();
    let end = node.clock.now().saturating_add(MAX_GUEST_TIME.as_nanos() as u64);
    Some(Deadline::new(move || node.clock.now() >= end))
}
