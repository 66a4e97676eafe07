//! `lunatic::trap`: running a function and surviving its trap.
//!
//! Declared so that guests that contain it link; calling it ends the process. It runs guest code from a host
//! call that must be suspendable inside, which the engine does not offer yet.

use lunatic_jit::Linker;

use crate::error::Fault;
use crate::process::ProcessData;

use super::Guest;

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    linker.func("lunatic::trap", "catch", |_: &mut Guest<'_>, _function: u32, _argument: u32| {
        Err::<u32, _>(Fault::Unavailable("lunatic::trap::catch"))
    });
}
