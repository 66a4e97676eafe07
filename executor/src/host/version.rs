//! `lunatic::version`: the version of Lunatic's ABI that this runtime speaks, not its own.

use lunatic_jit::Linker;

use crate::process::ProcessData;

use super::Guest;

/// The last version of Lunatic whose ABI the published guest crates are built for.
const ABI: (u32, u32, u32) = (0, 13, 2);

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    const MODULE: &str = "lunatic::version";
    linker.func(MODULE, "major", |_: &mut Guest<'_>| ABI.0);
    linker.func(MODULE, "minor", |_: &mut Guest<'_>| ABI.1);
    linker.func(MODULE, "patch", |_: &mut Guest<'_>| ABI.2);
}
