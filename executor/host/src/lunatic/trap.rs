//! `lunatic::trap`: calls a function and survives its trap.

use lunatic_jit::{HostCall, HostError, RawValue, TrapKind, ValType, Value};

use crate::declare::{HEAVY, Host, func};
use lunatic_core::Fault;

use crate::Guest;

/// The function that a guest exports to be called back with its two numbers: `(i32, i32) -> i32`.
const CATCH_TRAP: &str = "_lunatic_catch_trap";

pub(super) fn register(host: &mut Host) {
    func!(host, "lunatic::trap", "catch", HEAVY, catch);
}

/// Calls the guest back. Returns what it returns, or 0 if it traps. `proc_exit` and exits with a reason are not
/// caught: they end the process.
fn catch(guest: &mut Guest<'_>, function: u32, argument: u32) -> Result<HostCall<u32>, Fault> {
    let module = guest.module();
    let export = module.exported_function(CATCH_TRAP).filter(|&export| {
        let ty = module.function_type(export);
        ty.params[..] == [ValType::I32; 2] && ty.results[..] == [ValType::I32]
    });
    let export = export.ok_or(Fault::NoCatchTrap)?;
    let args = [Value::I32(function as i32), Value::I32(argument as i32)];
    Ok(guest.call_guest(export, &args, |_, ended| {
        let value = match ended {
            Ok(&[Value::I32(value)]) => value as u32,
            Ok(_) => unreachable!("its type has been checked"),
            Err(trap) => match trap.kind {
                TrapKind::Host(error) if is_exit(&error) => return Err(error),
                _ => 0,
            },
        };
        Ok(HostCall::Return(RawValue::from(u64::from(value))))
    }))
}

fn is_exit(error: &HostError) -> bool {
    matches!(error.downcast_ref(), Some(Fault::Exit(_) | Fault::Reason(_)))
}
