//! The locks of SQLite's files, as locks of open files and not of the whole process.
//!
//! SQLite takes POSIX's locks. Those are given up when *any* descriptor of the file is closed by this process, which guests
//! do by WASI's functions whenever they like; another program could then write in the middle of a transaction. Linux has
//! locks that belong to an open file (`F_OFD_SETLK`) and stay until that is closed.
//!
//! SQLite relies on a process not being in the way of itself: it counts the connections of a file and takes locks by the
//! descriptor of any of them. So for each file one descriptor holds the locks of all: a duplicate that is used for nothing else.
//! It is one that can be written, as soon as there is one.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use rustix::fs::{OFlags, fcntl_getfl, fstat};

use super::vfs::caught;

/// A file: its device, and its number there.
type File = (u64, u64);

/// A part of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Range {
    start: libc::off_t,
    /// 0 is to the end.
    length: libc::off_t,
}

/// The descriptor that holds the locks of a file.
struct Holder {
    descriptor: OwnedFd,
    can_write: bool,
    /// What is locked.
    held: Vec<Range>,
    /// SQLite's descriptors of the file that have asked for locks and are open.
    users: usize,
}

#[derive(Default)]
struct Locks {
    holders: HashMap<File, Holder>,
    files: HashMap<RawFd, File>,
}

static LOCKS: Mutex<Option<Locks>> = Mutex::new(None);

/// `fcntl`, of which locks are done in the other way.
///
/// # Safety
/// SQLite alone calls it, with an open descriptor of its own and the argument that belongs to the command. (The system's
/// takes a variable number of arguments; with the conventions of Linux the third is passed in the same way.)
pub(super) unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: *mut c_void) -> c_int {
    let command = match command {
        libc::F_GETLK => libc::F_OFD_GETLK,
        // Nothing waits: SQLite does not ask for that.
        libc::F_SETLK | libc::F_SETLKW => libc::F_OFD_SETLK,
        // SAFETY: by the contract.
        _ => return unsafe { libc::fcntl(fd, command, argument) },
    };
    // SAFETY: SQLite passes a lock of its own with these commands.
    let lock = unsafe { &mut *argument.cast::<libc::flock>() };
    lock.l_pid = 0;
    // SAFETY: the descriptor is open for the time of the call.
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

/// `close`, after which the file's locks may have no user.
///
/// # Safety
/// SQLite alone calls it, with a descriptor of its own, which it does not use any more.
pub(super) unsafe extern "C" fn close(fd: c_int) -> c_int {
    caught((), || with_locks(|locks| locks.forget(fd)));
    // SAFETY: by the contract.
    unsafe { libc::close(fd) }
}

fn with_locks<T>(f: impl FnOnce(&mut Locks) -> T) -> T {
    // What is done under it leaves it whole at each step.
    f(LOCKS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
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

    /// The holder of the locks of the file behind a descriptor.
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

    /// A descriptor is about to be closed. With the last one of a file its locks are given up.
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
        // SAFETY: the descriptor is open, and the lock is one that may be written.
        let result = unsafe { libc::fcntl(self.descriptor.as_raw_fd(), command, std::ptr::from_mut(lock)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Holds what it has by a descriptor that can be written. What was held by the other can only be shared.
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

    /// A lock of it for reading.
    fn shared(self) -> libc::flock {
        // SAFETY: it is made of numbers.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_RDLCK as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        (lock.l_start, lock.l_len) = (self.start, self.length);
        lock
    }
}
