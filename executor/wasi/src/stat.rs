//! The status of files: `fd_filestat_*`, `path_filestat_*`.
//!
//! A status has 64 bytes: device (8), inode (8), type (1, at 16), links (8, at 24), size (8, at 32), and the times of
//! access, modification and change in nanoseconds (8 each, from 40). The first version of WASI has 56 bytes: links
//! are 4 bytes at 20, and the following fields are 8 bytes earlier.

use std::time::{Duration, SystemTime};

use cap_fs_ext::{DirExt, SystemTimeSpec};
use cap_std::fs::{FileType, FileTypeExt, Metadata, MetadataExt};
use cap_std::time::SystemTime as CapTime;
use lunatic_jit::HostCall;

use crate::table::FdTable;
use lunatic_core::ProcessData;
use lunatic_core::node::Terminals;
use lunatic_host::Guest;
use lunatic_host::declare::{Host, LOOK, func};
use lunatic_host::memory::GuestMemory;
use lunatic_resources::sys::files;

use super::errno::Errno;
use super::path::{follows, guest_path};
use super::rights::Rights;
use super::table::Fd;
use super::{Result, Version, blocking, suspend};

/// File types.
pub(super) const UNKNOWN: u8 = 0;
const BLOCK_DEVICE: u8 = 1;
pub(super) const CHARACTER_DEVICE: u8 = 2;
pub(super) const DIRECTORY: u8 = 3;
pub(super) const REGULAR_FILE: u8 = 4;
const SOCKET_STREAM: u8 = 6;
pub(super) const SYMBOLIC_LINK: u8 = 7;

/// Bytes of a status.
const STATUS: usize = 64;

/// How the times are changed.
const ACCESSED: u32 = 1;
const ACCESSED_NOW: u32 = 1 << 1;
const MODIFIED: u32 = 1 << 2;
const MODIFIED_NOW: u32 = 1 << 3;

/// The times of access and modification; `None` leaves a time unchanged.
type Times = (Option<SystemTime>, Option<SystemTime>);

pub(super) fn register(host: &mut Host, version: Version) {
    let module = version.module();
    func!(host, module, "fd_filestat_get", LOOK, move |guest: &mut Guest<'_>, fd: u32, result: u32| {
        suspend(guest, |memory, data| of_fd(memory, data, version, fd, result))
    });
    func!(host, module, "fd_filestat_set_size", LOOK, |guest: &mut Guest<'_>, fd: u32, size: u64| {
        suspend(guest, |_, data| {
            if FdTable::of(data).seems_a_file(fd, Rights::FD_FILESTAT_SET_SIZE)?.is_some() {
                return Ok(HostCall::Return(()));
            }
            let file = FdTable::of(data).file(fd, Rights::FD_FILESTAT_SET_SIZE)?;
            blocking(data, move || file.set_len(size), |_, _, ()| Ok(()))
        })
    });
    func!(
        host,
        module,
        "fd_filestat_set_times",
        LOOK,
        |guest: &mut Guest<'_>, fd: u32, accessed: u64, modified: u64, flags: u32| {
            suspend(guest, |_, data| {
                let what = FdTable::of(data).get(fd, Rights::FD_FILESTAT_SET_TIMES)?;
                let times = times(data, accessed, modified, flags)?;
                match what {
                    Fd::File(file) => {
                        blocking(data, move || files::set_times(&file, times), |_, _, ()| Ok(()))
                    }
                    Fd::Dir(dir) => {
                        blocking(data, move || files::set_dir_times(&dir.dir, times), |_, _, ()| Ok(()))
                    }
                    Fd::Redirected(_) => Ok(HostCall::Return(())),
                    _ => Err(Errno::NOTSUP),
                }
            })
        }
    );
    func!(
        host,
        module,
        "path_filestat_get",
        LOOK,
        move |guest: &mut Guest<'_>, fd: u32, lookup: u32, path: u32, length: u32, result: u32| {
            suspend(guest, |memory, data| {
                memory.check(result, version.status() as u32)?;
                let path = guest_path(memory, (path, length))?;
                let follow = resolves(lookup, &path)?;
                let dir = FdTable::of(data).dir(fd, Rights::PATH_FILESTAT_GET)?.dir;
                let job = move || if follow { dir.metadata(path) } else { dir.symlink_metadata(path) };
                blocking(data, job, write_to(version, result))
            })
        }
    );
    func!(host, module, "path_filestat_set_times", LOOK, path_set_times);
}

#[allow(clippy::too_many_arguments)] // The ABI's.
fn path_set_times(
    guest: &mut Guest<'_>,
    fd: u32,
    lookup: u32,
    path: u32,
    length: u32,
    accessed: u64,
    modified: u64,
    flags: u32,
) -> HostCall<u32> {
    suspend(guest, |memory, data| {
        let path = guest_path(memory, (path, length))?;
        let follow = resolves(lookup, &path)?;
        let dir = FdTable::of(data).dir(fd, Rights::PATH_FILESTAT_SET_TIMES)?.dir;
        let times = times(data, accessed, modified, flags)?;
        let job = move || {
            if follow {
                return files::set_path_times(&dir, &path, times);
            }
            let spec = |time: SystemTime| SystemTimeSpec::Absolute(CapTime::from_std(time));
            dir.set_symlink_times(path, times.0.map(spec), times.1.map(spec))
        };
        blocking(data, job, |_, _, ()| Ok(()))
    })
}

/// Returns whether a symbolic link in the last component is followed. It always is with a trailing slash.
fn resolves(lookup: u32, path: &str) -> Result<bool> {
    Ok(follows(lookup)? || path.ends_with('/'))
}

fn times(data: &ProcessData, accessed: u64, modified: u64, flags: u32) -> Result<Times> {
    const ALL: u32 = ACCESSED | ACCESSED_NOW | MODIFIED | MODIFIED_NOW;
    if flags & !ALL != 0 {
        return Err(Errno::INVAL);
    }
    let now = data.node().clock.wall();
    let one = |given: u64, set: u32, set_now: u32| match (flags & set != 0, flags & set_now != 0) {
        (true, true) => Err(Errno::INVAL),
        (true, false) => Ok(Some(given)),
        (false, true) => Ok(Some(now)),
        (false, false) => Ok(None),
    };
    let time = |time: Option<u64>| time.map(|time| SystemTime::UNIX_EPOCH + Duration::from_nanos(time));
    Ok((time(one(accessed, ACCESSED, ACCESSED_NOW)?), time(one(modified, MODIFIED, MODIFIED_NOW)?)))
}

fn of_fd(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    version: Version,
    fd: u32,
    result: u32,
) -> Result<HostCall<()>> {
    memory.check(result, version.status() as u32)?;
    let terminals = data.node().terminals;
    match FdTable::of(data).get(fd, Rights::FD_FILESTAT_GET)? {
        Fd::File(file) => blocking(data, move || file.metadata(), write_to(version, result)),
        Fd::Dir(dir) => blocking(data, move || dir.dir.dir_metadata(), write_to(version, result)),
        other => {
            let size = if let Fd::Redirected(to) = &other { to.size() } else { 0 };
            let status = Status { kind: file_type(&other, terminals), size, ..Status::default() };
            memory.write(result, version.encode(&status).bytes())?;
            Ok(HostCall::Return(()))
        }
    }
}

fn write_to(
    version: Version,
    result: u32,
) -> impl FnOnce(&mut GuestMemory<'_>, &mut ProcessData, Metadata) -> Result<()> {
    move |memory, _, metadata| Ok(memory.write(result, version.encode(&Status::of(&metadata)).bytes())?)
}

/// The status of a file.
#[derive(Debug, Default)]
struct Status {
    device: u64,
    inode: u64,
    kind: u8,
    links: u64,
    size: u64,
    /// The times of access, modification and change.
    times: [u64; 3],
}

/// A status in the form in which it is written.
struct Encoded {
    all: [u8; STATUS],
    length: usize,
}

impl Encoded {
    fn bytes(&self) -> &[u8] {
        &self.all[..self.length]
    }
}

impl Status {
    fn of(metadata: &Metadata) -> Status {
        let nanoseconds = |seconds: i64, rest: i64| {
            (seconds.max(0) as u64).saturating_mul(1_000_000_000).saturating_add(rest.max(0) as u64)
        };
        Status {
            device: metadata.dev(),
            inode: metadata.ino(),
            kind: kind(metadata.file_type()),
            links: metadata.nlink(),
            size: metadata.size(),
            times: [
                nanoseconds(metadata.atime(), metadata.atime_nsec()),
                nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
                nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            ],
        }
    }
}

impl Version {
    /// Bytes of a status.
    fn status(self) -> usize {
        match self {
            Version::Unstable => STATUS - 8,
            Version::Preview1 => STATUS,
        }
    }

    fn encode(self, status: &Status) -> Encoded {
        let mut all = [0; STATUS];
        all[..8].copy_from_slice(&status.device.to_le_bytes());
        all[8..16].copy_from_slice(&status.inode.to_le_bytes());
        all[16] = status.kind;
        let rest = match self {
            Version::Unstable => {
                let links = u32::try_from(status.links).unwrap_or(u32::MAX);
                all[20..24].copy_from_slice(&links.to_le_bytes());
                24
            }
            Version::Preview1 => {
                all[24..32].copy_from_slice(&status.links.to_le_bytes());
                32
            }
        };
        let numbers = std::iter::once(status.size).chain(status.times);
        for (slot, number) in all[rest..].chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        Encoded { all, length: self.status() }
    }
}

/// Returns the type of an object. Preview 1 has none for pipes.
pub(super) fn file_type(fd: &Fd, terminals: Terminals) -> u8 {
    let stream = |is_terminal| if is_terminal { CHARACTER_DEVICE } else { UNKNOWN };
    match fd {
        Fd::Stdin => stream(terminals.stdin),
        Fd::Stdout => stream(terminals.stdout),
        Fd::Stderr => stream(terminals.stderr),
        Fd::Dir(_) => DIRECTORY,
        Fd::File(file) => file.kind,
        Fd::Pipe(pipe) => stream(pipe.is_terminal()),
        Fd::Listener(_) | Fd::Connection(_) => SOCKET_STREAM,
        Fd::Redirected(to) => match to.stream {
            Some(_) => UNKNOWN,
            None => REGULAR_FILE,
        },
    }
}

pub(super) fn kind(file_type: FileType) -> u8 {
    match file_type {
        kind if kind.is_dir() => DIRECTORY,
        kind if kind.is_file() => REGULAR_FILE,
        kind if kind.is_symlink() => SYMBOLIC_LINK,
        kind if kind.is_char_device() => CHARACTER_DEVICE,
        kind if kind.is_block_device() => BLOCK_DEVICE,
        kind if kind.is_socket() => SOCKET_STREAM,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_layouts_of_both_versions_differ_after_the_link_count() {
        let status =
            Status { device: 1, inode: 2, kind: REGULAR_FILE, links: 1 << 40, size: 3, times: [4, 5, 6] };
        let (first, second) = (Version::Unstable.encode(&status), Version::Preview1.encode(&status));
        let (first, second) = (first.bytes(), second.bytes());
        assert_eq!((first.len(), second.len()), (56, 64));
        assert_eq!(first[..17], second[..17]);
        assert_eq!(first[20..24], [0xff; 4], "more links than it can say");
        assert_eq!(second[24..32], (1u64 << 40).to_le_bytes());
        assert_eq!(first[24..], second[32..]);
    }
}
