//! From bytes to code: parse, validate, translate in parallel, link.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lunatic_instrument::{abi, refused_proposal};
use wasmparser::{Encoding, Parser, Payload, ValidPayload, Validator};

use crate::budget::Budget;
use crate::code::{Artifact, CompiledCode, link};
use crate::engine::Engine;
use crate::entries::Entries;
use crate::error::CompileError;
use crate::features::FEATURES;
use crate::names::Names;
use crate::options::CompileOptions;
use crate::shape::{Shape, unsupported};
use crate::translate::{self, BodyTranslator, FunctionInput, ModuleEnvironment};
use crate::vm::context::{VmFuncRef, VmOffsets};

/// Below this many bytes of function bodies a second thread costs more than it saves.
const PARALLEL_FROM: usize = 16 << 10;

/// The custom section that names functions.
pub(crate) const NAMES: &str = "name";

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

    /// An entry trampoline, by its number in [`Entries`].
    pub(crate) fn entry(self, trampoline: u32) -> u32 {
        self.yield_stub() + 1 + trampoline
    }
}

/// Compiles a module, within a budget.
pub(crate) fn compile(
    engine: &Engine,
    wasm: &[u8],
    options: CompileOptions,
    budget: &Budget,
) -> Result<(Shape, Artifact), CompileError> {
    translate_all(engine, wasm, options, budget).map_err(|error| name_proposal(wasm, error))
}

/// Names the proposal that an invalid module would be valid with.
pub(crate) fn name_proposal(wasm: &[u8], error: CompileError) -> CompileError {
    let CompileError::Invalid { message, offset } = error else { return error };
    match refused_proposal(wasm, FEATURES) {
        Some(proposals) => {
            let several = if proposals.names().len() > 1 { "s" } else { "" };
            unsupported(&format!("the proposal{several} {proposals} ({message})"), offset)
        }
        None => CompileError::Invalid { message, offset },
    }
}

fn translate_all(
    engine: &Engine,
    wasm: &[u8],
    options: CompileOptions,
    budget: &Budget,
) -> Result<(Shape, Artifact), CompileError> {
    let (mut shape, bodies) = parse(wasm, budget)?;
    let offsets = VmOffsets::new(&shape);
    let entries = Entries::new(&shape);
    let (isa, hasty_isa) = (&**engine.isa(), &**engine.hasty_isa());
    let max_frame = engine.max_frame();
    let module = ModuleEnvironment { isa, hasty_isa, max_frame, shape: &shape, offsets: &offsets, options };
    let size: usize = bodies.iter().map(|input| input.body.as_bytes().len()).sum();
    let threads = if size < PARALLEL_FROM { 1 } else { budget.threads };
    let bodies = bodies.into_iter().map(Piece::Body);
    let imports = (0..shape.imported_functions).map(Piece::HostTrampoline);
    let types = entries.types().iter().map(|&ty| Piece::EntryTrampoline(ty));
    let pieces = bodies.chain(imports).chain([Piece::YieldStub]).chain(types).collect();
    let code = compile_all(module, pieces, threads, budget)?;
    let artifact = link(&code)?;
    let bodies = shape.functions.len() - shape.imported_functions as usize;
    let frames = (shape.imported_functions..).zip(&code[..bodies]).map(|(index, code)| (index, code.frame));
    shape.largest_frame = frames.max_by_key(|(_, frame)| *frame);
    Ok((shape, artifact))
}

fn parse<'a>(wasm: &'a [u8], budget: &Budget) -> Result<(Shape, Vec<FunctionInput<'a>>), CompileError> {
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
            continue;
        }
        read_section(&mut shape, payload)?;
        budget.check(0)?;
        budget.check_data(shape.host_bytes() + shape.functions.len() * size_of::<VmFuncRef>())?;
    }
    Ok((shape, bodies))
}

/// Takes what a section declares.
pub(crate) fn read_section(shape: &mut Shape, payload: Payload<'_>) -> Result<(), CompileError> {
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
        Payload::CustomSection(section) if section.name() == abi::SECTION => {
            shape.is_prepared = true;
            Ok(())
        }
        Payload::CustomSection(section) if section.name() == NAMES => {
            shape.names = Names::new(section.data());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What becomes one piece of code. [`CodeLayout`] says in which order they are.
enum Piece<'a> {
    Body(FunctionInput<'a>),
    /// For an imported function.
    HostTrampoline(u32),
    YieldStub,
    /// For a type.
    EntryTrampoline(u32),
}

impl Piece<'_> {
    fn compile(
        self,
        module: ModuleEnvironment<'_>,
        translator: &mut BodyTranslator,
    ) -> Result<CompiledCode, CompileError> {
        match self {
            Piece::Body(input) => translator.compile(module, input),
            Piece::HostTrampoline(import) => translate::host_trampoline(module, import),
            Piece::YieldStub => translate::yield_stub(module),
            Piece::EntryTrampoline(ty) => {
                translate::entry_trampoline(module, &module.shape.types[ty as usize])
            }
        }
    }
}

/// Compiles all pieces, on several threads; stops soon after the first failure.
fn compile_all(
    module: ModuleEnvironment<'_>,
    pieces: Vec<Piece<'_>>,
    threads: usize,
    budget: &Budget,
) -> Result<Vec<CompiledCode>, CompileError> {
    let work = Work {
        pieces: pieces.into_iter().map(|piece| Mutex::new(Slot::Open(piece))).collect(),
        next: AtomicUsize::new(0),
        code: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(work.pieces.len()) {
            // A thread that is not to be had is done without: this one works too.
            let _ = std::thread::Builder::new().spawn_scoped(scope, || work.run(module, budget));
        }
        work.run(module, budget);
    });
    // In order, so that the first error in the file is the one reported: pieces are taken in order, so all before
    // it have been finished.
    let slots = work.pieces.into_iter().map(|slot| slot.into_inner().expect("no panic while it is held"));
    slots.map(Slot::result).collect()
}

/// What the compiling threads share.
struct Work<'a> {
    pieces: Vec<Mutex<Slot<'a>>>,
    /// The next piece to take. Relaxed, as the others: they only hand out numbers; the mutexes order the data.
    next: AtomicUsize,
    /// Bytes of code so far.
    code: AtomicUsize,
    failed: AtomicBool,
}

enum Slot<'a> {
    Open(Piece<'a>),
    Taken,
    Done(Result<CompiledCode, CompileError>),
}

impl<'a> Slot<'a> {
    fn take(&mut self) -> Piece<'a> {
        match std::mem::replace(self, Slot::Taken) {
            Slot::Open(piece) => piece,
            _ => unreachable!("each number is handed out once"),
        }
    }

    fn result(self) -> Result<CompiledCode, CompileError> {
        match self {
            Slot::Done(result) => result,
            _ => unreachable!("a piece is left out only behind one that failed"),
        }
    }
}

impl Work<'_> {
    fn run(&self, module: ModuleEnvironment<'_>, budget: &Budget) {
        let mut translator = BodyTranslator::default();
        while !self.failed.load(Ordering::Relaxed)
            && let Some(slot) = self.pieces.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            let lock = || slot.lock().expect("no panic while it is held");
            let piece = lock().take();
            let result = self.compile(piece, module, &mut translator, budget);
            if result.is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            *lock() = Slot::Done(result);
        }
    }

    fn compile(
        &self,
        piece: Piece<'_>,
        module: ModuleEnvironment<'_>,
        translator: &mut BodyTranslator,
        budget: &Budget,
    ) -> Result<CompiledCode, CompileError> {
        // Before the first one too: a module may have waited for its turn.
        budget.check(0)?;
        let code = piece.compile(module, translator)?;
        let before = self.code.fetch_add(code.size(), Ordering::Relaxed);
        budget.check(before + code.size())?;
        Ok(code)
    }
}
