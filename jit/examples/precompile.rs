//! Compiles a module to a file that `run_precompiled` loads.
//!
//! ```sh
//! cargo run -p lunatic-jit --example precompile -- add.precompiled
//! cargo run -p lunatic-jit --no-default-features --example run_precompiled -- add.precompiled
//! ```

use lunatic_jit::{Budget, CompileOptions, Engine, EngineConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: precompile FILE")?;
    let wasm = wat::parse_str(
        r#"(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))"#,
    )?;
    let engine = Engine::new(EngineConfig::default())?;
    std::fs::write(path, engine.precompile(&wasm, CompileOptions::default(), &Budget::default())?)?;
    Ok(())
}
