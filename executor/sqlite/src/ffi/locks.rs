//! SQLite's file locks, as locks of open file descriptions instead of process-wide locks.
//!
//! SQLite uses POSIX locks. The system releases those when the process closes *any* descriptor of the file, which
//! guests can do through WASI at any time; another program could then write in the middle of a transaction. Linux has
//! locks that belong to an open file description (`F_OFD_SETLK`) and last until it is closed.
//!
//! SQLite relies on locks of one process not conflicting: it counts the connections of a file and locks through the
//! descriptor of any of them. One descriptor per file therefore holds the locks of all connections: a duplicate
//! without other use. It is a writable one as soon as there is one.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use lunatic_resources::sync::Mutex;

use nix::errno::Errno;
use rustix::fs::{OFlags, fcntl_getfl, fstat};

use super::vfs::caught;

/// A file's device and inode number.
type File = (u64, u64);

/// A byte range of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Range {
    start: libc::off_t,
    /// 0 means up to the end of the file.
    length: libc::off_t,
}

/// The descriptor that holds a file's locks.
struct Holder {
    descriptor: OwnedFd,
    can_write: bool,
    /// The locked ranges.
    held: Vec<Range>,
    /// Number of SQLite's open descriptors of the file that have used locks.
    users: usize,
}

#[derive(Default)]
struct Locks {
    holders: HashMap<File, Holder>,
    files: HashMap<RawFd, File>,
}

static LOCKS: Mutex<Option<Locks>> = Mutex::new(None);

/// `fcntl`, with POSIX lock commands replaced by those for open file descriptions.
///
/// # Safety
/// Only SQLite calls this function, with its own open descriptor and the argument of the command. (The system's
/// function is variadic; by Linux's calling conventions the third argument is passed in the same way.)
pub(super) unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: *mut c_void) -> c_int {
    let command = match command {
        libc::F_GETLK => libc::F_OFD_GETLK,
        // SQLite never uses the blocking command.
        libc::F_SETLK | libc::F_SETLKW => libc::F_OFD_SETLK,
        // SAFETY: by the contract, the descriptor is open and the argument matches the command.
        _ => return unsafe { libc::fcntl(fd, command, argument) },
    };
    // SAFETY: SQLite passes a pointer to its own `flock` with these commands.
    let lock = unsafe { &mut *argument.cast::<libc::flock>() };
    lock.l_pid = 0;
    // SAFETY: the descriptor is open during the call.
    let descriptor = unsafe { BorrowedFd::borrow_raw(fd) };
    let failed = || Err(io::Error::from_raw_os_error(libc::ENOLCK));
    match caught(failed(), || with_locks(|locks| locks.act(descriptor, command, lock))) {
        Ok(()) => 0,
        Err(error) => {
            Errno::set_raw(error.raw_os_error().unwrap_or(libc::ENOLCK));
            -1
        }
    }
}

/// `close`, which also releases the file's locks with its last descriptor.
///
/// # Safety
/// Only SQLite calls this function, with its own descriptor, which it does not use afterwards.
pub(super) unsafe extern "C" fn close(fd: c_int) -> c_int {
    caught((), || with_locks(|locks| locks.forget(fd)));
    // SAFETY: by the contract, SQLite owns the descriptor and no longer uses it.
    unsafe { libc::close(fd) }
}

fn with_locks<T>(f: impl FnOnce(&mut Locks) -> T) -> T {
    // Code under this lock leaves the state consistent at each step.
    f(LOCKS.lock().get_or_insert_default())
}

impl Locks {
    fn act(&mut self, descriptor: BorrowedFd<'_>, command: c_int, lock: &mut libc::flock) -> io::Result<()> {
        let holder = self.holder(descriptor)?;
        holder.set(command, lock)?;
        let range = Range { start: lock.l_start, length: lock.l_len };
        if command == libc::F_OFD_SETLK {
            holder.held.retain(|held| !held.is_within(range));
            if lock.l_type != libc::F_UNLCK as libc::c_short {
                holder.held.push(range);
            }
        }
        Ok(())
    }

    /// Returns the lock holder of the descriptor's file.
    fn holder(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<&mut Holder> {
        let number = descriptor.as_raw_fd();
        let file = match self.files.get(&number) {
            Some(file) => *file,
            None => {
                let stat = fstat(descriptor)?;
                let file = (stat.st_dev as u64, stat.st_ino as u64);
                let can_write = !fcntl_getfl(descriptor)?.intersection(OFlags::RWMODE).is_empty();
                match self.holders.get_mut(&file) {
                    Some(holder) => {
                        if can_write && !holder.can_write {
                            holder.move_to(descriptor)?;
                        }
                        holder.users += 1;
                    }
                    None => {
                        let held = Vec::new();
                        let descriptor = descriptor.try_clone_to_owned()?;
                        self.holders.insert(file, Holder { descriptor, can_write, held, users: 1 });
                    }
                }
                self.files.insert(number, file);
                file
            }
        };
        self.holders.get_mut(&file).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOLCK))
    }

    /// Removes a descriptor about to be closed. Releases the file's locks with its last descriptor.
    fn forget(&mut self, fd: RawFd) {
        let Some(file) = self.files.remove(&fd) else { return };
        if let Some(holder) = self.holders.get_mut(&file) {
            holder.users -= 1;
            if holder.users == 0 {
                self.holders.remove(&file);
            }
        }
    }
}

impl Holder {
    fn set(&self, command: c_int, lock: &mut libc::flock) -> io::Result<()> {
        // SAFETY: the descriptor is open, and `lock` is valid for reads and writes.
        let result = unsafe { libc::fcntl(self.descriptor.as_raw_fd(), command, std::ptr::from_mut(lock)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Moves the locks to a writable descriptor. The previous descriptor can only hold shared locks.
    fn move_to(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let descriptor = descriptor.as_fd().try_clone_to_owned()?;
        let next = Holder { descriptor, can_write: true, held: self.held.clone(), users: self.users };
        for range in &next.held {
            let mut lock = range.shared();
            next.set(libc::F_OFD_SETLK, &mut lock)?;
        }
        *self = next;
        Ok(())
    }
}

impl Range {
    fn is_within(self, other: Range) -> bool {
        let end =
            |range: Range| if range.length == 0 { libc::off_t::MAX } else { range.start + range.length };
        other.start <= self.start && end(self) <= end(other)
    }

    /// Returns a shared lock of the range.
    fn shared(self) -> libc::flock {
        // SAFETY: `flock` consists of integers, for which zero is valid.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_RDLCK as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        (lock.l_start, lock.l_len) = (self.start, self.length);
        lock
    }
}
