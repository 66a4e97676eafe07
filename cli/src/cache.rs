//! Finds the cache of native code.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lunatic_executor::{Cache, CacheError};

use crate::report::{Failure, escape};

/// Opens the cache in the directory that the user named.
///
/// # Errors
///
/// If it cannot be used. A user who names a directory expects it to be used.
pub fn open_cache(directory: &Path) -> Result<Arc<Cache>, Failure> {
    let opened = Cache::open(directory, Cache::DEFAULT_LIMIT);
    opened.map(Arc::new).map_err(|error| Failure { place: "cache".into(), cause: error.into() })
}

/// Opens the user's default cache. Returns `None` without a home directory, or if the cache cannot be created there. Prints a
/// warning if others can write to it.
pub fn default_cache(command: &str) -> Option<Arc<Cache>> {
    let directory = default_directory(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"))?;
    match Cache::open(&directory, Cache::DEFAULT_LIMIT) {
        Ok(cache) => Some(Arc::new(cache)),
        // On a system without a writable home, a warning at every run would not help.
        Err(CacheError::Io { .. }) => None,
        Err(error) => {
            eprintln!("{command}: warning: {}", escape(&error.to_string()));
            None
        }
    }
}

/// The default directory by the convention of freedesktop.org, which ignores relative paths.
fn default_directory(cache_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute(cache_home).or_else(|| absolute(home).map(|home| home.join(".cache")));
    caches.map(|caches| caches.join("lunatic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_in_the_users_home() {
        let directory = |cache_home: &str, home: &str| {
            let set = |value: &str| (!value.is_empty()).then(|| value.into());
            default_directory(set(cache_home), set(home)).map(|path| path.display().to_string())
        };
        assert_eq!(directory("/caches", "/home/u").as_deref(), Some("/caches/lunatic"));
        assert_eq!(directory("", "/home/u").as_deref(), Some("/home/u/.cache/lunatic"));
        assert_eq!(directory("caches", "/home/u").as_deref(), Some("/home/u/.cache/lunatic"));
        assert_eq!(directory("", "here"), None);
        assert_eq!(directory("", ""), None);
    }
}
