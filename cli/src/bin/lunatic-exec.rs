//! `lunatic-exec`
#![forbid(unsafe_code)]
fn main() {}
