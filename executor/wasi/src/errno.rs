//! The error numbers of WASI, and the translation of system errors to them.

use std::io;

use lunatic_core::Fault;

/// An error number of WASI preview 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errno(u16);

impl Errno {
    pub(super) const TOOBIG: Errno = Errno(1);
    pub(super) const ACCES: Errno = Errno(2);
    pub(super) const ADDRINUSE: Errno = Errno(3);
    pub(super) const AGAIN: Errno = Errno(6);
    pub(super) const BADF: Errno = Errno(8);
    pub(super) const BUSY: Errno = Errno(10);
    pub(super) const CONNABORTED: Errno = Errno(13);
    pub(super) const CONNREFUSED: Errno = Errno(14);
    pub(super) const CONNRESET: Errno = Errno(15);
    pub(super) const DQUOT: Errno = Errno(19);
    pub(super) const EXIST: Errno = Errno(20);
    pub(super) const FAULT: Errno = Errno(21);
    pub(super) const FBIG: Errno = Errno(22);
    pub(super) const ILSEQ: Errno = Errno(25);
    pub(super) const INTR: Errno = Errno(27);
    pub(super) const INVAL: Errno = Errno(28);
    pub(super) const IO: Errno = Errno(29);
    pub(super) const ISDIR: Errno = Errno(31);
    pub(super) const LOOP: Errno = Errno(32);
    pub(super) const MFILE: Errno = Errno(33);
    pub(super) const MLINK: Errno = Errno(34);
    pub(super) const NAMETOOLONG: Errno = Errno(37);
    pub(super) const NODEV: Errno = Errno(43);
    pub(super) const NOENT: Errno = Errno(44);
    pub(super) const NOLCK: Errno = Errno(46);
    pub(super) const NOMEM: Errno = Errno(48);
    pub(super) const NOSPC: Errno = Errno(51);
    pub(super) const NOTCONN: Errno = Errno(53);
    pub(super) const NOTDIR: Errno = Errno(54);
    pub(super) const NOTEMPTY: Errno = Errno(55);
    pub(super) const NOTSOCK: Errno = Errno(57);
    pub(super) const NOTSUP: Errno = Errno(58);
    pub(super) const NXIO: Errno = Errno(60);
    pub(super) const OVERFLOW: Errno = Errno(61);
    pub(super) const PERM: Errno = Errno(63);
    pub(super) const PIPE: Errno = Errno(64);
    pub(super) const RANGE: Errno = Errno(68);
    pub(super) const ROFS: Errno = Errno(69);
    pub(super) const SPIPE: Errno = Errno(70);
    pub(super) const STALE: Errno = Errno(72);
    pub(super) const TIMEDOUT: Errno = Errno(73);
    pub(super) const TXTBSY: Errno = Errno(74);
    pub(super) const XDEV: Errno = Errno(75);
    pub(super) const NOTCAPABLE: Errno = Errno(76);

    /// Returns the number.
    pub(super) const fn number(self) -> u32 {
        self.0 as u32
    }

    /// Returns the result of a function as a number.
    pub(super) fn of(result: Result<(), Errno>) -> u32 {
        result.err().map_or(0, Errno::number)
    }
}

impl From<Fault> for Errno {
    fn from(fault: Fault) -> Errno {
        match fault {
            Fault::BadPointer { .. } | Fault::NoMemory => Errno::FAULT,
            Fault::NotUtf8 => Errno::ILSEQ,
            Fault::TooMany(_) => Errno::MFILE,
            _ => Errno::INVAL,
        }
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        if let Some(errno) = error.raw_os_error().and_then(of_machine) {
            return errno;
        }
        // Errors that the standard library or cap-std raised without a system call. An attempt to leave the directory
        // is reported as a missing permission.
        match error.kind() {
            io::ErrorKind::NotFound => Errno::NOENT,
            io::ErrorKind::PermissionDenied => Errno::PERM,
            io::ErrorKind::AlreadyExists => Errno::EXIST,
            io::ErrorKind::InvalidInput => Errno::INVAL,
            io::ErrorKind::NotADirectory => Errno::NOTDIR,
            io::ErrorKind::IsADirectory => Errno::ISDIR,
            io::ErrorKind::DirectoryNotEmpty => Errno::NOTEMPTY,
            io::ErrorKind::BrokenPipe => Errno::PIPE,
            io::ErrorKind::Unsupported => Errno::NOTSUP,
            io::ErrorKind::WouldBlock => Errno::AGAIN,
            _ => Errno::IO,
        }
    }
}

fn of_machine(error: i32) -> Option<Errno> {
    Some(match error {
        libc::E2BIG => Errno::TOOBIG,
        libc::EACCES => Errno::ACCES,
        libc::EADDRINUSE => Errno::ADDRINUSE,
        libc::EAGAIN => Errno::AGAIN,
        libc::EBADF => Errno::BADF,
        libc::EBUSY => Errno::BUSY,
        libc::ECONNABORTED => Errno::CONNABORTED,
        libc::ECONNREFUSED => Errno::CONNREFUSED,
        libc::ECONNRESET => Errno::CONNRESET,
        libc::EDQUOT => Errno::DQUOT,
        libc::EEXIST => Errno::EXIST,
        libc::EFBIG => Errno::FBIG,
        libc::EILSEQ => Errno::ILSEQ,
        libc::EINTR => Errno::INTR,
        libc::EINVAL => Errno::INVAL,
        libc::EISDIR => Errno::ISDIR,
        libc::ELOOP => Errno::LOOP,
        libc::EMFILE | libc::ENFILE => Errno::MFILE,
        libc::EMLINK => Errno::MLINK,
        libc::ENAMETOOLONG => Errno::NAMETOOLONG,
        libc::ENODEV => Errno::NODEV,
        libc::ENOENT => Errno::NOENT,
        libc::ENOLCK => Errno::NOLCK,
        libc::ENOMEM => Errno::NOMEM,
        libc::ENOSPC => Errno::NOSPC,
        libc::ENOTCONN => Errno::NOTCONN,
        libc::ENOTDIR => Errno::NOTDIR,
        libc::ENOTEMPTY => Errno::NOTEMPTY,
        libc::ENOTSOCK => Errno::NOTSOCK,
        libc::EOPNOTSUPP => Errno::NOTSUP,
        libc::ENXIO => Errno::NXIO,
        libc::EOVERFLOW => Errno::OVERFLOW,
        libc::EPERM => Errno::PERM,
        libc::EPIPE => Errno::PIPE,
        libc::ERANGE => Errno::RANGE,
        libc::EROFS => Errno::ROFS,
        libc::ESPIPE => Errno::SPIPE,
        libc::ESTALE => Errno::STALE,
        libc::ETIMEDOUT => Errno::TIMEDOUT,
        libc::ETXTBSY => Errno::TXTBSY,
        libc::EXDEV => Errno::XDEV,
        _ => return None,
    })
}
