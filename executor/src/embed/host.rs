//! Host functions of an embedder.
//!
//! [`func!`](crate::func) declares a host function with its cost and its arguments. Before the function runs, the
//! call has been charged and its memory ranges have been checked. The function receives the guest ([`Guest`]) and the
//! arguments, and must return without blocking. A returned [`Fault`] ends the process. State that a function keeps
//! for a process is a type that implements [`State`]; each process has at most one value of the type.
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

/// Access to the process that calls a host function.
pub trait GuestState {
    /// Returns the process's state of this type, which is created with its default at the first call.
    fn state<T: State + Default>(&mut self) -> &mut T;

    /// Returns the identifier of the process, which guests use too.
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
