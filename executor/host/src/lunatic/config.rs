//! `lunatic::process::*config*` and `lunatic::wasi::config_*`: the limits and permissions of children.
//!
//! A new configuration allows nothing and has the limits of its creator. A setter never exceeds what the creator has
//! itself: it takes the smaller of the two values.
//!
//! All functions trap on an unknown identifier.

use std::sync::Arc;

use lunatic_jit::{HostCall, RawValue};

use lunatic_core::config::ProcessConfig;
use lunatic_core::process::CONFIGURATION;
use lunatic_resources::GuestDir;

use crate::Capable;
use crate::capabilities::MAX_ENTRIES;
use crate::declare::{CALL, Host, LOOK, Permission, func, limits};
use lunatic_core::Fault;
use lunatic_core::ProcessData;
use lunatic_resources::sys;

use crate::memory::parts;
use crate::{Guest, charge_for_config};

/// The result of [`create_config`] without the permission.
const NOT_PERMITTED: i64 = -1;

pub(crate) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::process";
    func!(host, MODULE, "create_config", CALL.needs(&[Permission::Configs]), create_config);
    func!(host, MODULE, "drop_config", CALL, |guest: &mut Guest<'_>, id: u64| {
        guest.data_mut().configs.remove(CONFIGURATION, id).map(drop)
    });
    set(host, "config_set_max_memory", |config, parent, value: u64| config.limit_memory(parent, value));
    get(host, "config_get_max_memory", |config| config.max_memory);
    set(host, "config_set_max_fuel", |config, parent, value: u64| config.limit_fuel(parent, value));
    get(host, "config_get_max_fuel", ProcessConfig::fuel);
    set(host, "config_set_can_compile_modules", |config, parent, can: u32| {
        config.can_compile_modules = can != 0 && parent.can_compile_modules;
    });
    get(host, "config_can_compile_modules", |config| u32::from(config.can_compile_modules));
    set(host, "config_set_can_create_configs", |config, parent, can: u32| {
        config.can_create_configs = can != 0 && parent.can_create_configs;
    });
    get(host, "config_can_create_configs", |config| u32::from(config.can_create_configs));
    set(host, "config_set_can_spawn_processes", |config, parent, can: u32| {
        config.can_spawn_processes = can != 0 && parent.can_spawn_processes;
    });
    get(host, "config_can_spawn_processes", |config| u32::from(config.can_spawn_processes));

    const WASI: &str = "lunatic::wasi";
    func!(
        host,
        WASI,
        "config_add_environment_variable",
        CALL.range(1, limits::TEXT, "a text").range(3, limits::TEXT, "a text"),
        add_environment_variable
    );
    func!(
        host,
        WASI,
        "config_add_command_line_argument",
        CALL.range(1, limits::TEXT, "a text"),
        add_command_line_argument
    );
    func!(
        host,
        WASI,
        "config_preopen_dir",
        CALL.range(1, limits::PATH, "a path").needs(&[Permission::Directory]),
        preopen_dir
    );
}

/// Declares a setter, which also gets the parent's configuration.
fn set<V: lunatic_jit::WasmValue + 'static>(
    host: &mut Host,
    name: &str,
    apply: impl Fn(&mut ProcessConfig, &ProcessConfig, V) + Send + Sync + 'static,
) {
    func!(host, "lunatic::process", name, CALL, move |guest: &mut Guest<'_>, id: u64, value: V| {
        charge_for_config(guest, id);
        let data = guest.data_mut();
        let parent = data.process.config().clone();
        apply(data.config_mut(id)?, &parent, value);
        Ok::<_, Fault>(())
    });
}

/// Declares a getter.
fn get<V: lunatic_jit::WasmValue + 'static>(
    host: &mut Host,
    name: &str,
    read: impl Fn(&ProcessConfig) -> V + Send + Sync + 'static,
) {
    func!(host, "lunatic::process", name, LOOK, move |guest: &mut Guest<'_>, id: u64| {
        guest.data().configs.get(CONFIGURATION, id).map(|config| read(config))
    });
}

/// Creates a configuration that allows nothing. Returns its identifier, or -1 without the permission.
fn create_config(guest: &mut Guest<'_>) -> Result<i64, Fault> {
    let data = guest.data_mut();
    if !data.process.config().can_create_configs {
        return Ok(NOT_PERMITTED);
    }
    let config = data.process.config().narrowed();
    let kept = data.keep(config.bytes())?;
    let config = Arc::new(config.charged_copy(kept));
    data.configs.add("configurations", data.process.config(), config).map(|id| id as i64)
}

/// Adds an environment variable for children.
fn add_environment_variable(
    guest: &mut Guest<'_>,
    id: u64,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
) -> Result<(), Fault> {
    charge_for_config(guest, id);
    let (memory, data) = parts(guest)?;
    let name = memory.str(key, key_len)?;
    let value = memory.str(value, value_len)?;
    let config = data.config_mut(id)?;
    config.take_text(name.len() + value.len())?;
    let entry = (name.to_owned(), value.to_owned());
    push(&mut config.caps_mut().env, "environment variables", entry)
}

/// Adds an argument for children.
fn add_command_line_argument(
    guest: &mut Guest<'_>,
    id: u64,
    argument: u32,
    argument_len: u32,
) -> Result<(), Fault> {
    charge_for_config(guest, id);
    let (memory, data) = parts(guest)?;
    let argument = memory.str(argument, argument_len)?;
    let config = data.config_mut(id)?;
    config.take_text(argument.len())?;
    push(&mut config.caps_mut().args, "arguments", argument.to_owned())
}

/// Gives children a directory of the caller, or one below it. Traps if the caller has no such directory.
fn preopen_dir(guest: &mut Guest<'_>, id: u64, path: u32, path_len: u32) -> Result<HostCall<()>, Fault> {
    let (memory, data) = parts(guest)?;
    let path = memory.str(path, path_len)?.to_owned();
    give_dir(data, id, &path.clone(), path, false)
}

/// Implements [`preopen_dir`], with a name for the children.
pub(crate) fn give_dir(
    data: &mut ProcessData,
    id: u64,
    path: &str,
    name: String,
    read_only: bool,
) -> Result<HostCall<()>, Fault> {
    data.configs.get(CONFIGURATION, id)?;
    let (GuestDir { dir: parent, is_read_only, opened: inherited, .. }, rest) =
        below(&data.process.config().caps().dirs, path).ok_or(Fault::NotAllowed("pass this directory on"))?;
    let is_read_only = is_read_only || read_only;
    // A directory that is passed on as it is shares the caller's descriptor.
    let opens = (!rest.is_empty()).then(|| data.open()).transpose()?.map(Arc::new);
    data.wait_for_job(move || {
        let opened = match &opens {
            None => Ok(parent),
            Some(_) => sys::check_next(&*parent).and_then(|()| parent.open_dir(rest)).map(Arc::new),
        };
        Box::new(move |_, data| {
            let dir = opened.map_err(|_| Fault::NotAllowed("pass this directory on"))?;
            let config = data.config_mut(id)?;
            config.take_text(name.len())?;
            let opened = opens.or(inherited);
            push(
                &mut config.caps_mut().dirs,
                "directories",
                GuestDir { name: name.into(), dir, is_read_only, opened },
            )?;
            Ok(HostCall::Return(RawValue::default()))
        })
    });
    Ok(HostCall::Suspend)
}

/// Returns the directory of the caller that contains a path, and the rest of the path.
pub(crate) fn below(dirs: &[GuestDir], path: &str) -> Option<(GuestDir, String)> {
    dirs.iter().find_map(|dir| {
        let rest = path.strip_prefix(&*dir.name)?;
        let rest = match rest.strip_prefix('/') {
            Some(rest) => rest,
            None if rest.is_empty() || dir.name.ends_with('/') => rest,
            None => return None,
        };
        Some((dir.clone(), rest.to_owned()))
    })
}

fn push<T>(list: &mut Vec<T>, kind: &'static str, entry: T) -> Result<(), Fault> {
    if list.len() >= MAX_ENTRIES {
        return Err(Fault::TooMany(kind));
    }
    list.push(entry);
    Ok(())
}
