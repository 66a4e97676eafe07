//! Landlock: the files that can be opened and the TCP ports that can be used.
//!
//! A rule applies to a file or to everything beneath a directory, as found on entering the jail; a later file of that
//! name has no rule. Nothing can be executed. Devices cannot be created or controlled, nor named sockets created.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
    make_bitflags,
};

use super::JailError;
use super::ports::{Network, Ports};
use crate::config::RuntimeConfig;

/// The version that a kernel must have, and the newest one used.
const REQUIRED: ABI = ABI::V1;
const USED: ABI = ABI::V6;

/// Paths that the runtime itself reads at any time, for its pages and the number of processors.
const MACHINE: [&str; 3] = ["/proc/self", "/sys/devices/system/cpu", "/sys/fs/cgroup"];

/// Used by SQLite for local times.
const LOCAL_TIME: &str = "/etc/localtime";

/// Files that the C library needs to resolve names. Not all of `/etc`, which contains secrets.
const RESOLVER: [&str; 11] = [
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/services",
    // The C library loads some name sources as libraries on demand.
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];

/// The list of DNS servers, often a link to a file that is replaced when the network changes.
const SERVERS: &str = "/etc/resolv.conf";

/// Reading files and listing directories.
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// Access to the program's own files.
const CHANGE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | RemoveFile | RemoveDir | MakeReg | MakeDir | MakeSym | Refer
});

/// Restricts this thread and all threads that it starts.
pub(super) fn restrict(config: &RuntimeConfig, network: &Network) -> Result<(), JailError> {
    check_cache(config)?;
    let mut rules = begin(network).map_err(refused)?;
    for dir in &config.dirs {
        rules = allow(rules, &dir.host, if dir.is_read_only { READ } else { CHANGE })?;
    }
    if let Some(cache) = &config.cache {
        rules = allow(rules, cache.path(), READ)?;
    }
    let resolver = RESOLVER.iter().map(PathBuf::from).chain(servers());
    let resolver = resolver.filter(|_| network.resolves);
    for path in MACHINE.iter().chain([&LOCAL_TIME]).map(PathBuf::from).chain(resolver) {
        // Not every machine has all of these files.
        if path.exists() {
            rules = allow(rules, &path, READ)?;
        }
    }
    let status = rules.restrict_self().map_err(refused)?;
    // Missing requirements fail earlier; this detects a kernel that reports success and enforces nothing.
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(refused("it is not enforced")),
        _ => Ok(()),
    }
}

/// Creates rules that allow no file, and only the network's ports.
fn begin(network: &Network) -> Result<RulesetCreated, landlock::RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(REQUIRED))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(USED))?
        .scope(Scope::from_all(USED))?;
    let directions = [(&network.connect, AccessNet::ConnectTcp), (&network.bind, AccessNet::BindTcp)];
    for (ports, access) in directions {
        if let Ports::These(_) = ports {
            rules = rules.handle_access(access)?;
        }
    }
    let mut rules = rules.create()?;
    for (ports, access) in directions {
        if let Ports::These(ports) = ports {
            rules = rules.add_rules(
                ports.iter().map(|&port| Ok::<_, landlock::RulesetError>(NetPort::new(port, access))),
            )?;
        }
    }
    Ok(rules)
}

/// Allows this access to a file or to everything beneath a directory.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, JailError> {
    let opened = PathFd::new(path).map_err(|error| JailError::Open {
        path: path.into(),
        source: match error {
            PathFdError::OpenCall { source, .. } => source,
            other => std::io::Error::other(other),
        },
    })?;
    // Best effort: rights that only directories have are left out for a file.
    rules.add_rule(PathBeneath::new(opened, access)).map_err(refused)
}

/// Returns the file that lists the DNS servers, or its directory if it is in `/run`, so replacements are readable.
fn servers() -> Option<PathBuf> {
    let file = Path::new(SERVERS).canonicalize().ok()?;
    let directory = file.parent().filter(|parent| parent.starts_with("/run"));
    Some(directory.unwrap_or(&file).to_owned())
}

/// Rejects a cache that guests could write: its code later runs outside the jail.
fn check_cache(config: &RuntimeConfig) -> Result<(), JailError> {
    let Some(cache) = &config.cache else { return Ok(()) };
    for dir in config.dirs.iter().filter(|dir| !dir.is_read_only) {
        // A missing directory is reported later.
        let Ok(path) = dir.host.canonicalize() else { continue };
        if cache.path().starts_with(&path) || path.starts_with(cache.path()) {
            return Err(JailError::WritableCache { cache: cache.path().into(), dir: path });
        }
    }
    Ok(())
}

fn refused(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> JailError {
    JailError::Landlock(error.into())
}
