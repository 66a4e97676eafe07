//! SIGTERM and SIGINT: whoever sends them wants the program gone, and its output kept.
//!
//! The first asks the node to stop, the second stops it, and each one after that ends the command as if no one
//! had ever listened: nothing here can make it unkillable. What asking means is [`Stopper::ask`]'s to say.
//!
//! The handler only writes to a pipe; a thread of its own does the rest. Workers block these signals, so the
//! handler never runs on the stack of a process.

use std::io;

use lunatic_executor::Stopper;

/// From now on, requests to terminate go to a node, by a thread that lives as long as the command.
///
/// # Errors
///
/// If the operating system refuses a pipe or a thread.
#[cfg(unix)]
pub fn stop_on_signals(stopper: Stopper) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let work = move || {
        for (count, signal) in signals.forever().enumerate() {
            obey(&stopper, count, signal);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(work)?;
    Ok(())
}

/// There is no such signal here: the command is ended as any other.
#[cfg(not(unix))]
pub fn stop_on_signals(_: Stopper) -> io::Result<()> {
    Ok(())
}

/// Does what a signal asks for, after so many others.
#[cfg(unix)]
fn obey(stopper: &Stopper, earlier: usize, signal: i32) {
    use lunatic_executor::ExitStatus;
    use signal_hook::low_level::emulate_default_handler;

    /// Asking twice is stopping; a third request means that even this takes too long.
    const REQUESTS: usize = 2;

    if earlier < REQUESTS {
        stopper.ask(ExitStatus(STATUS_SIGNAL + signal));
    } else {
        // It returns only if the signal has no default action, and both have.
        let _ = emulate_default_handler(signal);
    }
}

/// As a shell reports a program that a signal ended: this and the signal's number.
#[cfg(unix)]
const STATUS_SIGNAL: i32 = 128;
