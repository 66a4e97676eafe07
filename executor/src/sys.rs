//! What differs between operating systems.

use std::io;

use cap_std::fs::Dir;

/// Blocks every signal on the calling thread but those that a fault of its own raises, so that whoever wants the
/// others takes them on another thread.
///
/// A worker runs guest code on the stacks of processes, which have no guard pages and are measured for guest code
/// alone: a handler that some library has installed must not run there.
#[cfg(unix)]
pub(crate) fn block_signals() {
    use nix::sys::signal::{SigSet, Signal};

    /// Raised by the thread that they are meant for. To block these would end the command at the first trap.
    const SYNCHRONOUS: [Signal; 6] =
        [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGTRAP, Signal::SIGABRT];
    let mut blocked = SigSet::all();
    SYNCHRONOUS.into_iter().for_each(|signal| blocked.remove(signal));
    blocked.thread_block().expect("blocking a set of signals has no way to fail");
}

#[cfg(not(unix))]
pub(crate) fn block_signals() {}

/// Refuses, as the system does when there is none left, a descriptor that is one of the last few: those are kept for the
/// runtime, so that guests who open all they can keep nobody from reading a stack trace's lines or starting a command.
/// Asked before a file is opened, for what opening it does cannot be undone.
#[cfg(unix)]
pub(crate) fn check_descriptors(dir: &Dir) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use nix::sys::resource::{Resource, getrlimit};

    /// Descriptors that guests do not get.
    const KEPT: u64 = 16;
    // The system gives the lowest that is free, so this one says how many are left.
    let next = dir.try_clone()?.as_raw_fd() as u64;
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if next.saturating_add(KEPT) >= limit { Err(io::Error::from_raw_os_error(libc::EMFILE)) } else { Ok(()) }
}

#[cfg(not(unix))]
pub(crate) fn check_descriptors(_: &Dir) -> io::Result<()> {
    Ok(())
}
