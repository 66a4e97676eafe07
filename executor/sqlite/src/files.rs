//! The files visible to SQLite: those below the directories of the current process.
//!
//! A guest's database path becomes `/N/rest`: the index of the directory in the process's list, and the path below
//! it. SQLite appends suffixes (`-journal`, `-wal`) to such names and passes them back. cap-std opens, inspects and
//! removes every file below that directory; no name and no symbolic link leads out of it.

use std::ffi::{CStr, OsStr};
use std::io;
use std::path::{Component, Path};

use cap_std::fs::Dir;

use lunatic_resources::GuestDir;
use lunatic_resources::sys;

use super::owner::Owner;

/// Maximum bytes of a name passed to SQLite.
pub(super) const MAX_NAME: usize = 1024;

/// Returns the internal name of a guest's path, or `None` if the path is below no directory.
///
/// Chooses the directory whose name is the longest prefix of the path, as the guest's C library does. Both are
/// normalized first: `/a`, `./a` and `a` are the same.
pub(super) fn name_of(path: &str, dirs: &[GuestDir]) -> Option<String> {
    let path = components(path)?;
    let below = |dir: &GuestDir| {
        let name = components(&dir.name)?;
        path.starts_with(&name).then_some(name.len())
    };
    let (index, depth) = dirs
        .iter()
        .enumerate()
        .filter_map(|(index, dir)| Some((index, below(dir)?)))
        .max_by_key(|&(index, depth)| (depth, std::cmp::Reverse(index)))?;
    let rest = &path[depth..];
    // A database name never needs `..`.
    let goes_up = rest.contains(&"..");
    let rest = rest.join("/");
    let name = format!("/{index}/{rest}");
    (!goes_up && !rest.is_empty() && name.len() < MAX_NAME && !name.contains('\0')).then_some(name)
}

/// Returns the path's components.
fn components(path: &str) -> Option<Vec<&str>> {
    let names = Path::new(path).components().filter_map(|component| match component {
        Component::RootDir | Component::CurDir => None,
        Component::Normal(name) => Some(name.to_str()),
        Component::ParentDir => Some(Some("..")),
        Component::Prefix(_) => Some(None),
    });
    names.collect()
}

/// How to open a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) write: bool,
    pub(super) create: bool,
    pub(super) exclusive: bool,
    /// The permissions of a new file.
    pub(super) mode: u32,
}

/// Runs `act` on a file of this thread's current owner. `changes` says whether `act` modifies it.
pub(super) fn with<T>(
    name: &CStr,
    changes: bool,
    act: impl FnOnce(&Dir, &Path) -> io::Result<T>,
) -> io::Result<T> {
    let owner = Owner::current().ok_or(io::ErrorKind::PermissionDenied)?;
    let name = name.to_str().map_err(|_| io::ErrorKind::NotFound)?;
    let (index, rest) =
        name.strip_prefix('/').and_then(|name| name.split_once('/')).ok_or(io::ErrorKind::NotFound)?;
    let index: usize = index.parse().map_err(|_| io::ErrorKind::NotFound)?;
    let dir = owner.dirs().get(index).ok_or(io::ErrorKind::NotFound)?;
    if changes && dir.is_read_only {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    act(&dir.dir, Path::new(OsStr::new(rest)))
}

/// Opens a regular file. The last component must not be a symbolic link, or SQLite would look for the journal of a
/// different file.
#[cfg(unix)]
pub(super) fn open(dir: &Dir, path: &Path, how: How) -> io::Result<cap_std::fs::File> {
    use cap_std::fs::{OpenOptions, OpenOptionsExt};

    sys::check_next(dir)?;
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(how.write)
        .create(how.create && !how.exclusive)
        .create_new(how.create && how.exclusive)
        .mode(how.mode)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = dir.open_with(path, &options)?;
    sys::note(&file);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Opens a file's parent directory for reading. A [`Dir`] cannot be synced to disk.
#[cfg(unix)]
pub(super) fn parent(dir: &Dir, path: &Path) -> io::Result<cap_std::fs::File> {
    use cap_std::fs::{OpenOptions, OpenOptionsExt};

    sys::check_next(dir)?;
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    dir.open_with(parent, OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY))
}
