//! A name leads into the directory at one moment and out of it at the next, while all functions that take a path use it.

use std::time::{Duration, Instant};

use crate::{ALL, DIR, fails, rest, works, write};

const FOLLOW: u32 = wasi::LOOKUPFLAGS_SYMLINK_FOLLOW;

/// The directory has `x`, which is alternately a directory and a symbolic link that leads out. Both places have `secret`, which
/// contains the place's name, and `victim`. The second argument is the number of seconds.
pub fn race() {
    let seconds = std::env::args().nth(2).and_then(|seconds| seconds.parse().ok()).expect("seconds");
    let (end, mut inside, mut refused) = (Instant::now() + Duration::from_secs(seconds), 0u64, 0u64);
    works!(wasi::path_create_directory(DIR, "own"));
    while Instant::now() < end {
        for _ in 0..100 {
            match unsafe { wasi::path_open(DIR, FOLLOW, "x/secret", 0, ALL & !wasi::RIGHTS_FD_WRITE, ALL, 0) }
            {
                Ok(fd) => {
                    assert_eq!(rest(fd), b"inside", "it was read");
                    works!(wasi::fd_close(fd));
                    inside += 1;
                }
                Err(wasi::ERRNO_PERM) => refused += 1,
                Err(_) => {}
            }
            // The effects of the other functions are checked outside.
            everything();
        }
    }
    println!("{inside} inside, {refused} refused");
    assert!(inside > 0 && refused > 0, "there was no race: {inside} inside, {refused} refused");
}

fn everything() {
    unsafe {
        for how in [wasi::OFLAGS_CREAT, wasi::OFLAGS_CREAT | wasi::OFLAGS_TRUNC, wasi::OFLAGS_TRUNC] {
            for path in ["x/new", "x/../x/secret.copy", "x/./deep/../new"] {
                if let Ok(fd) = wasi::path_open(DIR, FOLLOW, path, how, ALL, ALL, 0) {
                    let _ = write(fd, b"from the guest");
                    works!(wasi::fd_close(fd));
                }
            }
        }
        let _ = wasi::path_create_directory(DIR, "x/directory");
        let _ = wasi::path_remove_directory(DIR, "x/directory");
        let _ = wasi::path_remove_directory(DIR, "x/empty");
        let _ = wasi::path_symlink("secret", DIR, "x/link");
        let _ = wasi::path_unlink_file(DIR, "x/link");
        let _ = wasi::path_rename(DIR, "own", DIR, "x/own");
        let _ = wasi::path_rename(DIR, "x/own", DIR, "own");
        let _ = wasi::path_filestat_set_times(DIR, FOLLOW, "x/victim", 1, 1, wasi::FSTFLAGS_MTIM);
        let _ = wasi::path_filestat_set_times(DIR, 0, "x/victim", 1, 1, wasi::FSTFLAGS_MTIM);
        if wasi::path_link(DIR, 0, "x/secret", DIR, "taken").is_ok() {
            let fd = works!(wasi::path_open(DIR, 0, "taken", 0, wasi::RIGHTS_FD_READ, 0, 0));
            assert_eq!(rest(fd), b"inside", "it was taken by another name");
            works!(wasi::fd_close(fd));
            works!(wasi::path_unlink_file(DIR, "taken"));
        }
        if let Ok(stat) = wasi::path_filestat_get(DIR, FOLLOW, "x/secret") {
            assert_eq!(stat.size, 6, "its size was seen");
        }
        fails!(
            wasi::path_open(DIR, FOLLOW, "x/outside.only", 0, 0, 0, 0),
            ERRNO_PERM | ERRNO_NOENT | ERRNO_LOOP
        );
        fails!(
            wasi::path_unlink_file(DIR, "x/outside.only"),
            ERRNO_PERM | ERRNO_NOENT | ERRNO_LOOP | ERRNO_NOTDIR
        );
        fails!(
            wasi::path_rename(DIR, "x/outside.only", DIR, "taken"),
            ERRNO_PERM | ERRNO_NOENT | ERRNO_LOOP | ERRNO_NOTDIR
        );
        if let Ok(fd) =
            wasi::path_open(DIR, FOLLOW, "x", wasi::OFLAGS_DIRECTORY, ALL & !wasi::RIGHTS_FD_WRITE, ALL, 0)
        {
            // The directory that is open is the one inside, wherever its name leads now.
            fails!(wasi::path_filestat_get(fd, 0, "outside.only"), ERRNO_NOENT);
            fails!(wasi::path_open(fd, FOLLOW, "..", 0, 0, 0, 0), ERRNO_PERM);
            works!(wasi::fd_close(fd));
        }
    }
}
