//! The cost of calling a plugin's function in a fresh process, compared with calling it in an existing store.
//!
//! `cargo bench -p lunatic-benches --bench embedding [ROUNDS]`. Rounds of both in turn; medians and minima, in
//! nanoseconds of processor time of the whole program for each call. Wanted: 2,000 over the call itself.

use lunatic_benches::table::median;
use lunatic_executor::embed::{Node, Sandbox, Value};
use lunatic_instrument::{Options, prepare};
use lunatic_jit::{Engine, EngineConfig, Linker, Module, Store, StoreLimits};
use nix::sys::resource::{UsageWho, getrusage};

const CALLS: u32 = 200_000;

const ROUNDS: usize = 7;

const PLUGIN: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "add") (param i32 i32) (result i32)
    (i32.store (i32.const 64) (local.get 0))
    (i32.add (i32.load (i32.const 64)) (local.get 1))))"#;

/// Nanoseconds of processor time that the whole program has used.
fn used() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("asking for it has no way to fail");
    let nanoseconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1_000_000_000 + time.tv_usec() as u64 * 1000;
    nanoseconds(usage.user_time()) + nanoseconds(usage.system_time())
}

fn each(mut call: impl FnMut(i32)) -> u64 {
    let before = used();
    (0..CALLS as i32).for_each(&mut call);
    (used() - before) / u64::from(CALLS)
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let wasm = wat::parse_str(PLUGIN).expect("the text is valid");

    let node = Node::builder().build().expect("the node starts");
    let program = node.load(&wasm).expect("the plugin is valid");
    let sandbox = Sandbox::new().memory(1 << 20).reductions(1_000_000);
    let function = node.function(&program, "add", &sandbox).expect("it is exported");
    let in_process = |number: i32| {
        let results = function.call(&[Value::I32(number), Value::I32(1)]).expect("it returns");
        assert_eq!(results, [Value::I32(number + 1)]);
    };

    let engine = Engine::new(EngineConfig::default()).expect("this machine is supported");
    let prepared = prepare(&wasm, &Options::default()).expect("it can be prepared").bytes;
    let module = Module::compile(&engine, &prepared).expect("it compiles");
    let linked = Linker::<()>::new().link(&module).expect("it imports nothing");
    let (mut store, instance) = Store::with_instance(&linked, (), StoreLimits::default());
    let (instance, add) =
        (instance.expect("there is memory"), module.exported_function("add").expect("exported"));
    let mut in_store = |number: i32| {
        let results = store.call(instance, add, &[Value::I32(number), Value::I32(1)]).expect("it returns");
        assert_eq!(results, [Value::I32(number + 1)]);
    };

    let (mut processes, mut stores) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        processes.push(each(in_process) as f64);
        stores.push(each(&mut in_store) as f64);
    }
    for (name, times) in [("a process for each call", processes), ("one store for all calls", stores)] {
        let least = times.iter().copied().fold(f64::INFINITY, f64::min);
        let median = median(times).expect("there are rounds");
        println!("{name}: median {median:.0} ns, minimum {least:.0} ns");
    }
}
