//! The files of a cache: found, written as a whole, and evicted.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::runtime::sys::private;

use super::{CacheError, CacheKey};

/// The suffix of an entry's name, and the prefix of the name of an entry that is being written.
const SUFFIX: &str = ".code";
const UNFINISHED: &str = ".unfinished-";

/// After this time, the process that was writing an entry is assumed to be gone.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The least space that a file takes.
const BLOCK: u64 = 4096;

/// The directory of a cache.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    limit: u64,
}

impl Directory {
    /// Opens a private directory, and creates it if it is missing.
    pub(super) fn open(path: &Path, limit: u64) -> Result<Directory, CacheError> {
        let failed = |source| CacheError::Io { path: path.into(), source };
        if !private::make_directory(path).map_err(failed)? {
            return Err(CacheError::NotPrivate { path: path.into() });
        }
        // Absolute, so that it stays the same directory if the working directory changes.
        let path = path.canonicalize().map_err(failed)?;
        Ok(Directory { path, limit })
    }

    /// Returns the absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file of an entry, if no other user can have written it.
    pub(super) fn find(&self, key: &CacheKey) -> Option<File> {
        private::open(&self.name(key)).ok()
    }

    /// Notes that an entry was used.
    pub(super) fn touch(&self, file: &File) {
        // If this fails, the entry is evicted too early, and compiled again.
        let _ = file.set_modified(SystemTime::now());
    }

    /// Removes an entry. If another process has just replaced it by a valid one, that one is compiled again.
    pub(super) fn remove(&self, key: &CacheKey) {
        let _ = fs::remove_file(self.name(key));
    }

    /// Adds an entry, given in parts, and evicts others. Returns its file, or `None` if the entry is too
    /// large to be kept.
    pub(super) fn insert(&self, key: &CacheKey, parts: &[&[u8]]) -> io::Result<Option<File>> {
        if parts.iter().map(|part| part.len() as u64).sum::<u64>() > self.limit {
            return Ok(None);
        }
        // The file is private by default, and removed if anything fails. It is not synced: the checksum finds
        // what a crash leaves behind.
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.path)?;
        for part in parts {
            file.write_all(part)?;
        }
        let file = file.persist(self.name(key)).map_err(|error| error.error)?;
        self.evict()?;
        Ok(Some(file))
    }

    /// Removes the least recently used entries, until the others fit the limit.
    fn evict(&self) -> io::Result<()> {
        let now = SystemTime::now();
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.path)?.flatten() {
            let Ok(metadata) = file.metadata() else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let (name, path) = (file.file_name(), file.path());
            let age = now.duration_since(used).unwrap_or_default();
            if is_entry(&name) {
                entries.push((used, metadata.len().next_multiple_of(BLOCK), path));
            } else if name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) && age > ABANDONED {
                // Another process may have evicted the file already.
                let _ = fs::remove_file(path);
            }
        }
        entries.sort();
        let mut total: u64 = entries.iter().map(|entry| entry.1).sum();
        for (_, size, path) in entries {
            if total <= self.limit {
                break;
            }
            let _ = fs::remove_file(path);
            total -= size;
        }
        Ok(())
    }

    fn name(&self, key: &CacheKey) -> PathBuf {
        self.path.join(format!("{key}{SUFFIX}"))
    }
}

/// Whether a file is an entry. No other file is ever touched.
fn is_entry(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}
