//! Errors of compiling a module, or of reading what it declares. They are the module's fault, and are found before
//! anything runs.

/// Why a module cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The bytes are not a valid module.
    #[error("{message} (at offset 0x{offset:x})")]
    Invalid {
        /// What the validator found.
        message: String,
        /// Where in the file, in bytes.
        offset: u64,
    },
    /// The module is valid, but uses something this engine refuses.
    #[error("{what} is not supported (at offset 0x{offset:x})")]
    Unsupported {
        /// The feature's name.
        what: String,
        /// Where in the file, in bytes.
        offset: u64,
    },
    /// A function's frame does not fit a stack, so it could never be called.
    #[error(
        "function {function}{} needs a frame of {frame} bytes, and a stack has room for {most}: give the program a larger stack, or make the function smaller",
        .name.as_ref().map(|name| format!(" ({})", name.escape_debug())).unwrap_or_default()
    )]
    Frame {
        /// The function's index in its module.
        function: u32,
        /// Its demangled name, where the module names it.
        name: Option<String>,
        /// Bytes of its frame.
        frame: u32,
        /// Bytes that a frame may have, with the largest stack that the engine has.
        most: u32,
    },
    /// It would take more than the [`Budget`](crate::Budget) allows.
    #[error("compiling it takes more {0} than is allowed")]
    OverBudget(&'static str),
    /// It was [cancelled](crate::Cancellation).
    #[error("compiling it was cancelled")]
    Cancelled,
    /// The code generator failed; this is a bug of ours, reported instead of aborting.
    #[error("code generation failed: {0}")]
    Codegen(String),
}

impl From<wasmparser::BinaryReaderError> for CompileError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        CompileError::Invalid { message: error.message().into(), offset: error.offset() }
    }
}

pub(crate) fn unsupported(what: &str, offset: u64) -> CompileError {
    CompileError::Unsupported { what: what.into(), offset }
}
