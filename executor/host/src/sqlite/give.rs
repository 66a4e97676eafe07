//! Passes bytes to the guest in memory that the guest allocates.

use lunatic_jit::{FuncIndex, HostCall, HostError, RawValue, Trap, TrapKind, ValType, Value};

use crate::Guest;
use crate::memory::parts;
use lunatic_core::Fault;

use super::work::settle;

/// The function by which a guest allocates memory: `(length: i32) -> i32`.
const ALLOCATOR: &str = "lunatic_alloc";

/// Has the guest allocate memory, writes the bytes there, and writes their length (4 bytes) to `length`. The result
/// of the host function is the address of the bytes.
///
/// The guest's function runs as a call of its own: it may yield and suspend, and a trap in it is a trap of the host
/// call.
pub(super) fn give(
    guest: &mut Guest<'_>,
    length: u32,
    bytes: impl AsRef<[u8]> + Send + 'static,
) -> Result<HostCall<u32>, Fault> {
    parts(guest)?.0.check(length, 4)?;
    settle(guest, bytes.as_ref().len() as u64);
    let allocator = allocator(guest).ok_or(Fault::NoAllocator)?;
    // A length beyond the address space of the guest cannot be allocated.
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

/// An error that a host function raised in the guest's function, including an exit, is raised here.
fn fault(trap: Trap) -> HostError {
    match trap.kind {
        TrapKind::Host(error) => error,
        kind => Fault::AllocatorTrapped(kind.to_string()).into(),
    }
}
