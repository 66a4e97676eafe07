//! Executes the directives of one script.

use std::collections::HashMap;

use lunatic_jit::{
    Budget, Cache, CacheKey, CompileError, CompileOptions, Engine, EngineConfig, Export, Instance,
    InstantiateError, MemoryLayout, Module, Store, StoreLimits, Trap, TrapKind, Value,
};
use tempfile::TempDir;
use wast::{QuoteWat, WastDirective, WastExecute, WastInvoke, Wat};

use super::Mode;
use super::relay::Relay;
use super::values;

/// The module `spectest` that the scripts import from. Its functions need not print, so a module replaces host functions.
const SPECTEST: &str = r#"(module
    (func (export "print"))
    (func (export "print_i32") (param i32))
    (func (export "print_i64") (param i64))
    (func (export "print_f32") (param f32))
    (func (export "print_f64") (param f64))
    (func (export "print_i32_f32") (param i32 f32))
    (func (export "print_f64_f64") (param f64 f64))
    (global (export "global_i32") i32 (i32.const 666))
    (global (export "global_i64") i64 (i64.const 666))
    (global (export "global_f32") f32 (f32.const 666.6))
    (global (export "global_f64") f64 (f64.const 666.6))
    (table (export "table") 10 20 funcref)
    (memory (export "memory") 1 2))"#;

/// Executes directives and keeps the instances that they define.
pub struct Runner {
    mode: Mode,
    cache: Option<Filled>,
    engine: Engine,
    /// `None` during a call, while the relay has the store.
    store: Option<Store<()>>,
    /// The relay, in the mode that suspends at every charge.
    relay: Option<Relay>,
    /// How often the store has changed threads.
    moves: u64,
    /// The instance that a directive without a name refers to.
    current: Option<Instance>,
    /// Instances by the identifiers of the script.
    named: HashMap<String, Instance>,
    /// Instances by the names they are registered under for import.
    registered: HashMap<String, Instance>,
    modules: HashMap<u32, Module>,
    definitions: HashMap<String, Module>,
    last_definition: Option<Module>,
}

/// A cache, and a second engine that fills it.
struct Filled {
    cache: Cache,
    engine: Engine,
    _directory: TempDir,
}

impl Filled {
    fn new() -> Filled {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Filled {
            cache: Cache::open(directory.path(), Cache::DEFAULT_LIMIT).expect("it is ours"),
            engine: Engine::new(EngineConfig::default()).expect("the engine works on this machine"),
            _directory: directory,
        }
    }

    /// Compiles a module with one engine and loads it with the other.
    fn round_trip(&self, engine: &Engine, bytes: &[u8]) -> Result<Module, CompileError> {
        let key = CacheKey::new(&self.engine, CompileOptions::default(), &[bytes]);
        self.cache.compile(&self.engine, &key, bytes, &Budget::default())?;
        Ok(self.cache.get(engine, &key).expect("what was compiled is in the cache"))
    }
}

/// Why a module could not be instantiated.
enum Refusal {
    /// The module is invalid, or cannot be encoded.
    Invalid(String),
    /// The module cannot be linked.
    Unlinkable(String),
    /// Its instantiation trapped.
    Trapped(String),
}

impl Refusal {
    fn message(self) -> String {
        match self {
            Refusal::Invalid(message) => format!("invalid: {message}"),
            Refusal::Unlinkable(message) => format!("unlinkable: {message}"),
            Refusal::Trapped(message) => format!("trapped: {message}"),
        }
    }
}

const STORE_IS_HERE: &str = "only a panicked call leaves the runner without its store";

type Check = Result<(), String>;

impl Runner {
    /// A runner with the `spectest` module registered.
    ///
    /// # Panics
    /// If the engine does not work on this machine.
    pub fn new(mode: Mode) -> Runner {
        let engine = Engine::new(EngineConfig::default()).expect("the engine works on this machine");
        let mut runner = Runner {
            mode,
            cache: (mode == Mode::Cached).then(Filled::new),
            store: Some(Store::new(&engine, (), StoreLimits::default())),
            relay: (mode == Mode::Yield).then(Relay::new),
            moves: 0,
            engine,
            current: None,
            named: HashMap::new(),
            registered: HashMap::new(),
            modules: HashMap::new(),
            definitions: HashMap::new(),
            last_definition: None,
        };
        let spectest = wast::parser::ParseBuffer::new(SPECTEST).expect("it is well-formed");
        let mut spectest = wast::parser::parse::<Wat<'_>>(&spectest).expect("it is well-formed");
        let bytes = spectest.encode().expect("it can be encoded");
        let instance = runner.compile(&bytes).and_then(|module| runner.instantiate(&module));
        let instance = instance.map_err(Refusal::message).expect("it is valid");
        runner.registered.insert("spectest".into(), instance);
        runner
    }

    /// Executes one directive.
    ///
    /// # Errors
    /// The difference to what the directive expects.
    pub fn run(&mut self, directive: WastDirective<'_>) -> Check {
        match directive {
            WastDirective::Module(module) => self.define(module),
            WastDirective::ModuleDefinition(module) => self.keep_definition(module),
            WastDirective::ModuleInstance { instance, module, .. } => {
                self.instantiate_definition(instance, module)
            }
            WastDirective::Register { name, module, .. } => {
                let instance = self.instance(module)?;
                self.registered.insert(name.into(), instance);
                Ok(())
            }
            WastDirective::Invoke(invoke) => self.invoke(&invoke)?.map(drop).map_err(|trap| trap.to_string()),
            WastDirective::AssertReturn { exec, results, .. } => {
                let values = self.execute(exec)?.map_err(|trap| format!("trapped: {trap}"))?;
                values::check(&values, &results)
            }
            WastDirective::AssertTrap { exec, message, .. } => expect_trap(self.execute(exec)?, message),
            WastDirective::AssertExhaustion { call, .. } => match self.invoke(&call)? {
                Err(trap) if matches!(trap.kind, TrapKind::StackOverflow) => Ok(()),
                other => Err(format!("expected exhaustion, got {other:?}")),
            },
            WastDirective::AssertMalformed { module, .. } | WastDirective::AssertInvalid { module, .. } => {
                self.expect_invalid(module)
            }
            WastDirective::AssertUnlinkable { module, .. } => match self.instantiate_wat(module) {
                Err(Refusal::Unlinkable(_)) => Ok(()),
                Err(other) => Err(other.message()),
                Ok(_) => Err("it was linked".into()),
            },
            other => Err(format!("the directive {other:?} is not known here")),
        }
    }

    fn define(&mut self, mut module: QuoteWat<'_>) -> Check {
        let name = module.name().map(|id| id.name().to_owned());
        let bytes = module.encode().map_err(|error| error.to_string())?;
        let instance = self.compile(&bytes).and_then(|module| self.instantiate(&module));
        self.enter(name, instance.map_err(Refusal::message)?);
        Ok(())
    }

    fn keep_definition(&mut self, mut module: QuoteWat<'_>) -> Check {
        let name = module.name().map(|id| id.name().to_owned());
        let bytes = module.encode().map_err(|error| error.to_string())?;
        let module = self.compile(&bytes).map_err(Refusal::message)?;
        if let Some(name) = name {
            self.definitions.insert(name, module.clone());
        }
        self.last_definition = Some(module);
        Ok(())
    }

    fn instantiate_definition(
        &mut self,
        instance: Option<wast::token::Id<'_>>,
        module: Option<wast::token::Id<'_>>,
    ) -> Check {
        let module = match module {
            Some(id) => self.definitions.get(id.name()),
            None => self.last_definition.as_ref(),
        };
        let module = module.cloned().ok_or("no such definition")?;
        let made = self.instantiate(&module).map_err(Refusal::message)?;
        self.enter(instance.map(|id| id.name().to_owned()), made);
        Ok(())
    }

    fn enter(&mut self, name: Option<String>, instance: Instance) {
        self.current = Some(instance);
        if let Some(name) = name {
            self.named.insert(name, instance);
        }
    }

    fn expect_invalid(&mut self, mut module: QuoteWat<'_>) -> Check {
        let Ok(bytes) = module.encode() else { return Ok(()) };
        match self.compile(&bytes) {
            Err(_) => Ok(()),
            Ok(_) => Err("it was accepted".into()),
        }
    }

    fn compile(&self, bytes: &[u8]) -> Result<Module, Refusal> {
        let invalid = |error: &dyn std::fmt::Display| Refusal::Invalid(error.to_string());
        match &self.cache {
            Some(cache) => return cache.round_trip(&self.engine, bytes).map_err(|error| invalid(&error)),
            None if matches!(self.mode, Mode::Plain | Mode::Reserved | Mode::Untrusted) => {
                let memory =
                    if self.mode == Mode::Reserved { MemoryLayout::Reserved } else { MemoryLayout::Pooled };
                let options = CompileOptions { memory, untrusted: self.mode == Mode::Untrusted };
                return Module::compile_with(&self.engine, bytes, options).map_err(|error| invalid(&error));
            }
            None => {}
        }
        let options = lunatic_instrument::Options::default();
        let prepared = lunatic_instrument::prepare(bytes, &options).map_err(|error| invalid(&error))?;
        lunatic_instrument::verify(&prepared.bytes).map_err(|error| invalid(&error))?;
        Module::compile(&self.engine, &prepared.bytes).map_err(|error| invalid(&error))
    }

    fn instantiate(&mut self, module: &Module) -> Result<Instance, Refusal> {
        let exports = self.find_imports(module)?;
        let instance = self.store_mut().instantiate_with(module, &exports).map_err(|error| match error {
            InstantiateError::Link(error) => Refusal::Unlinkable(error.to_string()),
            error => Refusal::Trapped(error.to_string()),
        })?;
        self.modules.insert(instance.index(), module.clone());
        if let Some(start) = module.start_function() {
            let result = self.call(instance, start, &[]);
            result.map_err(|trap| Refusal::Trapped(trap.to_string()))?;
        }
        Ok(instance)
    }

    fn find_imports(&self, module: &Module) -> Result<Vec<Export>, Refusal> {
        let find = |(from, name, _): (&str, &str, _)| {
            let instance = self.registered.get(from);
            let export = instance.and_then(|&instance| self.store().export(instance, name));
            export.ok_or_else(|| Refusal::Unlinkable(format!("unknown import {from}::{name}")))
        };
        module.imports().map(find).collect()
    }

    fn instantiate_wat(&mut self, mut module: Wat<'_>) -> Result<Instance, Refusal> {
        let bytes = module.encode().map_err(|error| Refusal::Invalid(error.to_string()))?;
        let module = self.compile(&bytes)?;
        self.instantiate(&module)
    }

    /// Runs the code of an assertion. The outer error means that it could not be started.
    fn execute(&mut self, exec: WastExecute<'_>) -> Result<Result<Vec<Value>, Box<Trap>>, String> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Wat(module) => match self.instantiate_wat(module) {
                Ok(_) => Ok(Ok(Vec::new())),
                Err(Refusal::Trapped(message)) => {
                    Ok(Err(Box::new(Trap { kind: TrapKind::Host(message.into()), backtrace: Vec::new() })))
                }
                Err(other) => Err(other.message()),
            },
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(module)?;
                let export = self.store().export(instance, global);
                let value = export.and_then(|export| self.store().global(export));
                Ok(Ok(vec![value.ok_or_else(|| format!("no global {global}"))?]))
            }
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Result<Result<Vec<Value>, Box<Trap>>, String> {
        let instance = self.instance(invoke.module)?;
        let function = self.modules[&instance.index()].exported_function(invoke.name);
        let function = function.ok_or_else(|| format!("no function {}", invoke.name))?;
        let args: Vec<Value> = invoke.args.iter().map(values::argument).collect::<Result<_, _>>()?;
        Ok(self.call(instance, function, &args))
    }

    fn call(
        &mut self,
        instance: Instance,
        function: lunatic_jit::FuncIndex,
        args: &[Value],
    ) -> Result<Vec<Value>, Box<Trap>> {
        let Some(relay) = &self.relay else { return self.store_mut().call(instance, function, args) };
        let mut store = self.store.take().expect(STORE_IS_HERE);
        store.begin(instance, function, args).expect("there is a stack");
        let finish = relay.run(store);
        self.store = Some(finish.store);
        self.moves += finish.moves;
        finish.result
    }

    /// How often a call was suspended on one thread and resumed on another.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    fn store(&self) -> &Store<()> {
        self.store.as_ref().expect(STORE_IS_HERE)
    }

    fn store_mut(&mut self) -> &mut Store<()> {
        self.store.as_mut().expect(STORE_IS_HERE)
    }

    fn instance(&self, id: Option<wast::token::Id<'_>>) -> Result<Instance, String> {
        match id {
            Some(id) => {
                self.named.get(id.name()).copied().ok_or_else(|| format!("no instance {}", id.name()))
            }
            None => self.current.ok_or_else(|| "no instance".into()),
        }
    }
}

fn expect_trap(result: Result<Vec<Value>, Box<Trap>>, expected: &str) -> Check {
    match result {
        Ok(values) => Err(format!("returned {values:?}, expected the trap {expected}")),
        Err(trap) => {
            let message = trap.to_string();
            // Scripts have a prefix of the message, or (for an element) more than the kind of the trap.
            let same = message.starts_with(expected) || expected.starts_with(&message);
            if same { Ok(()) } else { Err(format!("trapped with {message}, expected {expected}")) }
        }
    }
}
