//! SIGTERM and SIGINT: whoever sends them wants the program gone, and its output kept. SIGQUIT: someone wants to know
//! what it does.
//!
//! The first request to terminate asks the node to stop, the second stops it, and each one after that ends the command
//! as if no one had ever listened: nothing here can make it unkillable. What asking means is [`Stopper::ask`]'s to say,
//! what is shown of processes [`Inspector::report`]'s.
//!
//! A signal that was ignored when the command was started stays so: a script's background jobs survive control-C by that.
//!
//! The handler only writes to a pipe; a thread of its own does the rest. Workers block these signals, so the
//! handler never runs on the stack of a process.

use std::io;

use lunatic_executor::{Inspector, Stopper};

/// Signals that were ignored when the command was started.
#[derive(Clone, Copy, Debug, Default)]
pub struct IgnoredSignals(u64);

impl IgnoredSignals {
    /// The signals that are ignored now. Only Linux tells, by a file; elsewhere the list is empty.
    pub fn now() -> IgnoredSignals {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        IgnoredSignals::of_status(&status)
    }

    fn of_status(status: &str) -> IgnoredSignals {
        let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        IgnoredSignals(set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0))
    }

    /// Whether a signal is one of them.
    #[cfg(unix)]
    fn contains(self, signal: i32) -> bool {
        // The first bit is signal 1.
        u32::try_from(signal - 1).is_ok_and(|bit| self.0.checked_shr(bit).unwrap_or(0) & 1 != 0)
    }
}

/// From now on, these signals go to a node, unless they were ignored before, by a thread that lives as long as the command.
///
/// # Errors
///
/// If the operating system refuses a pipe or a thread.
#[cfg(unix)]
pub fn listen_to_signals(ignored: IgnoredSignals, stopper: Stopper, inspector: Inspector) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::Signals;

    let wanted = [SIGTERM, SIGINT, SIGQUIT];
    let mut signals = Signals::new(wanted.iter().filter(|&&signal| !ignored.contains(signal)))?;
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
pub fn listen_to_signals(_: IgnoredSignals, _: Stopper, _: Inspector) -> io::Result<()> {
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_systems_set() {
        let ignored = IgnoredSignals::of_status("SigBlk:\t0000000000000000\nSigIgn:\t0000000000004002\n");
        assert!(ignored.contains(2) && ignored.contains(15));
        assert!(!ignored.contains(1) && !ignored.contains(3));
        assert!(!IgnoredSignals::of_status("").contains(2));
    }
}
