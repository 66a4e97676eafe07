//! `lunatic-prep`
#![forbid(unsafe_code)]
fn main() {}
