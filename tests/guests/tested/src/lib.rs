//! A project that is tested with `cargo test`, with `lunatic-exec` as the runner.

#[cfg(test)]
mod cases;
#[cfg(all(test, target_arch = "wasm32"))]
mod processes;
