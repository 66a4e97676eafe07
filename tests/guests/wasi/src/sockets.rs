//! Sockets that a process is given.

use crate::polling::{poll, readable, timeout, writable};
use crate::{DIR, fails, open, read, works, write};

/// Behind the one directory.
const LISTENER: u32 = 4;

fn receive(fd: u32, bytes: &mut [u8], how: u16) -> Result<usize, wasi::Errno> {
    let into = [wasi::Iovec { buf: bytes.as_mut_ptr(), buf_len: bytes.len() }];
    unsafe { wasi::sock_recv(fd, &into, how) }.map(|(count, flags)| {
        assert_eq!(flags, 0, "a stream has nothing to tell");
        count
    })
}

fn send(fd: u32, bytes: &[u8]) -> Result<usize, wasi::Errno> {
    unsafe { wasi::sock_send(fd, &[wasi::Ciovec { buf: bytes.as_ptr(), buf_len: bytes.len() }], 0) }
}

/// The other side connects after "listening", sends "hello", waits for "welcome", sends "one" and "two" apart, reads to the
/// end, then sends "last" and ends.
pub fn server() {
    let stat = works!(wasi::fd_fdstat_get(LISTENER));
    assert_eq!(stat.fs_filetype, wasi::FILETYPE_SOCKET_STREAM);
    // The flags report a non-blocking descriptor, and it does not block.
    assert_eq!(stat.fs_flags, wasi::FDFLAGS_NONBLOCK);
    fails!(wasi::sock_accept(LISTENER, 0), ERRNO_AGAIN);
    assert_eq!(works!(wasi::fd_filestat_get(LISTENER)).filetype, wasi::FILETYPE_SOCKET_STREAM);
    fails!(wasi::fd_prestat_get(LISTENER), ERRNO_BADF);
    assert_eq!(read(LISTENER, &mut [0; 1]), Err(wasi::ERRNO_BADF));
    fails!(wasi::sock_shutdown(LISTENER, wasi::SDFLAGS_RD), ERRNO_NOTCONN);
    assert_eq!(receive(LISTENER, &mut [0; 1], 0), Err(wasi::ERRNO_NOTCONN));
    fails!(wasi::sock_accept(LISTENER, wasi::FDFLAGS_APPEND), ERRNO_INVAL);
    works!(wasi::fd_fdstat_set_flags(LISTENER, 0));
    let silent = poll(&[readable(1, LISTENER), timeout(2, 5)]).unwrap();
    assert_eq!((silent.len(), silent[0].userdata), (1, 2));
    println!("listening");
    let told = poll(&[readable(1, LISTENER), timeout(2, 60_000)]).unwrap();
    assert_eq!((told.len(), told[0].userdata), (1, 1));
    let connection = works!(wasi::sock_accept(LISTENER, 0));
    assert_eq!(connection, LISTENER + 1);
    fails!(wasi::sock_accept(connection, 0), ERRNO_INVAL);
    assert_eq!(works!(wasi::fd_fdstat_get(connection)).fs_filetype, wasi::FILETYPE_SOCKET_STREAM);
    fails!(wasi::fd_seek(connection, 0, wasi::WHENCE_CUR), ERRNO_SPIPE);
    assert_eq!(crate::pread(connection, &mut [0; 1], 0), Err(wasi::ERRNO_SPIPE));

    strangers(connection as i32);
    // Peeked data stays.
    let mut bytes = [0; 16];
    assert_eq!(receive(connection, &mut bytes[..5], wasi::RIFLAGS_RECV_PEEK), Ok(5));
    assert_eq!(&bytes[..5], b"hello");
    bytes.fill(0);
    assert_eq!(read(connection, &mut bytes), Ok(5));
    assert_eq!(&bytes[..5], b"hello");
    // No more data yet: a non-blocking read and a poll report that.
    works!(wasi::fd_fdstat_set_flags(connection, wasi::FDFLAGS_NONBLOCK));
    assert_eq!(receive(connection, &mut bytes, 0), Err(wasi::ERRNO_AGAIN));
    let told = poll(&[readable(1, connection), writable(2, connection), timeout(3, 60_000)]).unwrap();
    assert_eq!((told.len(), told[0].userdata), (1, 2));
    works!(wasi::fd_fdstat_set_flags(connection, 0));
    assert_eq!(receive(connection, &mut bytes, 1 << 2), Err(wasi::ERRNO_INVAL));
    assert_eq!(send(connection, b"welcome"), Ok(7));
    assert_eq!(receive(connection, &mut bytes[..6], wasi::RIFLAGS_RECV_WAITALL), Ok(6));
    assert_eq!(&bytes[..6], b"onetwo");
    assert_eq!(write(connection, b"goodbye"), Ok(7));
    fails!(wasi::sock_shutdown(connection, 0), ERRNO_INVAL);
    fails!(wasi::sock_shutdown(connection, 4), ERRNO_INVAL);
    works!(wasi::sock_shutdown(connection, wasi::SDFLAGS_WR));
    assert_eq!(send(connection, b"no"), Err(wasi::ERRNO_PIPE));
    assert_eq!(receive(connection, &mut bytes, wasi::RIFLAGS_RECV_WAITALL), Ok(4));
    assert_eq!(&bytes[..4], b"last");
    assert_eq!(read(connection, &mut bytes), Ok(0));
    works!(wasi::fd_close(connection));
    works!(wasi::fd_close(LISTENER));
}

/// Pointers outside of the memory: nothing is accepted, sent or received.
fn strangers(connection: i32) {
    use wasi::wasi_snapshot_preview1 as raw;

    const FAULT: i32 = 21;
    let (inside, outside) = ([0u64; 4].as_ptr() as i32, -4);
    let wide = [inside, outside];
    let wide = wide.as_ptr() as i32;
    unsafe {
        assert_eq!(raw::sock_accept(LISTENER as i32, 0, outside), FAULT);
        for (buffers, result) in [(outside, inside), (wide, inside), (inside, outside)] {
            assert_eq!(raw::sock_recv(connection, buffers, 1, 0, result, inside), FAULT);
            assert_eq!(raw::sock_send(connection, buffers, 1, 0, result), FAULT);
        }
        assert_eq!(raw::sock_recv(connection, inside, 1, 0, inside, outside), FAULT);
    }
}

/// As the standard library does it, without a look at the flags: it waits.
pub fn plain_server() {
    use std::io::{Read, Write};
    use std::os::fd::FromRawFd;

    let listener = unsafe { std::net::TcpListener::from_raw_fd(LISTENER as i32) };
    println!("listening");
    let (mut stream, _) = listener.accept().expect("it blocks until a client connects");
    let mut question = String::new();
    stream.read_to_string(&mut question).expect("it waits until all is there");
    stream.write_all(question.to_uppercase().as_bytes()).expect("it is read");
}

pub fn not_sockets() {
    let file = open(DIR, "file", wasi::OFLAGS_CREAT);
    for fd in [0, 1, 2, DIR, file] {
        fails!(wasi::sock_accept(fd, 0), ERRNO_NOTSOCK);
        fails!(wasi::sock_shutdown(fd, wasi::SDFLAGS_RD), ERRNO_NOTSOCK);
        assert_eq!(receive(fd, &mut [0; 1], 0), Err(wasi::ERRNO_NOTSOCK));
        assert_eq!(send(fd, &[0; 1]), Err(wasi::ERRNO_NOTSOCK));
    }
}
