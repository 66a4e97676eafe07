//! The second oracle: Wasmtime supports everything that this engine does. Both share the code generator, so an agreement says little
//! about that; the interpreter is the oracle for it.

use std::sync::LazyLock;

use lunatic_jit::Value;
use wasmtime::{Config, Engine, Instance, Module, OptLevel, Ref, Store, Trap, Val};

use crate::compare::{Call, Event, Kind, Plan, Run, Seen};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config
        .wasm_tail_call(true)
        .wasm_multi_memory(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_extended_const(true)
        // As different from this engine as possible: no optimisation, and no faults, whose handlers are process-wide.
        .cranelift_opt_level(OptLevel::None)
        .signals_based_traps(false)
        .max_wasm_stack(2 << 20);
    Engine::new(&config).expect("this machine is supported")
});

pub(crate) fn runs(wasm: &[u8], plans: &[Plan]) -> Vec<Run> {
    let module = Module::new(&ENGINE, wasm).expect("the oracle takes what was generated");
    plans.iter().map(|plan| run(&module, plan)).collect()
}

fn run(module: &Module, plan: &Plan) -> Run {
    let mut store = Store::new(&ENGINE, ());
    let instance = match Instance::new(&mut store, module, &[]) {
        Ok(instance) => instance,
        Err(error) => return vec![Event::Start(Err(kind(&error)))],
    };
    let mut events = vec![Event::Start(Ok(()))];
    for wanted in &plan.calls {
        events.push(Event::Call(wanted.name.clone(), call(&mut store, instance, wanted)));
    }
    for name in &plan.globals {
        let global = instance.get_global(&mut store, name).expect("it is in the plan");
        let value = global.get(&mut store);
        events.push(Event::Global(name.clone(), seen(&value)));
    }
    for name in &plan.memories {
        let memory = instance.get_memory(&mut store, name).expect("it is in the plan");
        events.push(Event::Memory(name.clone(), memory.data(&store).to_vec()));
    }
    events
}

fn call(store: &mut Store<()>, instance: Instance, call: &Call) -> Result<Vec<Seen>, Kind> {
    let function = instance.get_func(&mut *store, &call.name).expect("it is in the plan");
    let args: Vec<Val> = call.args.iter().map(|&arg| value(arg)).collect();
    let mut results = vec![Val::I32(0); function.ty(&*store).results().len()];
    match function.call(store, &args, &mut results) {
        Ok(()) => Ok(results.iter().map(seen).collect()),
        Err(error) => Err(kind(&error)),
    }
}

fn value(value: Value) -> Val {
    match value {
        Value::I32(value) => Val::I32(value),
        Value::I64(value) => Val::I64(value),
        Value::F32(bits) => Val::F32(bits),
        Value::F64(bits) => Val::F64(bits),
        Value::V128(bits) => Val::V128(bits.into()),
        // Generated reference arguments are null.
        Value::FuncRef(_) => Val::FuncRef(None),
        Value::ExternRef(_) => Val::ExternRef(None),
    }
}

fn seen(value: &Val) -> Seen {
    match value {
        Val::I32(value) => Seen::I32(*value),
        Val::I64(value) => Seen::I64(*value),
        Val::F32(bits) => Seen::F32(*bits),
        Val::F64(bits) => Seen::F64(*bits),
        Val::V128(bits) => Seen::V128(bits.as_u128()),
        other => match other.ref_() {
            Some(Ref::Func(None) | Ref::Extern(None)) => Seen::Null,
            Some(_) => Seen::Reference,
            None => panic!("nothing else is generated: {other:?}"),
        },
    }
}

fn kind(error: &wasmtime::Error) -> Kind {
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => Kind::Unreachable,
        Some(Trap::MemoryOutOfBounds) => Kind::Memory,
        Some(Trap::TableOutOfBounds) => Kind::Table,
        Some(Trap::IndirectCallToNull) => Kind::NullCall,
        Some(Trap::BadSignature) => Kind::Signature,
        Some(Trap::IntegerDivisionByZero) => Kind::DivisionByZero,
        Some(Trap::IntegerOverflow) => Kind::Overflow,
        Some(Trap::BadConversionToInteger) => Kind::Conversion,
        Some(Trap::StackOverflow) => Kind::StackOverflow,
        _ => panic!("the oracle fails otherwise: {error:?}"),
    }
}
