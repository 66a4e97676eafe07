//! Options that change a module's code.

/// Options of compiling a module. A module may be compiled with different options, and the results used in
/// one store, with one exception: code with [`MemoryLayout::Reserved`] cannot import a pooled memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CompileOptions {
    /// Where memories lie, and so how accesses are checked.
    pub memory: MemoryLayout,
    /// Whether accesses also stay inside the memory under speculative execution. Otherwise, a mispredicted
    /// bounds check lets the processor touch what lies behind the memory, which a guest that measures time
    /// may be able to observe. [`MemoryLayout::Pooled`] takes about half as long again;
    /// [`MemoryLayout::Reserved`] needs nothing more. Indirect calls and jump tables are always masked.
    pub untrusted: bool,
}

/// Where a module's memories lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MemoryLayout {
    /// Next to others in a few large mappings: cheap to create, and limited only by memory. Every access is
    /// compared with the length.
    #[default]
    Pooled,
    /// In 6 GiB of address space of its own, of which only the memory is accessible. Accesses need no check,
    /// because the processor traps those outside. The memory never moves. It takes about 10 µs to create, and
    /// there can be a few thousand: for the few processes that compute a lot.
    Reserved,
}
