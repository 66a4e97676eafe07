//! What a module declares and what its compiled code looks like: the vocabulary that the compiler and the
//! runtime share.
//!
//! Nothing here generates code, maps memory or runs anything, and nothing here depends on Cranelift. The
//! compiler fills these types, the runtime reads them, and neither names the other:
//!
//! ```text
//!              ┌─ compiler ─┐
//! environ  ◀───┤            ├───  api, cache
//!              └─ runtime ──┘
//! ```
//!
//! * `module_info`, `type_registry`, `names`, `const_expr`, `value`, `features`: what a module declares.
//! * `declarations`, `outline`: declarations that are read without compiling the module.
//! * `entry_trampolines`, `code_layout`, `vm_layout`: where compiled code and the runtime expect things to
//!   be.
//! * `artifact`, `tables`, `trap_code`, `routine`: compiled code that is not loaded.
//! * `options`, `budget`, `target`, `fingerprint`: what a compilation depends on.
//! * `compiler`: the interface between an engine and a compiler.
//! * `error`: errors of all of these.

pub(crate) mod artifact;
pub(crate) mod budget;
pub(crate) mod code_layout;
pub(crate) mod compiler;
pub(crate) mod const_expr;
pub(crate) mod declarations;
pub(crate) mod entry_trampolines;
pub(crate) mod error;
pub(crate) mod features;
pub(crate) mod fingerprint;
pub(crate) mod module_info;
pub(crate) mod names;
pub(crate) mod options;
pub(crate) mod outline;
pub(crate) mod routine;
pub(crate) mod tables;
pub(crate) mod target;
pub(crate) mod trap_code;
pub(crate) mod type_registry;
pub(crate) mod value;
pub(crate) mod vm_layout;
