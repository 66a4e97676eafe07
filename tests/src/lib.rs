//! Helpers for tests that use several crates.
//!
//! [`guests`] builds guest programs from source, [`toolchains`] those in languages other than Rust. [`commands`] builds and runs the
//! commands, [`talking`] exchanges lines with a running guest. [`spec`] runs the official specification suite on the engine;
//! `src/bin/spec.rs` is the same as a command. [`sources`] finds the repository's own sources. The tests themselves are in `tests/`.

pub mod commands;
pub mod guests;
mod killed;
mod skip;
pub mod sources;
pub mod spec;
pub mod talking;
pub mod toolchains;

pub use killed::Killed;
pub use skip::skip;

/// Defines `cache()`: a cache of native code for the tests of one file, empty at first, so that a guest is compiled once instead
/// of in each run. The name distinguishes it from those of other files.
#[macro_export]
macro_rules! cache {
    ($name:literal) => {
        fn cache() -> &'static str {
            static CACHE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
            CACHE.get_or_init(|| {
                $crate::commands::cache(env!("CARGO_TARGET_TMPDIR"), concat!($name, "-cache"))
            })
        }
    };
}

/// A test for each scenario of a guest: `scenarios! { run: function => "name" }` has `function` call `run("name")`.
#[macro_export]
macro_rules! scenarios {
    ($run:path: $($function:ident => $name:literal),* $(,)?) => {$(
        #[test]
        fn $function() {
            $run($name);
        }
    )*};
}
