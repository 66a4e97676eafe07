//! What a module is compiled for.

/// Choices that change a module's code. The same module may be compiled several times, and the results mixed freely
/// in one store, with one exception: code with [`MemoryLayout::Reserved`] imports no pooled memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CompileOptions {
    /// Where the memory lies, and so what guards it.
    pub memory: MemoryLayout,
    /// Whether accesses stay inside the memory under speculative execution too. A mispredicted bounds check otherwise
    /// lets the processor touch what lies behind, which a guest that measures time may make out. It makes
    /// [`MemoryLayout::Pooled`] about half as fast again; [`MemoryLayout::Reserved`] needs nothing. Indirect calls
    /// and jump tables are masked in any case.
    pub untrusted: bool,
}

/// Where a module's memories lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MemoryLayout {
    /// Side by side with others in a few large mappings: cheap to make, as many as there is memory for. Every access
    /// is compared with the length.
    #[default]
    Pooled,
    /// In 6 GiB of address space of its own, of which only the memory is accessible: accesses need no check, for the
    /// processor finds those outside. It never moves. Some 10 µs to make, and a few thousand at most: for the few
    /// processes that compute a lot.
    Reserved,
}
