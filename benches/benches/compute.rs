//! The price of preemption: kernels with and without charges, on the same engine.

use criterion::{Criterion, criterion_group, criterion_main};
use lunatic_benches::guest;
use lunatic_instrument::{Options, prepare};
use lunatic_jit::{Engine, EngineConfig, FuncIndex, Instance, Linker, Module, Store, StoreLimits, Value};

/// Kernels, and a size that takes a few milliseconds.
const KERNELS: [(&str, i32); 9] = [
    ("fib", 27),
    ("sieve", 1 << 20),
    ("mandelbrot", 100),
    ("matmul", 20),
    ("byte_sum", 4),
    ("copy", 100),
    ("sort", 4),
    ("hash", 400_000),
    ("sha256", 10_000),
];

/// Reductions between two yields, as in the executor.
const SLICE: u64 = 100_000;

struct Kernel {
    store: Store<()>,
    instance: Instance,
    module: Module,
}

impl Kernel {
    fn new(wasm: &[u8]) -> Kernel {
        let engine = Engine::new(EngineConfig::default()).expect("the engine works on this machine");
        let module = Module::compile(&engine, wasm).expect("the module is valid");
        let linked = Linker::new().link(&module).expect("it imports nothing");
        let mut store = Store::new(&engine, (), StoreLimits::default());
        let instance = store.instantiate(&linked).expect("it fits the limits");
        Kernel { store, instance, module }
    }

    fn function(&self, name: &str) -> FuncIndex {
        self.module.exported_function(name).expect("the kernel exists")
    }

    fn run(&mut self, function: FuncIndex, size: i32) -> Vec<Value> {
        let results = self.store.call_in_slices(self.instance, function, &[Value::I32(size)], SLICE);
        results.expect("the kernel does not trap")
    }
}

fn metering(criterion: &mut Criterion) {
    let wasm = guest("compute");
    let prepared = prepare(&wasm, &Options::default()).expect("the module is valid").bytes;
    let (mut plain, mut metered) = (Kernel::new(&wasm), Kernel::new(&prepared));
    for (name, size) in KERNELS {
        let (plain_function, metered_function) = (plain.function(name), metered.function(name));
        assert_eq!(plain.run(plain_function, size), metered.run(metered_function, size), "{name}");
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20);
        group.bench_function("unmetered", |bencher| bencher.iter(|| plain.run(plain_function, size)));
        group.bench_function("metered", |bencher| bencher.iter(|| metered.run(metered_function, size)));
        group.finish();
    }
}

criterion_group!(benches, metering);
criterion_main!(benches);
