//! Loads programs: from the bytes of a file to code that processes can run.
//!
//! A plain module is prepared first. Every prepared module is verified, because no file is trusted. The only
//! exception is an entry of this machine's cache under the key of exactly these bytes: its module was verified before
//! it was stored.

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

/// Name of the function that runs as the first process.
const START: &str = "_start";

/// Limits for a module that a guest compiles: bytes of its native code, and bytes of its other data.
const MAX_GUEST_CODE: usize = 64 << 20;
const MAX_GUEST_DATA: usize = 64 << 20;

/// Number of module bytes between two checks of the time limit while preparing.
const ASK_AGAIN: usize = 64 << 10;

/// A program: a module with an entry or with tests. Created by [`Runtime::load`](crate::Runtime::load).
#[derive(Clone)]
pub struct Program {
    pub(crate) code: Code,
    /// Entry function. A test binary may have none.
    pub(crate) start: Option<FuncIndex>,
    /// Identity of the loader, because code of one engine does not run in another.
    loader: Arc<Identity>,
}

/// Identity of a loader.
#[derive(Debug)]
struct Identity;

impl Program {
    /// Returns whether this loader loaded the program.
    pub(crate) fn is_of(&self, loader: &Loader) -> bool {
        Arc::ptr_eq(&self.loader, &loader.identity)
    }
}

/// Loads programs. Nodes that share a loader share programs too.
pub(crate) struct Loader {
    pub(crate) engine: Engine,
    linker: Linker<ProcessData>,
    identity: Arc<Identity>,
    /// Maximum size of a process's native stack, in bytes.
    max_stack: usize,
    /// Names of the host functions.
    pub(crate) functions: Arc<[(String, String)]>,
    cache: Option<Arc<Cache>>,
    perf_map: Option<PerfMap>,
    /// Whether modules run without reduction counters.
    unmetered: bool,
    memories: Memories,
    untrusted: bool,
    /// Whether results must not depend on the speed and load of this machine.
    repeatable: bool,
}

impl Loader {
    /// Creates a loader for a configuration. `repeatable` is set for runs that must be the same each time.
    pub(crate) fn new(config: &RuntimeConfig, repeatable: bool) -> Result<Loader, RuntimeError> {
        Loader::with_host(config, repeatable, Host::new())
    }

    /// Creates a loader like [`Loader::new`], with further host functions beside the Lunatic ABI and WASI.
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

    /// Returns the linker, so that tests can add functions.
    #[cfg(test)]
    pub(crate) fn linker_mut(&mut self) -> &mut Linker<ProcessData> {
        &mut self.linker
    }

    /// Loads a program, from the cache if it is there.
    pub(crate) fn load(&self, bytes: &[u8]) -> Result<Program, LoadError> {
        // A simulation must not depend on how many address ranges are free. Code for reserved and for pooled memories
        // uses stack frames of different sizes, so the choice decides how deep a program can recurse.
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

    /// Returns the maximum size of a process's native stack, in bytes.
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

    /// Reports missing imports and a missing entry before the program is prepared and compiled, which may take
    /// minutes. A malformed module passes: the next reader reports it.
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
        // For a plain module that imports from the metering namespace, the instrumenter gives the better error.
        let is_reserved = |(module, _): (&str, &str)| module == METERING_MODULE;
        if is_prepared(bytes) || !declared_imports(bytes).any(is_reserved) {
            self.linker.check(outline)?;
        }
        Ok(())
    }

    /// Compiles a module for a guest, which may end meanwhile. Does not use the cache: a guest must not evict the
    /// user's entries. Memories are pooled, because the number of processes that will run the module is unknown.
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

    /// Returns the compiled module, from the cache if it is there. `prepared` keeps the prepared bytes once they were
    /// needed.
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

    /// Returns the cache key: the bytes and everything that influences [`Loader::prepare_or_verify`].
    fn key(&self, bytes: &[u8], options: CompileOptions) -> CacheKey {
        let versions =
            [FORMAT_VERSION, COST_MODEL_VERSION, Options::default().max_charge].map(u32::to_le_bytes);
        CacheKey::new(&self.engine, options, &[bytes, versions.as_flattened(), &[u8::from(self.unmetered)]])
    }

    /// Returns the bytes to compile: verified ones, unless the node runs unmetered.
    fn prepare_or_verify<'a>(&self, bytes: &'a [u8], budget: &Budget) -> Result<Cow<'a, [u8]>, LoadError> {
        // The callback runs after every function and section. Most of these take less time than reading a clock.
        let mut asked_at = 0;
        let mut has_time = |done: usize| {
            if done < asked_at + ASK_AGAIN {
                return true;
            }
            asked_at = done;
            budget.check_time().is_ok()
        };
        // Reports why preparing was stopped: out of time or cancelled.
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
        // The instrumenter verifies its own output.
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
