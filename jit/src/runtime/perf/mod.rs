//! The tuned paths of the runtime, one per file, and the switch to their plain counterparts.
//!
//! Each of them is measured, and each is harder to read or to check than what it replaces. So they are here, and the
//! rest of the runtime calls them by name. With the feature `plain`, every one is replaced by its plain counterpart, which
//! does the same in the obvious way: `cargo test -p lunatic-jit --features plain` runs all tests on it. Miri and
//! AddressSanitizer take the plain counterpart where they cannot follow the tuned path.
//!
//! | file | tuned path | plain counterpart | miri, AddressSanitizer |
//! |---|---|---|---|
//! | `stack_switch` | calls host functions on the worker's stack by eight instructions | corosensei's `on_parent_stack` | both plain |
//! | `residency` | remembers which pages of a slot are resident | asks the system each time | tuned; miri has no pages |
//! | `zeroing` | reads before it writes, in wide registers | writes zeroes | AddressSanitizer tuned; miri without wide registers |
//! | `placement` | the store lies in its stack, stacks begin at different distances | the store is allocated, all stacks begin alike | both tuned |
//! | `prefetch`, `working_set` | asks the processor for the lines of a process before it runs | nothing | miri plain |
//!
//! The order of the fields of `StoreCore` and `InstanceData` belongs here too, but cannot be apart from the types; a
//! constant in `vm/instance.rs` asserts the offsets that matter.

pub(crate) mod placement;
pub(crate) mod prefetch;
pub(crate) mod residency;
pub(crate) mod stack_switch;
pub(crate) mod working_set;
pub(crate) mod zeroing;
