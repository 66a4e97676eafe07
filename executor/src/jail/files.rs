//! Landlock: which files can be opened, and which ports of TCP used.
//!
//! A rule is for a file or for what is beneath a directory, as it is when the jail is entered: what takes its name later
//! has no rule. Nothing can be executed, no devices made or spoken to, no sockets made among files.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
    make_bitflags,
};

use super::JailError;
use super::ports::{Network, Ports};
use crate::config::RuntimeConfig;

/// What a kernel has to have, and what is used of newer ones.
const REQUIRED: ABI = ABI::V1;
const USED: ABI = ABI::V6;

/// What the runtime itself reads at any time: which pages it has, and how many processors.
const MACHINE: [&str; 3] = ["/proc/self", "/sys/devices/system/cpu", "/sys/fs/cgroup"];

/// For SQLite's local times.
const LOCAL_TIME: &str = "/etc/localtime";

/// What the C library looks names up with. Not all of `/etc`: there are secrets in it.
const RESOLVER: [&str; 11] = [
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/services",
    // Sources of names that are libraries of their own are loaded when they are needed.
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];

/// Who the servers of names are: often a link to a file that is replaced when the network changes.
const SERVERS: &str = "/etc/resolv.conf";

/// Reads files, and lists directories.
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// What files may be used for that are the program's own.
const CHANGE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | RemoveFile | RemoveDir | MakeReg | MakeDir | MakeSym | Refer
});

/// Restricts this thread, and all that it starts.
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
        // Not every machine has all of them.
        if path.exists() {
            rules = allow(rules, &path, READ)?;
        }
    }
    let status = rules.restrict_self().map_err(refused)?;
    // What was required would have failed; this is for a kernel that says yes and does nothing.
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(refused("it is not enforced")),
        _ => Ok(()),
    }
}

/// Rules by which nothing can be opened, and no port used that the network has not.
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

/// Allows this for a file, or for what is beneath a directory.
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
    // Best effort: of a file, what only a directory can is left out.
    rules.add_rule(PathBeneath::new(opened, access)).map_err(refused)
}

/// The file that names the servers; if it lies elsewhere, what is beside it too, for one that takes its place is there.
fn servers() -> Option<PathBuf> {
    let file = Path::new(SERVERS).canonicalize().ok()?;
    let directory = file.parent().filter(|parent| parent.starts_with("/run"));
    Some(directory.unwrap_or(&file).to_owned())
}

/// Who is in the jail must not write what is run outside of it.
fn check_cache(config: &RuntimeConfig) -> Result<(), JailError> {
    let Some(cache) = &config.cache else { return Ok(()) };
    for dir in config.dirs.iter().filter(|dir| !dir.is_read_only) {
        // If it is not there, that is found later.
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
