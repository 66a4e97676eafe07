//! Runs what `precompile` has compiled. It needs no compiler: build it with `--no-default-features`.

use lunatic_jit::{Engine, EngineConfig, Linker, Module, Store, StoreLimits, Value};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: run_precompiled FILE")?;
    let engine = Engine::new(EngineConfig::default())?;
    // SAFETY: the file is what `precompile` has written. Only load files that nobody else can write.
    let module = unsafe { Module::from_precompiled(&engine, &std::fs::read(path)?)? };
    let linked = Linker::<()>::new().link(&module)?;
    let mut store = Store::new(&engine, (), StoreLimits::default());
    let instance = store.instantiate(&linked)?;
    let add = module.exported_function("add").ok_or("the module exports no function `add`")?;
    println!("1 + 2 = {:?}", store.call(instance, add, &[Value::I32(1), Value::I32(2)])?);
    Ok(())
}
