//! The standard streams, pipes and devices.

use crate::polling::{poll, readable, timeout};
use crate::{DIR, READ_ONLY, fails, read, works, write};

/// None of them is a terminal here.
pub fn streams() {
    for fd in 0..3 {
        let stat = works!(wasi::fd_fdstat_get(fd));
        assert_eq!(stat.fs_filetype, wasi::FILETYPE_UNKNOWN);
        let may_write = if fd == 0 { 0 } else { wasi::RIGHTS_FD_WRITE };
        assert_eq!(stat.fs_rights_base & wasi::RIGHTS_FD_WRITE, may_write);
        assert_eq!(works!(wasi::fd_filestat_get(fd)).filetype, wasi::FILETYPE_UNKNOWN);
        fails!(wasi::fd_seek(fd, 0, wasi::WHENCE_CUR), ERRNO_SPIPE);
        fails!(wasi::fd_tell(fd), ERRNO_SPIPE);
        fails!(wasi::fd_advise(fd, 0, 0, wasi::ADVICE_NORMAL), ERRNO_SPIPE);
        fails!(wasi::fd_allocate(fd, 0, 1), ERRNO_SPIPE);
        fails!(wasi::fd_filestat_set_size(fd, 0), ERRNO_SPIPE);
        fails!(wasi::fd_filestat_set_times(fd, 0, 0, 0), ERRNO_NOTCAPABLE);
        // After a sync, written data is with the system, and on the disk if the stream leads to one.
        if fd == 0 {
            fails!(wasi::fd_sync(fd), ERRNO_NOTCAPABLE);
        } else {
            works!(wasi::fd_sync(fd));
            works!(wasi::fd_datasync(fd));
        }
        fails!(wasi::path_open(fd, 0, "a", 0, 0, 0, 0), ERRNO_NOTDIR);
        assert_eq!(crate::pread(fd, &mut [0; 1], 0), Err(wasi::ERRNO_SPIPE));
        assert_eq!(crate::pwrite(fd, &[0; 1], 0), Err(wasi::ERRNO_SPIPE));
    }
    assert_eq!(write(0, b"no"), Err(wasi::ERRNO_BADF));
    assert_eq!(read(1, &mut [0; 1]), Err(wasi::ERRNO_BADF));
    assert_eq!(read(2, &mut [0; 1]), Err(wasi::ERRNO_BADF));
    assert_eq!(write(2, b"complaint\n"), Ok(10));
    works!(wasi::fd_close(2));
    assert_eq!(write(2, b"no"), Err(wasi::ERRNO_BADF));
}

/// All of them are terminals here. A guest takes what may not seek for one.
pub fn terminals() {
    for fd in 0..3 {
        let stat = works!(wasi::fd_fdstat_get(fd));
        assert_eq!(stat.fs_filetype, wasi::FILETYPE_CHARACTER_DEVICE);
        assert_eq!(stat.fs_rights_base & (wasi::RIGHTS_FD_SEEK | wasi::RIGHTS_FD_TELL), 0);
        assert_eq!(works!(wasi::fd_filestat_get(fd)).filetype, wasi::FILETYPE_CHARACTER_DEVICE);
    }
    use std::io::IsTerminal;
    assert!(
        std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
    );
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("it is text");
    assert_eq!(line, "typed\n");
}

/// Named pipes: `in`, to which the other side writes "hello" after "reading", and "more" after "again", and `out`, from
/// which it reads after "writing".
pub fn fifo() {
    assert_eq!(works!(wasi::path_filestat_get(DIR, 0, "in")).filetype, wasi::FILETYPE_UNKNOWN);
    let pipe = works!(wasi::path_open(
        DIR,
        0,
        "in",
        0,
        wasi::RIGHTS_FD_READ | wasi::RIGHTS_POLL_FD_READWRITE | wasi::RIGHTS_FD_FDSTAT_SET_FLAGS,
        0,
        0
    ));
    assert_eq!(works!(wasi::fd_fdstat_get(pipe)).fs_filetype, wasi::FILETYPE_UNKNOWN);
    // No writer yet: that is not the end of the file.
    works!(wasi::fd_fdstat_set_flags(pipe, wasi::FDFLAGS_NONBLOCK));
    let mut bytes = [0; 10];
    assert_eq!(read(pipe, &mut bytes), Err(wasi::ERRNO_AGAIN));
    works!(wasi::fd_fdstat_set_flags(pipe, 0));
    let told = poll(&[readable(1, pipe), timeout(2, 5)]).unwrap();
    assert_eq!((told.len(), told[0].userdata), (1, 2));
    println!("reading");
    assert_eq!(read(pipe, &mut bytes), Ok(5));
    assert_eq!(&bytes[..5], b"hello");
    println!("again");
    let told = poll(&[readable(1, pipe), timeout(2, 60_000)]).unwrap();
    assert_eq!((told.len(), told[0].userdata), (1, 1));
    assert_eq!(read(pipe, &mut bytes), Ok(4));
    assert_eq!(read(pipe, &mut bytes), Ok(0), "now it has ended");
    // The other pipe has no reader yet.
    let rights = wasi::RIGHTS_FD_WRITE;
    fails!(wasi::path_open(DIR, 0, "out", 0, rights, 0, wasi::FDFLAGS_NONBLOCK), ERRNO_NXIO);
    println!("writing");
    let out = works!(wasi::path_open(DIR, 0, "out", 0, rights, 0, 0));
    let mut written = 0;
    let content = vec![b'x'; 300_000];
    while written < content.len() {
        written += write(out, &content[written..]).expect("there is a reader");
    }
    works!(wasi::fd_close(out));
}

/// The directory 4 is that of the machine's devices.
pub fn devices() {
    let zero = works!(wasi::path_open(READ_ONLY, 0, "zero", 0, wasi::RIGHTS_FD_READ, 0, 0));
    let mut bytes = vec![1; 3 << 20];
    let count = read(zero, &mut bytes).expect("the device is endless");
    assert!(count > 0 && bytes[..count].iter().all(|byte| *byte == 0));
    assert_eq!(
        works!(wasi::path_filestat_get(READ_ONLY, 0, "zero")).filetype,
        wasi::FILETYPE_CHARACTER_DEVICE
    );
    let null = works!(wasi::path_open(READ_ONLY, 0, "null", 0, wasi::RIGHTS_FD_READ, 0, 0));
    assert_eq!(read(null, &mut bytes), Ok(0));
}
