//! Entries as files: found, written whole, and the oldest removed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::runtime::sys::private;

use super::{CacheError, CacheKey};

/// What the name of an entry ends with, and what that of one begins with that is being written.
const SUFFIX: &str = ".code";
const UNFINISHED: &str = ".unfinished-";

/// After this long, whoever was writing it is gone.
const ABANDONED: Duration = Duration::from_secs(3600);

/// What a file takes at least, however short it is.
const BLOCK: u64 = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    limit: u64,
}

impl Directory {
    /// A private directory, made if it is missing.
    pub(super) fn open(path: &Path, limit: u64) -> Result<Directory, CacheError> {
        let failed = |source| CacheError::Io { path: path.into(), source };
        if !private::make_directory(path).map_err(failed)? {
            return Err(CacheError::NotPrivate { path: path.into() });
        }
        // Absolute, so that it stays the same directory.
        let path = path.canonicalize().map_err(failed)?;
        Ok(Directory { path, limit })
    }

    /// Where it is, absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file of an entry, if nobody else can have written it.
    pub(super) fn find(&self, key: &CacheKey) -> Option<File> {
        private::open(&self.name(key)).ok()
    }

    /// Notes that an entry was used.
    pub(super) fn touch(&self, file: &File) {
        // If not, it is removed too early, and made again.
        let _ = file.set_modified(SystemTime::now());
    }

    /// Removes an entry. If somebody has just replaced it by a better one, that is made again.
    pub(super) fn remove(&self, key: &CacheKey) {
        let _ = fs::remove_file(self.name(key));
    }

    /// Adds an entry, given in parts, and makes room for it. Its file, unless it is too large to be kept.
    pub(super) fn insert(&self, key: &CacheKey, parts: &[&[u8]]) -> io::Result<Option<File>> {
        if parts.iter().map(|part| part.len() as u64).sum::<u64>() > self.limit {
            return Ok(None);
        }
        // Private by default, and gone if anything fails. Not synced: what a crash leaves behind, the checksum finds.
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.path)?;
        for part in parts {
            file.write_all(part)?;
        }
        let file = file.persist(self.name(key)).map_err(|error| error.error)?;
        self.evict()?;
        Ok(Some(file))
    }

    /// Removes the entries that were not used for longest, until the others fit the limit.
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
                // It may be gone already: others evict too.
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

/// Whether a file is one of ours: nothing else is ever touched.
fn is_entry(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}
