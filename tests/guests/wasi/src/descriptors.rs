//! Descriptors themselves.

use crate::{ALL, DIR, create, fails, open, works, write};

const NONE: u32 = 77;

pub fn descriptors() {
    // Of one that is not there, every function says so.
    let mut byte = [0u8; 1];
    let into = [wasi::Iovec { buf: byte.as_mut_ptr(), buf_len: 1 }];
    let from = [wasi::Ciovec { buf: byte.as_ptr(), buf_len: 1 }];
    for fd in [NONE, u32::MAX, 1 << 31] {
        fails!(wasi::fd_advise(fd, 0, 0, wasi::ADVICE_NORMAL), ERRNO_BADF);
        fails!(wasi::fd_allocate(fd, 0, 1), ERRNO_BADF);
        fails!(wasi::fd_close(fd), ERRNO_BADF);
        fails!(wasi::fd_datasync(fd), ERRNO_BADF);
        fails!(wasi::fd_fdstat_get(fd), ERRNO_BADF);
        fails!(wasi::fd_fdstat_set_flags(fd, 0), ERRNO_BADF);
        fails!(wasi::fd_fdstat_set_rights(fd, 0, 0), ERRNO_BADF);
        fails!(wasi::fd_filestat_get(fd), ERRNO_BADF);
        fails!(wasi::fd_filestat_set_size(fd, 0), ERRNO_BADF);
        fails!(wasi::fd_filestat_set_times(fd, 0, 0, 0), ERRNO_BADF);
        fails!(wasi::fd_pread(fd, &into, 0), ERRNO_BADF);
        fails!(wasi::fd_prestat_get(fd), ERRNO_BADF);
        fails!(wasi::fd_prestat_dir_name(fd, byte.as_mut_ptr(), 1), ERRNO_BADF);
        fails!(wasi::fd_pwrite(fd, &from, 0), ERRNO_BADF);
        fails!(wasi::fd_read(fd, &into), ERRNO_BADF);
        fails!(wasi::fd_readdir(fd, byte.as_mut_ptr(), 1, 0), ERRNO_BADF);
        fails!(wasi::fd_renumber(fd, 0), ERRNO_BADF);
        fails!(wasi::fd_renumber(0, fd), ERRNO_BADF);
        fails!(wasi::fd_seek(fd, 0, wasi::WHENCE_CUR), ERRNO_BADF);
        fails!(wasi::fd_sync(fd), ERRNO_BADF);
        fails!(wasi::fd_tell(fd), ERRNO_BADF);
        fails!(wasi::fd_write(fd, &from), ERRNO_BADF);
        fails!(wasi::path_create_directory(fd, "a"), ERRNO_BADF);
        fails!(wasi::path_filestat_get(fd, 0, "a"), ERRNO_BADF);
        fails!(wasi::path_filestat_set_times(fd, 0, "a", 0, 0, 0), ERRNO_BADF);
        fails!(wasi::path_link(fd, 0, "a", DIR, "b"), ERRNO_BADF);
        fails!(wasi::path_link(DIR, 0, "a", fd, "b"), ERRNO_BADF);
        fails!(wasi::path_open(fd, 0, "a", 0, 0, 0, 0), ERRNO_BADF);
        fails!(wasi::path_readlink(fd, "a", byte.as_mut_ptr(), 1), ERRNO_BADF);
        fails!(wasi::path_remove_directory(fd, "a"), ERRNO_BADF);
        fails!(wasi::path_rename(fd, "a", DIR, "b"), ERRNO_BADF);
        fails!(wasi::path_rename(DIR, "a", fd, "b"), ERRNO_BADF);
        fails!(wasi::path_symlink("a", fd, "b"), ERRNO_BADF);
        fails!(wasi::path_unlink_file(fd, "a"), ERRNO_BADF);
        fails!(wasi::sock_accept(fd, 0), ERRNO_BADF);
        fails!(wasi::sock_recv(fd, &into, 0), ERRNO_BADF);
        fails!(wasi::sock_send(fd, &from, 0), ERRNO_BADF);
        fails!(wasi::sock_shutdown(fd, wasi::SDFLAGS_RD), ERRNO_BADF);
    }
    // A file is not a directory.
    let file = open(DIR, "file", wasi::OFLAGS_CREAT);
    fails!(wasi::path_open(file, 0, "a", wasi::OFLAGS_CREAT, 0, 0, 0), ERRNO_NOTDIR);
    fails!(wasi::path_create_directory(file, "a"), ERRNO_NOTDIR);
    fails!(wasi::path_filestat_get(file, 0, "a"), ERRNO_NOTDIR);
    fails!(wasi::path_unlink_file(file, "a"), ERRNO_NOTDIR);
    fails!(wasi::fd_readdir(file, byte.as_mut_ptr(), 1, 0), ERRNO_NOTDIR);
    // A closed descriptor is gone, and its number is reused.
    works!(wasi::fd_close(file));
    fails!(wasi::fd_close(file), ERRNO_BADF);
    assert_eq!(open(DIR, "file", 0), file);
    // A file that is gone from its directory is still open.
    works!(wasi::path_unlink_file(DIR, "file"));
    assert_eq!(write(file, b"alive"), Ok(5));
    assert_eq!(works!(wasi::fd_filestat_get(file)).nlink, 0);
    fails!(wasi::path_open(DIR, 0, "file", 0, 0, 0, 0), ERRNO_NOENT);
    create(DIR, "file");
    // And so is a directory.
    works!(wasi::path_create_directory(DIR, "dir"));
    let dir =
        works!(wasi::path_open(DIR, 0, "dir", wasi::OFLAGS_DIRECTORY, ALL & !wasi::RIGHTS_FD_WRITE, ALL, 0));
    works!(wasi::path_remove_directory(DIR, "dir"));
    fails!(wasi::path_open(dir, 0, "new", wasi::OFLAGS_CREAT, 0, 0, 0), ERRNO_NOENT);
    works!(wasi::fd_close(dir));
}

pub fn renumber() {
    let (from, to) = (open(DIR, "from", wasi::OFLAGS_CREAT), open(DIR, "to", wasi::OFLAGS_CREAT));
    let stat = works!(wasi::fd_filestat_get(from));
    works!(wasi::fd_renumber(from, to));
    fails!(wasi::fd_fdstat_get(from), ERRNO_BADF);
    assert_eq!(works!(wasi::fd_filestat_get(to)).ino, stat.ino);
    fails!(wasi::fd_renumber(to, from), ERRNO_BADF);
    works!(wasi::fd_renumber(to, to));
    assert_eq!(works!(wasi::fd_filestat_get(to)).ino, stat.ino);
    // Onto a preopened directory, which is then not preopened any more.
    works!(wasi::fd_renumber(to, DIR));
    fails!(wasi::fd_prestat_get(DIR), ERRNO_BADF);
    fails!(wasi::path_open(DIR, 0, "from", 0, 0, 0, 0), ERRNO_NOTDIR);
    // Standard error becomes the file, and the file standard output.
    works!(wasi::fd_renumber(DIR, 2));
    assert_eq!(write(2, b"in the file"), Ok(11));
    assert_eq!(works!(wasi::fd_filestat_get(2)).size, 11);
    works!(wasi::fd_renumber(1, 2));
    fails!(wasi::fd_fdstat_get(1), ERRNO_BADF);
    assert_eq!(write(2, b"moved\n"), Ok(6));
}

pub fn preopens() {
    let stat = works!(wasi::fd_prestat_get(DIR));
    assert_eq!(stat.tag, wasi::PREOPENTYPE_DIR.raw());
    let length = unsafe { stat.u.dir.pr_name_len };
    let mut name = vec![0; length + 1];
    fails!(wasi::fd_prestat_dir_name(DIR, name.as_mut_ptr(), length - 1), ERRNO_NAMETOOLONG);
    works!(wasi::fd_prestat_dir_name(DIR, name.as_mut_ptr(), length + 1));
    assert_eq!(&name[..length], b"/");
    for stream in 0..3 {
        fails!(wasi::fd_prestat_get(stream), ERRNO_BADF);
    }
    // A directory opened below it is not preopened.
    let again = crate::open_dir(DIR, ".");
    fails!(wasi::fd_prestat_get(again), ERRNO_BADF);
    let (one, other) = (works!(wasi::fd_fdstat_get(DIR)), works!(wasi::fd_fdstat_get(again)));
    assert_eq!(one.fs_filetype, wasi::FILETYPE_DIRECTORY);
    assert_eq!(
        (one.fs_rights_base, one.fs_rights_inheriting),
        (other.fs_rights_base, other.fs_rights_inheriting)
    );
    assert_eq!(one.fs_flags, 0);
    works!(wasi::fd_close(DIR));
    fails!(wasi::fd_prestat_get(DIR), ERRNO_BADF);
    works!(wasi::fd_fdstat_get(again));
}

/// The number of files is limited, and an open beyond the limit neither creates nor empties a file.
pub fn exhausted() {
    create(DIR, "file");
    let full = loop {
        match unsafe { wasi::path_open(DIR, 0, "file", 0, 0, 0, 0) } {
            Ok(_) => {}
            Err(errno) => break errno,
        }
    };
    assert_eq!(full, wasi::ERRNO_MFILE);
    fails!(wasi::path_open(DIR, 0, "new", wasi::OFLAGS_CREAT, 0, 0, 0), ERRNO_MFILE);
    fails!(wasi::path_filestat_get(DIR, 0, "new"), ERRNO_NOENT);
    works!(wasi::fd_close(50));
    assert_eq!(works!(wasi::path_open(DIR, 0, "new", wasi::OFLAGS_CREAT, 0, 0, 0)), 50);
}
