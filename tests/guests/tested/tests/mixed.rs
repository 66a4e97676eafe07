//! Tests of both kinds in one binary.
#![cfg(target_arch = "wasm32")]

#[lunatic::test]
fn of_lunatic() {
    lunatic::sleep(std::time::Duration::from_millis(1));
}

#[test]
fn ordinary() {
    println!("an ordinary test prints");
}

#[test]
#[ignore]
fn ordinary_and_ignored() {}

/// No process of WebAssembly survives a panic, so the harness does not run it.
#[test]
#[should_panic]
fn ordinary_and_should_panic() {
    panic!();
}

#[test]
#[ignore]
fn ordinary_and_fails() {
    println!("before");
    panic!("an ordinary panic");
}

#[test]
#[ignore]
fn ordinary_and_returns_an_error() -> Result<(), String> {
    Err("what it returns".into())
}
