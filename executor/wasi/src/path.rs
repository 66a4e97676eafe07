//! Names in directories: opening.
//!
//! A path is resolved below a directory of the process. cap-std refuses paths that lead out of it, by `..`, by an
//! absolute path or through a symbolic link. On Linux, the kernel does this (`openat2`), so that changing links at
//! the same time opens no gap.
//!
//! Nothing is opened in a way that could block. A file that turns out to be a named pipe or a terminal is registered
//! with the reactor, and if nobody reads a pipe yet, the process waits and not a thread.

use std::io;
use std::sync::Arc;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, File, FileTypeExt, Metadata, OpenOptions};
use lunatic_jit::HostCall;

use crate::table::FdTable;
use lunatic_core::config::ProcessConfig;
use lunatic_core::process::{ProcessData, Reason};
use lunatic_host::Capable;
use lunatic_host::Guest;
use lunatic_host::capabilities::redirect::{FileId, Sink};
use lunatic_host::declare::{Host, LOOK, func};
use lunatic_host::memory::GuestMemory;
#[cfg(unix)]
use lunatic_host::net;
use lunatic_net::Pipe;
use lunatic_resources::sys::{self, files};

use super::errno::Errno;
use super::fd::checked_flags;
use super::redirected::Redirected;
use super::rights::{Granted, Rights};
use super::stat::kind;
use super::table::{APPEND, Fd, FdEntry, NONBLOCK, OpenDir, OpenFile};
use super::{Result, Version, finished, job, suspend};

/// Bytes of a path.
const MAX_PATH: u32 = 4096;

/// How a file is opened.
const CREATE: u32 = 1;
const MUST_BE_DIRECTORY: u32 = 2;
const EXCLUSIVE: u32 = 4;
const TRUNCATE: u32 = 8;

/// The flag by which a lookup follows a symbolic link in the last component.
const FOLLOW: u32 = 1;

/// Nanoseconds between two checks whether a named pipe has a reader. The system does not report that.
const LOOK_FOR_READER: u64 = 10_000_000;

/// How something is opened.
#[derive(Clone, Copy, Debug)]
struct How {
    follow: bool,
    directory: bool,
    create: bool,
    exclusive: bool,
    truncate: bool,
    append: bool,
    read: bool,
    write: bool,
    /// Whether the request excludes a directory, because directories cannot be written. Rights that only files have
    /// do not exclude it: guests request them before they know what they open.
    must_write: bool,
}

/// The result of opening.
enum Opened {
    /// A file, with its WASI type.
    File(File, u8),
    Dir(OpenDir),
    /// An object that processes wait for. Devices other than terminals never block for long and count as files.
    #[cfg(unix)]
    Stream(File),
    /// Nothing yet: a named pipe without a reader.
    NoReader,
    /// Nothing: writes are redirected.
    Elsewhere(Arc<Sink>),
}

pub(super) fn register(host: &mut Host, version: Version) {
    func!(host, version.module(), "path_open", LOOK, path_open);
}

/// A path as the guest passes it.
pub(super) fn guest_path(memory: &GuestMemory<'_>, (path, length): (u32, u32)) -> Result<String> {
    if length > MAX_PATH {
        return Err(Errno::NAMETOOLONG);
    }
    let path = memory.str(path, length)?;
    if path.is_empty() {
        Err(Errno::NOENT)
    } else if path.contains('\0') {
        Err(Errno::INVAL)
    } else {
        Ok(path.to_owned())
    }
}

/// Returns whether a symbolic link in the last component is followed.
pub(super) fn follows(lookup: u32) -> Result<bool> {
    if lookup & !FOLLOW == 0 { Ok(lookup & FOLLOW != 0) } else { Err(Errno::INVAL) }
}

#[allow(clippy::too_many_arguments)] // The ABI's.
fn path_open(
    guest: &mut Guest<'_>,
    fd: u32,
    lookup: u32,
    path: u32,
    length: u32,
    how: u32,
    base: u64,
    inheriting: u64,
    flags: u32,
    result: u32,
) -> HostCall<u32> {
    suspend(guest, |memory, data| {
        let entry = FdTable::of(data).entry(fd)?;
        let Fd::Dir(dir) = &entry.fd else { return Err(Errno::NOTDIR) };
        let (open_dir, parent) = (dir.clone(), entry.rights);
        memory.check(result, 4)?;
        let path = guest_path(memory, (path, length))?;
        let flags = checked_flags(flags)?;
        let asked = Granted { base: Rights(base), inheriting: Rights(inheriting) };
        let how = How::new(lookup, how, flags, asked, parent)?;
        let whole = whole_path(data, &open_dir, &path);
        let opening = Opening { dir: open_dir.dir, path, whole, how, asked, parent, flags, result };
        if let Some(sink) = redirected(data, &opening) {
            opening.enter(memory, data, Fd::Redirected(Redirected::new(&sink, None)))?;
            return Ok(HostCall::Return(()));
        }
        opening.start(data)
    })
}

/// Returns the path as the process sees it, if redirections need it.
fn whole_path(data: &ProcessData, dir: &OpenDir, path: &str) -> Option<Arc<str>> {
    let has_paths =
        data.process.config().caps().redirects.as_ref().is_some_and(|redirects| redirects.has_paths());
    has_paths.then(|| [dir.path.as_deref().unwrap_or("."), path].join("/").into())
}

/// Returns the destination of a redirected path.
fn redirected(data: &ProcessData, opening: &Opening) -> Option<Arc<Sink>> {
    let whole = opening.whole.as_deref().filter(|_| !opening.how.directory)?;
    data.process.config().caps().redirects.as_ref()?.of_path("", whole).cloned()
}

/// A `path_open` in progress.
struct Opening {
    dir: Arc<Dir>,
    path: String,
    /// The directory, with its path if paths are redirected.
    whole: Option<Arc<str>>,
    how: How,
    asked: Granted,
    parent: Granted,
    flags: u16,
    result: u32,
}

impl Opening {
    fn start(self, data: &mut ProcessData) -> Result<HostCall<()>> {
        FdTable::of(data).check_room()?;
        let config = data.process.config().clone();
        job(
            data,
            move || (self.open(&config), self),
            |memory, data, (opened, opening)| {
                let what = match opened? {
                    Opened::Elsewhere(sink) => Fd::Redirected(Redirected::new(&sink, None)),
                    Opened::NoReader => return opening.wait(data),
                    Opened::File(file, kind) => Fd::File(Arc::new(OpenFile { file, kind })),
                    Opened::Dir(dir) => Fd::Dir(OpenDir { path: opening.whole.clone(), ..dir }),
                    #[cfg(unix)]
                    Opened::Stream(file) => {
                        Fd::Pipe(Arc::new(Pipe::new(net(data.node()), file.into_std().into())?))
                    }
                };
                opening.enter(memory, data, what)?;
                Ok(HostCall::Return(()))
            },
        )
    }

    /// Opens the path, unless a redirected path leads to the same file. That is checked before, so that the file is
    /// not truncated, and afterwards, because the file may have been created or exchanged meanwhile.
    fn open(&self, config: &ProcessConfig) -> io::Result<Opened> {
        let Some(redirects) = config.caps().redirects.as_ref().filter(|_| self.whole.is_some()) else {
            return open(&self.dir, &self.path, self.how);
        };
        let found = if self.how.follow {
            self.dir.metadata(&self.path)
        } else {
            self.dir.symlink_metadata(&self.path)
        };
        let sink = |found: &Metadata| {
            redirects
                .places(&config.caps().dirs)
                .of_file(FileId::of(found))
                .map(|sink| Opened::Elsewhere(sink.clone()))
        };
        if let Some(elsewhere) = found.ok().and_then(|found| sink(&found)) {
            return Ok(elsewhere);
        }
        let opened = open(&self.dir, &self.path, self.how)?;
        let elsewhere = match &opened {
            Opened::File(file, _) => sink(&file.metadata()?),
            _ => None,
        };
        Ok(elsewhere.unwrap_or(opened))
    }

    /// Tries again after a short time.
    fn wait(self, data: &mut ProcessData) -> Result<HostCall<()>> {
        if self.flags & NONBLOCK != 0 {
            return Err(Errno::NXIO);
        }
        let deadline = data.node().clock.now().saturating_add(LOOK_FOR_READER);
        let again = Box::new(move |_: &mut [u8], data: &mut ProcessData| finished(self.start(data)));
        data.wait_for(Reason::Time(again), Some(deadline));
        Ok(HostCall::Suspend)
    }

    fn enter(&self, memory: &mut GuestMemory<'_>, data: &mut ProcessData, fd: Fd) -> Result<()> {
        let rights = self.parent.below(self.asked, fd.rights());
        let number = FdTable::of(data).add(FdEntry { fd, rights, flags: self.flags })?;
        Ok(memory.write_u32(self.result, number)?)
    }
}

impl How {
    /// Converts the request of the guest, if it is permitted.
    fn new(lookup: u32, how: u32, flags: u16, asked: Granted, parent: Granted) -> Result<How> {
        const ALL: u32 = CREATE | MUST_BE_DIRECTORY | EXCLUSIVE | TRUNCATE;
        const WRITES: Rights =
            Rights(Rights::FD_WRITE.0 | Rights::FD_ALLOCATE.0 | Rights::FD_FILESTAT_SET_SIZE.0);
        let has = |flag: u32| how & flag != 0;
        if how & !ALL != 0 || has(MUST_BE_DIRECTORY) && has(CREATE | EXCLUSIVE | TRUNCATE) {
            return Err(Errno::INVAL);
        }
        let mut needed = Rights::PATH_OPEN;
        if has(CREATE) {
            needed = needed | Rights::PATH_CREATE_FILE;
        }
        if has(TRUNCATE) {
            needed = needed | Rights::PATH_FILESTAT_SET_SIZE;
        }
        parent.base.check(needed)?;
        if !parent.inheriting.contains(asked.base & (Rights::FD_READ | Rights::FD_WRITE)) {
            return Err(Errno::NOTCAPABLE);
        }
        let granted = asked.base & parent.inheriting;
        if has(MUST_BE_DIRECTORY) && granted.contains(Rights::FD_WRITE) {
            return Err(Errno::ISDIR);
        }
        let write = granted & WRITES != Rights::NONE && !has(MUST_BE_DIRECTORY);
        Ok(How {
            follow: follows(lookup)?,
            directory: has(MUST_BE_DIRECTORY),
            create: has(CREATE),
            exclusive: has(EXCLUSIVE),
            truncate: has(TRUNCATE),
            append: flags & APPEND != 0,
            read: granted & (Rights::FD_READ | Rights::FD_READDIR) != Rights::NONE || !write,
            write,
            must_write: granted.contains(Rights::FD_WRITE) || has(CREATE | TRUNCATE),
        })
    }

    /// Returns the options for the system. Creating or truncating a file requires opening it for writing.
    fn options(self) -> OpenOptions {
        let mut options = OpenOptions::new();
        let follow = if self.follow { FollowSymlinks::Yes } else { FollowSymlinks::No };
        options
            .read(self.read)
            .write(self.write || self.create || self.truncate)
            .truncate(self.truncate)
            .create(self.create && !self.exclusive)
            .create_new(self.create && self.exclusive)
            .follow(follow);
        files::never_waiting(&mut options, self.append, self.directory);
        options
    }
}

/// Opens an existing file or directory, or creates a file.
fn open(dir: &Dir, path: &str, how: How) -> io::Result<Opened> {
    sys::check_next(dir)?;
    let file = match open_file(dir, path, how) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::IsADirectory && how.write && !how.must_write => {
            return open(dir, path, How { read: true, write: false, ..how });
        }
        // A directory that may be searched but not read.
        Err(error) if how.directory && error.kind() == io::ErrorKind::PermissionDenied => {
            let opened = if how.follow { dir.open_dir(path) } else { open_dir_nofollow(dir, path) };
            return opened.map(|dir| Opened::Dir(OpenDir::new(dir)));
        }
        Err(error) if files::has_no_reader(&error) => {
            let is_pipe = dir.metadata(path).is_ok_and(|found| found.file_type().is_fifo());
            return if is_pipe { Ok(Opened::NoReader) } else { Err(error) };
        }
        Err(error) => return Err(error),
    };
    sys::note(&file);
    Ok(match file.metadata()?.file_type() {
        found if found.is_dir() => Opened::Dir(OpenDir::readable(Dir::from_std_file(file.into_std()))),
        #[cfg(unix)]
        found if found.is_fifo() || found.is_char_device() && is_terminal(&file) => Opened::Stream(file),
        other => Opened::File(file, kind(other)),
    })
}

#[cfg(unix)]
fn is_terminal(file: &File) -> bool {
    std::io::IsTerminal::is_terminal(&std::os::fd::AsFd::as_fd(file))
}

fn open_dir_nofollow(dir: &Dir, path: &str) -> io::Result<Dir> {
    cap_fs_ext::DirExt::open_dir_nofollow(dir, path)
}

/// Opens an existing file with the requested access, and creates it only if there is none: creating requires opening
/// for writing, which an existing file may not permit.
fn open_file(dir: &Dir, path: &str, how: How) -> io::Result<File> {
    let only_there = How { create: false, ..how };
    if how.create && !how.exclusive && !how.write && !how.truncate {
        match dir.open_with(path, &only_there.options()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    dir.open_with(path, &how.options())
}
