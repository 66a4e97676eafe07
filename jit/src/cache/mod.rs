//! A cache of native code, in a directory of this machine and this user.
//!
//! **What is trusted.** Native code does what it likes, so an entry is used only if nobody but this user can have put
//! it there: directory and file belong to the user and are writable by no one else. A file in which an *input* brings
//! native code along does not exist: the cache finds its entries by itself, by the hash of the input.
//!
//! **What a key stands for.** The input's content, this engine and its compiler in this very version, the flags and
//! the processor's features, and whatever its user adds. An entry is only written after the module was validated and
//! compiled here (and verified, where its user verifies), so finding it says that all of this was done before, with
//! this result.
//!
//! **What can go wrong.** Files appear whole, by renaming, so writers do not get into each other's way, and readers
//! see an entry or none. What is truncated or damaged anyway does not match its checksum: it is removed, and the
//! module compiled again. A cache that cannot be written costs time and nothing else.

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

/// See the module.
#[derive(Debug)]
pub struct Cache {
    directory: Directory,
}

/// Why a directory cannot be a cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be made or looked at.
    #[error("the cache {} cannot be used: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others could put code there.
    #[error("the cache {} is not used: it must belong to you, and be writable by no one else", path.display())]
    NotPrivate {
        /// Which.
        path: PathBuf,
    },
}

impl Cache {
    /// Bytes that a cache may take where nobody says otherwise.
    pub const DEFAULT_LIMIT: u64 = 512 << 20;

    /// The cache in this directory, which is made if it is missing. Beyond `limit` bytes, the entries that were not
    /// used for longest are removed.
    ///
    /// # Errors
    /// When the directory cannot be made, belongs to somebody else, or is writable by others.
    pub fn open(path: impl AsRef<Path>, limit: u64) -> Result<Cache, CacheError> {
        Ok(Cache { directory: Directory::open(path.as_ref(), limit)? })
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The module of this key, if it is there. Nothing is compiled.
    pub fn get(&self, engine: &Engine, key: &CacheKey) -> Option<Module> {
        let file = self.directory.find(key)?;
        let size = file.metadata().ok()?.len();
        let Some(entry) = entry::read(&mut &file, size, key.bytes(), declarations::read) else {
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

    /// Compiles a module, and keeps it under this key.
    ///
    /// # Errors
    /// As for [`Module::compile_within`]. That it cannot be kept is no error.
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
        // If it fails, whoever comes next compiles again.
        let debug = match self.directory.insert(key, &parts) {
            Ok(Some(file)) => written.debug.into_info(file),
            _ => DebugInfo::in_memory(sections),
        };
        let code = UnloadedCode::of(artifact).map_err(|error| CompileError::Codegen(error.to_string()))?;
        let inner = LoadedModule::load(engine, info, code, key.options(), debug)?;
        Ok(Module { inner: Arc::new(inner) })
    }
}
