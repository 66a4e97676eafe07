//! What differs between operating systems.

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
