//! `lunatic::ext::process`: information about processes.

use lunatic_jit::{HostCall, RawValue};

use crate::Guest;
use crate::declare::{CALL, Host, func};
use crate::memory::{GuestMemory, parts};
use lunatic_core::Fault;
use lunatic_core::process::{Info, ProcessId, RunState, Signal};
use lunatic_scheduler::Priority;

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::ext::process";
    func!(host, MODULE, "info", CALL.bytes(1), info);
    func!(host, MODULE, "name", CALL.bytes(1), name);
    func!(host, MODULE, "set_priority", CALL, set_priority);
}

/// Writes figures about a process, 8 bytes each, as far as there is space for them in `length` bytes:
///
/// 0. its state: 0 running (the caller), 1 runnable, 2 waits for a message, 3 for a time, 4 for something outside
/// 1. messages in its mailbox
/// 2. bytes of messages that count against its limit
/// 3. reductions that it had used when it was last suspended
/// 4. bytes of linear memory at that time
/// 5. links
/// 6. monitors that it has
/// 7. monitors that others have of it
/// 8. messages that were dropped because its mailbox was full
/// 9. its priority
///
/// Another process answers itself, in order with other signals, so the caller waits until that process has its turn.
/// Returns the number of figures, or 0 if there is no such process. Traps on a bad pointer.
fn info(guest: &mut Guest<'_>, process: u64, pointer: u32, length: u32) -> Result<HostCall<u32>, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.check(pointer, length)?;
    let target = ProcessId::from_guest(process);
    if target == data.id() {
        return write(&mut memory, (pointer, length), Some(data.info(RunState::Running)))
            .map(HostCall::Return);
    }
    let complete = data.wait_for_completion();
    let answer = move |info| {
        complete(Box::new(move |memory, _| {
            let count = write(&mut GuestMemory(memory), (pointer, length), info)?;
            Ok(HostCall::Return(RawValue::from(u64::from(count))))
        }));
    };
    data.node().request(target, Signal::Inspect(Box::new(answer)));
    Ok(HostCall::Suspend)
}

/// Sets the caller's priority: 0 low, 1 normal (the default), 2 high, or the highest that it may have if that is
/// less. Returns the new priority. It counts from the next turn of the process.
///
/// Runnable processes with high priority run before all others, and those with low priority after them. But each
/// worker reserves one turn in eight for processes that would otherwise not run. Traps on other numbers.
fn set_priority(guest: &mut Guest<'_>, priority: u32) -> Result<u32, Fault> {
    let data = guest.data();
    let unknown = Fault::Unknown { kind: "priority", id: priority.into() };
    let wanted = Priority::from_number(priority.into()).ok_or(unknown)?;
    let granted = wanted.min(data.process.config().max_priority);
    data.process.set_priority(granted);
    Ok(granted as u32)
}

fn write(
    memory: &mut GuestMemory<'_>,
    (pointer, length): (u32, u32),
    info: Option<Info>,
) -> Result<u32, Fault> {
    let Some(info) = info else { return Ok(0) };
    let bytes = info.fields().map(u64::to_le_bytes);
    let bytes = bytes.as_flattened();
    memory.write(pointer, &bytes[..bytes.len().min((length & !7) as usize)])?;
    Ok(info.fields().len() as u32)
}

/// Writes a name of a process, as far as there is space for it in `length` bytes. Returns the length of the name, or
/// 0 if there is none. Traps on a bad pointer.
fn name(guest: &mut Guest<'_>, process: u64, pointer: u32, length: u32) -> Result<u32, Fault> {
    let (mut memory, data) = parts(guest)?;
    let buffer = memory.bytes_mut(pointer, length)?;
    let names = data.node().registry.lock();
    let name = names.name_of(ProcessId::from_guest(process)).unwrap_or_default().as_bytes();
    let count = name.len().min(buffer.len());
    buffer[..count].copy_from_slice(&name[..count]);
    Ok(name.len() as u32)
}
