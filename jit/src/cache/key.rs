//! The keys of a cache.

use std::fmt;

use crate::environ::fingerprint::{BUILD, SOURCES};
use crate::environ::options::CompileOptions;
use crate::runtime::engine::Engine;
use crate::runtime::sys::page_size;

/// The key of compiled code: a hash of everything that the code depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CacheKey {
    hash: [u8; 32],
    options: CompileOptions,
}

impl CacheKey {
    /// Creates the key of what this engine compiles from some input with these options. `parts` are the input
    /// and everything else that decides what is compiled, such as how the input is prepared. The engine adds
    /// what it depends on itself.
    pub fn new(engine: &Engine, options: CompileOptions, parts: &[&[u8]]) -> CacheKey {
        let mut hasher = blake3::Hasher::new();
        let compiler = engine.compiler().description();
        let how = format!("{options:?} {}", page_size());
        let engine = [SOURCES[0], SOURCES[1], BUILD, &compiler, &how].map(str::as_bytes);
        for part in engine.iter().chain(parts) {
            // With the length, so that no two lists of parts are the same bytes.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        CacheKey { hash: hasher.finalize().into(), options }
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.hash
    }

    pub(super) fn options(&self) -> CompileOptions {
        self.options
    }
}

/// Shows the key in hexadecimal digits, as in the name of its entry.
impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EngineConfig;

    #[test]
    fn different_inputs_options_and_engines_have_different_keys() {
        let engine = Engine::new(EngineConfig::default()).expect("the engine works here");
        let with = |options, parts: &[&[u8]]| CacheKey::new(&engine, options, parts).to_string();
        let key = |parts: &[&[u8]]| with(CompileOptions::default(), parts);
        let other = Engine::new(EngineConfig { canonical_nans: true, ..EngineConfig::default() });
        let other = CacheKey::new(&other.expect("so does this one"), CompileOptions::default(), &[]);
        let untrusted = CompileOptions { untrusted: true, ..CompileOptions::default() };
        assert_eq!(key(&[b"module"]), key(&[b"module"]));
        let keys = [
            key(&[b"ab"]),
            key(&[b"a", b"b"]),
            key(&[b"", b"ab"]),
            key(&[b"ab", b""]),
            key(&[]),
            with(untrusted, &[]),
            other.to_string(),
        ];
        for (i, one) in keys.iter().enumerate() {
            assert!(one.len() == 64 && keys[..i].iter().all(|other| other != one), "{keys:?}");
        }
    }
}
