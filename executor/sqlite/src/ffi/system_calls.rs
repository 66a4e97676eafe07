//! The system calls by which SQLite reaches files by name, each done below the process's directories.

#[cfg(unix)]
pub(super) use unix::replace;

/// Elsewhere SQLite has other calls: there are no files.
#[cfg(not(unix))]
pub(super) unsafe fn replace(_: *mut libsqlite3_sys::sqlite3_vfs) -> bool {
    false
}

#[cfg(unix)]
mod unix {
    use std::ffi::{CStr, c_char, c_int, c_void};
    use std::io;
    use std::os::fd::IntoRawFd;
    use std::path::Path;

    use cap_std::fs::{Dir, MetadataExt};
    use libsqlite3_sys as c;
    use nix::errno::Errno;

    use crate::ffi::vfs::caught;
    use crate::files::{self, How};

    /// The ends of names of files that SQLite would map into memory; see `vfs`.
    const MAPPED: &str = "-shm";

    /// The right to read and write, for whoever the system's mask does not take it from: what SQLite itself gives.
    const MODE: u32 = 0o644;

    /// A system call as SQLite keeps it.
    type Call = unsafe extern "C" fn();

    /// Replaces them. Returns whether each was there to be replaced.
    ///
    /// # Safety
    /// `vfs` is one of SQLite's own for Unix, and no file has been opened.
    pub(in crate::ffi) unsafe fn replace(vfs: *mut c::sqlite3_vfs) -> bool {
        // SAFETY: SQLite calls each with the arguments of the system call that it is named after, which are those of the
        // function here. How many there are and of which types is not in the type by which they are kept.
        unsafe {
            let calls: [(&CStr, Call); 10] = [
                (c"open", std::mem::transmute::<*const c_void, Call>(open as *const c_void)),
                (c"stat", std::mem::transmute::<*const c_void, Call>(stat as *const c_void)),
                (c"lstat", std::mem::transmute::<*const c_void, Call>(stat as *const c_void)),
                (c"unlink", std::mem::transmute::<*const c_void, Call>(unlink as *const c_void)),
                (
                    c"openDirectory",
                    std::mem::transmute::<*const c_void, Call>(open_directory as *const c_void),
                ),
                (c"access", std::mem::transmute::<*const c_void, Call>(access as *const c_void)),
                (c"mkdir", std::mem::transmute::<*const c_void, Call>(mkdir as *const c_void)),
                (c"rmdir", std::mem::transmute::<*const c_void, Call>(rmdir as *const c_void)),
                (c"readlink", std::mem::transmute::<*const c_void, Call>(readlink as *const c_void)),
                (c"getcwd", std::mem::transmute::<*const c_void, Call>(getcwd as *const c_void)),
            ];
            let Some(set) = (*vfs).xSetSystemCall else { return false };
            let are_set =
                calls.into_iter().all(|(name, call)| set(vfs, name.as_ptr(), Some(call)) == c::SQLITE_OK);
            are_set && replace_locks(vfs, set)
        }
    }

    /// How a system call is replaced.
    type Set = unsafe extern "C" fn(*mut c::sqlite3_vfs, *const c_char, c::sqlite3_syscall_ptr) -> c_int;

    /// Replaces what locks files.
    ///
    /// # Safety
    /// As of [`replace`]; `set` is its `xSetSystemCall`.
    #[cfg(target_os = "linux")]
    unsafe fn replace_locks(vfs: *mut c::sqlite3_vfs, set: Set) -> bool {
        use crate::ffi::locks;

        // SAFETY: as in `replace`.
        unsafe {
            let calls: [(&CStr, Call); 2] = [
                (c"fcntl", std::mem::transmute::<*const c_void, Call>(locks::fcntl as *const c_void)),
                (c"close", std::mem::transmute::<*const c_void, Call>(locks::close as *const c_void)),
            ];
            calls.into_iter().all(|(name, call)| set(vfs, name.as_ptr(), Some(call)) == c::SQLITE_OK)
        }
    }

    /// Elsewhere they are the process's.
    #[cfg(not(target_os = "linux"))]
    unsafe fn replace_locks(_: *mut c::sqlite3_vfs, _: Set) -> bool {
        true
    }

    /// Does something with a file, and leaves what went wrong in `errno`.
    ///
    /// # Safety
    /// The name ends with a zero.
    unsafe fn with<T>(
        name: *const c_char,
        changes: bool,
        act: impl FnOnce(&Dir, &Path) -> io::Result<T>,
    ) -> Option<T> {
        // SAFETY: by the contract.
        let name = unsafe { CStr::from_ptr(name) };
        let refused = || Err(io::Error::from_raw_os_error(libc::EACCES));
        let done = caught(refused(), || files::with(name, changes, act));
        done.map_err(|error| Errno::set_raw(number(&error))).ok()
    }

    /// What the system calls an error.
    fn number(error: &io::Error) -> c_int {
        match (error.raw_os_error(), error.kind()) {
            (Some(number), _) => number,
            (None, io::ErrorKind::NotFound) => libc::ENOENT,
            (None, _) => libc::EACCES,
        }
    }

    /// # Safety
    /// SQLite alone calls it, as its documentation says; see the module above.
    unsafe extern "C" fn open(name: *const c_char, flags: c_int, mode: c_int) -> c_int {
        let how = How {
            write: flags & libc::O_ACCMODE != libc::O_RDONLY,
            create: flags & libc::O_CREAT != 0,
            exclusive: flags & libc::O_EXCL != 0,
            mode: if mode == 0 { MODE } else { mode as u32 & 0o777 },
        };
        let act = |dir: &Dir, path: &Path| {
            if path.to_str().is_none_or(|path| path.ends_with(MAPPED)) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            files::open(dir, path, how)
        };
        // SAFETY: SQLite's names end with a zero.
        unsafe { with(name, how.write || how.create, act) }.map_or(-1, |file| file.into_std().into_raw_fd())
    }

    /// # Safety
    /// SQLite alone calls it, as its documentation says; see the module above.
    unsafe extern "C" fn stat(name: *const c_char, out: *mut libc::stat) -> c_int {
        // SAFETY: as above.
        let Some(found) = (unsafe { with(name, false, |dir, path| dir.symlink_metadata(path)) }) else {
            return -1;
        };
        // SAFETY: SQLite passes a place for a `stat`, which is made of numbers. Their types differ between systems.
        unsafe {
            out.write(std::mem::zeroed());
            (*out).st_dev = found.dev() as _;
            (*out).st_ino = found.ino() as _;
            (*out).st_mode = found.mode() as _;
            (*out).st_nlink = found.nlink() as _;
            (*out).st_uid = found.uid();
            (*out).st_gid = found.gid();
            (*out).st_size = found.size() as _;
        }
        0
    }

    /// # Safety
    /// SQLite alone calls it, as its documentation says; see the module above.
    unsafe extern "C" fn unlink(name: *const c_char) -> c_int {
        // SAFETY: as above.
        unsafe { with(name, true, |dir, path| dir.remove_file(path)) }.map_or(-1, |()| 0)
    }

    /// Opens the directory that a file is in, for SQLite to have it written to the disk.
    ///
    /// # Safety
    /// SQLite alone calls it, as its documentation says; see the module above.
    unsafe extern "C" fn open_directory(name: *const c_char, out: *mut c_int) -> c_int {
        // SAFETY: as above; SQLite passes a place for the descriptor.
        unsafe {
            let Some(dir) = with(name, false, files::parent) else { return c::SQLITE_CANTOPEN };
            out.write(dir.into_std().into_raw_fd());
        }
        c::SQLITE_OK
    }

    /// Whether a file is there. What one may do with it shows when it is opened.
    ///
    /// # Safety
    /// SQLite alone calls it, as its documentation says; see the module above.
    unsafe extern "C" fn access(name: *const c_char, _: c_int) -> c_int {
        // SAFETY: as above.
        unsafe { with(name, false, |dir, path| dir.symlink_metadata(path)) }.map_or(-1, |_| 0)
    }

    // What SQLite does not need for what guests may do.

    /// # Safety
    /// SQLite alone calls it, as its documentation says; see the module above.
    unsafe extern "C" fn mkdir(_: *const c_char, _: libc::mode_t) -> c_int {
        refuse() as c_int
    }

    /// # Safety
    /// SQLite alone calls it, as its documentation says; see the module above.
    unsafe extern "C" fn rmdir(_: *const c_char) -> c_int {
        refuse() as c_int
    }

    /// # Safety
    /// SQLite alone calls it, as its documentation says; see the module above.
    unsafe extern "C" fn readlink(_: *const c_char, _: *mut c_char, _: usize) -> isize {
        refuse()
    }

    /// # Safety
    /// SQLite alone calls it, as its documentation says; see the module above.
    unsafe extern "C" fn getcwd(_: *mut c_char, _: usize) -> *mut c_char {
        refuse();
        std::ptr::null_mut()
    }

    fn refuse() -> isize {
        Errno::set_raw(libc::EACCES);
        -1
    }
}
