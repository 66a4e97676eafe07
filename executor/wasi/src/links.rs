//! Names in directories: creating, removing, renaming, links.
//!
//! A trailing slash says that a name is that of a directory. A symbolic link in the last component is never followed:
//! these functions act on the name, not on its target.

use std::io;
use std::sync::Arc;

use cap_std::fs::Dir;
use lunatic_jit::HostCall;

use crate::table::FdTable;
use lunatic_core::ProcessData;
use lunatic_core::config::ProcessConfig;
use lunatic_host::Capable;
use lunatic_host::Guest;
use lunatic_host::declare::{Host, LOOK, func};
use lunatic_host::memory::GuestMemory;

use super::errno::Errno;
use super::path::{follows, guest_path};
use super::rights::Rights;
use super::{Result, Version, blocking, suspend};

pub(super) fn register(host: &mut Host, version: Version) {
    let module = version.module();
    let with = with_path;
    func!(
        host,
        module,
        "path_create_directory",
        LOOK,
        move |guest: &mut Guest<'_>, fd: u32, path: u32, length: u32| {
            with(guest, fd, (path, length), Rights::PATH_CREATE_DIRECTORY, |dir, path| dir.create_dir(path))
        }
    );
    func!(
        host,
        module,
        "path_remove_directory",
        LOOK,
        move |guest: &mut Guest<'_>, fd: u32, path: u32, length: u32| {
            with(guest, fd, (path, length), Rights::PATH_REMOVE_DIRECTORY, remove_directory)
        }
    );
    func!(
        host,
        module,
        "path_unlink_file",
        LOOK,
        move |guest: &mut Guest<'_>, fd: u32, path: u32, length: u32| {
            with(guest, fd, (path, length), Rights::PATH_UNLINK_FILE, |dir, path| dir.remove_file(path))
        }
    );
    func!(host, module, "path_rename", LOOK, path_rename);
    func!(host, module, "path_link", LOOK, path_link);
    func!(host, module, "path_symlink", LOOK, path_symlink);
    func!(host, module, "path_readlink", LOOK, path_readlink);
}

/// A name below a directory, as a job uses it.
struct Named {
    dir: Arc<Dir>,
    path: String,
}

impl Named {
    fn new(
        memory: &GuestMemory<'_>,
        data: &mut ProcessData,
        fd: u32,
        path: (u32, u32),
        needed: Rights,
    ) -> Result<Named> {
        let dir = FdTable::of(data).dir(fd, needed)?.dir;
        Ok(Named { dir, path: guest_path(memory, path)? })
    }
}

fn with_path(
    guest: &mut Guest<'_>,
    fd: u32,
    path: (u32, u32),
    needed: Rights,
    act: fn(&Dir, &str) -> io::Result<()>,
) -> HostCall<u32> {
    suspend(guest, |memory, data| {
        let name = Named::new(memory, data, fd, path, needed)?;
        blocking(data, move || act(&name.dir, &name.path), |_, _, ()| Ok(()))
    })
}

/// The object has to be a directory in any case, which is all that trailing slashes would require.
fn remove_directory(dir: &Dir, path: &str) -> io::Result<()> {
    match path.trim_end_matches('/') {
        "" => dir.remove_dir(path),
        name => dir.remove_dir(name),
    }
}

fn path_rename(
    guest: &mut Guest<'_>,
    from_fd: u32,
    from: u32,
    from_len: u32,
    to_fd: u32,
    to: u32,
    to_len: u32,
) -> HostCall<u32> {
    suspend(guest, |memory, data| {
        let from = Named::new(memory, data, from_fd, (from, from_len), Rights::PATH_RENAME_SOURCE)?;
        let to = Named::new(memory, data, to_fd, (to, to_len), Rights::PATH_RENAME_TARGET)?;
        let config = data.process.config().clone();
        let work = move || {
            check_names(&config, &[&from, &to])?;
            rename(from, to)
        };
        blocking(data, work, |_, _, ()| Ok(()))
    })
}

/// Refuses to rename redirected files and the directories on the way to them.
fn check_names(config: &ProcessConfig, names: &[&Named]) -> io::Result<()> {
    let Some(redirects) = config.caps().redirects.as_ref().filter(|redirects| redirects.has_paths()) else {
        return Ok(());
    };
    let places = redirects.places(&config.caps().dirs);
    names.iter().try_for_each(|name| places.check_name(&name.dir, &name.path))
}

/// A trailing slash after either name requires a directory. cap-std passes that of the old name to the system and
/// removes that of the new name, so that one is added to the old name.
fn rename(mut from: Named, to: Named) -> io::Result<()> {
    if to.path.ends_with('/') && !from.path.ends_with('/') {
        from.path.push('/');
    }
    from.dir.rename(&from.path, &to.dir, &to.path)
}

/// Gives a file another name. Following symbolic links is not supported: `INVAL`.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn path_link(
    guest: &mut Guest<'_>,
    from_fd: u32,
    lookup: u32,
    from: u32,
    from_len: u32,
    to_fd: u32,
    to: u32,
    to_len: u32,
) -> HostCall<u32> {
    suspend(guest, |memory, data| {
        let from = Named::new(memory, data, from_fd, (from, from_len), Rights::PATH_LINK_SOURCE)?;
        let to = Named::new(memory, data, to_fd, (to, to_len), Rights::PATH_LINK_TARGET)?;
        if follows(lookup)? {
            return Err(Errno::INVAL);
        }
        let config = data.process.config().clone();
        let work = move || {
            check_names(&config, &[&from, &to])?;
            from.dir.hard_link(&from.path, &to.dir, &to.path)
        };
        blocking(data, work, |_, _, ()| Ok(()))
    })
}

/// Creates a symbolic link, even one that leads out by `..` and cannot be followed. An absolute target is refused.
fn path_symlink(
    guest: &mut Guest<'_>,
    target: u32,
    target_len: u32,
    fd: u32,
    path: u32,
    length: u32,
) -> HostCall<u32> {
    suspend(guest, |memory, data| {
        let link = Named::new(memory, data, fd, (path, length), Rights::PATH_SYMLINK)?;
        let target = guest_path(memory, (target, target_len))?;
        blocking(data, move || symlink(&link.dir, &target, &link.path), |_, _, ()| Ok(()))
    })
}

#[cfg(unix)]
fn symlink(dir: &Dir, target: &str, path: &str) -> io::Result<()> {
    dir.symlink(target, path)
}

#[cfg(not(unix))]
fn symlink(dir: &Dir, target: &str, path: &str) -> io::Result<()> {
    cap_fs_ext::DirExt::symlink(dir, target, path)
}

/// Writes the target of a symbolic link, as far as there is space, and its length.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn path_readlink(
    guest: &mut Guest<'_>,
    fd: u32,
    path: u32,
    length: u32,
    buffer: u32,
    room: u32,
    result: u32,
) -> HostCall<u32> {
    suspend(guest, |memory, data| -> Result<HostCall<()>> {
        let link = Named::new(memory, data, fd, (path, length), Rights::PATH_READLINK)?;
        memory.check(buffer, room)?;
        memory.check(result, 4)?;
        blocking(
            data,
            move || link.dir.read_link_contents(&link.path),
            move |memory, _, target| {
                let target = target.to_str().ok_or(Errno::ILSEQ)?.as_bytes();
                let target = &target[..target.len().min(room as usize)];
                memory.write(buffer, target)?;
                Ok(memory.write_u32(result, target.len() as u32)?)
            },
        )
    })
}
