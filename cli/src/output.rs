//! Files and standard streams, as the commands use them: whole at once.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use lunatic_instrument::MAX_MODULE_BYTES;

use crate::report::Failure;

/// Reads a module from a file, or from stdin if the path is `-`. Reading stops a little past the largest module
/// that is taken, so that an endless input becomes an error and not an exhausted memory.
///
/// # Errors
///
/// If the input cannot be read. That it is too large is for the library to say.
pub fn read_input(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = MAX_MODULE_BYTES as u64 + 1;
        if path == Path::new("-") {
            io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
        } else {
            File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    };
    read().map_err(|error| Failure::new(path, "stdin", error))
}

/// Writes an output to a file, whole or not at all, or to stdout if the path is `-`.
///
/// # Errors
///
/// If it cannot be written.
pub fn write_output(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = if path == Path::new("-") { write_stdout(bytes) } else { write_whole(path, bytes) };
    written.map_err(|error| Failure::new(path, "stdout", error))
}

fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Makes a file with these contents appear at a path, replacing what was there. Whatever happens meanwhile, the
/// path has its old contents or the new ones: they are written to a temporary file in the same directory, which is
/// then renamed. It gets the permissions that any new file would get.
///
/// # Errors
///
/// If the file cannot be written or renamed; nothing is left behind then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link is followed, or renaming would replace the link and leave the file it names as it was.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    // What is no regular file (a device, a pipe) cannot be replaced, only written to.
    if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return fs::write(&target, bytes);
    }
    let directory = match target.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".lunatic-").suffix(".tmp");
    allow_everyone_the_umask_allows(&mut builder);
    let mut temporary = builder.tempfile_in(directory).map_err(without_its_name)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(&target).map_err(|error| error.error)?;
    Ok(())
}

/// tempfile makes its files private, and a module is meant to be read by others too: as open as the umask lets it.
#[cfg(unix)]
fn allow_everyone_the_umask_allows(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(0o666));
}

#[cfg(not(unix))]
fn allow_everyone_the_umask_allows(_: &mut tempfile::Builder<'_, '_>) {}

/// The error without the name of the temporary file, which tempfile adds and nobody knows.
fn without_its_name(error: io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("out");
        write_whole(&path, b"first").expect("written");
        write_whole(&path, b"second").expect("replaced");
        assert_eq!(fs::read(&path).expect("there"), b"second");
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 1);
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("taken")).expect("a directory");
        write_whole(&directory.path().join("taken"), b"x").expect_err("a directory is in the way");
        write_whole(&directory.path().join("missing/out"), b"x").expect_err("no such directory");
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_keeps_pointing_to_the_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, b"old").expect("written");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        write_whole(&link, b"new").expect("written");
        assert_eq!(fs::read(&file).expect("there"), b"new");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    }
}
