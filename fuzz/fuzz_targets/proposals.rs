//! Proposals that this engine does not run yet, on another engine: a generated module behaves the same after preparing, and never
//! does more work between two charges than the verifier claims.
//!
//! `instrument/tests/proposals.rs` checks the same on V8, with hand-written and some hundred generated modules.
#![no_main]

#[path = "../../instrument/tests/support/listing.rs"]
#[allow(dead_code, reason = "the rest is for mutants")]
mod listing;
#[path = "../../instrument/tests/support/oracle.rs"]
#[allow(dead_code, reason = "it has an engine of its own")]
mod oracle;
#[path = "../../instrument/tests/support/property.rs"]
mod property;

use std::sync::LazyLock;

use arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};
use listing::Listing;
use lunatic_instrument::{Options, prepare, verify};
use oracle::{Claim, Event, Watch, counted_copy};
use wasm_smith::Module as Generated;
use wasmtime::{
    Caller, Config, Engine, ExternType, Func, Instance, Module, Store, ThrownException, Trap, Val,
};

/// The work after which a module ends itself.
const FUEL: u32 = 2_000;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config
        .wasm_gc(true)
        .wasm_function_references(true)
        .wasm_exceptions(true)
        .wasm_memory64(true)
        .wasm_multi_memory(true)
        .wasm_tail_call(true)
        .wasm_relaxed_simd(true)
        .wasm_wide_arithmetic(true)
        .wasm_custom_page_sizes(true)
        .cranelift_nan_canonicalization(true)
        .signals_based_traps(false)
        .max_wasm_stack(1 << 20);
    Engine::new(&config).expect("this machine is supported")
});

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match compare(&mut Unstructured::new(bytes)) {
        Ok(true) => Corpus::Keep,
        Ok(false) | Err(_) => Corpus::Reject,
    }
});

/// Compares the runs. Returns whether there was something to compare.
fn compare(input: &mut Unstructured<'_>) -> arbitrary::Result<bool> {
    let mut options = Options::default();
    options.max_charge = *input.choose(&[10_000, 50, 7, 1])?;
    options.unroll = input.arbitrary()?;
    let mut module = Generated::new(config(), input)?;
    if module.ensure_termination(FUEL).is_err() {
        return Ok(false);
    }
    let original = module.to_bytes();
    let prepared = prepare(&original, &options).expect("a valid module is prepared").bytes;
    let claim = Claim::of(&verify(&prepared).expect("what was prepared verifies"));
    let Some((expected, _)) = run(&original, claim) else { return Ok(false) };
    for wasm in [&prepared, &counted_copy(&Listing::of(&prepared))] {
        let (seen, watched) = run(wasm, claim).expect("what is prepared is taken where the original is");
        assert_eq!(watched.observed.objection(), None, "claimed {claim:?}");
        // Frames have different sizes in the two modules, so the stack may overflow in different places.
        let until = |events: &[String]| events.iter().position(|event| event.ends_with(OVERFLOW));
        let end = [until(&expected), until(&seen)].into_iter().flatten().min();
        match end {
            Some(end) => assert_eq!(expected[..end], seen[..end]),
            None => assert_eq!(expected, seen),
        }
    }
    Ok(expected.len() > 1)
}

const OVERFLOW: &str = "StackOverflow";

fn config() -> wasm_smith::Config {
    const PAGES: u64 = 16 << 16;
    wasm_smith::Config {
        export_everything: true,
        max_imports: 0,
        max_memory32_bytes: PAGES,
        max_memory64_bytes: PAGES.into(),
        memory_max_size_required: true,
        max_table_elements: 1_000,
        table_max_size_required: true,
        threads_enabled: false,
        generate_custom_sections: false,
        ..property::config()
    }
}

/// The observable behaviour of a run: the results of the start function and of all exports, and the final state. `None` if the
/// engine refuses the module.
fn run(wasm: &[u8], claim: Claim) -> Option<(Vec<String>, Watch)> {
    let module = Module::new(&ENGINE, wasm).ok()?;
    let mut store = Store::new(&ENGINE, Watch::new(claim));
    let charge = Func::wrap(&mut store, |mut caller: Caller<'_, Watch>, value: i32| {
        // The module ends itself.
        caller.data_mut().event(Event::of(value));
    });
    let imports: Vec<_> = module.imports().map(|_| charge.into()).collect();
    let mut events = Vec::new();
    match Instance::new(&mut store, &module, &imports) {
        Ok(instance) => {
            events.push("started".to_owned());
            for export in module.exports() {
                if !observe(&mut store, instance, export.name(), &export.ty(), &mut events) {
                    break;
                }
            }
        }
        Err(error) => events.push(ending(&mut store, &error)),
    }
    Some((events, store.into_data()))
}

/// Returns whether to continue.
fn observe(
    store: &mut Store<Watch>,
    instance: Instance,
    name: &str,
    ty: &ExternType,
    events: &mut Vec<String>,
) -> bool {
    let export = instance.get_export(&mut *store, name).expect("it is exported");
    let event = match ty {
        ExternType::Func(ty) => {
            let args: Option<Vec<Val>> = ty.params().map(|ty| Val::default_for_ty(&ty)).collect();
            let Some(args) = args else { return true };
            let mut results: Vec<Val> = vec![Val::I32(0); ty.results().len()];
            let function = export.into_func().expect("its type says so");
            match function.call(&mut *store, &args, &mut results) {
                Ok(()) => results.iter().map(seen).collect::<Vec<_>>().join(" "),
                Err(error) => ending(store, &error),
            }
        }
        ExternType::Global(_) => seen(&export.into_global().expect("as above").get(&mut *store)),
        ExternType::Memory(_) => {
            let memory = export.into_memory().expect("as above");
            let sum = memory
                .data(&*store)
                .iter()
                .fold(7_u64, |sum, byte| sum.wrapping_mul(0x100_0000_01b3).wrapping_add(u64::from(*byte)));
            format!("{sum}")
        }
        _ => return true,
    };
    events.push(format!("{name}: {event}"));
    !events.last().is_some_and(|event| event.ends_with(OVERFLOW))
}

fn seen(value: &Val) -> String {
    match value {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => format!("{bits:x}"),
        Val::F64(bits) => format!("{bits:x}"),
        Val::V128(bits) => format!("{:x}", bits.as_u128()),
        reference => match reference.ref_() {
            Some(reference) if reference.is_null() => "null".to_owned(),
            _ => "a reference".to_owned(),
        },
    }
}

fn ending(store: &mut Store<Watch>, error: &wasmtime::Error) -> String {
    if error.is::<ThrownException>() {
        let _ = store.take_pending_exception();
        return "an exception".to_owned();
    }
    error.downcast_ref::<Trap>().map_or_else(|| error.root_cause().to_string(), |trap| format!("{trap:?}"))
}
