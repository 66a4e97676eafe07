//! `fd_readdir`: the contents of directories.
//!
//! An entry has 24 bytes followed by its name: the cookie of the next entry (8), the inode (8), the length of the
//! name (4), the type (1). A listing begins with the cookie 0 and continues with the cookie of the last complete
//! entry. Cookies are the system's own, so nothing has to be stored between two calls, however large the directory is
//! and however small the guest's buffer. Entries that are created or removed meanwhile may or may not appear; no
//! other entry is missed or appears twice.
//!
//! Names that are not UTF-8 are left out: no function of WASI could use them.

use std::io;
use std::sync::Arc;

use lunatic_resources::sync::{Mutex, MutexGuard};

use cap_std::fs::Dir;
use lunatic_jit::HostCall;

use crate::table::FdTable;
use lunatic_core::ProcessData;
use lunatic_host::Guest;
use lunatic_host::declare::{Host, LOOK, func};
use lunatic_host::memory::GuestMemory;

use super::rights::Rights;
use super::stat::kind;
use super::{Result, Version, blocking, suspend};

/// Bytes of entries that one call returns at most.
const MAX_ENTRIES: u32 = 1 << 20;

/// The position of a listing. It belongs to the open file description, which all processes share for a preopened
/// directory. So a preopened directory is opened again for a listing, from the first call to the one that reaches the
/// end.
#[derive(Clone, Default)]
pub(super) struct Listing {
    /// Whether the open file description belongs to the process alone.
    is_own: bool,
    again: Arc<Mutex<Option<system::Again>>>,
}

pub(super) fn register(host: &mut Host, version: Version) {
    func!(
        host,
        version.module(),
        "fd_readdir",
        LOOK,
        |guest: &mut Guest<'_>, fd: u32, buffer: u32, length: u32, cookie: u64, result: u32| {
            suspend(guest, |memory, data| read_dir(memory, data, fd, (buffer, length), cookie, result))
        }
    );
}

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
    let open = FdTable::of(data).dir(fd, Rights::FD_READDIR)?;
    let job = move || open.listing.read(&open.dir, cookie, length);
    blocking(data, job, move |memory, _, bytes: Vec<u8>| {
        memory.write(buffer, &bytes)?;
        Ok(memory.write_u32(result, bytes.len() as u32)?)
    })
}

impl Listing {
    /// Creates the listing of a directory that the process has opened itself.
    pub(super) fn of_own() -> Listing {
        Listing { is_own: true, ..Listing::default() }
    }

    /// Returns the entries from a cookie on, as far as they fit. The last one may be cut off, which tells the guest
    /// that there are more.
    fn read(&self, dir: &Dir, cookie: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length.min(system::MAX_READ));
        let show = |entry: Listed<'_>| {
            bytes.extend_from_slice(&entry.next.to_le_bytes());
            bytes.extend_from_slice(&entry.inode.to_le_bytes());
            bytes.extend_from_slice(&(entry.name.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&[entry.kind, 0, 0, 0]);
            bytes.extend_from_slice(entry.name.as_bytes());
            bytes.len() < length
        };
        if self.is_own {
            system::list(dir, None, cookie, length, show)?;
        } else {
            let mut again = self.lock();
            let opened = match &*again {
                Some(opened) => opened,
                None => &*again.insert(system::open_again(dir)?),
            };
            system::list(dir, Some(opened), cookie, length, show)?;
            if bytes.len() < length {
                *again = None;
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Option<system::Again>> {
        // The current position does not matter: each call sets its own.
        self.again.lock()
    }
}

/// A directory entry.
struct Listed<'a> {
    next: u64,
    inode: u64,
    name: &'a str,
    kind: u8,
}

#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::fs::{FileType, Mode, OFlags, RawDir, SeekFrom, openat, seek};

    use super::super::stat::{CHARACTER_DEVICE, DIRECTORY, REGULAR_FILE, SYMBOLIC_LINK, UNKNOWN};
    use super::{Dir, Listed, io, kind};

    /// Bytes of one system call.
    const MIN_READ: usize = 1 << 10;
    pub(super) const MAX_READ: usize = 32 << 10;

    /// A directory that was opened again.
    pub(super) type Again = OwnedFd;

    pub(super) fn open_again(dir: &Dir) -> io::Result<Again> {
        lunatic_resources::sys::check_next(dir)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(dir, ".", flags, Mode::empty())?;
        lunatic_resources::sys::note(&opened);
        Ok(opened)
    }

    /// Passes the entries from a cookie on to a closure, until that stops. About this many bytes are wanted.
    pub(super) fn list(
        dir: &Dir,
        again: Option<&Again>,
        cookie: u64,
        wanted: usize,
        mut show: impl FnMut(Listed<'_>) -> bool,
    ) -> io::Result<()> {
        let opened = again.map_or(dir.as_fd(), |again| again.as_fd());
        seek(opened, SeekFrom::Start(cookie))?;
        let mut buffer = Vec::with_capacity(wanted.clamp(MIN_READ, MAX_READ));
        let mut entries = RawDir::new(opened, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let kind = match entry.file_type() {
                FileType::Directory => DIRECTORY,
                FileType::RegularFile => REGULAR_FILE,
                FileType::Symlink => SYMBOLIC_LINK,
                FileType::CharacterDevice => CHARACTER_DEVICE,
                // Some file systems do not report the type here; then the file is asked.
                _ => dir.symlink_metadata(name).map_or(UNKNOWN, |found| kind(found.file_type())),
            };
            let listed = Listed { next: entry.next_entry_cookie(), inode: entry.ino(), name, kind };
            if !show(listed) {
                break;
            }
        }
        Ok(())
    }

    /// Returns the inode of a directory, from its entry ".".
    #[cfg(test)]
    pub(super) fn inode(dir: &Dir) -> u64 {
        use cap_std::fs::MetadataExt;

        dir.dir_metadata().expect("it is open").ino()
    }
}

/// For systems whose cookies are not accessible: lists the entries in the order of their names and counts them, so
/// that a listing in several calls is complete as long as nothing changes.
#[cfg(not(target_os = "linux"))]
mod system {
    use super::super::stat::DIRECTORY;
    use super::{Dir, Listed, io, kind};

    /// The initial capacity in bytes.
    pub(super) const MAX_READ: usize = 4096;

    pub(super) struct Again;

    pub(super) fn open_again(_: &Dir) -> io::Result<Again> {
        Ok(Again)
    }

    pub(super) fn list(
        dir: &Dir,
        _: Option<&Again>,
        cookie: u64,
        _: usize,
        mut show: impl FnMut(Listed<'_>) -> bool,
    ) -> io::Result<()> {
        let mut all: Vec<_> = [".", ".."].map(|name| (name.to_owned(), DIRECTORY)).into();
        for entry in dir.entries()? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            all.push((name, kind(entry.file_type()?)));
        }
        all[2..].sort_unstable();
        let from = usize::try_from(cookie).unwrap_or(usize::MAX);
        for (index, (name, kind)) in all.iter().enumerate().skip(from) {
            if !show(Listed { next: index as u64 + 1, inode: 0, name, kind: *kind }) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Bytes of an entry without its name.
    const ENTRY: usize = 24;

    /// Returns the complete entries of a piece, and the cookie of the next entry.
    fn entries(bytes: &[u8]) -> (Vec<(String, u64)>, Option<u64>) {
        let (mut rest, mut found, mut next) = (bytes, Vec::new(), None);
        while rest.len() >= ENTRY {
            let number = |at: usize| u64::from_le_bytes(rest[at..at + 8].try_into().unwrap());
            let length = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
            if rest.len() < ENTRY + length {
                break;
            }
            let name = String::from_utf8(rest[ENTRY..ENTRY + length].to_vec()).unwrap();
            found.push((name, number(8)));
            next = Some(number(0));
            rest = &rest[ENTRY + length..];
        }
        (found, next)
    }

    fn listed(dir: &Dir, length: usize) -> Vec<(String, u64)> {
        let listing = Listing::default();
        let (mut all, mut cookie) = (Vec::new(), 0);
        loop {
            let bytes = listing.read(dir, cookie, length).unwrap();
            let (found, next) = entries(&bytes);
            all.extend(found);
            match next {
                Some(next) if bytes.len() == length => cookie = next,
                _ => return all,
            }
        }
    }

    #[test]
    fn a_listing_read_in_parts_is_complete() {
        let temporary = tempfile::tempdir().unwrap();
        for number in 0..1000 {
            std::fs::write(temporary.path().join(format!("file.{number}")), "").unwrap();
        }
        let dir = Dir::open_ambient_dir(temporary.path(), cap_std::ambient_authority()).unwrap();
        let expected: BTreeSet<_> =
            (0..1000).map(|number| format!("file.{number}")).chain([".", ".."].map(str::to_owned)).collect();
        for length in [64, 256, 5000, 1 << 20] {
            let found = listed(&dir, length);
            assert_eq!(found.len(), expected.len(), "in pieces of {length}");
            assert_eq!(found.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), expected);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_text_are_left_out_and_inodes_are_the_files() {
        use std::os::unix::ffi::OsStrExt;

        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        let dir = Dir::open_ambient_dir(temporary.path(), cap_std::ambient_authority()).unwrap();
        let found = listed(&dir, 256);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.contains(&(".".into(), system::inode(&dir))));
    }
}
