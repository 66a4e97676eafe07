//! From the bytes of a file to something that processes can be made of.
//!
//! A plain module is prepared first. Whatever comes out, or came prepared, is verified: no file is trusted. Only what
//! this machine's cache has under the key of these very bytes was verified already, before it was put there.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use lunatic_instrument::abi::{COST_MODEL_VERSION, FORMAT_VERSION};
use lunatic_instrument::{Options, is_prepared, prepare, verify};
use lunatic_jit::{
    Budget, CacheKey, Cancellation, CompileError, CompileOptions, FuncIndex, Linked, MemoryLayout, Module,
};

use crate::code::{Code, Memories, layouts};
use crate::error::LoadError;
use crate::node::Node;
use crate::process::ProcessData;

/// The function that runs as the first process.
const START: &str = "_start";

/// Bytes of WebAssembly that a guest may have compiled. Preparing takes seventy times as much memory.
const MAX_GUEST_BYTES: usize = 8 << 20;

/// Bytes of native code that may become of it, and the time that compiling it may take, on one thread.
const MAX_GUEST_CODE: usize = 64 << 20;
const MAX_GUEST_TIME: Duration = Duration::from_secs(30);

/// A program: a module with an entry. Made by [`Runtime::load`](crate::Runtime::load).
#[derive(Clone)]
pub struct Program {
    pub(crate) code: Code,
    pub(crate) start: FuncIndex,
}

/// Loads a program, from the cache if there is one and it is there.
pub(crate) fn load(node: &Node, bytes: &[u8]) -> Result<Program, LoadError> {
    let layouts = layouts(bytes, node.memories, node.engine.can_reserve());
    let mut prepared = None;
    let versions = layouts.iter().map(|&memory| {
        let options = CompileOptions { memory, untrusted: node.untrusted };
        link(node, &compile_or_find(node, bytes, &mut prepared, options)?)
    });
    let code = Code::new(versions.collect::<Result<_, LoadError>>()?, node.memories);
    let module = code.module();
    let start = module.exported_function(START).ok_or(LoadError::NoStart)?;
    let ty = module.function_type(start);
    if !ty.params.is_empty() || !ty.results.is_empty() {
        return Err(LoadError::NoStart);
    }
    Ok(Program { code, start })
}

/// `prepared`: what is compiled, once it was needed.
fn compile_or_find<'a>(
    node: &Node,
    bytes: &'a [u8],
    prepared: &mut Option<Cow<'a, [u8]>>,
    options: CompileOptions,
) -> Result<Module, LoadError> {
    let budget = Budget::default();
    let mut prepared = || -> Result<Cow<'a, [u8]>, LoadError> {
        if prepared.is_none() {
            *prepared = Some(prepare_or_verify(node, bytes)?);
        }
        Ok(prepared.clone().expect("it was just made"))
    };
    let Some(cache) = &node.cache else {
        return Ok(Module::compile_within(&node.engine, &prepared()?, options, &budget)?);
    };
    let key = key(node, bytes, options);
    if let Some(module) = cache.get(&node.engine, &key) {
        return Ok(module);
    }
    Ok(cache.compile(&node.engine, &key, &prepared()?, &budget)?)
}

/// The bytes, and all that decides what [`prepare_or_verify`] makes of them.
fn key(node: &Node, bytes: &[u8], options: CompileOptions) -> CacheKey {
    let versions = [FORMAT_VERSION, COST_MODEL_VERSION, Options::default().max_charge].map(u32::to_le_bytes);
    CacheKey::new(&node.engine, options, &[bytes, versions.as_flattened(), &[u8::from(node.unmetered)]])
}

/// Compiles a module for a guest, which may end meanwhile. Nothing of it goes into the cache or comes from there: a
/// guest shall not push out what the user has in it. How many processes will run it nobody knows: memories are pooled.
pub(crate) fn compile_for_guest(
    node: &Node,
    bytes: &[u8],
    cancellation: Cancellation,
) -> Result<Code, LoadError> {
    if bytes.len() > MAX_GUEST_BYTES {
        return Err(CompileError::OverBudget("WebAssembly").into());
    }
    if cancellation.is_cancelled() {
        return Err(CompileError::Cancelled.into());
    }
    let deadline = Some(Instant::now() + MAX_GUEST_TIME);
    let budget = Budget { threads: 1, max_code: MAX_GUEST_CODE, deadline, cancellation };
    let options = CompileOptions { memory: MemoryLayout::Pooled, untrusted: node.untrusted };
    let prepared = prepare_or_verify(node, bytes)?;
    let module = link(node, &Module::compile_within(&node.engine, &prepared, options, &budget)?)?;
    Ok(Code::new(vec![module], Memories::ByLimit))
}

/// What is compiled: verified bytes, unless the node runs unmetered.
fn prepare_or_verify<'a>(node: &Node, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, LoadError> {
    if is_prepared(bytes) {
        verify(bytes)?;
        return Ok(bytes.into());
    }
    if node.unmetered {
        return Ok(bytes.into());
    }
    // It verifies what it returns.
    Ok(prepare(bytes, &Options::default())?.bytes.into())
}

fn link(node: &Node, module: &Module) -> Result<Linked<ProcessData>, LoadError> {
    if let Some(perf_map) = &node.perf_map {
        perf_map.add(module);
    }
    Ok(node.linker.link(module)?)
}
