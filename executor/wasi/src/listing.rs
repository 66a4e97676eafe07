//! `fd_readdir`: what is in a directory.
//!
//! An entry is 24 bytes followed by its name: the cookie of the next (8), inode (8), length of the name (4), type (1). A
//! listing is begun with the cookie 0 and goes on with that of the last entry that came whole. Cookies are the system's
//! own, so that nothing has to be remembered between two calls, however large the directory is and however small the
//! guest's buffer; what is created or removed meanwhile is seen or not, and nothing else is missed or comes twice.
//!
//! Names that are not UTF-8 are left out: no function of WASI could be asked about them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Bytes of directory entries that one call returns at most.
const MAX_ENTRIES: u32 = 1 << 20;

/// Where a directory is being listed. The position belongs to what was opened, and the directories that processes have from
/// their beginning were opened once for all: such a one is opened again, from the first call to the one that finds the end.
#[derive(Clone, Default)]
pub(super) struct Listing {
    /// Whether the directory is its process's own, so that its position is.
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
    /// Of a directory that nobody else has opened.
    pub(super) fn of_own() -> Listing {
        Listing { is_own: true, ..Listing::default() }
    }

    /// The entries from a cookie on, as far as they fit; the last one may be cut off, by which the guest knows that there
    /// are more.
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
        // A position is as good as any other: each call says where it wants to be.
        self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an entry tells.
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

    /// Bytes that the system is asked for at a time.
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

    /// Shows the entries from a cookie on, until it is told to stop; about so many bytes are wanted.
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
                // Not every file system tells; then the file does.
                _ => dir.symlink_metadata(name).map_or(UNKNOWN, |found| kind(found.file_type())),
            };
            let listed = Listed { next: entry.next_entry_cookie(), inode: entry.ino(), name, kind };
            if !show(listed) {
                break;
            }
        }
        Ok(())
    }

    /// The inode of a directory, as its entry "." tells it.
    #[cfg(test)]
    pub(super) fn inode(dir: &Dir) -> u64 {
        use cap_std::fs::MetadataExt;

        dir.dir_metadata().expect("it is open").ino()
    }
}

/// Where the system's own cookies are out of reach: the entries in the order of their names, counted, so that a listing in
/// several calls is whole as long as nothing changes.
#[cfg(not(target_os = "linux"))]
mod system {
    use super::super::stat::DIRECTORY;
    use super::{Dir, Listed, io, kind};

    /// Bytes to begin with.
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

    /// The whole entries of a piece, and the cookie of the next.
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
    fn a_listing_in_pieces_is_the_whole() {
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
