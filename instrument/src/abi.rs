//! The names and versions that the instrumenter, the engine and the executor share.
//!
//! A prepared module imports a function from a reserved namespace, and calls it with a constant before work
//! is done:
//!
//! ```wat
//! (import "lunatic::metering" "charge" (func $charge (param i32)))
//!
//! ;; a charge of $cost
//! i32.const $cost
//! call $charge
//! ```
//!
//! Any engine can run such a module if it supplies this function: one that counts down, and does what it
//! likes when nothing is left. The engine of this project compiles the call to a comparison and a subtraction
//! in a register. Nothing else in the module may name the function, and a module has no way to name the
//! counter.

/// The reserved import namespace. An input module that already imports from it is rejected.
pub const METERING_MODULE: &str = "lunatic::metering";

/// The imported function of type `(i32) -> ()` that subtracts reductions, and yields when they are used up.
pub const CHARGE_FUNCTION: &str = "charge";

/// The name of the custom section that marks a prepared module.
pub const SECTION: &str = "lunatic.prep";

/// The version of the `.lwasm` format: the layout of [`SECTION`], and of the inserted code.
pub const FORMAT_VERSION: u32 = 3;

/// The version of the cost model: what one reduction stands for.
pub const COST_MODEL_VERSION: u32 = 1;

/// The largest constant of a charge: no verified module does more work than this between a charge and the
/// next one of the same region (see [`crate::cost`]).
///
/// It is so large that almost no loop body or function needs a second charge, and so small that a slice of a
/// few thousand reductions overshoots by at most about a slice.
pub const MAX_CHARGE: u32 = 10_000;

/// The most work that an activation of a function may do between the return of a call (of a function that is
/// not imported) and its next charge, call or return. The work was paid for before the call, but a chain of
/// calls may return at once, and then this limits the work to its product with the length of the chain.
pub const MAX_RETURN: u32 = 64;

/// The name of the custom section with the offset map of a prepared module: see [`crate::original_offset`].
pub const OFFSETS_SECTION: &str = "lunatic.offsets";

/// The name of the custom section that says where the content of the original code section began in its file,
/// as an unsigned LEB128. Together with [`OFFSETS_SECTION`], it gives offsets in that file.
pub const CODE_START_SECTION: &str = "lunatic.code_start";

/// The debug sections (DWARF) that give the line, the file and the inlined functions of an instruction,
/// without the prefix that they have in a file: [`PLAIN_DEBUG_PREFIX`] or [`KEPT_DEBUG_PREFIX`].
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

/// The prefix of debug sections as compilers write them.
pub const PLAIN_DEBUG_PREFIX: &str = ".";

/// The prefix of debug sections in a prepared module. They are otherwise unchanged, and contain offsets in
/// the original code: under its usual name, a tool that does not know [`OFFSETS_SECTION`] would believe such
/// a section, and show wrong lines.
pub const KEPT_DEBUG_PREFIX: &str = "lunatic.";
