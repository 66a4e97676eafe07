//! Host functions of an embedder's own.
//!
//! A host function is declared with what a call costs and what its arguments are, by [`func!`](crate::func): before it
//! runs, the call has been charged for, and ranges of memory have been checked. It gets the guest ([`Guest`]) and its
//! arguments, and answers at once; a [`Fault`] that it returns ends the process. What it remembers for a process is a type
//! of its own ([`State`]), of which each process has one value.
//!
//! ```
//! use lunatic_executor::embed::host::{CALL, Fault, Guest, GuestState, State, parts};
//! use lunatic_executor::embed::Engine;
//! use lunatic_executor::func;
//!
//! #[derive(Default)]
//! struct Log(Vec<String>);
//! impl State for Log {}
//!
//! let engine = Engine::builder().host(|host| {
//!     // A text of at most a KiB, as a pointer and a length.
//!     func!(host, "app", "log", CALL.range(0, 1024, "a line"), |guest: &mut Guest<'_>, text: u32, length: u32| {
//!         let (memory, _) = parts(guest)?;
//!         let line = memory.str(text, length)?.to_owned();
//!         guest.state::<Log>().0.push(line);
//!         Ok::<_, Fault>(())
//!     });
//! }).build()?;
//! # Ok::<(), lunatic_executor::RuntimeError>(())
//! ```

use lunatic_core::ProcessData;

pub use lunatic_core::{Extensions, Fault, HostState as State};
pub use lunatic_host::declare::{CALL, Declaration, HEAVY, LOOK, SYSTEM_CALL};
pub use lunatic_host::memory::{GuestMemory, parts};
pub use lunatic_host::{Guest, Host};

/// What a host function may know of the process that calls it.
pub trait GuestState {
    /// The state of this type that the process has; made by its default if there is none yet.
    fn state<T: State + Default>(&mut self) -> &mut T;

    /// The process, as guests know it.
    fn process(&self) -> u64;
}

impl GuestState for Guest<'_> {
    fn state<T: State + Default>(&mut self) -> &mut T {
        self.data_mut().state()
    }

    fn process(&self) -> u64 {
        self.data().id().to_guest()
    }
}

impl GuestState for ProcessData {
    fn state<T: State + Default>(&mut self) -> &mut T {
        self.extensions.get_or_default()
    }

    fn process(&self) -> u64 {
        self.id().to_guest()
    }
}
