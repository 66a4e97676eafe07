//! Asks the processor to fetch a line before it is needed.

/// Asks the processor for the line of an address, whatever is there, if it can be asked.
#[inline]
pub fn prefetch(address: usize) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, feature = "plain"))))]
    // SAFETY: every processor of this kind has the instruction. It reads nothing, and an address that is not mapped is
    // passed over.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address));
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(miri, feature = "plain")))))]
    let _ = address;
}
