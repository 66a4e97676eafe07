//! SIGTERM and SIGINT: whoever sends them wants the program gone, and its output kept. SIGQUIT: someone wants to know
//! what it does.
//!
//! The first request to terminate asks the node to stop, the second stops it, and each one after that ends the command
//! as if no one had ever listened: nothing here can make it unkillable. What asking means is [`Stopper::ask`]'s to say,
//! what is shown of processes [`Inspector::report`]'s.
//!
//! The handler only writes to a pipe; a thread of its own does the rest. Workers block these signals, so the
//! handler never runs on the stack of a process.

use std::io;

use lunatic_executor::{Inspector, Stopper};

/// From now on, these signals go to a node, by a thread that lives as long as the command.
///
/// # Errors
///
/// If the operating system refuses a pipe or a thread.
#[cfg(unix)]
pub fn listen_to_signals(stopper: Stopper, inspector: Inspector) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT])?;
    let work = move || {
        let mut requests = 0;
        for signal in signals.forever() {
            if signal == SIGQUIT {
                inspector.report();
            } else {
                obey(&stopper, requests, signal);
                requests += 1;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(work)?;
    Ok(())
}

/// There is no such signal here: the command is ended as any other.
#[cfg(not(unix))]
pub fn listen_to_signals(_: Stopper, _: Inspector) -> io::Result<()> {
    Ok(())
}

/// Does what a request to terminate asks for, after so many others.
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

/// As a shell reports a process that a signal ended: this and the signal's number.
#[cfg(unix)]
const STATUS_SIGNAL: i32 = 128;
