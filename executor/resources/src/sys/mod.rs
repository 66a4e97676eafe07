//! What differs between operating systems.

pub mod files;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Blocks every signal on the calling thread but those that its own faults raise. Other threads receive the other
/// signals.
///
/// A worker runs guest code on the stacks of processes, which have no guard pages and are sized for guest code alone.
/// A handler that some library has installed must not run there.
#[cfg(unix)]
pub fn block_signals() {
    use nix::sys::signal::{SigSet, Signal};

    /// Signals that are raised by the thread that receives them. Blocking these would end the command at the first
    /// trap.
    const SYNCHRONOUS: [Signal; 6] =
        [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGTRAP, Signal::SIGABRT];
    let mut blocked = SigSet::all();
    SYNCHRONOUS.into_iter().for_each(|signal| blocked.remove(signal));
    blocked.thread_block().expect("blocking a set of signals has no way to fail");
}

/// Runs `work` with the same signals blocked on the calling thread, and restores the mask afterwards.
#[cfg(unix)]
pub fn with_signals_blocked<R>(work: impl FnOnce() -> R) -> R {
    use nix::sys::signal::SigSet;

    /// Restores the mask, even if the work panics.
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

/// Runs `work`. There are no signals to block.
#[cfg(not(unix))]
pub fn with_signals_blocked<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(not(unix))]
pub fn block_signals() {}

/// Descriptors that guests do not get. They are reserved for the runtime, so that guests that open as many as
/// possible cannot prevent it from reading the lines of a stack trace or starting a command.
#[cfg(unix)]
const KEPT: u64 = 16;

/// Something that has a descriptor.
#[cfg(unix)]
pub trait Descriptor: std::os::fd::AsFd {}

#[cfg(unix)]
impl<T: std::os::fd::AsFd> Descriptor for T {}

/// Descriptors before the reserved ones. When one of these is opened, the next must be checked.
#[cfg(unix)]
const NEAR: u64 = 64;

/// Whether descriptors are scarce, as far as is known. Then each new one is checked before it is opened, which takes
/// two system calls.
static ARE_FEW: AtomicBool = AtomicBool::new(false);

/// Refuses a descriptor that would be one of the last few, as the system does when there is none left. To be called
/// before something is opened, because opening may have effects that cannot be undone. `like` is any open descriptor.
/// The caller [notes](note) the descriptor that it has opened.
#[cfg(unix)]
pub fn check_next(like: &impl Descriptor) -> io::Result<()> {
    // Relaxed: a thread that sees the flag late has the descriptors in between.
    if !ARE_FEW.load(Ordering::Relaxed) {
        return Ok(());
    }
    // The system returns the lowest free number, which tells how many are left.
    let next = like.as_fd().try_clone_to_owned()?;
    note(&next);
    admit(&next)
}

/// Notes how many descriptors are left, by a new one.
#[cfg(unix)]
pub fn note(opened: &impl Descriptor) {
    let are_few = number(opened).saturating_add(KEPT + NEAR) >= limit();
    if ARE_FEW.load(Ordering::Relaxed) != are_few {
        ARE_FEW.store(are_few, Ordering::Relaxed);
    }
}

/// Returns the limit on descriptors.
#[cfg(unix)]
fn limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit};

    // Read once: a change while the command runs is not noticed.
    static LIMIT: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *LIMIT.get_or_init(|| getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft))
}

#[cfg(unix)]
fn number(opened: &impl Descriptor) -> u64 {
    use std::os::fd::AsRawFd;

    opened.as_fd().as_raw_fd() as u64
}

/// Refuses a descriptor like [`check_next`], after it was opened.
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
