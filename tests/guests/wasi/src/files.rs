//! Files and their content.

use crate::{ALL, DIR, create, fails, open, pread, pwrite, read, rest, works, write};

pub fn files() {
    create(DIR, "file");
    let reader = works!(wasi::path_open(DIR, 0, "file", 0, wasi::RIGHTS_FD_READ, 0, 0));
    let writer = works!(wasi::path_open(DIR, 0, "file", 0, wasi::RIGHTS_FD_WRITE, 0, 0));
    assert_eq!(read(reader, &mut [0; 10]), Ok(0));
    assert_eq!(write(reader, b"no"), Err(wasi::ERRNO_BADF));
    assert_eq!(read(writer, &mut [0; 10]), Err(wasi::ERRNO_BADF));
    assert_eq!(write(writer, b"hello"), Ok(5));
    assert_eq!(rest(reader), b"hello", "what is written is there at once");
    let both = open(DIR, "file", 0);
    assert_eq!(write(both, b"HE"), Ok(2));
    assert_eq!(rest(both), b"llo");
    // On the disk.
    works!(wasi::fd_sync(both));
    works!(wasi::fd_datasync(both));
    for flags in [wasi::FDFLAGS_DSYNC, wasi::FDFLAGS_SYNC, wasi::FDFLAGS_RSYNC] {
        let synced = works!(wasi::path_open(DIR, 0, "file", 0, ALL, ALL, flags));
        assert_eq!(works!(wasi::fd_fdstat_get(synced)).fs_flags, flags);
        assert_eq!(write(synced, b"x"), Ok(1));
        works!(wasi::fd_fdstat_set_flags(synced, 0));
        assert_eq!(write(synced, b"x"), Ok(1));
        works!(wasi::fd_fdstat_set_flags(synced, flags));
        assert_eq!(write(synced, b"x"), Ok(1));
    }
    for advice in [
        wasi::ADVICE_NORMAL,
        wasi::ADVICE_SEQUENTIAL,
        wasi::ADVICE_RANDOM,
        wasi::ADVICE_WILLNEED,
        wasi::ADVICE_DONTNEED,
        wasi::ADVICE_NOREUSE,
    ] {
        works!(wasi::fd_advise(both, 0, 0, advice));
        works!(wasi::fd_advise(both, 1, 100, advice));
    }
}

pub fn append() {
    let file = works!(wasi::path_open(
        DIR,
        0,
        "file",
        wasi::OFLAGS_CREAT | wasi::OFLAGS_TRUNC,
        ALL,
        ALL,
        wasi::FDFLAGS_APPEND
    ));
    assert_eq!(works!(wasi::fd_fdstat_get(file)).fs_flags, wasi::FDFLAGS_APPEND);
    assert_eq!(write(file, b"one"), Ok(3));
    works!(wasi::fd_seek(file, 0, wasi::WHENCE_SET));
    assert_eq!(write(file, b"two"), Ok(3));
    assert_eq!(works!(wasi::fd_tell(file)), 6);
    assert_eq!(pwrite(file, b"!", 0), Ok(1));
    assert_eq!(works!(wasi::fd_tell(file)), 6, "a position changes nothing");
    works!(wasi::fd_fdstat_set_flags(file, 0));
    assert_eq!(works!(wasi::fd_fdstat_get(file)).fs_flags, 0);
    works!(wasi::fd_seek(file, 0, wasi::WHENCE_SET));
    assert_eq!(write(file, b"ONE"), Ok(3));
    works!(wasi::fd_fdstat_set_flags(file, wasi::FDFLAGS_APPEND));
    assert_eq!(write(file, b"end"), Ok(3));
    works!(wasi::fd_seek(file, 0, wasi::WHENCE_SET));
    let content = rest(file);
    assert!(content.starts_with(b"ONEtwo") && content.ends_with(b"end"), "{content:?}");
    fails!(wasi::fd_fdstat_set_flags(file, 1 << 5), ERRNO_INVAL);
}

pub fn seek() {
    let file = open(DIR, "file", wasi::OFLAGS_CREAT);
    assert_eq!(works!(wasi::fd_tell(file)), 0);
    assert_eq!(write(file, &[7; 100]), Ok(100));
    assert_eq!(works!(wasi::fd_tell(file)), 100);
    assert_eq!(works!(wasi::fd_seek(file, -50, wasi::WHENCE_CUR)), 50);
    assert_eq!(works!(wasi::fd_seek(file, 0, wasi::WHENCE_SET)), 0);
    assert_eq!(works!(wasi::fd_seek(file, 1000, wasi::WHENCE_CUR)), 1000);
    assert_eq!(works!(wasi::fd_seek(file, -1, wasi::WHENCE_END)), 99);
    fails!(wasi::fd_seek(file, -2000, wasi::WHENCE_CUR), ERRNO_INVAL);
    fails!(wasi::fd_seek(file, -1, wasi::WHENCE_SET), ERRNO_INVAL);
    fails!(wasi::fd_seek(file, -101, wasi::WHENCE_END), ERRNO_INVAL);
    fails!(wasi::fd_seek(file, 0, std::mem::transmute::<u8, wasi::Whence>(3)), ERRNO_INVAL);
    assert_eq!(works!(wasi::fd_tell(file)), 99, "what fails changes nothing");
    assert_eq!(read(file, &mut [0; 10]), Ok(1));
    // A hole is zeros.
    works!(wasi::fd_seek(file, 200, wasi::WHENCE_SET));
    assert_eq!(write(file, b"!"), Ok(1));
    let mut hole = [1; 100];
    assert_eq!(pread(file, &mut hole, 100), Ok(100));
    assert_eq!(hole, [0; 100]);
}

pub fn positions() {
    let file = open(DIR, "file", wasi::OFLAGS_CREAT);
    assert_eq!(pwrite(file, &[0, 1, 2, 3], 0), Ok(4));
    assert_eq!(works!(wasi::fd_tell(file)), 0);
    let mut bytes = [9; 4];
    assert_eq!(pread(file, &mut bytes, 2), Ok(2));
    assert_eq!(bytes, [2, 3, 9, 9]);
    assert_eq!(pwrite(file, &[1, 0], 2), Ok(2));
    assert_eq!(pread(file, &mut bytes, 0), Ok(4));
    assert_eq!(bytes, [0, 1, 1, 0]);
    assert_eq!(pread(file, &mut bytes, 4), Ok(0));
    assert_eq!(pread(file, &mut bytes, u64::MAX), Err(wasi::ERRNO_INVAL));
    assert_eq!(pwrite(file, &bytes, u64::MAX), Err(wasi::ERRNO_INVAL));
    assert_eq!(rest(file), [0, 1, 1, 0]);
}

pub fn truncate() {
    let file = open(DIR, "file", wasi::OFLAGS_CREAT);
    assert_eq!(write(file, b"this will be cut"), Ok(16));
    works!(wasi::fd_filestat_set_size(file, 4));
    assert_eq!(works!(wasi::fd_filestat_get(file)).size, 4);
    works!(wasi::fd_filestat_set_size(file, 100));
    assert_eq!(works!(wasi::fd_filestat_get(file)).size, 100);
    fails!(wasi::fd_filestat_set_size(file, u64::MAX), ERRNO_INVAL | ERRNO_FBIG);
    let again = open(DIR, "file", wasi::OFLAGS_TRUNC);
    assert_eq!(works!(wasi::fd_filestat_get(again)).size, 0);
    assert_eq!(read(again, &mut [0; 10]), Ok(0));
    // Truncating at the open does not need the right to write.
    assert_eq!(write(again, b"more"), Ok(4));
    let none = works!(wasi::path_open(DIR, 0, "file", wasi::OFLAGS_TRUNC, 0, 0, 0));
    assert_eq!(write(none, b"no"), Err(wasi::ERRNO_BADF));
    assert_eq!(works!(wasi::fd_filestat_get(again)).size, 0);
}

pub fn allocate() {
    let file = open(DIR, "file", wasi::OFLAGS_CREAT);
    let size = || works!(wasi::fd_filestat_get(file)).size;
    fails!(wasi::fd_allocate(file, 0, 0), ERRNO_INVAL);
    fails!(wasi::fd_allocate(file, u64::MAX, 1), ERRNO_INVAL | ERRNO_FBIG);
    match unsafe { wasi::fd_allocate(file, 0, 100) } {
        // Not every file system can.
        Err(wasi::ERRNO_NOTSUP) => return,
        result => assert_eq!(result, Ok(())),
    }
    assert_eq!(size(), 100);
    works!(wasi::fd_allocate(file, 10, 10));
    assert_eq!(size(), 100);
    works!(wasi::fd_allocate(file, 90, 20));
    assert_eq!(size(), 110);
}

/// Several buffers, none, overlapping ones, too many.
pub fn buffers() {
    let file = open(DIR, "file", wasi::OFLAGS_CREAT);
    let from = |bytes: &'static [u8]| wasi::Ciovec { buf: bytes.as_ptr(), buf_len: bytes.len() };
    assert_eq!(works!(wasi::fd_write(file, &[from(b"ab"), from(b""), from(b"cde")])), 5);
    assert_eq!(works!(wasi::fd_write(file, &[])), 0);
    let mut bytes = [0; 8];
    let start = bytes.as_mut_ptr();
    let into = |at: usize, length: usize| wasi::Iovec { buf: unsafe { start.add(at) }, buf_len: length };
    assert_eq!(works!(wasi::fd_pread(file, &[into(4, 2), into(0, 1), into(6, 2)], 0)), 5);
    assert_eq!(&bytes, b"c\0\0\0abde");
    // Overlapping buffers are filled one after the other.
    let start = bytes.as_mut_ptr();
    let into = |at: usize, length: usize| wasi::Iovec { buf: unsafe { start.add(at) }, buf_len: length };
    assert_eq!(works!(wasi::fd_pread(file, &[into(0, 3), into(1, 2)], 0)), 5);
    assert_eq!(&bytes[..3], b"ade");
    assert_eq!(works!(wasi::fd_pread(file, &[], 0)), 0);
    // As many as there may be, and more.
    let many: Vec<_> = (0..1024).map(|_| from(b"x")).collect();
    assert_eq!(works!(wasi::fd_write(file, &many)), 1024);
    let too_many: Vec<_> = (0..1025).map(|_| from(b"x")).collect();
    fails!(wasi::fd_write(file, &too_many), ERRNO_INVAL);
    // A large one is moved as far as one call goes, and the rest by the next.
    let large = vec![5u8; 3 << 20];
    let mut written = 0;
    while written < large.len() {
        written += write(file, &large[written..]).expect("there is room");
    }
    assert_eq!(works!(wasi::fd_filestat_get(file)).size, 5 + 1024 + (3 << 20));
}
