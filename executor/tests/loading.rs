//! Files that are not programs are refused with the reason, and nothing runs.

mod common;

use common::{guest, workers};
use lunatic_executor::{LoadError, MAX_WORKERS, Runtime, RuntimeError};

fn load(bytes: &[u8]) -> LoadError {
    match Runtime::new(workers(1)).unwrap().load(bytes) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error,
    }
}

#[test]
fn all_missing_imports_are_named() {
    let wat = r#"(module
        (import "env" "nothing" (func))
        (import "lunatic::process" "sleep_ms" (func (param i32)))
        (import "lunatic::process" "process_id" (func (result i64)))
        (memory (export "memory") 1)
        (func (export "_start")))"#;
    let text = load(&wat::parse_str(wat).unwrap()).to_string();
    assert!(text.contains("env::nothing") && text.contains("lunatic::process::sleep_ms"), "{text}");
    assert!(!text.contains("process_id"), "{text}");
}

#[test]
fn a_file_that_is_not_a_module_is_refused() {
    let whole = wat::parse_str(guest("(func (export \"_start\"))")).unwrap();
    for bytes in [&b"not wasm"[..], &[], &whole[..whole.len() / 2], b"\0asm\x0d\0\x01\0"] {
        assert!(matches!(load(bytes), LoadError::Prepare(_)), "{bytes:?}");
    }
}

#[test]
fn a_module_without_start_is_refused() {
    for wat in ["(module)", "(module (func (export \"_start\") (param i32)))"] {
        assert!(matches!(load(&wat::parse_str(wat).unwrap()), LoadError::NoStart));
    }
}

#[test]
fn a_runtime_without_workers_or_slice_is_refused() {
    for count in [0, MAX_WORKERS + 1, usize::MAX] {
        assert!(matches!(Runtime::new(workers(count)), Err(RuntimeError::Workers)), "{count}");
    }
    let config = workers(1).slice(0);
    assert!(matches!(Runtime::new(config), Err(RuntimeError::EmptySlice)));
}

#[test]
fn an_error_gives_its_advice_once() {
    let wasm = wat::parse_str("(module (func (export \"_start\") (loop (br 0))))").unwrap();
    let prepared = lunatic_instrument::prepare(&wasm, &Default::default()).unwrap().bytes;
    let mark = prepared.windows(12).position(|bytes| bytes == b"lunatic.prep").unwrap();
    let mut other = prepared.clone();
    other[mark + 12] = 99;
    let mut weak = prepared;
    let charge = weak.windows(4).position(|code| code == [0x41, 0x01, 0x10, 0x00]).unwrap();
    weak[charge..charge + 4].fill(0x01);
    for bytes in [other, weak] {
        let text = load(&bytes).to_string();
        assert!(text.matches("lunatic-prep").count() == 1 && text.matches("again").count() == 1, "{text}");
    }
}

#[test]
fn a_prepared_module_is_verified_when_it_is_loaded() {
    let wasm = wat::parse_str(guest("(func (export \"_start\") (loop $l (br $l)))")).unwrap();
    let prepared = lunatic_instrument::prepare(&wasm, &Default::default()).unwrap().bytes;
    let runtime = Runtime::new(workers(1)).unwrap();
    assert!(runtime.load(&prepared).is_ok());
    // With any single byte of the code changed, the module is verified or refused. Nothing panics.
    let mut refused = 0;
    for index in (prepared.len() / 2..prepared.len()).step_by(17) {
        let mut changed = prepared.clone();
        changed[index] ^= 0x55;
        refused += usize::from(runtime.load(&changed).is_err());
    }
    assert!(refused > 0);
}
