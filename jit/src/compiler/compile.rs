//! From the bytes of a module to an artifact: parse, validate, translate in parallel, link.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use wasmparser::{Encoding, Parser, Payload, ValidPayload, Validator};

use super::NativeCompiler;
use super::compiled_function::CompiledFunction;
use super::link::link;
use crate::compiler::translate::{self, BodyTranslator, FunctionInput, ModuleEnvironment};
use crate::environ::artifact::Artifact;
use crate::environ::budget::Budget;
use crate::environ::entry_trampolines::EntryTrampolines;
use crate::environ::error::CompileError;
use crate::environ::error::unsupported;
use crate::environ::features::FEATURES;
use crate::environ::module_info::{ModuleInfo, name_proposal, read_section};
use crate::environ::options::CompileOptions;
use crate::environ::vm_layout::{VmFuncRef, VmOffsets};

/// Below this number of bytes of function bodies, a second thread costs more than it saves.
const PARALLEL_FROM: usize = 16 << 10;

/// Compiles a module, within a budget.
pub(super) fn compile(
    compiler: &NativeCompiler,
    wasm: &[u8],
    options: CompileOptions,
    budget: &Budget,
    max_frame: u32,
) -> Result<(ModuleInfo, Artifact), CompileError> {
    translate_all(compiler, wasm, options, budget, max_frame).map_err(|error| name_proposal(wasm, error))
}

fn translate_all(
    compiler: &NativeCompiler,
    wasm: &[u8],
    options: CompileOptions,
    budget: &Budget,
    max_frame: u32,
) -> Result<(ModuleInfo, Artifact), CompileError> {
    let (mut info, bodies) = parse(wasm, budget)?;
    let offsets = VmOffsets::new(&info);
    let entries = EntryTrampolines::new(&info);
    let (isa, baseline_isa) = (&*compiler.isa, &*compiler.baseline_isa);
    let module = ModuleEnvironment { isa, baseline_isa, max_frame, info: &info, offsets: &offsets, options };
    let size: usize = bodies.iter().map(|input| input.body.as_bytes().len()).sum();
    let threads = if size < PARALLEL_FROM { 1 } else { budget.threads };
    let bodies = bodies.into_iter().map(CompileTask::Body);
    let imports = (0..info.imported_functions).map(CompileTask::HostTrampoline);
    let types = entries.types().iter().map(|&ty| CompileTask::EntryTrampoline(ty));
    let tasks = bodies.chain(imports).chain([CompileTask::YieldStub]).chain(types).collect();
    let code = compile_all(module, tasks, threads, budget)?;
    let artifact = link(&code)?;
    let bodies = info.functions.len() - info.imported_functions as usize;
    let frames = (info.imported_functions..).zip(&code[..bodies]).map(|(index, code)| (index, code.frame));
    info.largest_frame = frames.max_by_key(|(_, frame)| *frame);
    Ok((info, artifact))
}

fn parse<'a>(wasm: &'a [u8], budget: &Budget) -> Result<(ModuleInfo, Vec<FunctionInput<'a>>), CompileError> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut info = ModuleInfo::default();
    let mut bodies = Vec::new();
    let mut parser = Parser::new(0);
    // The parser itself reads some encodings differently depending on the features.
    parser.set_features(FEATURES);
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        if let Payload::Version { encoding: Encoding::Component, .. } = payload {
            return Err(unsupported("a component (this engine runs core modules)", 0));
        }
        if let ValidPayload::Func(validator, body) = validator.payload(&payload)? {
            let index = info.imported_functions + bodies.len() as u32;
            bodies.push(FunctionInput { index, body, validator });
            continue;
        }
        read_section(&mut info, payload)?;
        budget.check(0)?;
        budget.check_data(info.host_bytes() + info.functions.len() * size_of::<VmFuncRef>())?;
    }
    Ok((info, bodies))
}

/// What becomes one compiled function. [`CodeLayout`](crate::environ::code_layout::CodeLayout) defines their
/// order.
enum CompileTask<'a> {
    Body(FunctionInput<'a>),
    /// For this imported function.
    HostTrampoline(u32),
    YieldStub,
    /// For this type.
    EntryTrampoline(u32),
}

impl CompileTask<'_> {
    fn compile(
        self,
        module: ModuleEnvironment<'_>,
        translator: &mut BodyTranslator,
    ) -> Result<CompiledFunction, CompileError> {
        match self {
            CompileTask::Body(input) => translator.compile(module, input),
            CompileTask::HostTrampoline(import) => translate::host_trampoline(module, import),
            CompileTask::YieldStub => translate::yield_stub(module),
            CompileTask::EntryTrampoline(ty) => {
                translate::entry_trampoline(module, &module.info.types[ty as usize])
            }
        }
    }
}

/// Compiles all functions, on several threads. Stops soon after the first failure.
fn compile_all(
    module: ModuleEnvironment<'_>,
    tasks: Vec<CompileTask<'_>>,
    threads: usize,
    budget: &Budget,
) -> Result<Vec<CompiledFunction>, CompileError> {
    let work = Work {
        tasks: tasks.into_iter().map(|task| Mutex::new(Slot::Open(task))).collect(),
        next: AtomicUsize::new(0),
        code: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(work.tasks.len()) {
            // If a thread cannot be started, the others do its work.
            let _ = std::thread::Builder::new().spawn_scoped(scope, || work.run(module, budget));
        }
        work.run(module, budget);
    });
    // In order, so that the first error in the module is reported. Tasks are taken in order, so all tasks
    // before the failed one are finished.
    let slots =
        work.tasks.into_iter().map(|slot| slot.into_inner().expect("nothing panics while the lock is held"));
    slots.map(Slot::result).collect()
}

/// The state that the compiling threads share.
struct Work<'a> {
    tasks: Vec<Mutex<Slot<'a>>>,
    /// The next task. Relaxed, as the other atomics: they only hand out numbers, and the mutexes order the
    /// data.
    next: AtomicUsize,
    /// The bytes of code so far.
    code: AtomicUsize,
    failed: AtomicBool,
}

enum Slot<'a> {
    Open(CompileTask<'a>),
    Taken,
    Done(Result<CompiledFunction, CompileError>),
}

impl<'a> Slot<'a> {
    fn take(&mut self) -> CompileTask<'a> {
        match std::mem::replace(self, Slot::Taken) {
            Slot::Open(task) => task,
            _ => unreachable!("each number is handed out once"),
        }
    }

    fn result(self) -> Result<CompiledFunction, CompileError> {
        match self {
            Slot::Done(result) => result,
            _ => unreachable!("a function is left out only behind one that failed"),
        }
    }
}

impl Work<'_> {
    fn run(&self, module: ModuleEnvironment<'_>, budget: &Budget) {
        let mut translator = BodyTranslator::default();
        while !self.failed.load(Ordering::Relaxed)
            && let Some(slot) = self.tasks.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            let lock = || slot.lock().expect("nothing panics while the lock is held");
            let task = lock().take();
            let result = self.compile(task, module, &mut translator, budget);
            // Other threads finish their task and stop.
            if result.is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            *lock() = Slot::Done(result);
        }
    }

    fn compile(
        &self,
        task: CompileTask<'_>,
        module: ModuleEnvironment<'_>,
        translator: &mut BodyTranslator,
        budget: &Budget,
    ) -> Result<CompiledFunction, CompileError> {
        // Before the first task too: the module may have waited in a queue.
        budget.check(0)?;
        let code = task.compile(module, translator)?;
        // The sum over all threads, so that the limit holds for the module.
        let before = self.code.fetch_add(code.size(), Ordering::Relaxed);
        budget.check(before + code.size())?;
        Ok(code)
    }
}
