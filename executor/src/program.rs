//! From the bytes of a file to something that processes can be made of.
//!
//! A plain module is prepared first. Whatever comes out, or came prepared, is verified: no file is trusted. Only what
//! this machine's cache has under the key of these very bytes was verified already, before it was put there.

use std::borrow::Cow;
use std::sync::Arc;

use lunatic_instrument::abi::{COST_MODEL_VERSION, FORMAT_VERSION, METERING_MODULE};
use lunatic_instrument::{
    Options, PrepareError, VerifyError, VerifyErrorKind, is_prepared, prepare_with_progress,
    verify_with_progress,
};
use lunatic_jit::{
    Budget, Cache, CacheKey, Cancellation, CompileError, CompileOptions, Deadline, Engine, EngineConfig,
    ExternType, FEATURES, FuncIndex, FuncType, Linked, Linker, MemoryLayout, Module, Outline,
    declared_imports,
};

use lunatic_core::code::{Code, Memories, layouts};
use lunatic_core::config::{MAX_STACK, USUAL_STACK};

use crate::config::RuntimeConfig;
use crate::error::{LoadError, RuntimeError};
use crate::perf_map::PerfMap;
use crate::testing;
use lunatic_core::ProcessData;
use lunatic_host::{GuestCompiler, Host, MAX_GUEST_BYTES};

/// The function that runs as the first process.
const START: &str = "_start";

/// Bytes of native code that may become of a module that a guest has compiled, and bytes that it may take besides.
const MAX_GUEST_CODE: usize = 64 << 20;
const MAX_GUEST_DATA: usize = 64 << 20;

/// Bytes of a module after which preparing it asks whether there is time left.
const ASK_AGAIN: usize = 64 << 10;

/// A program: a module with an entry, or with tests. Made by [`Runtime::load`](crate::Runtime::load).
#[derive(Clone)]
pub struct Program {
    pub(crate) code: Code,
    /// A test binary may have none.
    pub(crate) start: Option<FuncIndex>,
    /// The loader's identity: code of one engine does not run in another one.
    loader: Arc<Identity>,
}

/// What tells a loader from others.
#[derive(Debug)]
struct Identity;

impl Program {
    /// Whether it was loaded by this loader.
    pub(crate) fn is_of(&self, loader: &Loader) -> bool {
        Arc::ptr_eq(&self.loader, &loader.identity)
    }
}

/// What programs are loaded with: nodes that share one share programs too.
pub(crate) struct Loader {
    pub(crate) engine: Engine,
    linker: Linker<ProcessData>,
    identity: Arc<Identity>,
    /// Bytes of native stack that a process can be given.
    max_stack: usize,
    /// The names of its functions.
    pub(crate) functions: Arc<[(String, String)]>,
    cache: Option<Arc<Cache>>,
    perf_map: Option<PerfMap>,
    /// Whether modules are run without charges.
    unmetered: bool,
    memories: Memories,
    untrusted: bool,
    /// Whether nothing may depend on how fast this machine is, and on what else it does.
    repeatable: bool,
}

impl Loader {
    /// What the configuration asks for. `repeatable`: for runs that are to be the same each time.
    pub(crate) fn new(config: &RuntimeConfig, repeatable: bool) -> Result<Loader, RuntimeError> {
        Loader::with_host(config, repeatable, Host::new())
    }

    /// As [`Loader::new`], with host functions beside those of the Lunatic ABI and of WASI.
    pub(crate) fn with_host(
        config: &RuntimeConfig,
        repeatable: bool,
        mut host: Host,
    ) -> Result<Loader, RuntimeError> {
        let engine = EngineConfig {
            stack_size: config.stack_size.min(USUAL_STACK),
            max_stack_size: config.stack_size.min(MAX_STACK),
            canonical_nans: repeatable,
        };
        lunatic_host::register(&mut host);
        lunatic_wasi::register(&mut host);
        let linker = host.into_linker();
        Ok(Loader {
            identity: Arc::new(Identity),
            max_stack: config.stack_size.min(MAX_STACK),
            functions: lunatic_host::function_names(&linker).into(),
            engine: Engine::new(engine)?,
            linker,
            cache: config.cache.clone(),
            perf_map: config.perf_map.then(PerfMap::create).transpose()?,
            unmetered: config.unmetered,
            memories: config.memories,
            untrusted: config.untrusted,
            repeatable,
        })
    }

    /// For functions that only tests have.
    #[cfg(test)]
    pub(crate) fn linker_mut(&mut self) -> &mut Linker<ProcessData> {
        &mut self.linker
    }

    /// Loads a program, from the cache if there is one and it is there.
    pub(crate) fn load(&self, bytes: &[u8]) -> Result<Program, LoadError> {
        // How many reservations are left is not the program's to say, and how deep its stack goes, in code for the one
        // and the other, is.
        let can_reserve = !self.repeatable && self.engine.can_reserve();
        self.check(bytes)?;
        let program = self.load_for(bytes, layouts(bytes, self.memories, can_reserve))?;
        if program.start.is_none() && !testing::has_tests(program.code.module()) {
            return Err(LoadError::NoStart);
        }
        Ok(program)
    }

    /// Loads a module of which any exported function may be an entry, for any number of processes.
    pub(crate) fn load_library(&self, bytes: &[u8]) -> Result<Program, LoadError> {
        use MemoryLayout::{Pooled, Reserved};
        if let Ok(outline) = Outline::read(bytes) {
            self.check_imports(bytes, &outline)?;
        }
        let reserves = self.memories == Memories::Reserved && self.engine.can_reserve();
        self.load_for(bytes, if reserves { &[Pooled, Reserved] } else { &[Pooled] })
    }

    /// Bytes of native stack that a process can be given at most.
    pub(crate) fn max_stack(&self) -> usize {
        self.max_stack
    }

    fn load_for(&self, bytes: &[u8], layouts: &[MemoryLayout]) -> Result<Program, LoadError> {
        let mut prepared = None;
        let versions = layouts.iter().map(|&memory| {
            let options = CompileOptions { memory, untrusted: self.untrusted };
            self.link(&self.compile_or_find(bytes, &mut prepared, options)?)
        });
        let code = Code::new(versions.collect::<Result<_, LoadError>>()?, self.memories);
        let module = code.module();
        let is_entry = |&function: &FuncIndex| *module.function_type(function) == FuncType::new([], []);
        let start = module.exported_function(START).filter(is_entry);
        Ok(Program { code, start, loader: self.identity.clone() })
    }

    /// Says what can be said of a program before it is prepared and compiled, which may take minutes. What is malformed is
    /// reported by what reads it next.
    fn check(&self, bytes: &[u8]) -> Result<(), LoadError> {
        let outline = match Outline::read(bytes) {
            Ok(outline) => outline,
            Err(error @ CompileError::Unsupported { .. }) => return Err(error.into()),
            Err(_) => return Ok(()),
        };
        self.check_imports(bytes, &outline)?;
        let is_start = outline.export(START).is_some_and(|ty| ty == ExternType::Func(FuncType::new([], [])));
        if is_start || testing::exports_tests(outline.exports()) { Ok(()) } else { Err(LoadError::NoStart) }
    }

    fn check_imports(&self, bytes: &[u8], outline: &Outline) -> Result<(), LoadError> {
        // Preparing has more to say of imports from the namespace that is its own.
        let is_reserved = |(module, _): (&str, &str)| module == METERING_MODULE;
        if is_prepared(bytes) || !declared_imports(bytes).any(is_reserved) {
            self.linker.check(outline)?;
        }
        Ok(())
    }

    /// Compiles a module for a guest, which may end meanwhile. Nothing of it goes into the cache or comes from there:
    /// a guest shall not push out what the user has in it. How many processes will run it nobody knows: memories are
    /// pooled.
    pub(crate) fn compile_for_guest(
        &self,
        bytes: &[u8],
        deadline: Option<Deadline>,
        cancellation: Cancellation,
    ) -> Result<Code, LoadError> {
        if bytes.len() > MAX_GUEST_BYTES {
            return Err(CompileError::OverBudget("WebAssembly").into());
        }
        if cancellation.is_cancelled() {
            return Err(CompileError::Cancelled.into());
        }
        let (max_code, max_data) = (MAX_GUEST_CODE, MAX_GUEST_DATA);
        let budget = Budget { threads: 1, max_code, max_data, deadline, cancellation };
        let options = CompileOptions { memory: MemoryLayout::Pooled, untrusted: self.untrusted };
        if let Ok(outline) = Outline::read(bytes) {
            self.check_imports(bytes, &outline)?;
        }
        let prepared = self.prepare_or_verify(bytes, &budget)?;
        let module = self.link(&Module::compile_within(&self.engine, &prepared, options, &budget)?)?;
        Ok(Code::new(vec![module], Memories::ByLimit))
    }

    /// `prepared`: what is compiled, once it was needed.
    fn compile_or_find<'a>(
        &self,
        bytes: &'a [u8],
        prepared: &mut Option<Cow<'a, [u8]>>,
        options: CompileOptions,
    ) -> Result<Module, LoadError> {
        let budget = Budget::default();
        let mut prepared = || -> Result<Cow<'a, [u8]>, LoadError> {
            if prepared.is_none() {
                *prepared = Some(self.prepare_or_verify(bytes, &budget)?);
            }
            Ok(prepared.clone().expect("it was just made"))
        };
        let Some(cache) = &self.cache else {
            return Ok(Module::compile_within(&self.engine, &prepared()?, options, &budget)?);
        };
        let key = self.key(bytes, options);
        if let Some(module) = cache.get(&self.engine, &key) {
            return Ok(module);
        }
        Ok(cache.compile(&self.engine, &key, &prepared()?, &budget)?)
    }

    /// The bytes, and all that decides what [`Loader::prepare_or_verify`] makes of them.
    fn key(&self, bytes: &[u8], options: CompileOptions) -> CacheKey {
        let versions =
            [FORMAT_VERSION, COST_MODEL_VERSION, Options::default().max_charge].map(u32::to_le_bytes);
        CacheKey::new(&self.engine, options, &[bytes, versions.as_flattened(), &[u8::from(self.unmetered)]])
    }

    /// What is compiled: verified bytes, unless the node runs unmetered.
    fn prepare_or_verify<'a>(&self, bytes: &'a [u8], budget: &Budget) -> Result<Cow<'a, [u8]>, LoadError> {
        // It is asked after every function and section; looking at a clock after each would take longer than most of them.
        let mut asked_at = 0;
        let mut has_time = |done: usize| {
            if done < asked_at + ASK_AGAIN {
                return true;
            }
            asked_at = done;
            budget.check_time().is_ok()
        };
        // Why it was stopped.
        let stopped = || LoadError::from(budget.check_time().err().unwrap_or(CompileError::Cancelled));
        if is_prepared(bytes) {
            return match verify_with_progress(bytes, &mut has_time) {
                Ok(_) => Ok(bytes.into()),
                Err(VerifyError { kind: VerifyErrorKind::Stopped, .. }) => Err(stopped()),
                Err(error) => Err(error.into()),
            };
        }
        if self.unmetered {
            return Ok(bytes.into());
        }
        // It verifies what it returns.
        let mut options = Options::default();
        options.features = FEATURES;
        match prepare_with_progress(bytes, &options, &mut |done, _| has_time(done)) {
            Ok(prepared) => Ok(prepared.bytes.into()),
            Err(PrepareError::Stopped) => Err(stopped()),
            Err(error) => Err(error.into()),
        }
    }

    fn link(&self, module: &Module) -> Result<Linked<ProcessData>, LoadError> {
        if let Some(perf_map) = &self.perf_map {
            perf_map.add(module);
        }
        Ok(self.linker.link(module)?)
    }
}

impl GuestCompiler for Loader {
    fn compile(
        &self,
        bytes: &[u8],
        deadline: Option<Deadline>,
        cancellation: Cancellation,
    ) -> Result<Code, String> {
        self.compile_for_guest(bytes, deadline, cancellation).map_err(|error| error.to_string())
    }
}
