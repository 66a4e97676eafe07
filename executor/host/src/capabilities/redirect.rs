//! Where what a process writes goes instead: set by whoever makes its configuration, and invisible to it.
//!
//! Standard output, standard error, and files by the paths that a process opens them by, can be redirected to a file, to a
//! connection, or to a process, which then gets each write as a message. Children have the redirections of their parents.
//!
//! A redirection holds for every name of the file: what is opened is compared with what redirected paths lead to.
//! For a process with redirected paths these files, the directories on the way to them, and their names stay as they are: it
//! can neither rename them nor give them to something else.
//!
//! A write is whole, however many processes share what it goes to: a file is appended to in one call, a connection takes
//! the writes in order, a message is one.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::fs::{Dir, File, Metadata, MetadataExt};

use lunatic_core::ProcessId;
use lunatic_net::{Direction, Stream, TcpStream, TryIo};
use lunatic_resources::{Charge, GuestDir, OpenDescriptor};

/// Paths that a configuration may redirect.
const MAX_PATHS: usize = 256;

/// Names that a redirected path may have, and the bytes that the host keeps for them beside the path's own.
const MAX_NAMES: usize = 64;
/// Bytes that the host keeps for the names of a redirected path.
pub const BYTES_OF_NAMES: u64 = (MAX_NAMES * 48) as u64;

/// Bytes that may wait to be sent by a connection before writers have to.
const MAX_PENDING: usize = 1 << 20;

/// Bytes of room that a connection keeps while nothing waits to be sent.
const KEPT_CAPACITY: usize = 16 << 10;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Redirects {
    /// Where standard output goes.
    pub stdout: Option<Arc<Sink>>,
    /// Where standard error goes.
    pub stderr: Option<Arc<Sink>>,
    /// By the names of their paths.
    paths: Vec<(Arc<[String]>, Arc<Sink>)>,
}

/// Where it goes.
pub enum Sink {
    /// At the end of this, which is counted for the process that opened it.
    #[allow(dead_code)] // The count is held, not read.
    File(File, OpenDescriptor),
    /// In order, to this connection.
    Connection(Connection),
    /// As a message with this tag, to this process.
    Process(ProcessId, i64),
}

/// A connection, and what was written and is not sent yet.
pub struct Connection {
    stream: Arc<TcpStream>,
    // At most one write beyond the bound. A process that writes waits until it is sent, but may be killed meanwhile, or not
    // want to wait.
    pending: Mutex<Pending>,
}

struct Pending {
    bytes: VecDeque<u8>,
    /// Charged to the process that made the redirection.
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
    /// Redirects a path; whether there was room for one more, and for its names.
    pub fn add_path(&mut self, path: &str, sink: Arc<Sink>) -> bool {
        let names = names(path);
        self.paths.retain(|(other, _)| **other != *names);
        let has_room = self.paths.len() < MAX_PATHS && names.len() <= MAX_NAMES;
        if has_room {
            self.paths.push((names.into(), sink));
        }
        has_room
    }

    /// How many paths there are.
    pub fn paths(&self) -> usize {
        self.paths.len()
    }

    /// Where a path is redirected to that begins in a directory of this name.
    pub fn of_path(&self, dir: &str, path: &str) -> Option<&Arc<Sink>> {
        if self.paths.is_empty() {
            return None;
        }
        let names = names(&[dir, path].join("/"));
        self.paths.iter().find(|(other, _)| **other == *names).map(|(_, sink)| sink)
    }

    /// Whether any path is.
    pub fn has_paths(&self) -> bool {
        !self.paths.is_empty()
    }

    /// What the redirected paths lead to now, for a process with these directories. It looks at files, and so may wait.
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

/// What tells a file from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(u64, u64);

/// What redirected paths lead to: a file has other names as well, and directories that lead to it can be renamed.
#[derive(Default)]
pub struct Places {
    files: Vec<(FileId, Arc<Sink>)>,
    /// The directories on the way, below the process's own.
    dirs: Vec<FileId>,
    /// The redirected names, and the directories that they are in.
    names: Vec<(FileId, String)>,
}

impl FileId {
    /// The identity of a file or directory.
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

    /// Where what is written to a file goes instead.
    pub fn of_file(&self, file: FileId) -> Option<&Arc<Sink>> {
        self.files.iter().find(|(other, _)| *other == file).map(|(_, sink)| sink)
    }

    /// Refuses to give another name to what a redirected path leads to, or to something on the way there, and to give a
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

/// A path's names, without those that say nothing. Where it begins does not matter: `/a`, `./a` and `a` are the same.
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
    /// What waits to be sent is charged by `kept`, which is for nothing yet.
    pub fn new(stream: Arc<TcpStream>, kept: Charge) -> Connection {
        Connection { stream, pending: Mutex::new(Pending { bytes: VecDeque::new(), kept }) }
    }

    /// The connection itself, for whoever waits for it.
    pub fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// Puts bytes behind those that others have written; whether there was room for them.
    pub fn write(&self, bytes: &[u8]) -> bool {
        let mut pending = self.lock();
        let Pending { bytes: waiting, kept } = &mut *pending;
        let total = (waiting.len() + bytes.len()) as u64;
        // What nothing waits before has to go through in any case: the writer would wait for ever.
        let is_charged = total <= kept.bytes() || kept.resize(total).is_ok();
        let has_room = waiting.is_empty() || waiting.len() <= MAX_PENDING && is_charged;
        if has_room {
            waiting.extend(bytes);
        }
        has_room
    }

    /// Sends what there is room for; done when nothing is left, of what others have written either.
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
                // Nobody reads any more: it is lost, as what is in a broken pipe.
                Err(error) => break Err(error),
            }
        };
        if pending.bytes.capacity() > KEPT_CAPACITY {
            pending.bytes = VecDeque::new();
        }
        pending.bytes.clear();
        // To less it can always be resized.
        let _ = pending.kept.resize(0);
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        // Nothing panics under it.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
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
