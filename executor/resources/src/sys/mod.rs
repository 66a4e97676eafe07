//! What differs between operating systems.

pub mod files;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Blocks every signal on the calling thread but those that a fault of its own raises, so that whoever wants the
/// others takes them on another thread.
///
/// A worker runs guest code on the stacks of processes, which have no guard pages and are measured for guest code
/// alone: a handler that some library has installed must not run there.
#[cfg(unix)]
pub fn block_signals() {
    use nix::sys::signal::{SigSet, Signal};

    /// Raised by the thread that they are meant for. To block these would end the command at the first trap.
    const SYNCHRONOUS: [Signal; 6] =
        [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGTRAP, Signal::SIGABRT];
    let mut blocked = SigSet::all();
    SYNCHRONOUS.into_iter().for_each(|signal| blocked.remove(signal));
    blocked.thread_block().expect("blocking a set of signals has no way to fail");
}

/// Does something with the same signals blocked on the calling thread, and then has it as it was.
#[cfg(unix)]
pub fn with_signals_blocked<R>(work: impl FnOnce() -> R) -> R {
    use nix::sys::signal::SigSet;

    /// Gives the thread its signals back, also if the work panics.
    struct Restore(SigSet);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = self.0.thread_set_mask();
        }
    }
    let before = SigSet::thread_get_mask().expect("asking for a set of signals has no way to fail");
    let _restore = Restore(before);
    block_signals();
    work()
}

/// As on other systems, without signals to block.
#[cfg(not(unix))]
pub fn with_signals_blocked<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(not(unix))]
pub fn block_signals() {}

/// Descriptors that guests do not get: they are kept for the runtime, so that guests who open all they can keep nobody
/// from reading a stack trace's lines or starting a command.
#[cfg(unix)]
const KEPT: u64 = 16;

/// Something that has a descriptor.
#[cfg(unix)]
pub trait Descriptor: std::os::fd::AsFd {}

#[cfg(unix)]
impl<T: std::os::fd::AsFd> Descriptor for T {}

/// Descriptors before those that are kept: who gets one of these is told to ask before the next.
#[cfg(unix)]
const NEAR: u64 = 64;

/// Whether descriptors are few, as far as is known: then it is asked before one is made, which is two system calls.
static ARE_FEW: AtomicBool = AtomicBool::new(false);

/// Refuses, as the system does when there is none left, a descriptor that is one of the last few. Asked before something
/// is opened, for what opening it does cannot be undone; `like` is any that is open. Whoever has opened something then
/// [notes](note) it.
#[cfg(unix)]
pub fn check_next(like: &impl Descriptor) -> io::Result<()> {
    // Relaxed: who sees it late has the descriptors between.
    if !ARE_FEW.load(Ordering::Relaxed) {
        return Ok(());
    }
    // The system gives the lowest that is free, so this one says how many are left.
    let next = like.as_fd().try_clone_to_owned()?;
    note(&next);
    admit(&next)
}

/// Takes notice of how many descriptors are left, by a new one.
#[cfg(unix)]
pub fn note(opened: &impl Descriptor) {
    let are_few = number(opened).saturating_add(KEPT + NEAR) >= limit();
    if ARE_FEW.load(Ordering::Relaxed) != are_few {
        ARE_FEW.store(are_few, Ordering::Relaxed);
    }
}

/// The limit of descriptors.
#[cfg(unix)]
fn limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit};

    // Asked once: whoever changes it while the command runs is not seen.
    static LIMIT: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *LIMIT.get_or_init(|| getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft))
}

#[cfg(unix)]
fn number(opened: &impl Descriptor) -> u64 {
    use std::os::fd::AsRawFd;

    opened.as_fd().as_raw_fd() as u64
}

/// As [`check_next`], of one that is open already.
#[cfg(unix)]
pub fn admit(opened: &impl Descriptor) -> io::Result<()> {
    note(opened);
    if number(opened).saturating_add(KEPT) >= limit() {
        Err(io::Error::from_raw_os_error(libc::EMFILE))
    } else {
        Ok(())
    }
}
/// Something that has a descriptor.
#[cfg(not(unix))]
pub trait Descriptor {}

#[cfg(not(unix))]
impl<T> Descriptor for T {}

#[cfg(not(unix))]
pub fn check_next(_: &impl Descriptor) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
pub fn note(_: &impl Descriptor) {}

#[cfg(not(unix))]
pub fn admit(_: &impl Descriptor) -> io::Result<()> {
    Ok(())
}
