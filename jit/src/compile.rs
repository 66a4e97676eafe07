//! From bytes to a module: parse, validate, translate in parallel, assemble.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lunatic_instrument::{FEATURES, refused_proposal};
use wasmparser::{Encoding, Parser, Payload, ValidPayload, Validator};

use crate::code::{CodeImage, CompiledCode};
use crate::engine::Engine;
use crate::error::CompileError;
use crate::options::CompileOptions;
use crate::shape::{Shape, unsupported};
use crate::translate::{self, BodyTranslator, FunctionInput, ModuleEnvironment};
use crate::vm::context::VmOffsets;

/// Below this many bytes of function bodies a second thread costs more than it saves.
const PARALLEL_FROM: usize = 16 << 10;

/// Where in a module's code image each kind of code is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeLayout {
    defined: u32,
    imported: u32,
}

impl CodeLayout {
    pub(crate) fn new(shape: &Shape) -> CodeLayout {
        let imported = shape.imported_functions;
        CodeLayout { defined: shape.functions.len() as u32 - imported, imported }
    }

    /// The code to call for a function: its own, or an import's host trampoline.
    pub(crate) fn function(self, function: u32) -> u32 {
        match function.checked_sub(self.imported) {
            Some(defined) => defined,
            None => self.defined + function,
        }
    }

    /// The function that a piece of code is the body of.
    pub(crate) fn function_of(self, piece: u32) -> Option<u32> {
        (piece < self.defined).then_some(piece + self.imported)
    }

    pub(crate) fn yield_stub(self) -> u32 {
        self.defined + self.imported
    }

    /// The entry trampoline for a type of the module.
    pub(crate) fn entry(self, type_index: u32) -> u32 {
        self.yield_stub() + 1 + type_index
    }
}

/// What [`compile`] gives back.
pub(crate) struct Compiled {
    pub(crate) shape: Shape,
    pub(crate) offsets: VmOffsets,
    pub(crate) type_ids: Vec<u32>,
    pub(crate) code: CodeImage,
}

/// Compiles a module.
pub(crate) fn compile(
    engine: &Engine,
    wasm: &[u8],
    options: CompileOptions,
) -> Result<Compiled, CompileError> {
    translate_all(engine, wasm, options).map_err(|error| name_proposal(wasm, error))
}

/// Names the proposal that an invalid module would be valid with.
fn name_proposal(wasm: &[u8], error: CompileError) -> CompileError {
    let CompileError::Invalid { message, offset } = error else { return error };
    match refused_proposal(wasm) {
        Some(proposal) => unsupported(&format!("the proposal {proposal} ({message})"), offset),
        None => CompileError::Invalid { message, offset },
    }
}

fn translate_all(engine: &Engine, wasm: &[u8], options: CompileOptions) -> Result<Compiled, CompileError> {
    let (shape, bodies) = parse(wasm)?;
    let offsets = VmOffsets::new(&shape);
    let type_ids: Vec<u32> = {
        let metered = shape.metering.is_some();
        shape.types.iter().map(|ty| engine.type_id(ty, metered)).collect()
    };
    let isa = engine.isa();
    let module =
        ModuleEnvironment { isa: &**isa, shape: &shape, offsets: &offsets, type_ids: &type_ids, options };
    let mut pieces = compile_bodies(module, bodies)?;
    for import in 0..shape.imported_functions {
        pieces.push(translate::host_trampoline(module, import)?);
    }
    pieces.push(translate::yield_stub(module)?);
    for ty in &shape.types {
        pieces.push(translate::entry_trampoline(module, ty)?);
    }
    let code = CodeImage::assemble(isa.clone(), &pieces)?;
    Ok(Compiled { shape, offsets, type_ids, code })
}

fn parse(wasm: &[u8]) -> Result<(Shape, Vec<FunctionInput<'_>>), CompileError> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut shape = Shape::default();
    let mut bodies = Vec::new();
    let mut parser = Parser::new(0);
    // The parser itself reads some encodings differently with a feature on.
    parser.set_features(FEATURES);
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        if let Payload::Version { encoding: Encoding::Component, .. } = payload {
            return Err(unsupported("a component (this engine runs core modules)", 0));
        }
        if let ValidPayload::Func(validator, body) = validator.payload(&payload)? {
            let index = shape.imported_functions + bodies.len() as u32;
            bodies.push(FunctionInput { index, body, validator });
        }
        read_section(&mut shape, payload)?;
    }
    Ok((shape, bodies))
}

fn read_section(shape: &mut Shape, payload: Payload<'_>) -> Result<(), CompileError> {
    match payload {
        Payload::TypeSection(section) => shape.read_types(section),
        Payload::ImportSection(section) => shape.read_imports(section),
        Payload::FunctionSection(section) => shape.read_functions(section),
        Payload::TableSection(section) => shape.read_tables(section),
        Payload::MemorySection(section) => shape.read_memories(section),
        Payload::GlobalSection(section) => shape.read_globals(section),
        Payload::ExportSection(section) => shape.read_exports(section),
        Payload::ElementSection(section) => shape.read_elements(section),
        Payload::DataSection(section) => shape.read_data(section),
        Payload::StartSection { func, .. } => {
            shape.start = Some(func);
            Ok(())
        }
        Payload::CustomSection(section) => {
            if let wasmparser::KnownCustom::Name(names) = section.as_known() {
                shape.read_names(names);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn compile_bodies(
    module: ModuleEnvironment<'_>,
    bodies: Vec<FunctionInput<'_>>,
) -> Result<Vec<CompiledCode>, CompileError> {
    let size: usize =
        bodies.iter().map(|input| input.body.range().end as usize - input.body.range().start as usize).sum();
    let threads = match std::thread::available_parallelism() {
        Ok(cores) if size >= PARALLEL_FROM => cores.get(),
        _ => 1,
    };
    if threads == 1 {
        let mut translator = BodyTranslator::default();
        return bodies.into_iter().map(|input| translator.compile(module, input)).collect();
    }
    let count = bodies.len();
    let inputs: Vec<Mutex<Option<FunctionInput<'_>>>> =
        bodies.into_iter().map(|input| Mutex::new(Some(input))).collect();
    let results: Vec<Mutex<Option<Result<CompiledCode, CompileError>>>> =
        (0..count).map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut translator = BodyTranslator::default();
        // Relaxed: the counter only hands out numbers; the mutexes order the data.
        while let Some(input) = inputs.get(next.fetch_add(1, Ordering::Relaxed)).map(take) {
            let slot = input.index as usize - module.shape.imported_functions as usize;
            let result = translator.compile(module, input);
            *results[slot].lock().expect("no panic while it is held") = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // A thread that is not to be had is done without: this one works too.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    // In definition order, so that the first error in the file is the one reported.
    let result = |slot: Mutex<Option<_>>| {
        slot.into_inner().expect("no panic while it is held").expect("every body was taken by a thread")
    };
    results.into_iter().map(result).collect()
}

fn take<'a>(slot: &Mutex<Option<FunctionInput<'a>>>) -> FunctionInput<'a> {
    slot.lock().expect("no panic while it is held").take().expect("each number is handed out once")
}
