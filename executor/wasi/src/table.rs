//! The descriptors of a process. The table is created when it is first used; most processes never use it.

use std::ops::Deref;
use std::sync::Arc;

use cap_std::fs::{Dir, File};

use lunatic_core::config::ProcessConfig;
use lunatic_core::{HostState, ProcessData};
use lunatic_host::Capable;
use lunatic_host::capabilities::redirect::Sink;
use lunatic_net::{GivenListener, Pipe, TcpStream};

use super::Result;
use super::errno::Errno;
use super::listing::Listing;
use super::poll::{Standard, Watch};
use super::redirected::Redirected;
use super::rights::{Granted, Rights};

/// Descriptor flags.
pub(super) const APPEND: u16 = 1;
pub(super) const DSYNC: u16 = 1 << 1;
pub(super) const NONBLOCK: u16 = 1 << 2;
pub(super) const RSYNC: u16 = 1 << 3;
pub(super) const SYNC: u16 = 1 << 4;

/// The internal flag of a listener whose flags the guest has not read yet. There are two kinds of guests. Those that
/// read the flags (Go does) expect a listener that does not block if the flags say so, as in Wasmtime, and would stop
/// altogether if it blocked. Those that do not read them expect it to block. This flag serves both.
pub(super) const UNSEEN: u16 = 1 << 15;

/// The object of a descriptor. Cloning is cheap: a job on the pool holds a clone while it runs.
#[derive(Clone)]
pub(super) enum Fd {
    Stdin,
    Stdout,
    Stderr,
    Dir(OpenDir),
    File(Arc<OpenFile>),
    /// A named pipe or a terminal. Processes wait for these in the reactor.
    Pipe(Arc<Pipe>),
    Listener(Arc<GivenListener>),
    Connection(Arc<TcpStream>),
    Redirected(Redirected),
}

/// A regular file, or a device.
pub(super) struct OpenFile {
    pub(super) file: File,
    /// The WASI file type.
    pub(super) kind: u8,
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// A directory.
#[derive(Clone)]
pub(super) struct OpenDir {
    pub(super) dir: Arc<Dir>,
    /// The name of a preopened directory.
    pub(super) preopen: Option<Arc<str>>,
    /// The path of the directory as the process sees it. For a directory that was opened below another one, it is set
    /// only if paths are redirected.
    pub(super) path: Option<Arc<str>>,
    /// The position of its listing.
    pub(super) listing: Listing,
}

/// A descriptor: an object, rights and flags.
#[derive(Clone)]
pub(super) struct FdEntry {
    pub(super) fd: Fd,
    pub(super) rights: Granted,
    pub(super) flags: u16,
}

/// A table of descriptors. See the module documentation.
pub(crate) struct FdTable {
    fds: Vec<Option<FdEntry>>,
    /// The limit on descriptors.
    max: usize,
    /// All lower numbers are in use.
    lowest: usize,
    /// Whether standard streams were asked to report that they are ready.
    watches: Option<Box<[Arc<Watch>; 3]>>,
}

impl OpenDir {
    /// Creates a directory that was opened below another one.
    pub(super) fn new(dir: Dir) -> OpenDir {
        OpenDir { dir: Arc::new(dir), preopen: None, path: None, listing: Listing::default() }
    }

    /// Creates a directory like [`OpenDir::new`] that can be listed, and not only used for paths.
    pub(super) fn readable(dir: Dir) -> OpenDir {
        OpenDir { listing: Listing::of_own(), ..OpenDir::new(dir) }
    }
}

impl Fd {
    /// Returns the rights that make sense for an object of this kind.
    pub(super) fn rights(&self) -> Rights {
        match self {
            Fd::Dir(_) => Rights::DIRECTORY,
            Fd::File(_) => Rights::FILE,
            Fd::Stdin | Fd::Stdout | Fd::Stderr | Fd::Pipe(_) => Rights::STREAM,
            Fd::Connection(_) => Rights::CONNECTION,
            Fd::Redirected(to) => {
                if to.stream.is_some() {
                    Rights::STREAM
                } else {
                    Rights::FILE
                }
            }
            Fd::Listener(_) => Rights::LISTENER,
        }
    }
}

impl FdEntry {
    fn stream(fd: Fd, direction: Rights) -> FdEntry {
        let rest = Rights::FD_FDSTAT_SET_FLAGS | Rights::FD_FILESTAT_GET | Rights::POLL_FD_READWRITE;
        FdEntry { fd, rights: Granted::only(rest | direction), flags: 0 }
    }
}

impl FdTable {
    fn new(config: &ProcessConfig) -> FdTable {
        FdTable { fds: initial(config), max: config.max_files as usize, lowest: 0, watches: None }
    }

    /// Returns the table of a process.
    #[inline]
    pub(super) fn of(data: &mut ProcessData) -> &mut FdTable {
        let ProcessData { extensions, process, .. } = data;
        extensions.get_or_insert_with(|| FdTable::new(process.config()))
    }

    /// Returns a descriptor, whatever its rights.
    pub(super) fn entry(&mut self, fd: u32) -> Result<&mut FdEntry> {
        self.slots().get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::BADF)
    }

    /// Returns the object of a descriptor that has these rights.
    pub(super) fn get(&mut self, fd: u32, needed: Rights) -> Result<Fd> {
        let entry = self.entry(fd)?;
        entry.rights.base.check(needed)?;
        Ok(entry.fd.clone())
    }

    /// Returns a directory that has these rights.
    pub(super) fn dir(&mut self, fd: u32, needed: Rights) -> Result<OpenDir> {
        let entry = self.entry(fd)?;
        let Fd::Dir(dir) = &entry.fd else { return Err(Errno::NOTDIR) };
        entry.rights.base.check(needed)?;
        Ok(dir.clone())
    }

    /// Returns the redirected file of a descriptor with these rights, if it is one.
    pub(super) fn seems_a_file(&mut self, fd: u32, needed: Rights) -> Result<Option<Redirected>> {
        let entry = self.entry(fd)?;
        let Fd::Redirected(to) = &entry.fd else { return Ok(None) };
        if to.stream.is_some() {
            return Ok(None);
        }
        entry.rights.base.check(needed)?;
        Ok(Some(to.clone()))
    }

    /// Returns a seekable file that has these rights.
    pub(super) fn file(&mut self, fd: u32, needed: Rights) -> Result<Arc<OpenFile>> {
        let entry = self.entry(fd)?;
        match &entry.fd {
            Fd::File(file) => {
                entry.rights.base.check(needed)?;
                Ok(file.clone())
            }
            // All versions of the official tests accept this errno.
            Fd::Dir(_) => Err(Errno::BADF),
            Fd::Stdin
            | Fd::Stdout
            | Fd::Stderr
            | Fd::Pipe(_)
            | Fd::Listener(_)
            | Fd::Connection(_)
            | Fd::Redirected(_) => Err(Errno::SPIPE),
        }
    }

    /// Checks that another descriptor can be added, before anything has an effect.
    pub(super) fn check_room(&mut self) -> Result<()> {
        if self.find_free() < self.max { Ok(()) } else { Err(Errno::MFILE) }
    }

    /// Adds a descriptor with the lowest free number.
    pub(super) fn add(&mut self, entry: FdEntry) -> Result<u32> {
        let number = self.find_free();
        if number >= self.max {
            return Err(Errno::MFILE);
        }
        let slots = self.slots();
        if number == slots.len() {
            slots.push(None);
        }
        slots[number] = Some(entry);
        Ok(number as u32)
    }

    /// Removes a descriptor. The caller closes it.
    pub(super) fn close(&mut self, fd: u32) -> Result<FdEntry> {
        let slot = self.slots().get_mut(fd as usize).ok_or(Errno::BADF)?;
        let closed = slot.take().ok_or(Errno::BADF)?;
        self.lowest = self.lowest.min(fd as usize);
        Ok(closed)
    }

    /// Returns whether there are files, which may take long to close.
    pub(crate) fn has_files(&self) -> bool {
        let is_file = |entry: &FdEntry| matches!(entry.fd, Fd::File(_));
        self.fds.iter().flatten().any(is_file)
    }

    /// Returns the lowest free number, which may exceed the limit. The search starts where the last one ended, so a
    /// process that opens thousands of files checks each number once.
    fn find_free(&mut self) -> usize {
        let from = self.lowest;
        let slots = self.slots();
        let found =
            slots.iter().skip(from).position(Option::is_none).map_or(slots.len(), |ahead| from + ahead);
        self.lowest = found;
        found
    }

    /// Moves a descriptor to the number of another one, which is returned to be closed.
    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Result<Option<FdEntry>> {
        self.entry(to)?;
        self.entry(from)?;
        if from == to {
            return Ok(None);
        }
        let slots = self.slots();
        let moved = slots[from as usize].take();
        let closed = std::mem::replace(&mut slots[to as usize], moved);
        self.lowest = self.lowest.min(from as usize);
        Ok(closed)
    }

    /// Returns how a standard stream is asked to report that it is ready.
    pub(super) fn watch(&mut self, stream: Standard) -> Arc<Watch> {
        self.watches.get_or_insert_default()[stream as usize].clone()
    }

    fn slots(&mut self) -> &mut Vec<Option<FdEntry>> {
        &mut self.fds
    }
}

/// Returns the descriptors that a process with this configuration begins with.
fn initial(config: &ProcessConfig) -> Vec<Option<FdEntry>> {
    let caps = config.caps();
    let redirects = caps.redirects.as_deref();
    let output = |to: Option<&Arc<Sink>>, stream: Standard, own: Fd| {
        let fd = to.map_or(own, |sink| Fd::Redirected(Redirected::new(sink, Some(stream))));
        FdEntry::stream(fd, Rights::FD_WRITE | Rights::FD_SYNC | Rights::FD_DATASYNC)
    };
    let stdout = redirects.and_then(|redirects| redirects.stdout.as_ref());
    let stderr = redirects.and_then(|redirects| redirects.stderr.as_ref());
    let streams = [
        FdEntry::stream(Fd::Stdin, Rights::FD_READ),
        output(stdout, Standard::Output, Fd::Stdout),
        output(stderr, Standard::Error, Fd::Stderr),
    ];
    let dirs = caps.dirs.iter().map(|dir| FdEntry {
        fd: Fd::Dir(OpenDir {
            dir: dir.dir.clone(),
            preopen: Some(dir.name.clone()),
            path: Some(dir.name.clone()),
            listing: Listing::default(),
        }),
        rights: Granted::of_preopen(dir.is_read_only),
        flags: 0,
    });
    // Listeners follow the directories: guests look for directories from 3 on, and stop at the first descriptor that
    // is not one.
    let listeners = caps.listeners.iter().map(|listener| FdEntry {
        fd: Fd::Listener(listener.clone()),
        rights: Granted { base: Rights::LISTENER, inheriting: Rights::CONNECTION },
        flags: NONBLOCK | UNSEEN,
    });
    streams.into_iter().chain(dirs).chain(listeners).map(Some).collect()
}

impl HostState for FdTable {
    fn is_slow_to_drop(&self) -> bool {
        self.has_files()
    }
}

#[cfg(test)]
mod tests {
    use lunatic_host::Capabilities;

    use super::*;

    fn everything() -> ProcessConfig {
        ProcessConfig::unlimited(Box::new(Capabilities::default()))
    }

    fn stderr() -> FdEntry {
        FdEntry::stream(Fd::Stderr, Rights::FD_WRITE)
    }

    #[test]
    fn the_lowest_free_number_is_given() {
        let config = everything();
        let mut table = FdTable::new(&config);
        table.close(1).unwrap();
        assert_eq!(table.close(1).err(), Some(Errno::BADF));
        assert_eq!(table.add(stderr()), Ok(1));
        assert_eq!(table.add(stderr()), Ok(3));
        assert_eq!(table.close(u32::MAX).err(), Some(Errno::BADF));
        table.close(0).unwrap();
        table.renumber(3, 1).unwrap();
        assert_eq!([0; 3].map(|_| table.add(stderr()).unwrap()), [0, 3, 4]);
    }

    #[test]
    fn there_is_a_limit() {
        let config = everything();
        let mut table = FdTable::new(&config);
        assert!((3..table.max).all(|_| table.add(stderr()).is_ok()));
        assert_eq!(table.add(stderr()), Err(Errno::MFILE));
    }

    #[test]
    fn a_descriptor_moves_only_onto_another() {
        let config = everything();
        let mut table = FdTable::new(&config);
        assert_eq!(table.renumber(1, 3).err(), Some(Errno::BADF));
        assert_eq!(table.renumber(3, 1).err(), Some(Errno::BADF));
        assert!(table.renumber(1, 1).unwrap().is_none());
        assert!(table.entry(1).is_ok(), "onto itself is nothing");
        let closed = table.renumber(1, 0).unwrap();
        assert!(matches!(closed, Some(FdEntry { fd: Fd::Stdin, .. })), "what was there is to be closed");
        assert!(table.entry(1).is_err());
        assert_eq!(table.get(0, Rights::FD_READ).err(), Some(Errno::BADF), "it is what 1 was");
    }

    #[test]
    fn open_files_are_slow_to_close() {
        let config = everything();
        let mut table = FdTable::new(&config);
        assert!(!table.has_files());
        table.add(stderr()).unwrap();
        assert!(!table.has_files());
        let file = File::from_std(tempfile::tempfile().unwrap());
        let fd = Fd::File(Arc::new(OpenFile { file, kind: 4 }));
        let number = table.add(FdEntry { fd, rights: Granted::only(Rights::FILE), flags: 0 }).unwrap();
        assert!(table.has_files());
        let closed = table.close(number).unwrap();
        assert!(matches!(closed.fd, Fd::File(_)) && !table.has_files());
    }
}
