//! Links and names that change.

use crate::{DIR, READ_ONLY, create, fails, open, open_dir, rest, works, write};

const FOLLOW: u32 = wasi::LOOKUPFLAGS_SYMLINK_FOLLOW;

pub fn symlinks() {
    create(DIR, "target");
    works!(wasi::path_symlink("target", DIR, "link"));
    // Read as far as there is room.
    let mut buffer = [0; 10];
    assert_eq!(works!(wasi::path_readlink(DIR, "link", buffer.as_mut_ptr(), 10)), 6);
    assert_eq!(&buffer, b"target\0\0\0\0");
    let mut buffer = [0; 4];
    assert_eq!(works!(wasi::path_readlink(DIR, "link", buffer.as_mut_ptr(), 4)), 4);
    assert_eq!(&buffer, b"targ");
    assert_eq!(works!(wasi::path_readlink(DIR, "link", buffer.as_mut_ptr(), 0)), 0);
    fails!(wasi::path_readlink(DIR, "target", buffer.as_mut_ptr(), 4), ERRNO_INVAL);
    fails!(wasi::path_readlink(DIR, "no", buffer.as_mut_ptr(), 4), ERRNO_NOENT);
    // Followed only with the flag.
    fails!(wasi::path_open(DIR, 0, "link", 0, 0, 0, 0), ERRNO_LOOP);
    works!(wasi::path_open(DIR, FOLLOW, "link", 0, 0, 0, 0));
    assert_eq!(works!(wasi::path_filestat_get(DIR, 0, "link")).filetype, wasi::FILETYPE_SYMBOLIC_LINK);
    assert_eq!(works!(wasi::path_filestat_get(DIR, FOLLOW, "link")).filetype, wasi::FILETYPE_REGULAR_FILE);
    // To a directory.
    works!(wasi::path_create_directory(DIR, "dir"));
    create(DIR, "dir/file");
    works!(wasi::path_symlink("dir", DIR, "to-dir"));
    fails!(wasi::path_open(DIR, 0, "to-dir", wasi::OFLAGS_DIRECTORY, 0, 0, 0), ERRNO_LOOP | ERRNO_NOTDIR);
    fails!(wasi::path_open(DIR, 0, "to-dir", 0, 0, 0, 0), ERRNO_LOOP);
    works!(wasi::path_open(DIR, FOLLOW, "to-dir", wasi::OFLAGS_DIRECTORY, 0, 0, 0));
    works!(wasi::path_open(DIR, 0, "to-dir/file", 0, 0, 0, 0));
    fails!(wasi::path_open(DIR, FOLLOW, "link", wasi::OFLAGS_DIRECTORY, 0, 0, 0), ERRNO_NOTDIR);
    // To nothing, and to itself.
    works!(wasi::path_symlink("nowhere", DIR, "dangling"));
    fails!(wasi::path_open(DIR, 0, "dangling", wasi::OFLAGS_DIRECTORY, 0, 0, 0), ERRNO_LOOP | ERRNO_NOTDIR);
    fails!(wasi::path_open(DIR, 0, "dangling", 0, 0, 0, 0), ERRNO_LOOP);
    fails!(wasi::path_open(DIR, FOLLOW, "dangling", 0, 0, 0, 0), ERRNO_NOENT);
    works!(wasi::path_symlink("self", DIR, "self"));
    fails!(wasi::path_open(DIR, 0, "self", 0, 0, 0, 0), ERRNO_LOOP);
    fails!(wasi::path_open(DIR, FOLLOW, "self", 0, 0, 0, 0), ERRNO_LOOP);
    fails!(wasi::path_filestat_get(DIR, FOLLOW, "self"), ERRNO_LOOP);
    // Where links can be created.
    fails!(wasi::path_symlink("a", DIR, "target"), ERRNO_EXIST);
    fails!(wasi::path_symlink("a", DIR, "dir"), ERRNO_EXIST);
    fails!(wasi::path_symlink("a", DIR, "dir/"), ERRNO_EXIST);
    fails!(wasi::path_symlink("a", DIR, "new/"), ERRNO_NOENT);
    fails!(wasi::path_symlink("a", DIR, "target/"), ERRNO_NOTDIR | ERRNO_EXIST);
    fails!(wasi::path_symlink("/", DIR, "new"), ERRNO_PERM);
    fails!(wasi::path_symlink("", DIR, "new"), ERRNO_NOENT);
    // Removed as what they are.
    fails!(wasi::path_remove_directory(DIR, "to-dir"), ERRNO_NOTDIR);
    for link in ["link", "to-dir", "dangling", "self"] {
        works!(wasi::path_unlink_file(DIR, link));
    }
    works!(wasi::path_filestat_get(DIR, 0, "dir/file"));
}

pub fn links() {
    let file = open(DIR, "file", wasi::OFLAGS_CREAT);
    works!(wasi::path_create_directory(DIR, "dir"));
    let dir = open_dir(DIR, "dir");
    works!(wasi::path_link(DIR, 0, "file", dir, "link"));
    assert_eq!(write(file, b"shared"), Ok(6));
    let link = open(dir, "link", 0);
    assert_eq!(rest(link), b"shared");
    let (one, other) = (works!(wasi::fd_filestat_get(file)), works!(wasi::fd_filestat_get(link)));
    assert_eq!((one.ino, one.nlink, one.size), (other.ino, 2, 6));
    fails!(wasi::path_link(DIR, 0, "file", dir, "link"), ERRNO_EXIST);
    fails!(wasi::path_link(DIR, 0, "file", DIR, "file"), ERRNO_EXIST);
    fails!(wasi::path_link(DIR, 0, "file", DIR, "dir"), ERRNO_EXIST);
    fails!(wasi::path_link(DIR, 0, "dir", DIR, "new"), ERRNO_PERM);
    fails!(wasi::path_link(DIR, 0, "no", DIR, "new"), ERRNO_NOENT);
    fails!(wasi::path_link(DIR, 0, "file", DIR, "new/"), ERRNO_NOENT);
    fails!(wasi::path_link(DIR, 0, "file/", DIR, "new"), ERRNO_NOTDIR);
    fails!(wasi::path_link(DIR, 0, "file", DIR, "../new"), ERRNO_PERM);
    // A symbolic link itself, not what it leads to.
    works!(wasi::path_symlink("nowhere", DIR, "symlink"));
    works!(wasi::path_link(DIR, 0, "symlink", DIR, "another"));
    assert_eq!(works!(wasi::path_filestat_get(DIR, 0, "another")).filetype, wasi::FILETYPE_SYMBOLIC_LINK);
    fails!(wasi::path_link(DIR, 0, "file", DIR, "symlink"), ERRNO_EXIST);
    fails!(wasi::path_link(DIR, FOLLOW, "symlink", DIR, "new"), ERRNO_INVAL);
    works!(wasi::path_unlink_file(DIR, "file"));
    assert_eq!(works!(wasi::fd_filestat_get(link)).nlink, 1);
}

pub fn rename() {
    let is_gone = |path: &str| fails!(wasi::path_filestat_get(DIR, 0, path), ERRNO_NOENT);
    // A directory to a new name, to an empty one, with slashes behind.
    works!(wasi::path_create_directory(DIR, "source"));
    works!(wasi::path_rename(DIR, "source", DIR, "target"));
    is_gone("source");
    works!(wasi::path_create_directory(DIR, "source"));
    works!(wasi::path_rename(DIR, "source", DIR, "target"));
    works!(wasi::path_rename(DIR, "target/", DIR, "source"));
    works!(wasi::path_rename(DIR, "source", DIR, "target/"));
    works!(wasi::path_rename(DIR, "target/", DIR, "source/"));
    // To one that is not empty, to a file, into itself.
    works!(wasi::path_create_directory(DIR, "target"));
    create(DIR, "target/file");
    fails!(wasi::path_rename(DIR, "source", DIR, "target"), ERRNO_NOTEMPTY);
    fails!(wasi::path_rename(DIR, "source", DIR, "target/file"), ERRNO_NOTDIR);
    fails!(wasi::path_rename(DIR, "target", DIR, "target/sub"), ERRNO_INVAL);
    // A file to a new name, to another file, to a directory, elsewhere.
    works!(wasi::path_rename(DIR, "target/file", DIR, "file"));
    let renamed = open(DIR, "file", 0);
    create(DIR, "other");
    works!(wasi::path_rename(DIR, "file", DIR, "other"));
    is_gone("file");
    assert_eq!(
        works!(wasi::path_filestat_get(DIR, 0, "other")).ino,
        works!(wasi::fd_filestat_get(renamed)).ino
    );
    fails!(wasi::path_rename(DIR, "other", DIR, "target"), ERRNO_ISDIR);
    fails!(wasi::path_rename(DIR, "no", DIR, "new"), ERRNO_NOENT);
    fails!(wasi::path_rename(DIR, "other/", DIR, "new"), ERRNO_NOTDIR);
    fails!(wasi::path_rename(DIR, "other", DIR, "../new"), ERRNO_PERM);
    fails!(wasi::path_rename(DIR, "../other", DIR, "new"), ERRNO_PERM);
    let target = open_dir(DIR, "target");
    works!(wasi::path_rename(DIR, "other", target, "file"));
    works!(wasi::path_filestat_get(DIR, 0, "target/file"));
    // A symbolic link itself.
    works!(wasi::path_symlink("nowhere", DIR, "link"));
    works!(wasi::path_rename(DIR, "link", DIR, "moved"));
    assert_eq!(works!(wasi::path_filestat_get(DIR, 0, "moved")).filetype, wasi::FILETYPE_SYMBOLIC_LINK);
}

/// The directory 4 has links that the test made: `up` to `..`, `out` to a file beside it, `absolute` to that file by its absolute
/// path, and `in`, which leads to a file within it through a path outside.
pub fn escapes() {
    for dir in [READ_ONLY] {
        for path in
            ["up", "out", "absolute", "up/secret", "../secret", "dir/../../secret", "dir/up/up/secret"]
        {
            fails!(wasi::path_open(dir, FOLLOW, path, 0, wasi::RIGHTS_FD_READ, 0, 0), ERRNO_PERM);
            fails!(wasi::path_filestat_get(dir, FOLLOW, path), ERRNO_PERM);
        }
        fails!(wasi::path_open(dir, FOLLOW, "up", wasi::OFLAGS_DIRECTORY, 0, 0, 0), ERRNO_PERM);
        fails!(wasi::path_open(dir, FOLLOW, "/etc/passwd", 0, wasi::RIGHTS_FD_READ, 0, 0), ERRNO_PERM);
        fails!(wasi::path_link(dir, 0, "up/secret", DIR, "taken"), ERRNO_PERM | ERRNO_NOTCAPABLE);
        fails!(wasi::path_rename(dir, "up/secret", DIR, "taken"), ERRNO_PERM | ERRNO_NOTCAPABLE);
        fails!(wasi::path_unlink_file(dir, "up/secret"), ERRNO_PERM | ERRNO_NOTCAPABLE);
        fails!(wasi::path_create_directory(dir, "up/new"), ERRNO_PERM | ERRNO_NOTCAPABLE);
        let inside = works!(wasi::path_open(dir, FOLLOW, "in", 0, wasi::RIGHTS_FD_READ, 0, 0));
        assert_eq!(rest(inside), b"inside");
        // Links that lead in from the directory that may be changed, by names that this guest makes.
        works!(wasi::path_symlink("../secret", DIR, "relative"));
        fails!(wasi::path_open(DIR, FOLLOW, "relative", 0, wasi::RIGHTS_FD_READ, 0, 0), ERRNO_PERM);
        fails!(
            wasi::path_open(DIR, FOLLOW, "relative", wasi::OFLAGS_CREAT, wasi::RIGHTS_FD_WRITE, 0, 0),
            ERRNO_PERM
        );
        fails!(wasi::path_filestat_set_times(DIR, FOLLOW, "relative", 0, 0, wasi::FSTFLAGS_MTIM), ERRNO_PERM);
        fails!(wasi::path_create_directory(DIR, "../new"), ERRNO_PERM);
        fails!(wasi::path_remove_directory(DIR, "../new"), ERRNO_PERM);
        fails!(wasi::path_unlink_file(DIR, "../secret"), ERRNO_PERM);
        fails!(wasi::path_symlink("a", DIR, "../new"), ERRNO_PERM);
        let mut buffer = [0; 10];
        fails!(wasi::path_readlink(DIR, "../new", buffer.as_mut_ptr(), 10), ERRNO_PERM);
    }
}
