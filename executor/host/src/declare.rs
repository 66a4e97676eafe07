//! Declarations of host functions: what a call costs, and what its arguments are.
//!
//! Each function is registered with a [`Declaration`] by the macro [`func`]. Nothing else in this crate has access to
//! the engine's linker. So no host function is free, and none reads a text of arbitrary length. Before a function
//! runs, the call has been charged, by the number of bytes that it handles; its texts have at most the permitted
//! length; and its texts and the places for its results are inside the guest's memory. A function that waits is
//! charged when it is called.
//!
//! Unit tests compare the declarations with `executor/ABI.md`, argument by argument, and write its generated columns.

use std::collections::HashSet;
use std::marker::PhantomData;

use lunatic_jit::{Check, HostError, IntoHostFunc, Linker, RawValue, ValType};

use lunatic_core::Fault;
use lunatic_core::ProcessData;

use super::{BYTES_PER_REDUCTION, Guest};

/// The declaration of a host function.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// The reductions of any call.
    cost: u64,
    arguments: [Argument; MAX_ARGUMENTS],
    count: usize,
    needs: &'static [Permission],
}

/// A permission that a process needs. Each variant names the place that checks it. How a function answers without the
/// permission is part of its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// To spawn processes. The function that adds a process to the node checks it and traps.
    Spawn,
    /// To compile modules. The host function checks it and returns -1.
    Compile,
    /// To create configurations. The host function checks it and returns -1.
    Configs,
    /// To connect to the address. The network policy checks it, and the host function returns an error.
    Connect,
    /// To listen at the address. Likewise.
    Bind,
    /// To look up the name. Likewise.
    Resolve,
    /// To use the directory. The lookup of directories checks it and traps.
    Directory,
}

impl Permission {
    /// Returns its name in the table of host functions.
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

/// A range of the guest's memory, given by the positions of the parameters that describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each variant says what its fields are.
pub enum Argument {
    /// A pointer, followed by a number of elements of `size` bytes each, at most `max`. `what` names the range in
    /// errors.
    Range { at: usize, size: u32, max: u32, what: &'static str },
    /// A pointer to `size` bytes that are written.
    Place { at: usize, size: u32 },
}

/// For functions that only look something up.
pub const LOOK: Declaration = Declaration::costs(5);

/// For functions that change something, in this process or another one.
pub const CALL: Declaration = Declaration::costs(20);

/// For functions that make a system call.
pub const SYSTEM_CALL: Declaration = Declaration::costs(400);

/// For functions that create a process, compile a module, or open a database.
pub const HEAVY: Declaration = Declaration::costs(1000);

/// Limits on the length of texts, in bytes. A longer text is refused before it is read.
pub mod limits {
    /// A name in the registry.
    pub const NAME: u32 = 64 << 10;
    /// The name of a host and a port. DNS limits the former to 253.
    pub const HOST: u32 = 1024;
    /// The name of an exported function. No module has a longer one.
    pub const FUNCTION: u32 = 100_000;
    /// The parameters of a spawn. Compilers support no more.
    pub const PARAMETERS: u32 = 17 * 1000;
    /// A path: the limit of the system.
    pub const PATH: u32 = 4096;
    /// A text of a configuration. All texts of a configuration have the same limit together.
    pub const TEXT: u32 = 1 << 20;
    /// A pattern of forbidden functions. The names of functions are shorter.
    pub const PATTERN: u32 = 256;
    /// A network rule.
    pub const RULE: u32 = 512;
    /// The name of a metric.
    pub const METRIC: u32 = 64 << 10;
    /// A certificate or a key in PEM format.
    pub const PEM: u32 = 1 << 20;
    /// An SQL statement: the limit of SQLite.
    pub const SQL: u32 = 1 << 20;
}

impl Declaration {
    /// Creates a declaration with this cost and without arguments.
    pub const fn costs(cost: u64) -> Declaration {
        let none = Argument::Place { at: 0, size: 0 };
        Declaration { cost, arguments: [none; MAX_ARGUMENTS], count: 0, needs: &[] }
    }

    /// Adds a text or bytes. Parameter `at` is the pointer and the next one the length. More than `max` bytes are
    /// refused.
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

    /// Sets the permissions that a process needs.
    pub const fn needs(mut self, permissions: &'static [Permission]) -> Declaration {
        self.needs = permissions;
        self
    }

    /// Returns the permissions that a process needs.
    pub fn permissions(&self) -> &'static [Permission] {
        self.needs
    }

    /// Returns the cost as a formula, for documentation.
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

    /// Returns whether a call is charged.
    pub fn costs_something(&self) -> bool {
        self.cost > 0
    }

    /// Returns the ranges and places.
    pub fn arguments(&self) -> &[Argument] {
        &self.arguments[..self.count]
    }

    /// Checks that pointers and lengths are parameters of 32 bits. Otherwise every call would fail.
    fn assert_fits(&self, module: &str, name: &str, params: &[ValType]) {
        let is_i32 = |at: usize| params.get(at) == Some(&ValType::I32);
        for argument in self.arguments() {
            let fits = match *argument {
                Argument::Range { at, .. } => is_i32(at) && is_i32(at + 1),
                Argument::Place { at, .. } => is_i32(at),
            };
            assert!(fits, "the declaration of {module}::{name} does not fit its parameters {params:?}");
        }
    }

    /// Charges a call and checks its arguments.
    #[inline(always)]
    fn before(&self, guest: &mut Guest<'_>, values: &[RawValue]) -> Result<(), HostError> {
        let mut bytes = 0;
        for argument in self.arguments() {
            if let Argument::Range { at, size, max, .. } = *argument {
                let count = values[at + 1].low as u32;
                // A longer range is refused, so nothing is done with the rest.
                bytes += u64::from(count.min(max)) * u64::from(size);
            }
        }
        guest.charge(self.cost + bytes / BYTES_PER_REDUCTION);
        if self.has_to_be_checked() { self.check(guest, values) } else { Ok(()) }
    }

    /// Returns whether the arguments are checked before the function runs. Functions access memory through
    /// [`GuestMemory`](super::memory::GuestMemory) only, which checks each access. But a place must be valid before
    /// the function has any effect, and a long text must be refused before it is read.
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

/// Refuses a call. Cold, so that it is out of the way of calls that continue.
#[cold]
fn refuse(fault: Fault) -> Result<(), HostError> {
    Err(fault.into())
}

/// A type that stands for one declaration, so that the compiler knows the declaration where it compiles the function.
pub trait Declared: 'static {
    /// The declaration.
    const DECLARATION: Declaration;
}

/// The check that the engine runs before each call.
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
    names: HashSet<(String, String)>,
}

/// A host function as it was declared.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The module that guests import it from.
    pub module: String,
    /// Its name in that module.
    pub name: String,
    /// Its declaration.
    pub declaration: Declaration,
    /// Whether a call may suspend the process. The type of the function's result determines this.
    pub may_wait: bool,
}

/// Registers a host function: the linker, the module, the name, the declaration, and the function.
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

/// Registers a host function beside those of the same name and other types. See [`func`].
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
    /// Creates a set without functions.
    pub fn new() -> Host {
        Host { linker: Linker::new(), declared: Vec::new(), names: HashSet::new() }
    }

    /// Returns all declared functions. A name with several types occurs once for each.
    pub fn declared(&self) -> &[Entry] {
        &self.declared
    }

    /// Registers a function. See [`func`].
    ///
    /// # Panics
    /// Panics if there is a function of this name, if the declaration does not fit the function's type, or if the
    /// function takes or returns function references.
    pub fn declare<This: Declared, P, R>(
        &mut self,
        module: &str,
        name: &str,
        f: impl IntoHostFunc<ProcessData, P, R>,
    ) {
        let is_new = self.note::<This, P, R, _>(module, name, &f);
        assert!(is_new, "{module}::{name} is declared twice");
        self.linker.checked_func::<Before<This>, P, R>(module, name, f);
    }

    /// Registers a function beside others of the same name. See [`overload`].
    ///
    /// # Panics
    /// Panics as [`Host::declare`] does, but for functions of the same name.
    pub fn declare_beside<This: Declared, P, R>(
        &mut self,
        module: &str,
        name: &str,
        f: impl IntoHostFunc<ProcessData, P, R>,
    ) {
        self.note::<This, P, R, _>(module, name, &f);
        self.linker.checked_overload::<Before<This>, P, R>(module, name, f);
    }

    /// Records a function. Returns whether it is the first one of its name.
    fn note<This: Declared, P, R, F: IntoHostFunc<ProcessData, P, R>>(
        &mut self,
        module: &str,
        name: &str,
        _: &F,
    ) -> bool {
        let is_new = self.names.insert((module.into(), name.into()));
        This::DECLARATION.assert_fits(module, name, F::PARAMS);
        let (module, name, declaration) = (module.into(), name.into(), This::DECLARATION);
        self.declared.push(Entry { module, name, declaration, may_wait: F::MAY_SUSPEND });
        is_new
    }

    /// Returns all functions in the form that the engine takes.
    pub fn into_linker(self) -> Linker<ProcessData> {
        self.linker
    }
}
