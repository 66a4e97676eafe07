//! What native code runs in: contexts, instances, memories, tables, stacks, traps, and the routines that it
//! calls.

pub(crate) mod activation;
pub(crate) mod image;
pub(crate) mod instance;
pub(crate) mod libcalls;
pub(crate) mod memory;
pub(crate) mod memory_budget;
pub(crate) mod slots;
pub(crate) mod stack;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod thread;
pub(crate) mod trap;
