//! A test of each kind. Built for the host, they run in libtest, whose report the runner has to match.

// The macro takes a body of one panic for a value that has no use.
#![allow(unused_braces, unreachable_code)]

#[cfg(target_arch = "wasm32")]
use lunatic::test;

#[test]
fn passes() {}

#[test]
fn prints() {
    println!("to standard output");
    eprintln!("to standard error");
}

#[test]
#[ignore]
fn ignored() {}

#[test]
#[should_panic]
fn panics() {
    panic!("anything");
}

#[test]
#[should_panic(expected = "a \"#1\" of")]
fn panics_as_expected() {
    panic!("one line,\nand a \"#1\" of another");
}

#[test]
#[ignore]
#[should_panic(expected = "something else")]
fn fails_by_another_panic() {
    println!("before");
    panic!("it's 'this'");
}

#[test]
#[ignore]
#[should_panic]
fn fails_by_no_panic() {}

#[test]
#[ignore]
#[should_panic(expected = "anything")]
fn fails_by_no_panic_either() {
    println!("a line");
}

#[test]
#[ignore]
fn fails_with_two_lines() {
    assert!(1 > 2, "one\ntwo");
}
