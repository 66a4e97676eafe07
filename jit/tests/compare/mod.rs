//! Runs one module on this engine and on others: what can be observed of it has to be the same.
//!
//! A run is a list of [`Event`]s: the start, a call of each exported function with seeded arguments, then the
//! exported globals and memories. The state is kept after traps, as the specification requires. A run ends at
//! a stack overflow, which engines may decide differently. Some modules have one run, others one for each
//! function, so that each function has all of the fuel.
//!
//! The interpreter is the oracle of the tests. The fuzz target `differential` uses this file too, with a
//! second oracle.

use std::sync::OnceLock;

use lunatic_jit::{
    CompileOptions, Engine, EngineConfig, Export, ExternType, Instance, InstantiateError, Linker,
    MemoryLayout, Module, Store, StoreLimits, Trap, TrapKind, ValType, Value,
};
use wasm_smith::Config;

/// The fuel of wasm-smith's modules, which end when it is used up.
const FUEL: u32 = 2_000;

/// The size of a generated memory: a few pages are enough to find mistakes.
const MAX_MEMORY: u64 = 1 << 20;

/// An observation of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// Instantiation and the start function.
    Start(Result<(), Kind>),
    /// A call of an exported function.
    Call(String, Result<Vec<Seen>, Kind>),
    /// An exported global at the end.
    Global(String, Seen),
    /// An exported memory at the end.
    Memory(String, Vec<u8>),
}

impl Event {
    fn overflows(&self) -> bool {
        matches!(self, Event::Start(Err(Kind::StackOverflow)) | Event::Call(_, Err(Kind::StackOverflow)))
    }
}

/// A value, as far as two engines can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u128),
    Null,
    Reference,
}

/// The reasons of a trap that both engines distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unreachable,
    Memory,
    Table,
    NullCall,
    Signature,
    DivisionByZero,
    Overflow,
    Conversion,
    StackOverflow,
}

/// What to observe of one instance, in this order: engines list exports in different orders.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) calls: Vec<Call>,
    pub(crate) globals: Vec<String>,
    pub(crate) memories: Vec<String>,
}

/// A function to call, and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) args: Vec<Value>,
}

/// Another engine: it returns what is observed of a module, in an instance for each plan.
pub(crate) type Oracle = fn(&[u8], &[Plan]) -> Vec<Run>;

/// The observations of one instance.
pub(crate) type Run = Vec<Event>;

/// A small generator of seeded numbers (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number that is often near a boundary.
    fn edgy(&mut self) -> u64 {
        const EDGES: [u64; 8] = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 63, u64::MAX, 1 << 52];
        match self.next() % 4 {
            0 => EDGES[(self.next() % 8) as usize],
            1 => self.next() % 100,
            _ => self.next(),
        }
    }

    fn value(&mut self, ty: ValType) -> Value {
        match ty {
            ValType::I32 => Value::I32(self.edgy() as i32),
            ValType::I64 => Value::I64(self.edgy() as i64),
            ValType::F32 => Value::F32((self.edgy() as f32).to_bits() ^ (self.next() as u32 & 0x8000_0001)),
            ValType::F64 => Value::F64((self.edgy() as f64).to_bits() ^ (self.next() & 1)),
            ValType::V128 => Value::V128(u128::from(self.edgy()) << 64 | u128::from(self.edgy())),
            ValType::FuncRef => Value::FuncRef(None),
            ValType::ExternRef => Value::ExternRef(None),
        }
    }
}

/// The kinds of modules to generate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taste {
    /// Operators are guarded so that they do not trap: without that, most functions end at one of their first
    /// operators. wasmi 2.0 cannot be the oracle of these: it returns 0 for the guard of a divisor that is 0,
    /// in `memory.size (select (i32.const 1) (local.get 0) (i32.eqz (local.get 0))) i32.div_u`.
    pub(crate) tame: bool,
    /// With relaxed SIMD, where the interpreter and this engine differ.
    pub(crate) relaxed: bool,
}

/// Generates a module that the engines support and that ends. It imports nothing.
pub(crate) fn generate(bytes: &mut arbitrary::Unstructured<'_>, taste: Taste) -> arbitrary::Result<Vec<u8>> {
    let mut module = wasm_smith::Module::new(config(taste), bytes)?;
    // Fails if an exported global would have to hold the fuel, which does not happen.
    let _ = module.ensure_termination(FUEL);
    Ok(module.to_bytes())
}

fn config(taste: Taste) -> Config {
    Config {
        disallow_traps: taste.tame,
        max_imports: 0,
        min_funcs: 4,
        max_funcs: 16,
        max_instructions: 400,
        min_types: 2,
        max_types: 12,
        max_memories: 3,
        max_memory32_bytes: MAX_MEMORY,
        memory_max_size_required: true,
        max_tables: 3,
        max_table_elements: 1000,
        table_max_size_required: true,
        export_everything: true,
        canonicalize_nans: true,
        bulk_memory_enabled: true,
        reference_types_enabled: true,
        exceptions_enabled: false,
        gc_enabled: false,
        compact_imports_enabled: false,
        memory64_enabled: false,
        // The interpreter rounds a relaxed multiplication and addition once, this engine twice; both are
        // allowed.
        relaxed_simd_enabled: taste.relaxed,
        simd_enabled: true,
        tail_call_enabled: true,
        extended_const_enabled: true,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    }
}

/// Compares this engine with others on a module, and on its prepared form, which is suspended often. Both are
/// compiled with options that depend on the seed, and run in the same number of instances. Returns the number
/// of compared events.
pub(crate) fn compare(engine: &Engine, wasm: &[u8], seed: u64, oracles: &[Oracle]) -> usize {
    let mut choices = Random(seed);
    let module = Module::compile_with(engine, wasm, options(&mut choices))
        .expect("the engine takes what was generated");
    let plans = plans(&module, &mut choices);
    let found = runs(engine, &module, &plans, u64::MAX);
    for oracle in oracles {
        same("plain", &oracle(wasm, &plans), &found);
    }

    let prepared = lunatic_instrument::prepare(wasm, &lunatic_instrument::Options::default())
        .expect("the instrumenter takes what was generated");
    let prepared = Module::compile_with(engine, &prepared.bytes, options(&mut choices)).expect("as above");
    // At every charge, or now and then.
    let slice = if choices.next().is_multiple_of(4) { choices.next() % 100 } else { 0 };
    same("prepared", &found, &runs(engine, &prepared, &plans, slice))
}

fn options(choices: &mut Random) -> CompileOptions {
    let choice = choices.next();
    let memory = if choice & 1 == 0 { MemoryLayout::Pooled } else { MemoryLayout::Reserved };
    CompileOptions { memory, untrusted: choice & 2 != 0 }
}

/// Creates an engine whose stack is deep enough for what the fuel allows.
pub(crate) fn engine() -> Engine {
    Engine::new(EngineConfig { stack_size: 8 << 20, ..EngineConfig::default() })
        .expect("this machine is supported")
}

fn same(what: &str, expected: &[Run], found: &[Run]) -> usize {
    assert_eq!(expected.len(), found.len(), "{what}: as many runs as plans");
    expected.iter().zip(found).map(|(expected, found)| same_run(what, expected, found)).sum()
}

fn same_run(what: &str, expected: &[Event], found: &[Event]) -> usize {
    let mut compared = 0;
    for (expected, found) in expected.iter().zip(found) {
        if expected.overflows() || found.overflows() {
            return compared;
        }
        if let (Event::Memory(name, expected), Event::Memory(other, found)) = (expected, found) {
            let differs = expected.iter().zip(found).position(|(a, b)| a != b);
            assert_eq!((name, expected.len(), None), (other, found.len(), differs), "{what}: memory {name}");
        } else {
            assert_eq!(expected, found, "{what}: expected on the left, after {compared} events");
        }
        compared += 1;
    }
    assert_eq!(expected.len(), found.len(), "{what}");
    compared
}

/// All functions in one instance, or an instance for each.
fn plans(module: &Module, choices: &mut Random) -> Vec<Plan> {
    let mut plan = Plan::default();
    let apart = choices.next() & 1 == 0;
    for (name, ty) in module.exports() {
        let name = name.to_owned();
        match ty {
            ExternType::Func(ty) => {
                let args = ty.params.iter().map(|&ty| choices.value(ty)).collect();
                plan.calls.push(Call { name, args });
            }
            ExternType::Global(_) => plan.globals.push(name),
            ExternType::Memory(_) => plan.memories.push(name),
            ExternType::Table(_) => {}
        }
    }
    if !apart {
        return vec![plan];
    }
    let calls = std::mem::take(&mut plan.calls);
    calls.into_iter().map(|call| Plan { calls: vec![call], ..plan.clone() }).collect()
}

fn runs(engine: &Engine, module: &Module, plans: &[Plan], slice: u64) -> Vec<Run> {
    plans.iter().map(|plan| run(engine, module, plan, slice)).collect()
}

/// Runs a plan on this engine.
fn run(engine: &Engine, module: &Module, plan: &Plan, slice: u64) -> Run {
    let mut store = Store::new(engine, (), StoreLimits::default());
    let linked = Linker::new().link(module).expect("nothing is imported");
    let instance = match store.instantiate(&linked) {
        Ok(instance) => instance,
        Err(InstantiateError::Trap(trap)) => return vec![Event::Start(Err(kind(&trap)))],
        Err(error) => panic!("{error}"),
    };
    if let Some(start) = module.start_function()
        && let Err(trap) = store.call_in_slices(instance, start, &[], slice)
    {
        return vec![Event::Start(Err(kind(&trap)))];
    }
    let mut events = vec![Event::Start(Ok(()))];
    for call in &plan.calls {
        let function = module.exported_function(&call.name).expect("it is in the plan");
        let result = store.call_in_slices(instance, function, &call.args, slice);
        let result = result.map(|values| values.into_iter().map(seen).collect()).map_err(|trap| kind(&trap));
        events.push(Event::Call(call.name.clone(), result));
    }
    for name in &plan.globals {
        let value = store.export(instance, name).and_then(|export| store.global(export));
        events.push(Event::Global(name.clone(), seen(value.expect("it is in the plan"))));
    }
    for name in &plan.memories {
        let export = store.export(instance, name).expect("it is in the plan");
        events.push(Event::Memory(name.clone(), memory(engine, &mut store, export)));
    }
    events
}

/// Returns the bytes of an exported memory of any name, through an instance that imports it.
fn memory(engine: &Engine, store: &mut Store<()>, export: Export) -> Vec<u8> {
    // Code for pooled memories can import reserved ones, not the reverse.
    let reader = READER.get_or_init(|| {
        let wasm = wat::parse_str(r#"(module (import "m" "m" (memory 0)) (export "memory" (memory 0)))"#);
        Module::compile(engine, &wasm.expect("it is valid")).expect("as above")
    });
    let reader: Instance = store.instantiate_with(reader, &[export]).expect("its type fits");
    store.memory_and_data(reader).expect("it has one").0.to_vec()
}

/// One for all modules: a process compares on one engine.
static READER: OnceLock<Module> = OnceLock::new();

fn seen(value: Value) -> Seen {
    match value {
        Value::I32(value) => Seen::I32(value),
        Value::I64(value) => Seen::I64(value),
        Value::F32(bits) => Seen::F32(bits),
        Value::F64(bits) => Seen::F64(bits),
        Value::V128(bits) => Seen::V128(bits),
        Value::FuncRef(None) | Value::ExternRef(None) => Seen::Null,
        Value::FuncRef(Some(_)) | Value::ExternRef(Some(_)) => Seen::Reference,
    }
}

fn kind(trap: &Trap) -> Kind {
    match &trap.kind {
        TrapKind::Unreachable => Kind::Unreachable,
        TrapKind::MemoryOutOfBounds => Kind::Memory,
        TrapKind::TableOutOfBounds | TrapKind::UndefinedElement => Kind::Table,
        TrapKind::UninitializedElement => Kind::NullCall,
        TrapKind::IndirectCallTypeMismatch => Kind::Signature,
        TrapKind::IntegerDivisionByZero => Kind::DivisionByZero,
        TrapKind::IntegerOverflow => Kind::Overflow,
        TrapKind::InvalidConversionToInteger => Kind::Conversion,
        TrapKind::StackOverflow => Kind::StackOverflow,
        TrapKind::Host(error) => panic!("there is no host function to fail: {error}"),
    }
}

/// The other oracle: wasmi.
pub(crate) mod interpreter {
    use lunatic_jit::Value;
    use wasmi::errors::ErrorKind;
    use wasmi::{Config, Engine, Instance, Linker, Module, Store, TrapCode, Val};

    use super::{Call, Event, Kind, Plan, Run, Seen};

    pub(crate) fn runs(wasm: &[u8], plans: &[Plan]) -> Vec<Run> {
        let mut config = Config::default();
        // The fuel limits the depth; the interpreter's own limit must not be reached before.
        config.set_max_recursion_depth(100_000).set_max_stack_height(64 << 20);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, wasm).expect("the interpreter takes what was generated");
        plans.iter().map(|plan| run(&engine, &module, plan)).collect()
    }

    fn run(engine: &Engine, module: &Module, plan: &Plan) -> Run {
        let mut store = Store::new(engine, ());
        let instance = match Linker::new(engine).instantiate_and_start(&mut store, module) {
            Ok(instance) => instance,
            Err(error) => return vec![Event::Start(Err(kind(&error)))],
        };
        let mut events = vec![Event::Start(Ok(()))];
        for wanted in &plan.calls {
            events.push(Event::Call(wanted.name.clone(), call(&mut store, instance, wanted)));
        }
        for name in &plan.globals {
            let global = instance.get_global(&store, name).expect("it is in the plan");
            events.push(Event::Global(name.clone(), seen(&global.get(&store))));
        }
        for name in &plan.memories {
            let memory = instance.get_memory(&store, name).expect("it is in the plan");
            events.push(Event::Memory(name.clone(), memory.data(&store).to_vec()));
        }
        events
    }

    fn call(store: &mut Store<()>, instance: Instance, call: &Call) -> Result<Vec<Seen>, Kind> {
        let function = instance.get_func(&*store, &call.name).expect("it is in the plan");
        let ty = function.ty(&*store);
        let args: Vec<Val> = call.args.iter().zip(ty.params()).map(|(&arg, &ty)| value(arg, ty)).collect();
        let mut results: Vec<Val> = ty.results().iter().map(|&ty| Val::default_for_ty(ty)).collect();
        match function.call(store, &args, &mut results) {
            Ok(()) => Ok(results.iter().map(seen).collect()),
            Err(error) => Err(kind(&error)),
        }
    }

    fn value(value: Value, ty: wasmi::ValType) -> Val {
        match value {
            Value::I32(value) => Val::I32(value),
            Value::I64(value) => Val::I64(value),
            Value::F32(bits) => Val::F32(wasmi::F32::from_bits(bits)),
            Value::F64(bits) => Val::F64(wasmi::F64::from_bits(bits)),
            Value::V128(bits) => Val::V128(wasmi::V128::from(bits)),
            Value::FuncRef(_) | Value::ExternRef(_) => Val::default_for_ty(ty),
        }
    }

    fn seen(value: &Val) -> Seen {
        match value {
            Val::I32(value) => Seen::I32(*value),
            Val::I64(value) => Seen::I64(*value),
            Val::F32(value) => Seen::F32(value.to_bits()),
            Val::F64(value) => Seen::F64(value.to_bits()),
            Val::V128(value) => Seen::V128(value.as_u128()),
            Val::FuncRef(reference) if reference.is_null() => Seen::Null,
            Val::ExternRef(reference) if reference.is_null() => Seen::Null,
            Val::FuncRef(_) | Val::ExternRef(_) => Seen::Reference,
        }
    }

    fn kind(error: &wasmi::Error) -> Kind {
        match error.as_trap_code() {
            Some(TrapCode::UnreachableCodeReached) => Kind::Unreachable,
            Some(TrapCode::MemoryOutOfBounds) => Kind::Memory,
            Some(TrapCode::TableOutOfBounds) => Kind::Table,
            Some(TrapCode::IndirectCallToNull) => Kind::NullCall,
            Some(TrapCode::BadSignature) => Kind::Signature,
            Some(TrapCode::IntegerDivisionByZero) => Kind::DivisionByZero,
            Some(TrapCode::IntegerOverflow) => Kind::Overflow,
            Some(TrapCode::BadConversionToInteger) => Kind::Conversion,
            Some(TrapCode::StackOverflow) => Kind::StackOverflow,
            // The interpreter does not report an active element segment that does not fit as a trap.
            None if matches!(error.kind(), ErrorKind::Instantiation(_)) => Kind::Table,
            _ => panic!("the interpreter fails otherwise: {error}"),
        }
    }
}
