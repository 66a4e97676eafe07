//! `lunatic::ext::config`: limits of children that Lunatic's functions cannot set.
//!
//! A configuration is one of `lunatic::process::create_config`. A setter never exceeds what the caller has itself: it
//! takes the smaller of the two values. All functions trap on an unknown configuration. `u64::MAX` stands for no
//! limit, in setters and getters.
//!
//! | limit | of | beyond it |
//! |---|---|---|
//! | `max_reductions` | all that a process computes in its life | it ends |
//! | `max_mailbox` | bytes of messages that wait for it, the memory limit if it is not set | it ends, or messages are dropped |
//! | `max_messages` | messages that wait for it | it ends, or messages are dropped |
//! | `max_processes` | processes that live with this configuration and those made from it | `spawn` returns 1 and an error |
//! | `max_priority` | the [priority](super::process) that it may give itself, 2 if it is not set | it has the limit instead |
//! | `stack_size` | bytes of native stack, 256 KiB if it is not set; at most as many as the caller's configuration can give | a call traps |
//! | `max_resources` | configurations, modules and errors that it holds, of each, things in a message, files (of which there are 4,096 if nothing else is said) | it traps; WASI returns `MFILE` |

use lunatic_jit::HostCall;

use crate::Capable;
use crate::Services;
use crate::declare::{CALL, Declaration, Host, LOOK, func, limits};
use crate::lunatic::give_dir;
use crate::memory::parts;
use crate::{Guest, charge_for_config};
use lunatic_core::Fault;
use lunatic_core::config::ProcessConfig;
use lunatic_core::process::CONFIGURATION;

const MODULE: &str = "lunatic::ext::config";

/// Reductions for a pattern, which is compared with the names of all host functions.
const FORBID: Declaration = Declaration::costs(20_000);

pub(super) fn register(host: &mut Host) {
    func!(host, MODULE, "forbid", FORBID.range(1, limits::PATTERN, "a pattern"), forbid);
    func!(
        host,
        MODULE,
        "preopen_dir",
        CALL.range(1, limits::PATH, "a path").range(3, limits::PATH, "a path"),
        preopen_dir
    );
    func!(host, MODULE, "give_listeners", CALL, give_listeners);
    limit(
        host,
        ("set_max_reductions", "get_max_reductions"),
        |config, parent, value| {
            config.limit_reductions(parent, value);
            Ok(())
        },
        |config| config.max_reductions.unwrap_or(u64::MAX),
    );
    limit(
        host,
        ("set_max_mailbox", "get_max_mailbox"),
        |config, parent, value| {
            config.limit_mailbox(parent, value);
            Ok(())
        },
        ProcessConfig::mailbox_bytes,
    );
    limit(
        host,
        ("set_max_messages", "get_max_messages"),
        |config, parent, value| {
            config.limit_messages(parent, value);
            Ok(())
        },
        |config| config.max_messages,
    );
    limit(
        host,
        ("set_max_processes", "get_max_processes"),
        |config: &mut ProcessConfig, parent: &ProcessConfig, processes| {
            config.limit_processes(parent, processes).map_err(Fault::from)
        },
        |config| config.quota.as_ref().map_or(u64::MAX, |quota| quota.limit()),
    );
    limit(
        host,
        ("set_max_resources", "get_max_resources"),
        |config, parent, value| {
            config.limit_resources(parent, value);
            Ok(())
        },
        |config| config.max_resources,
    );
    limit(
        host,
        ("set_stack_size", "get_stack_size"),
        |config, parent, value| {
            config.set_stack(parent, value);
            Ok(())
        },
        |config| config.stack_size as u64,
    );
    limit(
        host,
        ("set_max_priority", "get_max_priority"),
        |config, parent, value| {
            config.limit_priority(parent, value);
            Ok(())
        },
        |config| config.max_priority as u64,
    );
    // Returns how many processes live with a configuration that limits them, and with those made from it; otherwise
    // 0.
    func!(host, MODULE, "processes", LOOK, |guest: &mut Guest<'_>, id: u64| {
        let config = guest.data().configs.get(CONFIGURATION, id)?;
        Ok::<_, Fault>(config.quota.as_ref().map_or(0, |quota| quota.used()))
    });
}

/// Declares the functions that set and read a limit. The setter also gets the caller's own configuration.
fn limit(
    host: &mut Host,
    (setter, getter): (&str, &str),
    set: fn(&mut ProcessConfig, &ProcessConfig, u64) -> Result<(), Fault>,
    get: fn(&ProcessConfig) -> u64,
) {
    func!(host, MODULE, setter, CALL, move |guest: &mut Guest<'_>, id: u64, value: u64| {
        charge_for_config(guest, id);
        let data = guest.data_mut();
        let parent = data.process.config().clone();
        set(data.config_mut(id)?, &parent, value)
    });
    func!(host, MODULE, getter, LOOK, move |guest: &mut Guest<'_>, id: u64| {
        guest.data().configs.get(CONFIGURATION, id).map(|config| get(config))
    });
}

/// Gives children a directory of the caller or one below it, with another name if the second text is not empty. With
/// `read_only`, or if the caller's directory is read-only, nothing in it may be changed. Traps if the caller has no
/// such directory.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn preopen_dir(
    guest: &mut Guest<'_>,
    config: u64,
    path: u32,
    path_len: u32,
    name: u32,
    name_len: u32,
    read_only: u32,
) -> Result<HostCall<()>, Fault> {
    let (memory, data) = parts(guest)?;
    let path = memory.str(path, path_len)?.to_owned();
    let name = memory.str(name, name_len)?;
    let name = if name.is_empty() { path.clone() } else { name.to_owned() };
    give_dir(data, config, &path, name, read_only != 0)
}

/// Gives children the listeners of the caller. Both can accept connections.
fn give_listeners(guest: &mut Guest<'_>, config: u64) -> Result<(), Fault> {
    charge_for_config(guest, config);
    let data = guest.data_mut();
    let listeners = data.process.config().caps().listeners.clone();
    data.config_mut(config)?.caps_mut().listeners = listeners;
    Ok(())
}

/// Forbids the functions whose names match a pattern, such as `lunatic::networking::*`, to processes with the
/// configuration and those made from it. A call of such a function traps.
fn forbid(guest: &mut Guest<'_>, config: u64, pattern: u32, pattern_len: u32) -> Result<(), Fault> {
    charge_for_config(guest, config);
    let (memory, data) = parts(guest)?;
    let pattern = memory.str(pattern, pattern_len)?.to_owned();
    let node = data.node().clone();
    data.config_mut(config)?.forbid(pattern, &Services::of(&node).functions)
}
