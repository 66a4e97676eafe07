//! Zeroes memory that is mostly zero already.

/// Zeroes pages of which little was written. What is zero already is only read: a page of a process that has
/// ended is in no near cache, and writing a line costs twice, when it is fetched and when it is evicted.
pub(crate) fn zero(pages: &mut [u64]) {
    if cfg!(feature = "plain") {
        return pages.fill(0);
    }
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor was just found to have AVX2.
        return unsafe { zero_wide(pages) };
    }
    zero_parts(pages);
}

/// As [`zero`], with wider registers.
///
/// # Safety
/// The processor has AVX2.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2")]
unsafe fn zero_wide(pages: &mut [u64]) {
    zero_parts(pages);
}

#[inline(always)]
fn zero_parts(pages: &mut [u64]) {
    /// Words that are examined together: two cache lines.
    const PART: usize = 16;
    let (parts, rest) = pages.as_chunks_mut::<PART>();
    for part in parts {
        if part.iter().fold(0, |all, word| all | word) != 0 {
            part.fill(0);
        }
    }
    rest.fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_written_words_are_zeroed() {
        let mut pages = vec![0u64; 2 * 512 + 5];
        let step = if cfg!(miri) { 97 } else { 1 };
        for at in (0..pages.len()).step_by(step) {
            (pages[at], pages[1024 - at / 2]) = (1 << (at % 64), u64::MAX);
            zero(&mut pages);
            assert!(pages.iter().all(|&word| word == 0), "word {at}");
            pages[at] = 1 << 63;
            zero_parts(&mut pages);
            assert!(pages.iter().all(|&word| word == 0), "word {at}");
        }
    }
}
