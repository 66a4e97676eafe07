//! Times of files, and clocks.

use crate::{DIR, create, fails, open, works};

const FOLLOW: u32 = wasi::LOOKUPFLAGS_SYMLINK_FOLLOW;

pub fn times() {
    let file = open(DIR, "file", wasi::OFLAGS_CREAT);
    let before = works!(wasi::fd_filestat_get(file));
    let modified = before.mtim - 100;
    works!(wasi::fd_filestat_set_times(file, modified, modified, wasi::FSTFLAGS_MTIM));
    let after = works!(wasi::fd_filestat_get(file));
    assert_eq!((after.mtim, after.atim, after.size), (modified, before.atim, before.size));
    works!(wasi::path_filestat_set_times(DIR, 0, "file", 7, 8, wasi::FSTFLAGS_ATIM));
    let after = works!(wasi::path_filestat_get(DIR, 0, "file"));
    assert_eq!((after.mtim, after.atim), (modified, 7));
    works!(wasi::fd_filestat_set_times(file, 0, 0, 0));
    assert_eq!(works!(wasi::fd_filestat_get(file)).atim, 7);
    works!(wasi::fd_filestat_set_times(file, 0, 0, wasi::FSTFLAGS_ATIM_NOW | wasi::FSTFLAGS_MTIM_NOW));
    let now = works!(wasi::fd_filestat_get(file));
    assert!(now.atim >= before.atim && now.mtim >= before.mtim);
    for flags in
        [wasi::FSTFLAGS_MTIM | wasi::FSTFLAGS_MTIM_NOW, wasi::FSTFLAGS_ATIM | wasi::FSTFLAGS_ATIM_NOW, 1 << 4]
    {
        fails!(wasi::fd_filestat_set_times(file, 1, 1, flags), ERRNO_INVAL);
        fails!(wasi::path_filestat_set_times(DIR, 0, "file", 1, 1, flags), ERRNO_INVAL);
    }
    assert_eq!(works!(wasi::fd_filestat_get(file)).mtim, now.mtim, "what fails changes nothing");
    fails!(wasi::path_filestat_set_times(DIR, 0, "no", 1, 1, wasi::FSTFLAGS_MTIM), ERRNO_NOENT);
    // A symbolic link has its own.
    works!(wasi::path_symlink("file", DIR, "link"));
    works!(wasi::path_filestat_set_times(DIR, 0, "link", 0, 1_000, wasi::FSTFLAGS_MTIM));
    assert_eq!(works!(wasi::path_filestat_get(DIR, 0, "link")).mtim, 1_000);
    assert_eq!(works!(wasi::path_filestat_get(DIR, FOLLOW, "link")).mtim, now.mtim);
    works!(wasi::path_filestat_set_times(DIR, FOLLOW, "link", 0, 2_000, wasi::FSTFLAGS_MTIM));
    assert_eq!(works!(wasi::path_filestat_get(DIR, 0, "file")).mtim, 2_000);
    // Of what cannot be written as well: a time is the owner's to set.
    works!(wasi::path_create_directory(DIR, "dir"));
    create(DIR, "dir/file");
    works!(wasi::path_filestat_set_times(
        DIR,
        0,
        "dir",
        3_000,
        4_000,
        wasi::FSTFLAGS_ATIM | wasi::FSTFLAGS_MTIM
    ));
    let dir = works!(wasi::path_filestat_get(DIR, 0, "dir"));
    assert_eq!((dir.atim, dir.mtim), (3_000, 4_000));
}

pub fn clocks() {
    for clock in [wasi::CLOCKID_REALTIME, wasi::CLOCKID_MONOTONIC] {
        assert!(works!(wasi::clock_res_get(clock)) > 0);
        let first = works!(wasi::clock_time_get(clock, 0));
        let second = works!(wasi::clock_time_get(clock, 1));
        assert!(first <= second);
    }
    // 2020.
    assert!(works!(wasi::clock_time_get(wasi::CLOCKID_REALTIME, 1_000_000)) > 1_577_836_800_000_000_000);
    for clock in [wasi::CLOCKID_PROCESS_CPUTIME_ID, wasi::CLOCKID_THREAD_CPUTIME_ID] {
        fails!(wasi::clock_time_get(clock, 0), ERRNO_INVAL);
        fails!(wasi::clock_res_get(clock), ERRNO_INVAL);
    }
    // Randomness, also more than is made at once.
    let mut bytes = vec![0u8; 1 << 20];
    works!(wasi::random_get(bytes.as_mut_ptr(), bytes.len()));
    for piece in bytes.chunks(4096) {
        assert!(piece.iter().any(|byte| *byte != 0), "a piece was left out");
    }
    works!(wasi::random_get(bytes.as_mut_ptr(), 0));
    works!(wasi::sched_yield());
    // Signals without effect, unsupported ones, and invalid numbers.
    works!(wasi::proc_raise(wasi::SIGNAL_NONE));
    works!(wasi::proc_raise(wasi::SIGNAL_CHLD));
    fails!(wasi::proc_raise(wasi::SIGNAL_STOP), ERRNO_NOTSUP);
    fails!(wasi::proc_raise(std::mem::transmute::<u8, wasi::Signal>(31)), ERRNO_INVAL);
}
