//! Where in a stack its store lies, and where its frames begin.

/// Bytes at the top of a stack for the store. What does not fit is allocated elsewhere.
pub(crate) const IN_STACK_STORE: usize = 2 << 10;

/// Of these, the bytes that the store uses: none on the plain path. They are reserved in any case, so that a
/// guest has the same depth.
pub(crate) const USED_BY_STORE: usize = if cfg!(feature = "plain") { 0 } else { IN_STACK_STORE };

/// The distances from the top at which stacks begin, as a number of cache lines. With the store and the
/// frames of a waiting guest, the largest distance leaves all of it within one page in most programs.
const COLOURS: usize = 16;
pub(crate) const LINE: usize = 64;

/// The largest distance, in bytes.
pub(crate) const MAX_COLOUR: usize = COLOURS * LINE;

/// Returns the distance from its top at which the stack with this number begins.
#[inline]
pub(crate) fn colour(number: usize) -> usize {
    // Slots are often taken in order, and neighbours are used together.
    if cfg!(feature = "plain") { 0 } else { number % COLOURS * LINE }
}
