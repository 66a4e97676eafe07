//! The files that SQLite sees: those below the directories of the process that it works for.
//!
//! A guest's name of a database becomes `/N/rest`: the directory's number among the process's, and the way from there.
//! SQLite adds to such names (`-journal`, `-wal`) and hands them back. Every file is opened, looked at and removed by
//! cap-std below that directory, which lets no name and no symbolic link lead out of it.

use std::ffi::{CStr, OsStr};
use std::io;
use std::path::{Component, Path};

use cap_std::fs::Dir;

use lunatic_resources::GuestDir;
use lunatic_resources::sys;

use super::owner::Owner;

/// Bytes of a name as SQLite gets it.
pub(super) const MAX_NAME: usize = 1024;

/// What a guest's path is called; `None` if it is below none of the directories.
///
/// The directory is the one whose name is the longest beginning of the path, as the guest's own C library decides it.
/// For both, where they are from does not matter: `/a`, `./a` and `a` are the same.
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
    // Nothing needs to go up to name a database.
    let goes_up = rest.contains(&"..");
    let rest = rest.join("/");
    let name = format!("/{index}/{rest}");
    (!goes_up && !rest.is_empty() && name.len() < MAX_NAME && !name.contains('\0')).then_some(name)
}

/// A path's names.
fn components(path: &str) -> Option<Vec<&str>> {
    let names = Path::new(path).components().filter_map(|component| match component {
        Component::RootDir | Component::CurDir => None,
        Component::Normal(name) => Some(name.to_str()),
        Component::ParentDir => Some(Some("..")),
        Component::Prefix(_) => Some(None),
    });
    names.collect()
}

/// How a file is to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) write: bool,
    pub(super) create: bool,
    pub(super) exclusive: bool,
    /// The rights that a new one gets.
    pub(super) mode: u32,
}

/// A file of the process that this thread is in SQLite for, to be looked at or changed.
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

/// Opens a regular file. The last name of its path is never a symbolic link: SQLite would look for the journal of
/// another file than it has opened.
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

/// The directory that a file is in, open for reading: what a [`Dir`] has cannot be written to the disk.
#[cfg(unix)]
pub(super) fn parent(dir: &Dir, path: &Path) -> io::Result<cap_std::fs::File> {
    use cap_std::fs::{OpenOptions, OpenOptionsExt};

    sys::check_next(dir)?;
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    dir.open_with(parent, OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY))
}
