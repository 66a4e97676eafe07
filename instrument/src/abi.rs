//! The names and versions that the three rooms above share.
//!
//! An instrumented module imports a function from a reserved namespace, and calls it with a constant wherever work is
//! about to be done:
//!
//! ```wat
//! (import "lunatic::metering" "charge" (func $charge (param i32)))
//!
//! ;; a charge of $cost
//! i32.const $cost
//! call $charge
//! ```
//!
//! Any engine can run such a module by supplying it: a function that counts down, and does whatever it likes when nothing
//! is left. The engine of this project makes a comparison and a subtraction of it, in a register. Nothing else in the
//! module may name the function, and the counter is nothing that a module could name.

/// The reserved import namespace. An input module that already imports from it is rejected.
pub const METERING_MODULE: &str = "lunatic::metering";

/// The imported function of type `(i32) -> ()` that counts reductions down, and yields when they are used up.
pub const CHARGE_FUNCTION: &str = "charge";

/// The name of the custom section that marks a prepared module.
pub const SECTION: &str = "lunatic.prep";

/// The version of the `.lwasm` format: the layout of [`SECTION`] and of the inserted code.
pub const FORMAT_VERSION: u32 = 3;

/// The version of the cost model: what one reduction stands for.
pub const COST_MODEL_VERSION: u32 = 1;

/// The largest constant a charge may have: no verified module does more work than this between a charge and the
/// next one of the same region (see [`crate::cost`]).
///
/// Large enough that almost no loop body or function needs a second charge, small enough that a slice of a few
/// thousand reductions is overrun by about a slice at worst.
pub const MAX_CHARGE: u32 = 10_000;

/// The most work that an activation of a function may do between the return of a call (of a function that is not
/// imported) and its next charge, call or return. It was paid for before the call; but a chain of calls may return in
/// one go, and this keeps what it does then below this, times its length.
pub const MAX_RETURN: u32 = 64;

/// The name of the custom section that says where the code of a prepared module was before: see
/// [`crate::original_offset`].
pub const OFFSETS_SECTION: &str = "lunatic.offsets";

/// The name of the custom section that says where in its file the content of the original's code section began, as an
/// unsigned LEB128: with [`OFFSETS_SECTION`], offsets in that file can be told.
pub const CODE_START_SECTION: &str = "lunatic.code_start";

/// The debug sections (DWARF) that say which line of which file, and which inlined function, an instruction comes
/// from, without the prefix that they have in a file: [`PLAIN_DEBUG_PREFIX`] or [`KEPT_DEBUG_PREFIX`].
pub const DEBUG_SECTIONS: [&str; 9] = [
    "debug_info",
    "debug_abbrev",
    "debug_line",
    "debug_str",
    "debug_ranges",
    "debug_rnglists",
    "debug_line_str",
    "debug_str_offsets",
    "debug_addr",
];

/// What the name of a debug section begins with as compilers write it.
pub const PLAIN_DEBUG_PREFIX: &str = ".";

/// What the name of a debug section begins with in a prepared module, where it is otherwise unchanged: it speaks of
/// offsets in the code as it was. Under its usual name, a tool that knows nothing of [`OFFSETS_SECTION`] would
/// believe it, and show wrong lines.
pub const KEPT_DEBUG_PREFIX: &str = "lunatic.";
