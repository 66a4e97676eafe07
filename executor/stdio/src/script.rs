//! Standard input of simulations: read on demand, recorded, and identical for every run.
//!
//! The content alone decides how much a read returns: as much as fits, up to the end of a line. Reads do not depend
//! on how the source splits the bytes, and interactive input is processed line by line.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use lunatic_resources::sync::{Mutex, MutexGuard};

/// Maximum bytes of recorded input. The stream ends after them; the rest is not read.
const MAX_BYTES: usize = 256 << 20;

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// Standard input of simulated programs. Clones share the recording; every run reads it from the beginning.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<Source>>);

#[derive(Default)]
struct Source {
    /// Bytes read so far.
    bytes: Vec<u8>,
    /// Source of further input; `None` at the end.
    rest: Option<Box<dyn Read + Send>>,
}

/// One run's position in a script.
pub struct Replay {
    script: Script,
    position: Mutex<usize>,
}

impl Script {
    /// Creates a script that is read from `source` on demand.
    pub fn new(source: impl Read + Send + 'static) -> Script {
        Script(Arc::new(Mutex::new(Source { bytes: Vec::new(), rest: Some(Box::new(source)) })))
    }

    fn lock(&self) -> MutexGuard<'_, Source> {
        // A panic of the source is the embedder's fault; the recorded bytes stay consistent.
        self.0.lock()
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("read", &self.lock().bytes.len()).finish_non_exhaustive()
    }
}

impl Replay {
    pub(super) fn new(script: Script) -> Replay {
        Replay { script, position: Mutex::new(0) }
    }

    /// Copies the next input into `buffer`. Returns the number of bytes, 0 at the end.
    pub(super) fn take(&self, buffer: &mut [u8]) -> usize {
        let mut position = self.position.lock();
        let mut source = self.script.lock();
        let count = loop {
            let there = &source.bytes[*position..];
            let there = &there[..there.len().min(buffer.len())];
            let found = there.len();
            match there.iter().position(|byte| *byte == b'\n') {
                Some(end) => break end + 1,
                None if found == buffer.len() || !source.read_more() => break found,
                None => {}
            }
        };
        buffer[..count].copy_from_slice(&source.bytes[*position..*position + count]);
        *position += count;
        count
    }
}

impl Source {
    /// Reads more input. Returns whether there was any.
    fn read_more(&mut self) -> bool {
        let Some(rest) = &mut self.rest else { return false };
        let before = self.bytes.len();
        let wanted = CHUNK.min(MAX_BYTES - before);
        self.bytes.resize(before + wanted, 0);
        let count = loop {
            match rest.read(&mut self.bytes[before..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A read error ends the stream.
                result => break result.unwrap_or(0),
            }
        };
        self.bytes.truncate(before + count);
        if count == 0 {
            self.rest = None;
        }
        count > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source that yields its bytes in pieces of the given size.
    struct InPieces(usize, std::io::Cursor<Vec<u8>>);

    impl Read for InPieces {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let size = self.0.min(buffer.len());
            self.1.read(&mut buffer[..size])
        }
    }

    fn reads(piece: usize, buffer: usize) -> Vec<String> {
        let script = Script::new(InPieces(piece, std::io::Cursor::new(b"one\ntwo three\n\nfour".to_vec())));
        let all = || {
            let replay = Replay::new(script.clone());
            let mut bytes = vec![0; buffer];
            let mut next = || match replay.take(&mut bytes) {
                0 => None,
                count => Some(String::from_utf8(bytes[..count].to_vec()).unwrap()),
            };
            std::iter::from_fn(&mut next).collect::<Vec<_>>()
        };
        let first = all();
        assert_eq!(all(), first, "a second run reads the same");
        first
    }

    #[test]
    fn reads_depend_only_on_the_content() {
        for piece in [1, 2, 5, 100] {
            assert_eq!(reads(piece, 100), ["one\n", "two three\n", "\n", "four"]);
            assert_eq!(reads(piece, 5), ["one\n", "two t", "hree\n", "\n", "four"]);
        }
    }

    #[test]
    fn an_empty_buffer_reads_nothing() {
        let replay = Replay::new(Script::new(&b"abc"[..]));
        assert_eq!(replay.take(&mut []), 0);
        assert_eq!(replay.take(&mut [0; 3]), 3);
    }
}
