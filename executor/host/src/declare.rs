//! How host functions are declared: what a call costs, and what its arguments are.
//!
//! Each function is registered together with a [`Declaration`], by the macro [`func`]; nothing else in this crate gets at the
//! engine's linker. So there is no host function that costs nothing, and none that looks at a text of any length: before the
//! function runs, the call has been charged for, by the bytes that it handles, its texts are no longer than they may be, and
//! they and the places for its results are in the guest's memory. A function that waits is charged when it is called.
//!
//! A unit test compares the declarations with `executor/ABI.md`, argument by argument.

use std::marker::PhantomData;

use lunatic_jit::{Check, HostError, IntoHostFunc, Linker, RawValue};

use lunatic_core::Fault;
use lunatic_core::ProcessData;

use super::{BYTES_PER_REDUCTION, Guest};

/// What a call costs, and what its arguments are.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// Reductions for any call.
    cost: u64,
    arguments: [Argument; MAX_ARGUMENTS],
    count: usize,
    needs: &'static [Permission],
}

/// What a process needs to have been allowed. The one place in which it is asked for is named with each: how a function
/// answers without it is part of its contract, and differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// To spawn processes: asked where a request for a spawn is entered. Traps.
    Spawn,
    /// To compile modules: asked by the function, which answers with -1.
    Compile,
    /// To make configurations: asked by the function, which answers with -1.
    Configs,
    /// To connect to the address: asked of the network policy, for an error.
    Connect,
    /// To listen at the address, likewise.
    Bind,
    /// To ask for the address of the name, likewise.
    Resolve,
    /// To use the directory itself: asked where directories are looked up. Traps.
    Directory,
}

impl Permission {
    /// Its name in the table of host functions.
    pub const fn name(self) -> &'static str {
        match self {
            Permission::Spawn => "spawn",
            Permission::Compile => "compile",
            Permission::Configs => "configs",
            Permission::Connect => "connect",
            Permission::Bind => "bind",
            Permission::Resolve => "resolve",
            Permission::Directory => "the directory",
        }
    }
}

/// Ranges of memory that one function takes: pairs of pointer and length, and places for results.
const MAX_ARGUMENTS: usize = 5;

/// A range of the guest's memory, by the positions of the parameters that say where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each variant says what its fields are.
pub enum Argument {
    /// A pointer, followed by a number of elements of `size` bytes each: at most `max`. `what` names it in an error.
    Range { at: usize, size: u32, max: u32, what: &'static str },
    /// A pointer to `size` bytes that are written.
    Place { at: usize, size: u32 },
}

/// Only looks something up that is at hand.
pub const LOOK: Declaration = Declaration::costs(5);

/// Changes something, here or in another process.
pub const CALL: Declaration = Declaration::costs(20);

/// Asks something of the operating system.
pub const SYSTEM_CALL: Declaration = Declaration::costs(400);

/// Makes a process, compiles a module, or opens a database.
pub const HEAVY: Declaration = Declaration::costs(1000);

/// Bytes that texts have at most, by what they are. What is longer is refused before anything looks at it.
pub mod limits {
    /// A name in the registry.
    pub const NAME: u32 = 64 << 10;
    /// A name of a host and a port: DNS has 253 for the former.
    pub const HOST: u32 = 1024;
    /// The name of an exported function: no module has a longer one.
    pub const FUNCTION: u32 = 100_000;
    /// The parameters of a spawn: more than any compiler's limit is of no use.
    pub const PARAMETERS: u32 = 17 * 1000;
    /// A path: the system's own limit.
    pub const PATH: u32 = 4096;
    /// A text of a configuration, which may have as many bytes of them in all.
    pub const TEXT: u32 = 1 << 20;
    /// A pattern of forbidden functions, whose names are shorter.
    pub const PATTERN: u32 = 256;
    /// A rule of the network.
    pub const RULE: u32 = 512;
    /// The name of a metric.
    pub const METRIC: u32 = 64 << 10;
    /// A certificate or a key, as PEM.
    pub const PEM: u32 = 1 << 20;
    /// A statement of SQL: SQLite's own limit.
    pub const SQL: u32 = 1 << 20;
}

impl Declaration {
    /// A declaration of a function that costs this number of reductions, without arguments yet.
    pub const fn costs(cost: u64) -> Declaration {
        let none = Argument::Place { at: 0, size: 0 };
        Declaration { cost, arguments: [none; MAX_ARGUMENTS], count: 0, needs: &[] }
    }

    /// Adds text or bytes: the parameter `at` is the pointer, the next one the length. More than `max` bytes are refused.
    pub const fn range(self, at: usize, max: u32, what: &'static str) -> Declaration {
        self.with(Argument::Range { at, size: 1, max, what })
    }

    /// Adds bytes of any length.
    pub const fn bytes(self, at: usize) -> Declaration {
        self.range(at, u32::MAX, "")
    }

    /// Adds an array of elements of `size` bytes. More than `max` elements are refused.
    pub const fn array(self, at: usize, size: u32, max: u32, what: &'static str) -> Declaration {
        self.with(Argument::Range { at, size, max, what })
    }

    /// Adds a pointer to a result of `size` bytes.
    pub const fn place(self, at: usize, size: u32) -> Declaration {
        self.with(Argument::Place { at, size })
    }

    /// Says what a process needs to have been allowed.
    pub const fn needs(mut self, permissions: &'static [Permission]) -> Declaration {
        self.needs = permissions;
        self
    }

    /// What a process needs to have been allowed.
    pub fn permissions(&self) -> &'static [Permission] {
        self.needs
    }

    /// What a call costs, as a formula of reductions for a person.
    pub fn price(&self) -> String {
        let ranges = self.arguments().iter().any(|argument| matches!(argument, Argument::Range { .. }));
        let bytes = if ranges { format!(" + bytes/{BYTES_PER_REDUCTION}") } else { String::new() };
        format!("{}{bytes}", self.cost)
    }

    const fn with(mut self, argument: Argument) -> Declaration {
        self.arguments[self.count] = argument;
        self.count += 1;
        self
    }

    /// Whether a call is charged for.
    pub fn costs_something(&self) -> bool {
        self.cost > 0
    }

    /// Its ranges and places.
    pub fn arguments(&self) -> &[Argument] {
        &self.arguments[..self.count]
    }

    /// Charges a call and checks its arguments.
    #[inline(always)]
    fn before(&self, guest: &mut Guest<'_>, values: &[RawValue]) -> Result<(), HostError> {
        let mut bytes = 0;
        for argument in self.arguments() {
            if let Argument::Range { at, size, max, .. } = *argument {
                let count = values[at + 1].low as u32;
                // What is beyond its limit is refused, so nothing is done with it.
                bytes += u64::from(count.min(max)) * u64::from(size);
            }
        }
        guest.charge(self.cost + bytes / BYTES_PER_REDUCTION);
        if self.has_to_be_checked() { self.check(guest, values) } else { Ok(()) }
    }

    /// Whether there is anything to check before the function does. It gets at the guest's memory by
    /// [`GuestMemory`](super::memory::GuestMemory) only, which checks every access; but a place has to be there before
    /// anything has an effect, and what is too long is to be refused before it is looked at.
    const fn has_to_be_checked(&self) -> bool {
        let mut index = 0;
        while index < self.count {
            match self.arguments[index] {
                Argument::Range { max: u32::MAX, .. } => {}
                _ => return true,
            }
            index += 1;
        }
        false
    }

    #[inline(always)]
    fn check(&self, guest: &mut Guest<'_>, values: &[RawValue]) -> Result<(), HostError> {
        let Some(memory) = guest.memory() else { return refuse(Fault::NoMemory) };
        let memory = memory.len() as u64;
        for argument in self.arguments() {
            let (at, length) = match *argument {
                Argument::Range { at, size, .. } => {
                    (at, (values[at + 1].low & 0xffff_ffff) * u64::from(size))
                }
                Argument::Place { at, size } => (at, u64::from(size)),
            };
            let pointer = values[at].low as u32;
            if u64::from(pointer) + length > memory {
                return refuse(Fault::BadPointer { pointer, length });
            }
        }
        for argument in self.arguments() {
            if let Argument::Range { at, max, what, .. } = *argument
                && (values[at + 1].low as u32) > max
            {
                let length = values[at + 1].low & 0xffff_ffff;
                return refuse(Fault::TooLong { what, length, limit: max.into() });
            }
        }
        Ok(())
    }
}

/// Out of the way of calls that go on.
#[cold]
fn refuse(fault: Fault) -> Result<(), HostError> {
    Err(fault.into())
}

/// A type that stands for one declaration, so that the compiler knows it where it compiles the function.
pub trait Declared: 'static {
    /// It.
    const DECLARATION: Declaration;
}

/// What a declaration does before each call.
struct Before<This>(PhantomData<This>);

impl<This: Declared> Check<ProcessData> for Before<This> {
    #[inline(always)] // All of it is known where the function is compiled, but the values.
    fn check(guest: &mut Guest<'_>, arguments: &[RawValue]) -> Result<(), HostError> {
        This::DECLARATION.before(guest, arguments)
    }
}

/// The host functions, each with its declaration.
pub struct Host {
    linker: Linker<ProcessData>,
    declared: Vec<Entry>,
}

/// A host function, as it was declared.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The module that guests import it from.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// What a call costs, what its arguments are, and what it needs.
    pub declaration: Declaration,
    /// Whether a call may suspend the process. The type of the function's result says so, so that it cannot be forgotten.
    pub may_wait: bool,
}

/// Registers a host function: where, under which module and name, with which declaration, and what it does.
#[macro_export]
macro_rules! func {
    ($host:expr, $module:expr, $name:expr, $declaration:expr, $function:expr $(,)?) => {{
        struct This;
        impl $crate::declare::Declared for This {
            const DECLARATION: $crate::declare::Declaration = $declaration;
        }
        $host.declare::<This, _, _>($module, $name, $function);
    }};
}

/// As [`func`], beside those of the same name and of other types.
#[macro_export]
macro_rules! overload {
    ($host:expr, $module:expr, $name:expr, $declaration:expr, $function:expr $(,)?) => {{
        struct This;
        impl $crate::declare::Declared for This {
            const DECLARATION: $crate::declare::Declaration = $declaration;
        }
        $host.declare_beside::<This, _, _>($module, $name, $function);
    }};
}

pub use crate::{func, overload};

impl Default for Host {
    fn default() -> Host {
        Host::new()
    }
}

impl Host {
    /// No functions yet.
    pub fn new() -> Host {
        Host { linker: Linker::new(), declared: Vec::new() }
    }

    /// All functions that were declared, those of one name and several types once for each.
    pub fn declared(&self) -> &[Entry] {
        &self.declared
    }

    /// See [`func`].
    pub fn declare<This: Declared, P, R>(
        &mut self,
        module: &str,
        name: &str,
        f: impl IntoHostFunc<ProcessData, P, R>,
    ) {
        self.note::<This, P, R, _>(module, name, &f);
        self.linker.checked_func::<Before<This>, P, R>(module, name, f);
    }

    /// See [`overload`].
    pub fn declare_beside<This: Declared, P, R>(
        &mut self,
        module: &str,
        name: &str,
        f: impl IntoHostFunc<ProcessData, P, R>,
    ) {
        self.note::<This, P, R, _>(module, name, &f);
        self.linker.checked_overload::<Before<This>, P, R>(module, name, f);
    }

    fn note<This: Declared, P, R, F: IntoHostFunc<ProcessData, P, R>>(
        &mut self,
        module: &str,
        name: &str,
        _: &F,
    ) {
        let (module, name, declaration) = (module.into(), name.into(), This::DECLARATION);
        self.declared.push(Entry { module, name, declaration, may_wait: F::MAY_SUSPEND });
    }

    /// All of them, as the engine takes them.
    pub fn into_linker(self) -> Linker<ProcessData> {
        self.linker
    }
}
