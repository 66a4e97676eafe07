//! Asks the processor to fetch a cache line before it is needed.

/// Asks the processor to fetch the cache line of an address, mapped or not. Does nothing on processors
/// without the instruction.
#[inline]
pub fn prefetch(address: usize) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, feature = "plain"))))]
    // SAFETY: every x86-64 processor has the instruction. It reads nothing, and ignores an address that is
    // not mapped.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address));
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(miri, feature = "plain")))))]
    let _ = address;
}
