//! Reads and writes whole files and standard streams.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use lunatic_instrument::MAX_MODULE_BYTES;

use crate::report::Failure;

/// Reads a module from a file, or from stdin if the path is `-`. Reading stops one byte after the largest accepted module, so
/// that an endless input becomes an error instead of exhausting memory.
///
/// # Errors
///
/// If the input cannot be read. The library reports an input that is too large.
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

/// Writes an output to a file, atomically, or to stdout if the path is `-`.
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

/// Replaces the file at a path atomically: at every moment, the path has its old contents or the new ones. The contents are
/// written to a temporary file in the same directory, which is then renamed. The file has the permissions of any new file.
///
/// # Errors
///
/// If the file cannot be written or renamed. The temporary file is removed then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Renaming would replace a symbolic link instead of the file that it names, so the link is resolved first.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    // A device or a pipe cannot be replaced, only written to.
    if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return fs::write(&target, bytes);
    }
    let directory = match target.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".lunatic-").suffix(".tmp");
    set_default_permissions(&mut builder);
    let mut temporary = builder.tempfile_in(directory).map_err(without_its_name)?;
    temporary.write_all(bytes)?;
    // Without the sync, a crash after the rename could leave an empty file under the name.
    temporary.as_file().sync_all()?;
    temporary.persist(&target).map_err(|error| error.error)?;
    Ok(())
}

/// Gives the temporary file the permissions that the umask allows. By default, tempfile makes its files private, but others may
/// read a module.
#[cfg(unix)]
fn set_default_permissions(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(0o666));
}

#[cfg(not(unix))]
fn set_default_permissions(_: &mut tempfile::Builder<'_, '_>) {}

/// Removes the name of the temporary file, which tempfile adds to its errors and which the user does not know.
fn without_its_name(error: io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_without_leftovers() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("out");
        write_whole(&path, b"first").expect("written");
        write_whole(&path, b"second").expect("replaced");
        assert_eq!(fs::read(&path).expect("there"), b"second");
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_no_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("taken")).expect("a directory");
        write_whole(&directory.path().join("taken"), b"x").expect_err("a directory is in the way");
        write_whole(&directory.path().join("missing/out"), b"x").expect_err("no such directory");
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_followed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, b"old").expect("written");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        write_whole(&link, b"new").expect("written");
        assert_eq!(fs::read(&file).expect("there"), b"new");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    }
}
