//! Errors of compiling a module, or of reading its declarations. They are the module's fault, and are found
//! before anything runs.

/// The error of compiling a module.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The bytes are not a valid module.
    #[error("{message} (at offset 0x{offset:x})")]
    Invalid {
        /// The validator's message.
        message: String,
        /// The offset in the module, in bytes.
        offset: u64,
    },
    /// The module is valid, but uses something that this engine does not support.
    #[error("{what} is not supported (at offset 0x{offset:x})")]
    Unsupported {
        /// What is not supported.
        what: String,
        /// The offset in the module, in bytes.
        offset: u64,
    },
    /// The frame of a function does not fit a stack, so the function could never be called.
    #[error(
        "function {function}{} needs a frame of {frame} bytes, and a stack has room for {most}: give the program a larger stack, or make the function smaller",
        .name.as_ref().map(|name| format!(" ({})", name.escape_debug())).unwrap_or_default()
    )]
    Frame {
        /// The index of the function in its module.
        function: u32,
        /// The demangled name of the function, if the module's name section has it.
        name: Option<String>,
        /// The size of its frame, in bytes.
        frame: u32,
        /// The size that a frame may have on the engine's largest stack, in bytes.
        most: u32,
    },
    /// Compiling the module would exceed its [`Budget`](crate::Budget).
    #[error("compiling it takes more {0} than is allowed")]
    OverBudget(&'static str),
    /// The compilation was [cancelled](crate::Cancellation).
    #[error("compiling the module was cancelled")]
    Cancelled,
    /// The code generator failed, which is a bug of this engine, or the system refused memory for the code.
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
