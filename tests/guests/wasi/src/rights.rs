//! Rights: they only narrow.

use crate::{ALL, DIR, READ_ONLY, create, fails, open, read, rest, works, write};

fn rights_of(fd: u32) -> (u64, u64) {
    let stat = works!(wasi::fd_fdstat_get(fd));
    (stat.fs_rights_base, stat.fs_rights_inheriting)
}

/// Without each of the rights, what it is for is refused.
pub fn rights() {
    let file = open(DIR, "file", wasi::OFLAGS_CREAT);
    assert_eq!(write(file, b"content"), Ok(7));
    works!(wasi::path_create_directory(DIR, "dir"));
    works!(wasi::path_symlink("file", DIR, "link"));
    let without = |right: u64, call: &dyn Fn(u32)| {
        let file = open(DIR, "file", 0);
        let (base, inheriting) = rights_of(file);
        assert_eq!(base & right, right, "a file has it");
        works!(wasi::fd_fdstat_set_rights(file, base & !right, inheriting));
        assert_eq!(rights_of(file), (base & !right, inheriting));
        call(file);
        fails!(wasi::fd_fdstat_set_rights(file, base, inheriting), ERRNO_NOTCAPABLE);
        works!(wasi::fd_close(file));
    };
    without(wasi::RIGHTS_FD_READ, &|fd| assert_eq!(read(fd, &mut [0; 4]), Err(wasi::ERRNO_BADF)));
    without(wasi::RIGHTS_FD_WRITE, &|fd| assert_eq!(write(fd, b"no"), Err(wasi::ERRNO_BADF)));
    without(wasi::RIGHTS_FD_SEEK, &|fd| {
        fails!(wasi::fd_seek(fd, 1, wasi::WHENCE_SET), ERRNO_NOTCAPABLE);
        works!(wasi::fd_seek(fd, 0, wasi::WHENCE_CUR));
        fails!(wasi::fd_pread(fd, &[], 0), ERRNO_NOTCAPABLE);
        fails!(wasi::fd_pwrite(fd, &[], 0), ERRNO_NOTCAPABLE);
    });
    without(wasi::RIGHTS_FD_SEEK | wasi::RIGHTS_FD_TELL, &|fd| fails!(wasi::fd_tell(fd), ERRNO_NOTCAPABLE));
    without(wasi::RIGHTS_FD_FDSTAT_SET_FLAGS, &|fd| {
        fails!(wasi::fd_fdstat_set_flags(fd, 0), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_FD_SYNC, &|fd| fails!(wasi::fd_sync(fd), ERRNO_NOTCAPABLE));
    without(wasi::RIGHTS_FD_DATASYNC, &|fd| fails!(wasi::fd_datasync(fd), ERRNO_NOTCAPABLE));
    without(wasi::RIGHTS_FD_ADVISE, &|fd| {
        fails!(wasi::fd_advise(fd, 0, 0, wasi::ADVICE_NORMAL), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_FD_ALLOCATE, &|fd| fails!(wasi::fd_allocate(fd, 0, 1), ERRNO_NOTCAPABLE));
    without(wasi::RIGHTS_FD_FILESTAT_GET, &|fd| fails!(wasi::fd_filestat_get(fd), ERRNO_NOTCAPABLE));
    without(wasi::RIGHTS_FD_FILESTAT_SET_SIZE, &|fd| {
        fails!(wasi::fd_filestat_set_size(fd, 0), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_FD_FILESTAT_SET_TIMES, &|fd| {
        fails!(wasi::fd_filestat_set_times(fd, 0, 0, 0), ERRNO_NOTCAPABLE)
    });

    let without = |right: u64, call: &dyn Fn(u32)| {
        let dir = crate::open_dir(DIR, ".");
        let (base, inheriting) = rights_of(dir);
        assert_eq!(base & right, right, "a directory has it");
        works!(wasi::fd_fdstat_set_rights(dir, base & !right, inheriting));
        call(dir);
        works!(wasi::fd_close(dir));
    };
    let mut buffer = [0u8; 8];
    let buffer = buffer.as_mut_ptr();
    without(wasi::RIGHTS_PATH_CREATE_DIRECTORY, &|fd| {
        fails!(wasi::path_create_directory(fd, "a"), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_PATH_CREATE_FILE, &|fd| {
        fails!(wasi::path_open(fd, 0, "a", wasi::OFLAGS_CREAT, 0, 0, 0), ERRNO_NOTCAPABLE);
        works!(wasi::path_open(fd, 0, "file", 0, 0, 0, 0));
    });
    without(wasi::RIGHTS_PATH_LINK_SOURCE, &|fd| {
        fails!(wasi::path_link(fd, 0, "file", DIR, "a"), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_PATH_LINK_TARGET, &|fd| {
        fails!(wasi::path_link(DIR, 0, "file", fd, "a"), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_PATH_OPEN, &|fd| {
        fails!(wasi::path_open(fd, 0, "file", 0, 0, 0, 0), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_FD_READDIR, &|fd| fails!(wasi::fd_readdir(fd, buffer, 8, 0), ERRNO_NOTCAPABLE));
    without(wasi::RIGHTS_PATH_READLINK, &|fd| {
        fails!(wasi::path_readlink(fd, "link", buffer, 8), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_PATH_RENAME_SOURCE, &|fd| {
        fails!(wasi::path_rename(fd, "file", DIR, "a"), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_PATH_RENAME_TARGET, &|fd| {
        fails!(wasi::path_rename(DIR, "file", fd, "a"), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_PATH_FILESTAT_GET, &|fd| {
        fails!(wasi::path_filestat_get(fd, 0, "file"), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_PATH_FILESTAT_SET_SIZE, &|fd| {
        fails!(wasi::path_open(fd, 0, "file", wasi::OFLAGS_TRUNC, 0, 0, 0), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_PATH_FILESTAT_SET_TIMES, &|fd| {
        fails!(wasi::path_filestat_set_times(fd, 0, "file", 0, 0, 0), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_PATH_SYMLINK, &|fd| fails!(wasi::path_symlink("a", fd, "b"), ERRNO_NOTCAPABLE));
    without(wasi::RIGHTS_PATH_REMOVE_DIRECTORY, &|fd| {
        fails!(wasi::path_remove_directory(fd, "dir"), ERRNO_NOTCAPABLE)
    });
    without(wasi::RIGHTS_PATH_UNLINK_FILE, &|fd| {
        fails!(wasi::path_unlink_file(fd, "file"), ERRNO_NOTCAPABLE)
    });
    // Nothing of it had an effect.
    assert_eq!(works!(wasi::path_filestat_get(DIR, 0, "file")).size, 7);
    works!(wasi::path_filestat_get(DIR, 0, "dir"));
    fails!(wasi::path_filestat_get(DIR, 0, "a"), ERRNO_NOENT);
}

/// An opened descriptor has the rights that its directory passes on.
pub fn inheriting() {
    create(DIR, "file");
    let (base, inheriting) = rights_of(DIR);
    assert_eq!(inheriting & base, base, "a directory in it may be the same");
    let dir = crate::open_dir(DIR, ".");
    let left = inheriting & !wasi::RIGHTS_FD_WRITE;
    works!(wasi::fd_fdstat_set_rights(dir, base, left));
    fails!(wasi::path_open(dir, 0, "file", 0, wasi::RIGHTS_FD_WRITE, 0, 0), ERRNO_NOTCAPABLE);
    let file = works!(wasi::path_open(dir, 0, "file", 0, ALL & !wasi::RIGHTS_FD_WRITE, ALL, 0));
    let (file_base, file_inheriting) = rights_of(file);
    assert_eq!(file_base & !left, 0);
    assert_eq!(file_inheriting & !left, 0);
    // Through any number of directories.
    let below = works!(wasi::path_open(dir, 0, ".", wasi::OFLAGS_DIRECTORY, base, ALL, 0));
    assert_eq!(rights_of(below).1 & wasi::RIGHTS_FD_WRITE, 0);
    fails!(wasi::path_open(below, 0, "file", 0, wasi::RIGHTS_FD_WRITE, 0, 0), ERRNO_NOTCAPABLE);
    fails!(wasi::fd_fdstat_set_rights(below, base, inheriting), ERRNO_NOTCAPABLE);
    // Rights without meaning are absent.
    let file = open(DIR, "file", 0);
    let of_directories = wasi::RIGHTS_PATH_OPEN | wasi::RIGHTS_FD_READDIR | wasi::RIGHTS_SOCK_ACCEPT;
    assert_eq!(rights_of(file).0 & of_directories, 0);
    // None at all is nothing but a number.
    let none = works!(wasi::path_open(DIR, 0, "file", 0, 0, 0, 0));
    assert_eq!(rights_of(none), (0, 0));
    assert_eq!(read(none, &mut [0; 1]), Err(wasi::ERRNO_BADF));
    fails!(wasi::fd_filestat_get(none), ERRNO_NOTCAPABLE);
    works!(wasi::fd_close(none));
}

/// A directory in which nothing may be changed, and nothing below it.
pub fn read_only() {
    let file = works!(wasi::path_open(READ_ONLY, 0, "file", 0, wasi::RIGHTS_FD_READ, ALL, 0));
    assert_eq!(rest(file), b"content");
    assert_eq!(write(file, b"no"), Err(wasi::ERRNO_BADF));
    // As the standard library does.
    assert_eq!(std::fs::read("read-only/file").unwrap(), b"content");
    assert_eq!(std::fs::read_dir("read-only").unwrap().count(), 2);
    assert!(std::fs::write("read-only/file", "no").is_err());
    assert!(std::fs::write("read-only/new", "no").is_err());
    for dir in [READ_ONLY, crate::open_dir(READ_ONLY, "dir")] {
        let up = if dir == READ_ONLY { "file" } else { "inner" };
        fails!(wasi::path_open(dir, 0, up, 0, wasi::RIGHTS_FD_WRITE, 0, 0), ERRNO_NOTCAPABLE);
        fails!(wasi::path_open(dir, 0, up, wasi::OFLAGS_TRUNC, 0, 0, 0), ERRNO_NOTCAPABLE);
        fails!(wasi::path_open(dir, 0, "new", wasi::OFLAGS_CREAT, 0, 0, 0), ERRNO_NOTCAPABLE);
        fails!(wasi::path_create_directory(dir, "new"), ERRNO_NOTCAPABLE);
        fails!(wasi::path_remove_directory(dir, "empty"), ERRNO_NOTCAPABLE);
        fails!(wasi::path_unlink_file(dir, up), ERRNO_NOTCAPABLE);
        fails!(wasi::path_rename(dir, up, dir, "new"), ERRNO_NOTCAPABLE);
        fails!(wasi::path_rename(dir, up, DIR, "new"), ERRNO_NOTCAPABLE);
        fails!(wasi::path_rename(DIR, "a", dir, "new"), ERRNO_NOTCAPABLE);
        // By another name it could be written to.
        fails!(wasi::path_link(dir, 0, up, DIR, "new"), ERRNO_NOTCAPABLE);
        fails!(wasi::path_symlink("a", dir, "new"), ERRNO_NOTCAPABLE);
        fails!(wasi::path_filestat_set_times(dir, 0, up, 0, 0, wasi::FSTFLAGS_MTIM), ERRNO_NOTCAPABLE);
        fails!(wasi::fd_filestat_set_times(dir, 0, 0, wasi::FSTFLAGS_MTIM), ERRNO_NOTCAPABLE);
        let opened = works!(wasi::path_open(dir, 0, up, 0, wasi::RIGHTS_FD_READ, 0, 0));
        fails!(wasi::fd_filestat_set_size(opened, 0), ERRNO_NOTCAPABLE);
        fails!(wasi::fd_allocate(opened, 0, 1000), ERRNO_NOTCAPABLE);
    }
}
