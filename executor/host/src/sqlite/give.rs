//! Bytes for the guest, in memory that it allocates for them.

use lunatic_jit::{FuncIndex, HostCall, HostError, RawValue, Trap, TrapKind, ValType, Value};

use crate::Guest;
use crate::memory::parts;
use lunatic_core::Fault;

use super::work::settle;

/// What a guest exports to be asked for memory: `(length: i32) -> i32`.
const ALLOCATOR: &str = "lunatic_alloc";

/// Has the guest allocate, writes the bytes there and their length, 4 bytes, to `length`; the host function's result is
/// where they are.
///
/// The guest's function runs as a call of its own: it may yield and suspend, and a trap in it is one of the host call.
pub(super) fn give(
    guest: &mut Guest<'_>,
    length: u32,
    bytes: impl AsRef<[u8]> + Send + 'static,
) -> Result<HostCall<u32>, Fault> {
    parts(guest)?.0.check(length, 4)?;
    settle(guest, bytes.as_ref().len() as u64);
    let allocator = allocator(guest).ok_or(Fault::NoAllocator)?;
    // More than a guest can have is more than it will give.
    let size = u32::try_from(bytes.as_ref().len()).map_err(|_| Fault::NoRoom)?;
    Ok(guest.call_guest(allocator, &[Value::I32(size as i32)], move |guest, ended| {
        let pointer = match ended {
            Ok(&[Value::I32(pointer)]) => pointer as u32,
            Ok(_) => unreachable!("its type has been checked"),
            Err(trap) => return Err(fault(*trap)),
        };
        let (mut memory, _) = parts(guest)?;
        memory.write(pointer, bytes.as_ref())?;
        memory.write_u32(length, size)?;
        Ok(HostCall::Return(RawValue::from(u64::from(pointer))))
    }))
}

fn allocator(guest: &Guest<'_>) -> Option<FuncIndex> {
    let module = guest.module();
    module.exported_function(ALLOCATOR).filter(|&export| {
        let ty = module.function_type(export);
        ty.params[..] == [ValType::I32] && ty.results[..] == [ValType::I32]
    })
}

/// What a host function raised in there, an exit too, is raised here.
fn fault(trap: Trap) -> HostError {
    match trap.kind {
        TrapKind::Host(error) => error,
        kind => Fault::AllocatorTrapped(kind.to_string()).into(),
    }
}
