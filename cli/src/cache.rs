//! Where native code is kept from one run to the next.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lunatic_executor::{Cache, CacheError};

use crate::report::{Failure, escape};

/// The cache in a directory that the user named.
///
/// # Errors
///
/// If it cannot be used: who names a directory wants to know.
pub fn open_cache(directory: &Path) -> Result<Arc<Cache>, Failure> {
    let opened = Cache::open(directory, Cache::DEFAULT_LIMIT);
    opened.map(Arc::new).map_err(|error| Failure { place: "cache".into(), cause: error.into() })
}

/// The user's own cache; none without a home, or where it cannot be made. One that others can write to is warned of.
pub fn default_cache(command: &str) -> Option<Arc<Cache>> {
    let directory = default_directory(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"))?;
    match Cache::open(&directory, Cache::DEFAULT_LIMIT) {
        Ok(cache) => Some(Arc::new(cache)),
        // A system without a place to write is no reason for a word on every run.
        Err(CacheError::Io { .. }) => None,
        Err(error) => {
            eprintln!("{command}: warning: {}", escape(&error.to_string()));
            None
        }
    }
}

/// By the convention of freedesktop.org, where a relative path counts as none.
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
