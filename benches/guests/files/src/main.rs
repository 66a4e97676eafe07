//! Operations on files and standard streams, one per run: `files OPERATION [PATH]...`.

use std::fs::{self, File};
use std::io::{self, BufRead, Read, Write};
use std::path::Path;

/// Bytes that are copied at a time.
const BUFFER: usize = 64 << 10;

/// Small writes, and what each writes.
const WRITES: u32 = 1_000_000;
const LINE: &[u8; 16] = b"fifteen letters\n";

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["copy", from, to] => copy(from, to),
        ["walk", directory] => walk(Path::new(directory)).map(|(files, bytes)| println!("{files} {bytes}")),
        ["lines"] => lines().map(|(lines, bytes)| println!("{lines} {bytes}")),
        ["write", to] => write(File::create(to)?, WRITES),
        ["print"] => write(io::stdout().lock(), WRITES),
        ["print", count] => write(io::stdout().lock(), count.parse().expect("a number of lines")),
        _ => panic!("unknown: {args:?}"),
    }
}

fn copy(from: &str, to: &str) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

/// Files below a directory, and their bytes.
fn walk(directory: &Path) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let (more, of_them) =
            if metadata.is_dir() { walk(&entry.path())? } else { (1, metadata.len()) };
        (files, bytes) = (files + more, bytes + of_them);
    }
    Ok((files, bytes))
}

/// Lines of standard input, and their bytes.
fn lines() -> io::Result<(u64, u64)> {
    let mut input = io::stdin().lock();
    let (mut lines, mut bytes, mut line) = (0, 0, String::new());
    while input.read_line(&mut line)? > 0 {
        (lines, bytes) = (lines + 1, bytes + line.len() as u64);
        line.clear();
    }
    Ok((lines, bytes))
}

fn write(mut to: impl Write, lines: u32) -> io::Result<()> {
    for _ in 0..lines {
        to.write_all(LINE)?;
    }
    Ok(())
}
