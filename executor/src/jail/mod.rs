//! A process that gives up what its programs do not need, before any of them runs.
//!
//! Guests are kept in their memories by the engine. If the engine has a bug by which one gets out and runs native code of
//! its own, what that code may do is what this process may do. [`enter_jail`] makes it little, by three means of Linux:
//!
//! * *landlock* (`files.rs`) decides what can be opened, by where it lies: the directories of the configuration, and what
//!   the runtime itself reads. It also decides the ports of TCP.
//! * *seccomp* (`calls.rs`) decides which system calls there are: those of a list, for some of them with certain
//!   arguments only. Everything else is EPERM: no programs are started, no processes, no other kinds of sockets.
//! * *capabilities* (`capabilities.rs`) are given up, so that root is a user like any other: all but the one that ports
//!   below 1024 need, if the rules allow one.
//!
//! # Invariants
//!
//! * Whoever enters is alone. Landlock's rules are a thread's, which those that it starts inherit; a thread that was
//!   there before would be free.
//! * Both or an error: where the kernel has not both, whoever wanted a jail is told and has to end. Of landlock the first
//!   version is required; what later versions add is used where it is there: renaming into other directories (2, without
//!   it there is none), truncation (3), ports (4), devices (5), signals and abstract sockets of others (6).
//! * There is no way out. What was open before stays open, such as standard streams and listeners.
//!
//! What it cannot do: rules for addresses and names, and for ports of datagrams, are the runtime's alone. Names of files
//! and their metadata can be seen anywhere (`stat` is not landlock's). Times are set of what can be opened, so not of
//! symbolic links themselves. Native code in the cache is read and never written.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod calls;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod capabilities;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod files;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod ports;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::RuntimeConfig;

/// Why there is no jail.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// Nothing is known of this system.
    #[error("there is a jail on Linux only, on x86-64 and aarch64")]
    Unsupported,
    /// The kernel has no landlock, or it is turned off.
    #[error("the kernel has no landlock, or refuses it: {0}")]
    Landlock(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel has no seccomp, or refuses the filter.
    #[error("the kernel has no seccomp, or refuses it: {0}")]
    Seccomp(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel does not take capabilities back.
    #[error("capabilities cannot be given up: {0}")]
    Capabilities(#[source] std::io::Error),
    /// Whether there are other threads cannot be seen.
    #[error("/proc/self/task cannot be read, and must be: {0}")]
    Unseen(#[source] std::io::Error),
    /// Other threads would stay outside.
    #[error("a process enters a jail before it has other threads")]
    Threads,
    /// Something that is allowed is not there.
    #[error("{} cannot be opened: {source}", path.display())]
    Open {
        /// What.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is written there would be run the next time, outside.
    #[error(
        "the cache of native code {} is where the program may change files, in {}: use another, or none",
        cache.display(), dir.display()
    )]
    WritableCache {
        /// The cache.
        cache: PathBuf,
        /// The directory of the program.
        dir: PathBuf,
    },
}

/// Gives up whatever a node with this configuration, and metrics at this address, does not need: for good, and for
/// everything that the process does from now on. Called before there is a runtime, and before there are other threads.
///
/// The process keeps: its directories; for reading its cache, and what names are looked up with if any may be; sockets,
/// if its rules for networks allow any.
///
/// # Errors
/// See [`JailError`]. Whoever gets one should end: something may be given up already, and not all is.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn enter_jail(config: &RuntimeConfig, metrics: Option<SocketAddr>) -> Result<(), JailError> {
    if std::fs::read_dir("/proc/self/task").map_err(JailError::Unseen)?.count() != 1 {
        return Err(JailError::Threads);
    }
    let network = ports::Network::new(&config.network, metrics);
    // Built first: what can fail before anything is given up does.
    let filters = calls::Filters::new(&network)?;
    files::restrict(config, &network)?;
    capabilities::give_up(&network).map_err(JailError::Capabilities)?;
    filters.apply()
}

/// There is none for this system.
///
/// # Errors
/// Always.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub fn enter_jail(_: &RuntimeConfig, _: Option<SocketAddr>) -> Result<(), JailError> {
    Err(JailError::Unsupported)
}

#[cfg(all(test, target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use super::*;

    /// The harness has threads, which would stay outside.
    #[test]
    fn who_has_threads_does_not_enter() {
        assert!(matches!(enter_jail(&RuntimeConfig::default(), None), Err(JailError::Threads)));
    }
}
