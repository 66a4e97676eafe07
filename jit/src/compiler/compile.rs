//! From bytes to code: parse, validate, translate in parallel, link.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use wasmparser::{Encoding, Parser, Payload, ValidPayload, Validator};

use super::NativeCompiler;
use super::link::link;
use super::piece::CompiledCode;
use crate::compiler::translate::{self, BodyTranslator, FunctionInput, ModuleEnvironment};
use crate::environ::artifact::Artifact;
use crate::environ::budget::Budget;
use crate::environ::entries::Entries;
use crate::environ::error::CompileError;
use crate::environ::error::unsupported;
use crate::environ::features::FEATURES;
use crate::environ::options::CompileOptions;
use crate::environ::shape::{Shape, name_proposal, read_section};
use crate::environ::vm_layout::{VmFuncRef, VmOffsets};

/// Below this many bytes of function bodies a second thread costs more than it saves.
const PARALLEL_FROM: usize = 16 << 10;

/// Compiles a module, within a budget.
pub(super) fn compile(
    compiler: &NativeCompiler,
    wasm: &[u8],
    options: CompileOptions,
    budget: &Budget,
    max_frame: u32,
) -> Result<(Shape, Artifact), CompileError> {
    translate_all(compiler, wasm, options, budget, max_frame).map_err(|error| name_proposal(wasm, error))
}

fn translate_all(
    compiler: &NativeCompiler,
    wasm: &[u8],
    options: CompileOptions,
    budget: &Budget,
    max_frame: u32,
) -> Result<(Shape, Artifact), CompileError> {
    let (mut shape, bodies) = parse(wasm, budget)?;
    let offsets = VmOffsets::new(&shape);
    let entries = Entries::new(&shape);
    let (isa, hasty_isa) = (&*compiler.isa, &*compiler.hasty_isa);
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
