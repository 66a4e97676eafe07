//! A cache of compiled code, in a directory of this machine and this user.
//!
//! **What is trusted.** Native code can do anything, so an entry is used only if no other user can have
//! written it: the directory and the file belong to this user and are writable by no other. An input cannot
//! bring native code with it: the cache finds entries itself, by the hash of the input.
//!
//! **What a key stands for.** The content of the input, the exact version of this engine and its compiler,
//! the flags, the processor features, and what the embedder adds. An entry is only written after the module
//! was validated and compiled here (and verified, if the embedder verifies modules). So an entry proves that
//! all of this was done before, with this result.
//!
//! **What can go wrong.** Files appear as a whole, by renaming, so writers do not disturb each other, and
//! readers see a complete entry or none. An entry that is truncated or damaged does not match its checksum:
//! it is removed, and the module is compiled again. A cache that cannot be written costs only time.

mod directory;
mod key;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::environ::budget::Budget;
use crate::environ::declarations;
use crate::environ::error::CompileError;
use crate::runtime::code::UnloadedCode;
use crate::runtime::code::artifact_file as entry;
use crate::runtime::debug::{self, DebugInfo};
use crate::runtime::engine::Engine;
use crate::runtime::loaded_module::LoadedModule;
use crate::runtime::module::Module;

pub use key::CacheKey;

use directory::Directory;

/// A cache of compiled code.
#[derive(Debug)]
pub struct Cache {
    directory: Directory,
}

/// The error of opening a cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The directory cannot be created or read.
    #[error("the cache directory {} cannot be used: {source}", path.display())]
    Io {
        /// The path of the cache.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Another user could write to the directory.
    #[error("the cache directory {} is not private: it must belong to the current user, and no other user may write to it", path.display())]
    NotPrivate {
        /// The path of the cache.
        path: PathBuf,
    },
}

impl Cache {
    /// The default limit, in bytes.
    pub const DEFAULT_LIMIT: u64 = 512 << 20;

    /// Opens the cache in this directory, and creates the directory if it is missing. Beyond `limit` bytes,
    /// the least recently used entries are evicted.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be created, belongs to another user, or is writable by
    /// others.
    pub fn open(path: impl AsRef<Path>, limit: u64) -> Result<Cache, CacheError> {
        Ok(Cache { directory: Directory::open(path.as_ref(), limit)? })
    }

    /// Returns the absolute path of the cache.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the module with this key, if the cache has it. Nothing is compiled.
    pub fn get(&self, engine: &Engine, key: &CacheKey) -> Option<Module> {
        let file = self.directory.find(key)?;
        let size = file.metadata().ok()?.len();
        let Some(entry) = entry::read(&mut &file, size, key.bytes(), declarations::read) else {
            // Damaged, or another entry under this name: it would be a miss every time.
            self.directory.remove(key);
            return None;
        };
        self.directory.touch(&file);
        let debug = entry.debug.into_info(file);
        let module = if LoadedModule::fits(&entry.declarations, &entry.code) {
            LoadedModule::load(engine, entry.declarations, entry.code, key.options(), debug).ok()
        } else {
            None
        };
        if module.is_none() {
            self.directory.remove(key);
        }
        module.map(|inner| Module { inner: Arc::new(inner) })
    }

    /// Compiles a module, and keeps it with this key.
    ///
    /// # Errors
    /// As [`Module::compile_within`]. It is not an error if the module cannot be kept.
    pub fn compile(
        &self,
        engine: &Engine,
        key: &CacheKey,
        wasm: &[u8],
        budget: &Budget,
    ) -> Result<Module, CompileError> {
        let (info, artifact) = engine.compiler().compile(wasm, key.options(), budget, engine.max_frame())?;
        let sections = debug::extract(wasm);
        let written = entry::write(key.bytes(), &declarations::extract(wasm, &info), &sections, &artifact);
        let parts = written.parts(&artifact, &sections);
        // If this fails, the module is compiled again the next time.
        let debug = match self.directory.insert(key, &parts) {
            Ok(Some(file)) => written.debug.into_info(file),
            _ => DebugInfo::in_memory(sections),
        };
        let code = UnloadedCode::of(artifact).map_err(|error| CompileError::Codegen(error.to_string()))?;
        let inner = LoadedModule::load(engine, info, code, key.options(), debug)?;
        Ok(Module { inner: Arc::new(inner) })
    }
}
