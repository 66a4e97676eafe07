//! From the bytes of a file to something that processes can be made of.
//!
//! A plain module is prepared first. Whatever comes out, or came prepared, is verified: no file is trusted.

use lunatic_instrument::{Options, is_prepared, prepare, verify};
use lunatic_jit::{FuncIndex, Linked, Module};

use crate::error::LoadError;
use crate::node::Node;
use crate::process::ProcessData;

/// The function that runs as the first process.
const START: &str = "_start";

/// A program: a module with an entry. Made by [`Runtime::load`](crate::Runtime::load).
#[derive(Clone)]
pub struct Program {
    pub(crate) module: Linked<ProcessData>,
    pub(crate) start: FuncIndex,
}

/// Loads a program.
pub(crate) fn load(node: &Node, bytes: &[u8]) -> Result<Program, LoadError> {
    let module = compile(node, bytes)?;
    let start = module.module().exported_function(START).ok_or(LoadError::NoStart)?;
    let ty = module.module().function_type(start);
    if !ty.params.is_empty() || !ty.results.is_empty() {
        return Err(LoadError::NoStart);
    }
    Ok(Program { module, start })
}

/// Prepares or verifies, compiles and links a module.
pub(crate) fn compile(node: &Node, bytes: &[u8]) -> Result<Linked<ProcessData>, LoadError> {
    if is_prepared(bytes) {
        verify(bytes)?;
        return link(node, bytes);
    }
    if node.unmetered {
        return link(node, bytes);
    }
    // It verifies what it returns.
    let prepared = prepare(bytes, &Options::default())?;
    link(node, &prepared.bytes)
}

fn link(node: &Node, bytes: &[u8]) -> Result<Linked<ProcessData>, LoadError> {
    let module = Module::compile(&node.engine, bytes)?;
    Ok(node.linker.link(&module)?)
}
