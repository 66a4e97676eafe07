//! HOSTILE 44: what a mispredicted branch may lead to is masked. The tests look for the masks in the machine
//! code.
//!
//! `call_indirect`, `table.get` and `br_table` are always masked, accesses to pooled memories in untrusted
//! code. Not masked are a guest's own branches over its own data, the type comparison of an indirect call (a
//! wrong prediction calls another function of the same module), and what stays in predictors between
//! processes of one thread.

use crate::{CompileOptions, Engine, EngineConfig, MemoryLayout, Module};

const GUEST: &str = r#"(module
    (memory 1) (table 4 funcref)
    (func (param i32) (result i32) (i32.load (local.get 0)))
    (func (param i32) (i32.store (local.get 0) (local.get 0)))
    (func (param i32) (memory.copy (local.get 0) (i32.const 1) (i32.const 2)))
    (func (param i32) (call_indirect (local.get 0)))
    (func (param i32) (return_call_indirect (local.get 0)))
    (func (param i32) (result funcref) (table.get 0 (local.get 0)))
    (func (param i32) (result i32)
        (block (block (block (block (br_table 0 1 2 3 (local.get 0)))
            (return (i32.const 5))) (return (i32.const 77))) (return (i32.const 1234))) (i32.const 7)))"#;

/// Whether the code of each function has an instruction that speculation does not pass.
fn masks(options: CompileOptions) -> Vec<bool> {
    let engine = Engine::new(EngineConfig::default()).expect("this machine is supported");
    let wasm = wat::parse_str(GUEST).expect("it is valid");
    let module = Module::compile_with(&engine, &wasm, options).expect("it is supported");
    let code = &module.inner.code;
    let functions = 0..module.inner.info.functions.len() as u32;
    functions
        .map(|function| {
            // SAFETY: the code of the function is readable, and lives as long as the module.
            let bytes = unsafe { std::slice::from_raw_parts(code.address(function), code.size(function)) };
            if cfg!(target_arch = "aarch64") {
                // The barrier behind the conditional selection.
                bytes.chunks_exact(4).any(|word| word == 0xd503_229f_u32.to_le_bytes())
            } else {
                // A conditional move. If the two bytes were part of something else, `trusted` below would
                // show it.
                bytes.windows(2).any(|pair| pair[0] == 0x0f && (0x40..0x50).contains(&pair[1]))
            }
        })
        .collect()
}

#[test]
fn masks_are_in_the_machine_code() {
    let trusted = masks(CompileOptions::default());
    assert_eq!(
        trusted,
        [false, false, false, true, true, true, true],
        "load, store, copy, call, tail call, table.get, br_table"
    );
    let untrusted = masks(CompileOptions { untrusted: true, ..CompileOptions::default() });
    assert_eq!(untrusted, [true; 7]);
    // A single access cannot leave the reservation, so there is nothing to mask.
    let reserved = masks(CompileOptions { untrusted: true, memory: MemoryLayout::Reserved });
    assert_eq!(reserved, [false, false, true, true, true, true, true]);
}
