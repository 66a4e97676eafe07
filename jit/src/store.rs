//! A store: the instances of one process, its data, and its one activation.

use std::marker::PhantomData;

use crate::engine::Engine;
use crate::error::{HostError, InstantiateError, Trap};
use crate::module::{FuncIndex, Linked, Module};
use crate::value::{RawValue, Value};

/// What the instances of a store may use.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Bytes of linear memory, over all memories. A `memory.grow` beyond it returns -1.
    pub max_memory: u64,
    /// Table elements, over all tables. A `table.grow` beyond it returns -1.
    pub max_table_elements: u64,
}

impl Default for StoreLimits {
    fn default() -> Self {
        StoreLimits { max_memory: 4 << 30, max_table_elements: 10_000_000 }
    }
}

/// A function of an instance in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Func(pub(crate) usize);

/// An instance in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance(pub(crate) u32);

/// What the activation did until [`Store::resume`] returned.
#[derive(Debug)]
pub enum Progress {
    /// The slice is used up; resume it with [`Resume::Continue`].
    Yielded,
    /// A host function said [`HostCall::Suspend`](crate::HostCall::Suspend); resume it with the result.
    Suspended,
    /// The function returned; its results are in [`Store::results`].
    Returned,
    /// The activation is over.
    Trapped(Box<Trap>),
}

/// How an activation continues.
#[derive(Debug)]
pub enum Resume {
    /// At the start, and after [`Progress::Yielded`].
    Continue,
    /// After [`Progress::Suspended`]: the host function's result (ignored where it has none).
    Return(RawValue),
    /// After [`Progress::Suspended`]: the host function raises this error.
    Fail(HostError),
}

/// The instances of one process, its data, and at most one activation: a call into the guest that may be
/// suspended at any charge or host call, moved to another thread, resumed there, or dropped.
///
/// Dropping a store drops a suspended activation without unwinding: nothing on its stack owns anything.
pub struct Store<T> {
    data: T,
    _marker: PhantomData<T>,
}

// SAFETY: skeleton.
unsafe impl<T: Send> Send for Store<T> {}

impl<T: Send + 'static> Store<T> {
    /// An empty store.
    pub fn new(_engine: &Engine, data: T, _limits: StoreLimits) -> Store<T> {
        Store { data, _marker: PhantomData }
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        &self.data
    }

    /// The embedder's data.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.data
    }

    /// Creates an instance: memories, tables and globals are initialised, the start function is not run.
    ///
    /// # Errors
    /// See [`InstantiateError`].
    pub fn instantiate(&mut self, _linked: &Linked<T>) -> Result<Instance, InstantiateError> {
        todo!()
    }

    /// Begins a call of a function of the instance; nothing runs before [`Store::resume`].
    ///
    /// # Panics
    /// When an activation exists already, or the arguments do not match the function's type.
    pub fn begin(&mut self, _instance: Instance, _function: FuncIndex, _args: &[Value]) {
        todo!()
    }

    /// Runs the activation until it yields, suspends, returns or traps.
    ///
    /// `slice` is the number of reductions until it yields. What an earlier slice overshot is subtracted.
    ///
    /// # Panics
    /// When there is no activation, or `how` does not fit its state.
    pub fn resume(&mut self, _how: Resume, _slice: u64) -> Progress {
        todo!()
    }

    /// The results of the activation that has [returned](Progress::Returned).
    pub fn results(&self) -> &[Value] {
        &[]
    }

    /// Calls a function and runs it to its end, whatever it costs.
    ///
    /// # Errors
    /// The trap that ended it. A host function that suspends is an error here.
    pub fn call(
        &mut self,
        _instance: Instance,
        _function: FuncIndex,
        _args: &[Value],
    ) -> Result<Vec<Value>, Box<Trap>> {
        todo!()
    }

    /// The reductions used since the store was created.
    pub fn reductions(&self) -> u64 {
        todo!()
    }

    /// Bytes of linear memory, over all memories.
    pub fn memory_size(&self) -> u64 {
        todo!()
    }

    /// The exported memory named `memory` of the instance together with the embedder's data, for a result that
    /// is written when a suspended call completes.
    pub fn memory_and_data(&mut self, _instance: Instance) -> Option<(&mut [u8], &mut T)> {
        todo!()
    }

    /// The names of the functions on the suspended stack, innermost first: what the process is doing.
    pub fn backtrace(&self) -> Vec<crate::error::Frame> {
        todo!()
    }
}

/// What a host function sees of the guest that called it.
pub struct Caller<'a, T> {
    data: &'a mut T,
}

impl<T> Caller<'_, T> {
    /// The embedder's data.
    pub fn data(&self) -> &T {
        self.data
    }

    /// The embedder's data.
    pub fn data_mut(&mut self) -> &mut T {
        self.data
    }

    /// The memory that the calling instance exports as `memory`, together with the embedder's data.
    /// `None` if it exports none.
    pub fn memory_and_data(&mut self) -> Option<(&mut [u8], &mut T)> {
        todo!()
    }

    /// The memory that the calling instance exports as `memory`; `None` if it exports none.
    pub fn memory(&mut self) -> Option<&mut [u8]> {
        todo!()
    }

    /// The calling instance's module.
    pub fn module(&self) -> &Module {
        todo!()
    }

    /// Charges the guest for work done in the host. It yields at its next charge if this uses up its slice.
    pub fn charge(&mut self, _reductions: u64) {
        todo!()
    }
}
