//! Lets a process give up what its programs do not need, before it runs any of them.
//!
//! The engine confines guests to their memories. If an engine bug lets a guest run native code, that code can do
//! whatever this process can. [`enter_jail`] limits this by three mechanisms of Linux:
//!
//! * *landlock* (`files.rs`) decides which paths can be opened: the directories of the configuration, and files that
//!   the runtime itself reads. It also restricts TCP ports.
//! * *seccomp* (`calls.rs`) allows the system calls in a list, some only with certain arguments. Every other call
//!   fails with EPERM: the process cannot start programs or processes, or create other kinds of sockets.
//! * *capabilities* (`capabilities.rs`) are given up, so that root is an ordinary user. If the rules allow a port
//!   below 1024, the capability for it stays.
//!
//! # Invariants
//!
//! * The calling thread is the only one. Landlock's rules belong to a thread, and threads that it starts inherit
//!   them; an existing thread would stay unrestricted.
//! * Landlock and seccomp both apply, or the caller gets an error and must end. Landlock's first version is required.
//!   Features of later versions are used where available: renaming into other directories (2; impossible without it),
//!   truncation (3), ports (4), devices (5), signals and abstract sockets of others (6).
//! * The restrictions are permanent. Descriptors opened before, such as standard streams and listeners, stay open.
//!
//! Limits: only the runtime checks rules for addresses, names and UDP ports. File names and metadata are visible
//! everywhere (landlock does not cover `stat`). Times can be set only on files that can be opened, not on symbolic
//! links. The cache of native code is read-only.

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

/// An error that prevents entering the jail.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// The system is not supported.
    #[error("there is a jail on Linux only, on x86-64 and aarch64")]
    Unsupported,
    /// The kernel has no landlock, or it is turned off.
    #[error("the kernel has no landlock, or refuses it: {0}")]
    Landlock(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel has no seccomp, or refuses the filter.
    #[error("the kernel has no seccomp, or refuses it: {0}")]
    Seccomp(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel refuses to give up capabilities.
    #[error("capabilities cannot be given up: {0}")]
    Capabilities(#[source] std::io::Error),
    /// The threads of the process cannot be listed.
    #[error("/proc/self/task cannot be read, and must be: {0}")]
    Unseen(#[source] std::io::Error),
    /// Other threads would stay outside.
    #[error("a process enters a jail before it has other threads")]
    Threads,
    /// An allowed path cannot be opened.
    #[error("{} cannot be opened: {source}", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Native code that a guest writes there would later run outside the jail.
    #[error(
        "the cache of native code {} is where the program may change files, in {}: use another, or none",
        cache.display(), dir.display()
    )]
    WritableCache {
        /// The cache.
        cache: PathBuf,
        /// The writable directory of the program.
        dir: PathBuf,
    },
}

/// Permanently gives up everything that a node with this configuration, and metrics at this address, does not need.
/// Call this before the process has a runtime or other threads.
///
/// The process keeps its directories, read access to its cache (and to resolver files if names may be resolved), and
/// sockets if its network rules allow any.
///
/// # Errors
/// See [`JailError`]. After an error the caller should end, because the process may have given up only a part.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn enter_jail(config: &RuntimeConfig, metrics: Option<SocketAddr>) -> Result<(), JailError> {
    if std::fs::read_dir("/proc/self/task").map_err(JailError::Unseen)?.count() != 1 {
        return Err(JailError::Threads);
    }
    let network = ports::Network::new(&config.network, metrics);
    // Built first, so that this can fail before anything is given up.
    let filters = calls::Filters::new(&network)?;
    files::restrict(config, &network)?;
    capabilities::give_up(&network).map_err(JailError::Capabilities)?;
    filters.apply()
}

/// Fails, because this system is not supported.
///
/// # Errors
/// Always returns [`JailError::Unsupported`].
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub fn enter_jail(_: &RuntimeConfig, _: Option<SocketAddr>) -> Result<(), JailError> {
    Err(JailError::Unsupported)
}

#[cfg(all(test, target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use super::*;

    /// The harness has other threads, which would stay outside the jail.
    #[test]
    fn a_process_with_threads_cannot_enter_a_jail() {
        assert!(matches!(enter_jail(&RuntimeConfig::default(), None), Err(JailError::Threads)));
    }
}
