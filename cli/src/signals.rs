//! Handles signals: SIGTERM and SIGINT end the program and keep its output, SIGQUIT shows what it does.
//!
//! The first SIGTERM or SIGINT asks the node to stop ([`ShutdownHandle::ask`]), the second one stops it, and each later one has its
//! default action: this code cannot make the command unkillable. SIGQUIT calls [`Inspector::report`].
//!
//! A signal that was ignored when the command was started stays ignored: that is how background jobs of a script survive
//! control-C.
//!
//! The signal handler only writes to a pipe; a separate thread does the rest. Workers block these signals, so the handler never
//! runs on the stack of a process.

use std::io;

use lunatic_executor::{Inspector, ShutdownHandle};

/// Signals that were ignored when the command was started.
#[derive(Clone, Copy, Debug, Default)]
pub struct IgnoredSignals(u64);

impl IgnoredSignals {
    /// The signals that are ignored now. Only Linux reports them, in a file; elsewhere the set is empty.
    pub fn now() -> IgnoredSignals {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        IgnoredSignals::of_status(&status)
    }

    fn of_status(status: &str) -> IgnoredSignals {
        let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        IgnoredSignals(set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0))
    }

    /// Whether the set contains a signal.
    #[cfg(unix)]
    fn contains(self, signal: i32) -> bool {
        // The first bit is signal 1.
        u32::try_from(signal - 1).is_ok_and(|bit| self.0.checked_shr(bit).unwrap_or(0) & 1 != 0)
    }
}

/// Forwards these signals to a node from now on, unless they were ignored before. The thread that does so runs until the command
/// ends.
///
/// # Errors
///
/// If the operating system refuses a pipe or a thread.
#[cfg(unix)]
pub fn listen_to_signals(
    ignored: IgnoredSignals,
    shutdown_handle: ShutdownHandle,
    inspector: Inspector,
) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::Signals;

    let wanted = [SIGTERM, SIGINT, SIGQUIT];
    // Installing a handler would end the ignoring, so ignored signals are left out.
    let mut signals = Signals::new(wanted.iter().filter(|&&signal| !ignored.contains(signal)))?;
    let work = move || {
        let mut requests = 0;
        for signal in signals.forever() {
            // Asking for a report is not a request to terminate, and does not count as one.
            if signal == SIGQUIT {
                inspector.report();
            } else {
                obey(&shutdown_handle, requests, signal);
                requests += 1;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(work)?;
    Ok(())
}

/// This system has no such signals: their default actions apply.
#[cfg(not(unix))]
pub fn listen_to_signals(_: IgnoredSignals, _: ShutdownHandle, _: Inspector) -> io::Result<()> {
    Ok(())
}

/// Handles a request to terminate, after `earlier` other requests.
#[cfg(unix)]
fn obey(shutdown_handle: &ShutdownHandle, earlier: usize, signal: i32) {
    use lunatic_executor::ExitStatus;
    use signal_hook::low_level::emulate_default_handler;

    /// The second request stops the node. A third one means that even this takes too long.
    const REQUESTS: usize = 2;

    if earlier < REQUESTS {
        shutdown_handle.ask(ExitStatus(STATUS_SIGNAL + signal));
    } else {
        // This returns only if the signal has no default action, and both have one.
        let _ = emulate_default_handler(signal);
    }
}

/// A shell reports a process that a signal ended as this status plus the signal's number.
#[cfg(unix)]
const STATUS_SIGNAL: i32 = 128;

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_process_status() {
        let ignored = IgnoredSignals::of_status("SigBlk:\t0000000000000000\nSigIgn:\t0000000000004002\n");
        assert!(ignored.contains(2) && ignored.contains(15));
        assert!(!ignored.contains(1) && !ignored.contains(3));
        assert!(!IgnoredSignals::of_status("").contains(2));
    }
}
