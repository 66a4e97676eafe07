//! What files are: `fd_filestat_*`, `path_filestat_get`, `fd_readdir`.
//!
//! A file's status is 64 bytes: device (8), inode (8), type (1, at 16), links (8, at 24), size (8, at 32), and
//! the times of access, modification and change in nanoseconds (8 each, from 40). A directory entry is 24 bytes
//! followed by its name: the cookie of the next (8), inode (8), length of the name (4), type (1).

use std::io;

use cap_std::fs::{FileType, Metadata, MetadataExt};
use lunatic_jit::{HostCall, Linker};

use crate::host::Guest;
use crate::host::memory::GuestMemory;
use crate::process::ProcessData;

use super::path::guest_path;
use super::table::Fd;
use super::{MODULE, Result, blocking, suspend};

/// File types.
const UNKNOWN: u8 = 0;
pub(super) const CHARACTER_DEVICE: u8 = 2;
pub(super) const DIRECTORY: u8 = 3;
pub(super) const REGULAR_FILE: u8 = 4;
const SYMBOLIC_LINK: u8 = 7;

/// The flag that makes a look-up follow a last symbolic link.
const FOLLOW: u32 = 1;

const STATUS: usize = 64;

/// Bytes of directory entries that one call returns at most.
const MAX_ENTRIES: u32 = 1 << 20;

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    linker.func(MODULE, "fd_filestat_get", |guest: &mut Guest<'_>, fd: u32, result: u32| {
        suspend(guest, |memory, data| of_fd(memory, data, fd, result))
    });
    linker.func(MODULE, "fd_filestat_set_size", |guest: &mut Guest<'_>, fd: u32, size: u64| {
        suspend(guest, |_, data| {
            let file = data.wasi.file(data.process.config(), fd)?;
            blocking(data, move || file.set_len(size), |_, _, ()| Ok(()))
        })
    });
    linker.func(
        MODULE,
        "path_filestat_get",
        |guest: &mut Guest<'_>, fd: u32, flags: u32, path: u32, length: u32, result: u32| {
            suspend(guest, |memory, data| of_path(memory, data, fd, flags, (path, length), result))
        },
    );
    linker.func(
        MODULE,
        "fd_readdir",
        |guest: &mut Guest<'_>, fd: u32, buffer: u32, length: u32, cookie: u64, result: u32| {
            suspend(guest, |memory, data| read_dir(memory, data, fd, (buffer, length), cookie, result))
        },
    );
}

fn of_fd(memory: &mut GuestMemory<'_>, data: &mut ProcessData, fd: u32, result: u32) -> Result<HostCall<()>> {
    memory.check(result, STATUS as u32)?;
    match data.wasi.get(data.process.config(), fd)? {
        Fd::File(file) => blocking(data, move || file.metadata(), write_to(result)),
        Fd::Dir { dir, .. } => blocking(data, move || dir.dir_metadata(), write_to(result)),
        Fd::Stdin | Fd::Stdout | Fd::Stderr => {
            let mut bytes = [0; STATUS];
            bytes[16] = CHARACTER_DEVICE;
            memory.write(result, &bytes)?;
            Ok(HostCall::Return(()))
        }
    }
}

fn of_path(
    memory: &GuestMemory<'_>,
    data: &mut ProcessData,
    fd: u32,
    flags: u32,
    path: (u32, u32),
    result: u32,
) -> Result<HostCall<()>> {
    memory.check(result, STATUS as u32)?;
    let path = guest_path(memory, path)?;
    let dir = data.wasi.dir(data.process.config(), fd)?;
    let job = move || if flags & FOLLOW != 0 { dir.metadata(path) } else { dir.symlink_metadata(path) };
    blocking(data, job, write_to(result))
}

fn write_to(result: u32) -> impl FnOnce(&mut GuestMemory<'_>, &mut ProcessData, Metadata) -> Result<()> {
    move |memory, _, metadata| Ok(memory.write(result, &encode(&metadata))?)
}

fn encode(metadata: &Metadata) -> [u8; STATUS] {
    let nanoseconds = |seconds: i64, rest: i64| (seconds.max(0) as u64) * 1_000_000_000 + rest.max(0) as u64;
    let mut bytes = [0; STATUS];
    bytes[..8].copy_from_slice(&metadata.dev().to_le_bytes());
    bytes[8..16].copy_from_slice(&metadata.ino().to_le_bytes());
    bytes[16] = kind(metadata.file_type());
    bytes[24..32].copy_from_slice(&metadata.nlink().to_le_bytes());
    bytes[32..40].copy_from_slice(&metadata.size().to_le_bytes());
    let times = [
        nanoseconds(metadata.atime(), metadata.atime_nsec()),
        nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    ];
    for (slot, time) in bytes[40..].chunks_exact_mut(8).zip(times) {
        slot.copy_from_slice(&time.to_le_bytes());
    }
    bytes
}

fn kind(file_type: FileType) -> u8 {
    match file_type {
        kind if kind.is_dir() => DIRECTORY,
        kind if kind.is_file() => REGULAR_FILE,
        kind if kind.is_symlink() => SYMBOLIC_LINK,
        _ => UNKNOWN,
    }
}

/// Lists a directory from the entry that `cookie` counts to. Entries are in the order of their names, so that
/// a listing that takes several calls is whole as long as nothing changes.
fn read_dir(
    memory: &GuestMemory<'_>,
    data: &mut ProcessData,
    fd: u32,
    (buffer, length): (u32, u32),
    cookie: u64,
    result: u32,
) -> Result<HostCall<()>> {
    memory.check(result, 4)?;
    memory.check(buffer, length)?;
    let length = length.min(MAX_ENTRIES) as usize;
    let dir = data.wasi.dir(data.process.config(), fd)?;
    let job = move || {
        let mut entries = Vec::new();
        for entry in dir.entries()? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|_| io::ErrorKind::InvalidData)?;
            entries.push((name, kind(entry.file_type()?)));
        }
        entries.sort_unstable();
        Ok(encode_entries(&entries, cookie, length))
    };
    blocking(data, job, move |memory, _, bytes: Vec<u8>| {
        memory.write(buffer, &bytes)?;
        Ok(memory.write_u32(result, bytes.len() as u32)?)
    })
}

/// The last entry may be cut off; the guest then knows that there is more.
fn encode_entries(entries: &[(String, u8)], cookie: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let first = usize::try_from(cookie).unwrap_or(usize::MAX);
    for (index, (name, kind)) in entries.iter().enumerate().skip(first) {
        bytes.extend_from_slice(&(index as u64 + 1).to_le_bytes());
        bytes.extend_from_slice(&0u64.to_le_bytes());
        bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&[*kind, 0, 0, 0]);
        bytes.extend_from_slice(name.as_bytes());
        if bytes.len() >= length {
            break;
        }
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_in_pieces_is_the_whole() {
        let entries: Vec<_> = (0..5).map(|n| (format!("file{n}"), REGULAR_FILE)).collect();
        let whole = encode_entries(&entries, 0, 1000);
        assert_eq!(whole.len(), 5 * (24 + 5));
        assert_eq!(encode_entries(&entries, 2, 1000), whole[2 * 29..]);
        assert_eq!(encode_entries(&entries, 0, 40), whole[..40]);
        assert!(encode_entries(&entries, u64::MAX, 40).is_empty());
    }
}
