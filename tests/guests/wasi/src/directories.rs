//! Directories and the names in them.

use std::collections::BTreeMap;

use crate::{ALL, DIR, create, fails, open, open_dir, works};

struct Found {
    inode: u64,
    kind: wasi::Filetype,
}

/// The entries of a directory, read with buffers of this size.
fn list(dir: u32, size: usize) -> BTreeMap<String, Found> {
    const ENTRY: usize = std::mem::size_of::<wasi::Dirent>();
    let (mut all, mut cookie) = (BTreeMap::new(), wasi::DIRCOOKIE_START);
    loop {
        let mut buffer = vec![0; size];
        let used = works!(wasi::fd_readdir(dir, buffer.as_mut_ptr(), size, cookie));
        let mut rest = &buffer[..used];
        while rest.len() >= ENTRY {
            let entry = unsafe { rest.as_ptr().cast::<wasi::Dirent>().read_unaligned() };
            let end = ENTRY + entry.d_namlen as usize;
            if rest.len() < end {
                break;
            }
            let name = String::from_utf8(rest[ENTRY..end].to_vec()).expect("names are text");
            let is_new = all.insert(name, Found { inode: entry.d_ino, kind: entry.d_type }).is_none();
            assert!(is_new, "nothing comes twice");
            cookie = entry.d_next;
            rest = &rest[end..];
        }
        if used < size {
            return all;
        }
    }
}

pub fn listing() {
    works!(wasi::path_create_directory(DIR, "dir"));
    let dir = open_dir(DIR, "dir");
    let empty = list(dir, 256);
    assert_eq!(empty.keys().collect::<Vec<_>>(), [".", ".."]);
    let own = works!(wasi::fd_filestat_get(dir));
    assert_eq!(empty["."].inode, own.ino);
    assert_eq!((empty["."].kind, empty[".."].kind), (wasi::FILETYPE_DIRECTORY, wasi::FILETYPE_DIRECTORY));
    create(dir, "file");
    works!(wasi::path_create_directory(dir, "sub"));
    works!(wasi::path_symlink("nowhere", dir, "link"));
    let found = list(dir, 4096);
    assert_eq!(found.len(), 5);
    for (name, kind) in [
        ("file", wasi::FILETYPE_REGULAR_FILE),
        ("sub", wasi::FILETYPE_DIRECTORY),
        ("link", wasi::FILETYPE_SYMBOLIC_LINK),
    ] {
        assert_eq!(found[name].kind, kind, "{name}");
        assert_eq!(found[name].inode, works!(wasi::path_filestat_get(dir, 0, name)).ino, "{name}");
    }
    // Many, in pieces of any size; also of the directory that was there from the beginning.
    for number in 0..300 {
        create(dir, &format!("file.{number}"));
        create(DIR, &format!("file.{number}"));
    }
    for size in [64, 300, 1 << 16] {
        assert_eq!(list(dir, size).len(), 305, "in pieces of {size}");
        assert_eq!(list(DIR, size).len(), 303, "in pieces of {size}");
    }
    // A buffer that an entry does not fit into is full.
    let mut byte = [0; 1];
    assert_eq!(works!(wasi::fd_readdir(dir, byte.as_mut_ptr(), 1, 0)), 1);
    assert_eq!(works!(wasi::fd_readdir(dir, byte.as_mut_ptr(), 0, 0)), 0);
    // Removing what was listed leaves nothing out.
    let names: Vec<_> = list(dir, 512).into_keys().filter(|name| name.starts_with("file")).collect();
    names.iter().for_each(|name| works!(wasi::path_unlink_file(dir, name)));
    assert_eq!(list(dir, 4096).len(), 4);
}

pub fn directories() {
    works!(wasi::path_create_directory(DIR, "dir"));
    fails!(wasi::path_create_directory(DIR, "dir"), ERRNO_EXIST);
    fails!(wasi::path_create_directory(DIR, "no/dir"), ERRNO_NOENT);
    works!(wasi::path_create_directory(DIR, "dir/sub/"));
    fails!(wasi::path_remove_directory(DIR, "dir"), ERRNO_NOTEMPTY);
    works!(wasi::path_remove_directory(DIR, "dir/sub/"));
    fails!(wasi::path_remove_directory(DIR, "dir/sub"), ERRNO_NOENT);
    create(DIR, "file");
    fails!(wasi::path_create_directory(DIR, "file"), ERRNO_EXIST);
    fails!(wasi::path_create_directory(DIR, "file/sub"), ERRNO_NOTDIR);
    fails!(wasi::path_remove_directory(DIR, "file"), ERRNO_NOTDIR);
    fails!(wasi::path_remove_directory(DIR, "file/"), ERRNO_NOTDIR);
    fails!(wasi::path_unlink_file(DIR, "dir"), ERRNO_ISDIR);
    fails!(wasi::path_unlink_file(DIR, "dir/"), ERRNO_ISDIR);
    fails!(wasi::path_unlink_file(DIR, "file/"), ERRNO_NOTDIR);
    fails!(wasi::path_unlink_file(DIR, "no"), ERRNO_NOENT);
    works!(wasi::path_unlink_file(DIR, "file"));
    // Flags of opening.
    fails!(wasi::path_open(DIR, 0, "dir", wasi::OFLAGS_DIRECTORY | wasi::OFLAGS_CREAT, 0, 0, 0), ERRNO_INVAL);
    fails!(wasi::path_open(DIR, 0, "dir", 1 << 4, 0, 0, 0), ERRNO_INVAL);
    fails!(wasi::path_open(DIR, 1 << 1, "dir", 0, 0, 0, 0), ERRNO_INVAL);
    fails!(wasi::path_open(DIR, 0, "dir", 0, 0, 0, 1 << 5), ERRNO_INVAL);
    let read_write = wasi::RIGHTS_FD_READ | wasi::RIGHTS_FD_WRITE;
    fails!(wasi::path_open(DIR, 0, "dir", wasi::OFLAGS_DIRECTORY, read_write, 0, 0), ERRNO_ISDIR);
    fails!(wasi::path_open(DIR, 0, "dir", 0, read_write, 0, 0), ERRNO_ISDIR);
    works!(wasi::path_open(DIR, 0, "dir", wasi::OFLAGS_DIRECTORY, wasi::RIGHTS_FD_READ, 0, 0));
    works!(wasi::path_open(DIR, 0, ".", 0, 0, 0, wasi::FDFLAGS_NONBLOCK));
    create(DIR, "file");
    fails!(wasi::path_open(DIR, 0, "file", wasi::OFLAGS_DIRECTORY, 0, 0, 0), ERRNO_NOTDIR);
}

/// Operations that fail on a directory's descriptor, and ones that work.
pub fn what_directories_refuse() {
    let dir =
        works!(wasi::path_open(DIR, 0, ".", wasi::OFLAGS_DIRECTORY, ALL & !wasi::RIGHTS_FD_WRITE, ALL, 0));
    let stat = works!(wasi::fd_fdstat_get(dir));
    assert_eq!(stat.fs_filetype, wasi::FILETYPE_DIRECTORY);
    assert_eq!(
        stat.fs_rights_base & (wasi::RIGHTS_FD_SEEK | wasi::RIGHTS_FD_READ),
        0,
        "they make no sense for it"
    );
    let mut byte = [0u8; 1];
    let into = [wasi::Iovec { buf: byte.as_mut_ptr(), buf_len: 1 }];
    let from = [wasi::Ciovec { buf: byte.as_ptr(), buf_len: 1 }];
    fails!(wasi::fd_read(dir, &into), ERRNO_ISDIR);
    fails!(wasi::fd_pread(dir, &into, 0), ERRNO_ISDIR);
    fails!(wasi::fd_write(dir, &from), ERRNO_ISDIR);
    fails!(wasi::fd_pwrite(dir, &from, 0), ERRNO_ISDIR);
    for whence in [wasi::WHENCE_SET, wasi::WHENCE_CUR, wasi::WHENCE_END] {
        fails!(wasi::fd_seek(dir, 0, whence), ERRNO_BADF);
    }
    fails!(wasi::fd_tell(dir), ERRNO_BADF);
    fails!(wasi::fd_allocate(dir, 0, 1), ERRNO_BADF);
    fails!(wasi::fd_advise(dir, 0, 1, wasi::ADVICE_NORMAL), ERRNO_BADF);
    fails!(wasi::fd_filestat_set_size(dir, 0), ERRNO_BADF);
    fails!(wasi::sock_shutdown(dir, wasi::SDFLAGS_RD), ERRNO_NOTSOCK);
    for dir in [dir, DIR] {
        assert_eq!(works!(wasi::fd_filestat_get(dir)).filetype, wasi::FILETYPE_DIRECTORY);
        works!(wasi::fd_sync(dir));
        works!(wasi::fd_datasync(dir));
        works!(wasi::fd_fdstat_set_flags(dir, wasi::FDFLAGS_NONBLOCK));
        works!(wasi::fd_filestat_set_times(
            dir,
            1_000_000_000,
            2_000_000_000,
            wasi::FSTFLAGS_ATIM | wasi::FSTFLAGS_MTIM
        ));
        assert_eq!(works!(wasi::fd_filestat_get(dir)).mtim, 2_000_000_000);
    }
}

pub fn paths() {
    works!(wasi::path_create_directory(DIR, "dir"));
    works!(wasi::path_create_directory(DIR, "dir/nested"));
    create(DIR, "dir/nested/file");
    let is_there = |path: &str| works!(wasi::fd_close(works!(wasi::path_open(DIR, 0, path, 0, 0, 0, 0))));
    is_there("dir/.//nested/../../dir/nested/../nested///./file");
    is_there("dir/nested/");
    is_there("dir/nested///");
    is_there(".");
    fails!(wasi::path_open(DIR, 0, "", 0, 0, 0, 0), ERRNO_NOENT);
    fails!(wasi::path_open(DIR, 0, "no", 0, 0, 0, 0), ERRNO_NOENT);
    fails!(wasi::path_open(DIR, 0, "/dir/nested/file", 0, 0, 0, 0), ERRNO_PERM);
    fails!(wasi::path_open(DIR, 0, "dir/nested/file\0", 0, 0, 0, 0), ERRNO_INVAL);
    fails!(wasi::path_open(DIR, 0, "dir/nested/file/", 0, 0, 0, 0), ERRNO_NOTDIR);
    fails!(wasi::path_open(DIR, 0, "dir/nested/file///", 0, 0, 0, 0), ERRNO_NOTDIR);
    fails!(wasi::path_open(DIR, 0, "dir/nested/file/..", 0, 0, 0, 0), ERRNO_NOTDIR);
    fails!(wasi::path_open(DIR, 0, "..", 0, 0, 0, 0), ERRNO_PERM);
    fails!(wasi::path_open(DIR, 0, "dir/nested/../../../dir/nested/file", 0, 0, 0, 0), ERRNO_PERM);
    fails!(wasi::path_open(DIR, 0, &"a".repeat(300), 0, 0, 0, 0), ERRNO_NAMETOOLONG);
    fails!(wasi::path_open(DIR, 0, &"a/".repeat(3000), 0, 0, 0, 0), ERRNO_NAMETOOLONG);
    // Not text.
    let not_text = b"a\xff".as_ptr() as i32;
    let errno = unsafe { wasi::wasi_snapshot_preview1::path_create_directory(DIR as i32, not_text, 2) };
    assert_eq!(errno, i32::from(wasi::ERRNO_ILSEQ.raw()));
    // Descriptors that are not opened for reading or writing.
    create(DIR, "file");
    fails!(wasi::path_open(DIR, 0, "file", wasi::OFLAGS_CREAT | wasi::OFLAGS_EXCL, 0, 0, 0), ERRNO_EXIST);
    let file = open(DIR, "file", 0);
    assert_eq!(works!(wasi::fd_fdstat_get(file)).fs_filetype, wasi::FILETYPE_REGULAR_FILE);
    assert_eq!(works!(wasi::path_filestat_get(DIR, 0, "file")).filetype, wasi::FILETYPE_REGULAR_FILE);
    fails!(wasi::path_filestat_get(DIR, 0, "file/"), ERRNO_NOTDIR);
    fails!(wasi::path_filestat_get(DIR, 0, "../file"), ERRNO_PERM);
    fails!(wasi::path_filestat_get(DIR, 1 << 3, "file"), ERRNO_INVAL);
    let (one, other) = (works!(wasi::fd_filestat_get(file)), works!(wasi::path_filestat_get(DIR, 0, "dir")));
    assert_eq!(one.dev, other.dev);
    assert_ne!(one.ino, other.ino);
}
