//! The cost of preemption and of bounds checks, compared with Wasmtime. Every variant takes a turn in every round, so that a busy
//! machine slows all of them.
//!
//! `cargo bench --bench compute [ROUNDS [KERNEL…]]`. Prints minima in milliseconds, which a busy machine affects least, then
//! ratios.

use lunatic_benches::table::Table;
use lunatic_benches::{guest, peer::Peer};
use lunatic_instrument::{Options, prepare};
use lunatic_jit::{
    CompileOptions, Engine, EngineConfig, Instance, Linker, MemoryLayout, Module, Store, StoreLimits, Value,
};

/// Kernels and two real programs, each with a size that takes some tens of milliseconds.
const KERNELS: [(&str, i32); 12] = [
    ("fib", 30),
    ("sieve", 1 << 20),
    ("mandelbrot", 200),
    ("nbody", 200_000),
    ("matmul", 100),
    ("byte_sum", 20),
    ("copy", 500),
    ("sort", 20),
    ("hash", 2_000_000),
    ("sha256", 50_000),
    ("deflate", 600),
    ("json", 4_000),
];

const ROUNDS: usize = 15;

/// Reductions between two yields, as in the executor.
const SLICE: u64 = 100_000;

/// The printed ratios.
const RATIOS: [(&str, &str); 9] = [
    ("metered", "plain"),
    ("metered guarded", "plain guarded"),
    ("plain", "plain guarded"),
    ("untrusted", "plain guarded"),
    ("plain guarded", "wasmtime"),
    ("plain", "wasmtime checked"),
    ("untrusted", "wasmtime checked"),
    ("metered guarded", "wasmtime epoch"),
    ("metered", "wasmtime fuel"),
];

enum Variant {
    Ours(Box<Kernels>),
    Wasmtime(Peer),
}

struct Kernels {
    store: Store<()>,
    instance: Instance,
    module: Module,
}

impl Kernels {
    fn new(wasm: &[u8], memory: MemoryLayout, untrusted: bool) -> Kernels {
        let engine = Engine::new(EngineConfig::default()).expect("the engine works on this machine");
        let options = CompileOptions { memory, untrusted };
        let module = Module::compile_with(&engine, wasm, options).expect("the module is valid");
        let linked = Linker::new().link(&module).expect("it imports nothing");
        let mut store = Store::new(&engine, (), StoreLimits::default());
        let instance = store.instantiate(&linked).expect("it fits the limits");
        Kernels { store, instance, module }
    }

    /// Runs a kernel. Returns the milliseconds and the result.
    fn run(&mut self, name: &str, size: i32) -> (f64, i64) {
        let function = self.module.exported_function(name).expect("the kernel exists");
        let start = std::time::Instant::now();
        let results = self.store.call_in_slices(self.instance, function, &[Value::I32(size)], SLICE);
        let time = start.elapsed().as_secs_f64() * 1e3;
        let [Value::I64(result)] = results.expect("the kernel does not trap")[..] else {
            unreachable!("kernels return one number")
        };
        (time, result)
    }
}

impl Variant {
    fn run(&mut self, name: &str, size: i32) -> (f64, i64) {
        match self {
            Variant::Ours(kernels) => kernels.run(name, size),
            Variant::Wasmtime(peer) => peer.run(name, size),
        }
    }
}

fn variants() -> Vec<(&'static str, Variant)> {
    use MemoryLayout::{Pooled, Reserved};
    let wasm = guest("compute");
    let prepared = prepare(&wasm, &Options::default()).expect("the module is valid").bytes;
    let ours =
        |wasm: &[u8], memory, untrusted| Variant::Ours(Box::new(Kernels::new(wasm, memory, untrusted)));
    let mut variants = vec![
        ("plain", ours(&wasm, Pooled, false)),
        ("metered", ours(&prepared, Pooled, false)),
        ("untrusted", ours(&wasm, Pooled, true)),
        ("plain guarded", ours(&wasm, Reserved, false)),
        ("metered guarded", ours(&prepared, Reserved, false)),
    ];
    for (name, how) in [
        ("wasmtime", "guarded"),
        ("wasmtime checked", "checked"),
        ("wasmtime epoch", "epoch"),
        ("wasmtime fuel", "fuel"),
    ] {
        match Peer::wasmtime("compute", how) {
            Ok(peer) => variants.push((name, Variant::Wasmtime(peer))),
            Err(reason) => println!("{name} is skipped: {reason}"),
        }
    }
    variants
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench").peekable();
    let rounds = args.next_if(|arg| arg.parse::<usize>().is_ok()).map_or(ROUNDS, |arg| arg.parse().unwrap());
    let wanted: Vec<String> = args.collect();
    let mut variants = variants();
    let mut table = Table::new("kernel, ms", variants.iter().map(|(name, _)| *name));
    for (kernel, size) in KERNELS {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == kernel) {
            continue;
        }
        let mut times = vec![Vec::new(); variants.len()];
        for _ in 0..rounds {
            let mut results = Vec::new();
            for ((_, variant), times) in variants.iter_mut().zip(&mut times) {
                let (time, result) = variant.run(kernel, size);
                times.push(time);
                results.push(result);
            }
            assert!(results.iter().all(|result| *result == results[0]), "{kernel}: all variants agree");
        }
        table.row(kernel, times.iter().map(|times| times.iter().copied().fold(f64::INFINITY, f64::min)));
    }
    table.print(&RATIOS);
}
