//! Compiling any valid module, with every proposal on, or any bytes, returns an error or a module. It never panics.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lunatic_jit::{CompileError, Engine, EngineConfig, Linker, Module, Store, StoreLimits};

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(EngineConfig::default()).expect("this machine is supported"));

/// Small enough for the fuzzer's memory limit.
const LIMITS: StoreLimits = StoreLimits { max_memory: 64 << 20, max_table_elements: 100_000, stack_size: None, total: None };

fuzz_target!(|input: (wasm_smith::Module, Vec<u8>)| {
    let (module, bytes) = input;
    let _ = Module::compile(&ENGINE, &bytes);
    match Module::compile(&ENGINE, &module.to_bytes()) {
        // The generator has every proposal on.
        Err(CompileError::Unsupported { .. } | CompileError::Invalid { .. }) => {}
        // A huge function may need more stack than exists.
        Err(CompileError::Frame { .. }) => {}
        // The budget has no deadline and is not cancelled.
        Err(
            error @ (CompileError::Codegen(_) | CompileError::OverBudget(_) | CompileError::Cancelled),
        ) => panic!("{error}"),
        Ok(module) => {
            if let Ok(linked) = Linker::<()>::new().link(&module) {
                let _ = Store::new(&ENGINE, (), LIMITS).instantiate(&linked);
            }
        }
    }
});
