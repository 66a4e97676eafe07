//! `lunatic::version`: the version of Lunatic's ABI that this runtime implements, not the version of the runtime.

use crate::declare::{Host, LOOK, func};

use crate::Guest;

/// The last version of Lunatic whose ABI the published guest crates are built for.
const ABI: (u32, u32, u32) = (0, 13, 2);

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::version";
    func!(host, MODULE, "major", LOOK, |_: &mut Guest<'_>| ABI.0);
    func!(host, MODULE, "minor", LOOK, |_: &mut Guest<'_>| ABI.1);
    func!(host, MODULE, "patch", LOOK, |_: &mut Guest<'_>| ABI.2);
}
