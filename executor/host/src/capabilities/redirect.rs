//! Redirections of what a process writes. The creator of its configuration sets them, and the process does not
//! notice.
//!
//! Standard output, standard error, and files that a process opens by certain paths can be redirected to a file, to a
//! connection, or to a process, which gets each write as a message. Children have the redirections of their parents.
//!
//! A redirection holds for every name of the file: an opened file is compared with the files that redirected paths
//! lead to. A process with redirected paths cannot rename these files or the directories on the way to them, and
//! cannot give their names to something else.
//!
//! A write is atomic, however many processes share the destination: a file is appended to in one call, a connection
//! takes the writes in order, and a message is one write.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use lunatic_resources::sync::Mutex;

use cap_std::fs::{Dir, File, Metadata, MetadataExt};

use lunatic_core::ProcessId;
use lunatic_net::{Direction, Stream, TcpStream, TryIo};
use lunatic_resources::{Charge, GuestDir, OpenDescriptor};

/// Paths that a configuration may redirect.
const MAX_PATHS: usize = 256;

/// Names that a redirected path may have.
const MAX_NAMES: usize = 64;
/// Bytes that the host keeps for the names of a redirected path, besides the path.
pub const BYTES_OF_NAMES: u64 = (MAX_NAMES * 48) as u64;

/// Bytes that may wait to be sent by a connection before writers have to wait.
const MAX_PENDING: usize = 1 << 20;

/// Capacity that a connection keeps while nothing waits to be sent, in bytes.
const KEPT_CAPACITY: usize = 16 << 10;

/// The redirections of a configuration. See the module documentation.
#[derive(Clone, Debug, Default)]
pub struct Redirects {
    /// The destination of standard output.
    pub stdout: Option<Arc<Sink>>,
    /// The destination of standard error.
    pub stderr: Option<Arc<Sink>>,
    /// Redirected paths, as lists of names.
    paths: Vec<(Arc<[String]>, Arc<Sink>)>,
}

/// A destination.
pub enum Sink {
    /// The end of this file. The descriptor counts for the process that opened it.
    #[allow(dead_code)] // The count is held, not read.
    File(File, OpenDescriptor),
    /// This connection, in order.
    Connection(Connection),
    /// Messages with this tag to this process.
    Process(ProcessId, i64),
}

/// A connection with the bytes that were written and not sent yet.
pub struct Connection {
    stream: Arc<TcpStream>,
    // At most one write beyond the limit. A process that writes waits until its bytes are sent, but it may be killed
    // meanwhile, or not want to wait.
    pending: Mutex<Pending>,
}

struct Pending {
    bytes: VecDeque<u8>,
    /// The charge to the process that created the redirection.
    kept: Charge,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Sink::File(..) => "file",
            Sink::Connection(_) => "connection",
            Sink::Process(..) => "process",
        })
    }
}

impl Redirects {
    /// Redirects a path. Returns whether the limits on paths and names permit it.
    pub fn add_path(&mut self, path: &str, sink: Arc<Sink>) -> bool {
        let names = names(path);
        self.paths.retain(|(other, _)| **other != *names);
        let has_room = self.paths.len() < MAX_PATHS && names.len() <= MAX_NAMES;
        if has_room {
            self.paths.push((names.into(), sink));
        }
        has_room
    }

    /// Returns the number of paths.
    pub fn paths(&self) -> usize {
        self.paths.len()
    }

    /// Returns the destination of a path that begins in a directory with this name.
    pub fn of_path(&self, dir: &str, path: &str) -> Option<&Arc<Sink>> {
        if self.paths.is_empty() {
            return None;
        }
        let names = names(&[dir, path].join("/"));
        self.paths.iter().find(|(other, _)| **other == *names).map(|(_, sink)| sink)
    }

    /// Returns whether any path is redirected.
    pub fn has_paths(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Returns the files that the redirected paths lead to now, for a process with these directories. This reads
    /// directories and may block.
    pub fn places(&self, dirs: &[GuestDir]) -> Places {
        let mut places = Places::default();
        for (path, sink) in &self.paths {
            for dir in dirs {
                if let Some(rest) = path.strip_prefix(&*names(&dir.name)) {
                    places.add(&dir.dir, rest, sink);
                }
            }
        }
        places
    }
}

/// The identity of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(u64, u64);

/// What redirected paths lead to. A file has other names as well, and directories on the way can be renamed.
#[derive(Default)]
pub struct Places {
    files: Vec<(FileId, Arc<Sink>)>,
    /// The directories on the way, below the process's own.
    dirs: Vec<FileId>,
    /// The redirected names, and the directories that contain them.
    names: Vec<(FileId, String)>,
}

impl FileId {
    /// Returns the identity of a file or directory.
    pub fn of(metadata: &Metadata) -> FileId {
        FileId(metadata.dev(), metadata.ino())
    }
}

impl Places {
    fn add(&mut self, dir: &Dir, path: &[String], sink: &Arc<Sink>) {
        let Some((name, above)) = path.split_last() else { return };
        let mut parent = dir.dir_metadata().map(|found| FileId::of(&found));
        for depth in 1..=above.len() {
            parent = dir.metadata(above[..depth].join("/")).map(|found| FileId::of(&found));
            self.dirs.extend(parent.as_ref().ok());
        }
        self.names.extend(parent.ok().map(|parent| (parent, name.clone())));
        if let Ok(found) = dir.metadata(path.join("/")) {
            self.files.push((FileId::of(&found), sink.clone()));
        }
    }

    /// Returns the destination of writes to a file.
    pub fn of_file(&self, file: FileId) -> Option<&Arc<Sink>> {
        self.files.iter().find(|(other, _)| *other == file).map(|(_, sink)| sink)
    }

    /// Refuses to give another name to what a redirected path leads to, or to a directory on the way, and to give a
    /// redirected name to something else.
    pub fn check_name(&self, dir: &Dir, path: &str) -> io::Result<()> {
        let path = path.trim_end_matches('/');
        let found = dir.symlink_metadata(path).map(|found| FileId::of(&found));
        let is_place = found.is_ok_and(|found| self.of_file(found).is_some() || self.dirs.contains(&found));
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        let parent = dir.metadata(if above.is_empty() { "." } else { above }).map(|found| FileId::of(&found));
        let is_name = parent.is_ok_and(|parent| {
            self.names.iter().any(|(other, redirected)| *other == parent && redirected == name)
        });
        if is_place || is_name { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }
}

/// Returns the names in a path, without empty ones and dots. Paths that begin differently are equal: `/a`, `./a` and
/// `a`.
fn names(path: &str) -> Vec<String> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name.to_owned()),
        }
    }
    names
}

impl Connection {
    /// Creates a connection. `kept`, which is for 0 bytes, charges for what waits to be sent.
    pub fn new(stream: Arc<TcpStream>, kept: Charge) -> Connection {
        Connection { stream, pending: Mutex::new(Pending { bytes: VecDeque::new(), kept }) }
    }

    /// Returns the connection, to wait for it.
    pub fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// Adds bytes behind those that others have written. Returns whether the limits permit it.
    pub fn write(&self, bytes: &[u8]) -> bool {
        let mut pending = self.lock();
        let Pending { bytes: waiting, kept } = &mut *pending;
        let total = (waiting.len() + bytes.len()) as u64;
        // If nothing waits, the bytes are accepted in any case: the writer would wait for ever.
        let is_charged = total <= kept.bytes() || kept.resize(total).is_ok();
        let has_room = waiting.is_empty() || waiting.len() <= MAX_PENDING && is_charged;
        if has_room {
            waiting.extend(bytes);
        }
        has_room
    }

    /// Sends as much as possible. Done when nothing is left, including the bytes of others.
    pub fn flush(&self) -> io::Result<TryIo<()>> {
        let mut pending = self.lock();
        let result = loop {
            if pending.bytes.is_empty() {
                break Ok(TryIo::Done(()));
            }
            let (front, back) = pending.bytes.as_slices();
            match self.stream.write(&[IoSlice::new(front), IoSlice::new(back)]) {
                Ok(TryIo::Done(count)) => drop(pending.bytes.drain(..count)),
                Ok(TryIo::Blocked(_)) => return Ok(TryIo::Blocked(Direction::Write)),
                // The peer does not read any more. The bytes are lost, as in a broken pipe.
                Err(error) => break Err(error),
            }
        };
        if pending.bytes.capacity() > KEPT_CAPACITY {
            pending.bytes = VecDeque::new();
        }
        pending.bytes.clear();
        // Reducing a charge never fails.
        let _ = pending.kept.resize(0);
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        // No code panics while the lock is held.
        self.pending.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_however_it_is_said() {
        let mut redirects = Redirects::default();
        let sink = || Arc::new(Sink::Process(ProcessId::NONE, 0));
        assert!(redirects.add_path("/var/log/app.log", sink()));
        assert!(redirects.add_path("./var//log/./app.log", sink()), "the same again");
        for (dir, path) in [
            ("/", "var/log/app.log"),
            ("/var", "log/app.log"),
            ("var/log", "./app.log"),
            ("/var/log", "old/../app.log"),
        ] {
            assert!(redirects.of_path(dir, path).is_some(), "{dir} {path}");
        }
        for (dir, path) in [("/", "var/log/app.log.1"), ("/other", "log/app.log"), ("/var/log", "app.log/x")]
        {
            assert!(redirects.of_path(dir, path).is_none(), "{dir} {path}");
        }
        let mut added = 1;
        while redirects.add_path(&format!("{added}"), sink()) {
            added += 1;
        }
        assert_eq!(added, MAX_PATHS);
    }
}
