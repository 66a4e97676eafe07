//! A project that is tested as any other: `cargo test`, with `lunatic-exec` for a runner.

#[cfg(test)]
mod cases;
#[cfg(all(test, target_arch = "wasm32"))]
mod processes;
