//! `lunatic::*`: the functions that the published guest crates import.

pub(crate) mod config;
mod distributed;
mod error;
mod message;
mod metrics;
pub(crate) mod module;
pub(crate) mod process;
mod registry;
mod spawn;
pub(crate) mod timer;
mod trap;
mod version;

use crate::declare::Host;

pub(crate) use config::give_dir;

/// Declares them.
pub(crate) fn register(host: &mut Host) {
    config::register(host);
    distributed::register(host);
    error::register(host);
    message::register(host);
    metrics::register(host);
    module::register(host);
    process::register(host);
    registry::register(host);
    spawn::register(host);
    timer::register(host);
    trap::register(host);
    version::register(host);
}
