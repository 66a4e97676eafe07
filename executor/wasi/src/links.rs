//! Names in directories: creating, removing, renaming, links.
//!
//! A trailing slash says that a name is a directory's, and a last symbolic link is never followed: what these functions are
//! about is the name, not what it leads to.

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

/// A name below a directory, as a job has it.
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

/// That it is a directory, which slashes behind its name would say, it has to be in any case.
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

/// Refuses to rename what redirected paths are about.
fn check_names(config: &ProcessConfig, names: &[&Named]) -> io::Result<()> {
    let Some(redirects) = config.caps().redirects.as_ref().filter(|redirects| redirects.has_paths()) else {
        return Ok(());
    };
    let places = redirects.places(&config.caps().dirs);
    names.iter().try_for_each(|name| places.check_name(&name.dir, &name.path))
}

/// A slash behind either name says that a directory is renamed. cap-std keeps the one of the old name, for the system to
/// see, and removes the one of the new name, so that one is put behind the old name.
fn rename(mut from: Named, to: Named) -> io::Result<()> {
    if to.path.ends_with('/') && !from.path.ends_with('/') {
        from.path.push('/');
    }
    from.dir.rename(&from.path, &to.dir, &to.path)
}

/// Gives a file another name. Through a symbolic link it cannot be said which file that is: `INVAL`.
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

/// Makes a symbolic link, also one that nobody here could follow because it leads out by `..`. An absolute one is refused.
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

/// Writes where a symbolic link leads, as far as there is room, and how much that was.
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
