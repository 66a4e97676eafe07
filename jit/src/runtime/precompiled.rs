//! Precompiled modules: compiled to bytes by one program, and run by another, which may have no compiler.
//!
//! ```text
//! magic 8 │ length of the identity 4 │ identity │ entry, as in the cache │ checksum of all before 4
//! ```
//!
//! The identity lists, in lines, what the code was compiled by and for. A program that loads the module
//! compares each line with its own: the sources of this engine, the architecture and operating system, the
//! page size, the compile options, and every processor feature that the code may use. The checksum finds
//! accidents. Neither protects against malice: bytes that an attacker can change make the host run any code.
//! See [`Module::from_precompiled`].

use std::sync::Arc;

use crate::environ::declarations;
use crate::environ::fingerprint::SOURCES;
use crate::environ::options::{CompileOptions, MemoryLayout};
use crate::environ::target::Target;
use crate::runtime::code::artifact_file;
use crate::runtime::engine::Engine;
use crate::runtime::loaded_module::LoadedModule;
use crate::runtime::module::Module;
use crate::runtime::sys::page_size;

const MAGIC: &[u8; 8] = b"lunatic\x01";

/// The key of the entry. Precompiled modules are not found by key.
const NO_KEY: [u8; 32] = [0; 32];

/// Why a precompiled module cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrecompiledError {
    /// The bytes are not precompiled code, or they are damaged.
    #[error("the bytes are not a precompiled module, or are damaged")]
    Malformed,
    /// The module was compiled by another version, for another machine, or with other settings.
    #[error("the module was compiled for `{found}`, and this engine needs `{expected}`: compile it again")]
    Identity {
        /// What this engine needs.
        expected: String,
        /// What the module was compiled for.
        found: String,
    },
    /// The code may use an instruction that this processor lacks.
    #[error(
        "the module was compiled for a processor with `{0}`, which this one lacks: compile it on this machine"
    )]
    Processor(String),
    /// The engine cannot load the module: a function needs a larger stack, or there is no memory for the
    /// code.
    #[error("the module cannot be loaded: {0}")]
    Load(#[from] crate::environ::error::CompileError),
}

impl Module {
    /// Loads a module that [`Engine::precompile`] has compiled. No compiler is needed.
    ///
    /// # Errors
    /// Returns an error if the bytes are damaged, or were compiled by another version of this crate, for
    /// another machine, or with settings that differ from the engine's.
    ///
    /// # Safety
    /// The bytes must be what [`Engine::precompile`] has returned, unchanged. They contain native code that
    /// is run as it is. Nothing in them is verified, and the checksum finds only accidents.
    pub unsafe fn from_precompiled(engine: &Engine, bytes: &[u8]) -> Result<Module, PrecompiledError> {
        let (identity, entry) = split(bytes).ok_or(PrecompiledError::Malformed)?;
        // Compared before anything of the entry is read: another version may have another format.
        let options = check(engine, identity)?;
        let size = entry.len() as u64;
        let read = artifact_file::read(&mut &*entry, size, &NO_KEY, declarations::read);
        let read = read.ok_or(PrecompiledError::Malformed)?;
        let debug = read.debug.within(entry);
        // The checksum matches, so this is a bug or a forgery. Still, indices must not leave the tables.
        if !LoadedModule::fits(&read.declarations, &read.code) {
            return Err(PrecompiledError::Malformed);
        }
        let inner = LoadedModule::load(engine, read.declarations, read.code, options, debug)?;
        Ok(Module { inner: Arc::new(inner) })
    }
}

#[cfg(feature = "compiler")]
impl Engine {
    /// Compiles a module to bytes that [`Module::from_precompiled`] loads, on this machine or on one with the
    /// same system and at least the same processor features.
    ///
    /// # Errors
    /// As [`Module::compile_within`].
    pub fn precompile(
        &self,
        wasm: &[u8],
        options: CompileOptions,
        budget: &crate::environ::budget::Budget,
    ) -> Result<Vec<u8>, crate::environ::error::CompileError> {
        let (info, artifact) = self.compiler().compile(wasm, options, budget, self.max_frame())?;
        let sections = crate::runtime::debug::extract(wasm);
        let written =
            artifact_file::write(&NO_KEY, &declarations::extract(wasm, &info), &sections, &artifact);
        let identity = identity(self.compiler().target(), options);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(identity.len() as u32).to_le_bytes());
        bytes.extend_from_slice(identity.as_bytes());
        written.parts(&artifact, &sections).iter().for_each(|part| bytes.extend_from_slice(part));
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }
}

/// Returns the identity and the entry, if the bytes are undamaged.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (rest, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let rest = rest.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (identity, entry) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((str::from_utf8(identity).ok()?, entry))
}

/// Returns the lines that must be equal, in their order.
fn settings(canonical_nans: bool) -> [String; 5] {
    [
        format!("sources {}", SOURCES.join(" ")),
        format!("architecture {}", std::env::consts::ARCH),
        format!("system {}", std::env::consts::OS),
        format!("page size {}", page_size()),
        format!("canonical nans {canonical_nans}"),
    ]
}

const RESERVED: &str = "memory reserved";
const POOLED: &str = "memory pooled";
const UNTRUSTED: &str = "untrusted";
const TRUSTED: &str = "trusted";
const FEATURE: &str = "feature ";

#[cfg_attr(not(feature = "compiler"), expect(dead_code, reason = "only a compiler writes one"))]
fn identity(target: &Target, options: CompileOptions) -> String {
    let mut lines: Vec<String> = settings(target.canonical_nans).into();
    lines.push(if options.memory == MemoryLayout::Reserved { RESERVED } else { POOLED }.into());
    lines.push(if options.untrusted { UNTRUSTED } else { TRUSTED }.into());
    lines.extend(target.processor_features.iter().map(|name| format!("{FEATURE}{name}")));
    lines.join("\n")
}

/// Compares an identity with the engine's own, and returns the options that the module was compiled with.
fn check(engine: &Engine, identity: &str) -> Result<CompileOptions, PrecompiledError> {
    let mut lines = identity.lines();
    for expected in settings(engine.has_canonical_nans()) {
        let found = lines.next().ok_or(PrecompiledError::Malformed)?;
        if found != expected {
            return Err(PrecompiledError::Identity { expected, found: found.into() });
        }
    }
    let memory = match lines.next() {
        Some(RESERVED) => MemoryLayout::Reserved,
        Some(POOLED) => MemoryLayout::Pooled,
        _ => return Err(PrecompiledError::Malformed),
    };
    let untrusted = match lines.next() {
        Some(UNTRUSTED) => true,
        Some(TRUSTED) => false,
        _ => return Err(PrecompiledError::Malformed),
    };
    for line in lines {
        let feature = line.strip_prefix(FEATURE).ok_or(PrecompiledError::Malformed)?;
        if !has_feature(feature) {
            return Err(PrecompiledError::Processor(feature.into()));
        }
    }
    Ok(CompileOptions { memory, untrusted })
}

/// Whether this processor has a feature, by Cranelift's name for it. Unknown names count as missing.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn has_feature(name: &str) -> bool {
    use std::arch::is_x86_feature_detected as has;
    match name {
        "has_cmpxchg16b" => has!("cmpxchg16b"),
        "has_sse3" => has!("sse3"),
        "has_ssse3" => has!("ssse3"),
        "has_sse41" => has!("sse4.1"),
        "has_sse42" => has!("sse4.2"),
        "has_popcnt" => has!("popcnt"),
        "has_avx" => has!("avx"),
        "has_avx2" => has!("avx2"),
        "has_fma" => has!("fma"),
        "has_avx_vnni" => has!("avxvnni"),
        "has_avx512vnni" => has!("avx512vnni"),
        "has_bmi1" => has!("bmi1"),
        "has_bmi2" => has!("bmi2"),
        "has_avx512bitalg" => has!("avx512bitalg"),
        "has_avx512dq" => has!("avx512dq"),
        "has_avx512f" => has!("avx512f"),
        "has_avx512vl" => has!("avx512vl"),
        "has_avx512vbmi" => has!("avx512vbmi"),
        "has_lzcnt" => has!("lzcnt"),
        _ => false,
    }
}

/// As above.
#[cfg(all(target_arch = "aarch64", not(miri)))]
fn has_feature(name: &str) -> bool {
    use std::arch::is_aarch64_feature_detected as has;
    match name {
        "has_lse" => has!("lse"),
        "has_pauth" => has!("paca"),
        "has_fp16" => has!("fp16"),
        "has_dotprod" => has!("dotprod"),
        "has_i8mm" => has!("i8mm"),
        // Executed by every processor; older ones treat them as hints.
        "use_csdb" | "use_bti" => true,
        "sign_return_address" | "sign_return_address_all" | "sign_return_address_with_bkey" => has!("paca"),
        _ => false,
    }
}

/// Precompiled modules are not supported on other architectures.
#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn has_feature(_: &str) -> bool {
    false
}
