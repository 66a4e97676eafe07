//! Where in a stack its store lies, and where its frames begin.

/// Bytes of a home at most: what does not fit is allocated elsewhere.
pub(crate) const IN_STACK_STORE: usize = 2 << 10;

/// Bytes of a home that are used: none without the tuned placement. The room is reserved in any case, so that a guest has
/// the same depth.
pub(crate) const USED_BY_STORE: usize = if cfg!(feature = "plain") { 0 } else { IN_STACK_STORE };

/// Distances from the top at which stacks begin, and what they are multiples of: a line. With a home and the frames of a
/// waiting guest, the largest leaves a page's width to spare in most programs.
const COLOURS: usize = 16;
pub(crate) const LINE: usize = 64;

/// Bytes by which the beginnings of two stacks differ at most.
pub(crate) const MAX_COLOUR: usize = COLOURS * LINE;

/// How far from its top the stack with this number begins.
#[inline]
pub(crate) fn colour(number: usize) -> usize {
    // Slots are often taken in their order, and neighbours are used together.
    if cfg!(feature = "plain") { 0 } else { number % COLOURS * LINE }
}
