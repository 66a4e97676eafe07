//! Replacements of SQLite's system calls that take file names, confined to the process's directories.

#[cfg(unix)]
pub(super) use unix::replace;

/// On other systems SQLite uses other calls: there are no files.
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

    /// Suffix of files that SQLite would map into memory; see `vfs`.
    const MAPPED: &str = "-shm";

    /// Permissions of a new file before the umask, the same as SQLite's default.
    const MODE: u32 = 0o644;

    /// A system call in the type SQLite stores.
    type Call = unsafe extern "C" fn();

    /// Replaces the system calls. Returns whether SQLite knew each of them.
    ///
    /// # Safety
    /// `vfs` is one of SQLite's own for Unix, and no file has been opened.
    pub(in crate::ffi) unsafe fn replace(vfs: *mut c::sqlite3_vfs) -> bool {
        // SAFETY: SQLite casts each pointer back to the signature of the system call of that name before the call,
        // which is the signature of the function here. The stored type has no arguments.
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

    /// Signature of `xSetSystemCall`.
    type Set = unsafe extern "C" fn(*mut c::sqlite3_vfs, *const c_char, c::sqlite3_syscall_ptr) -> c_int;

    /// Replaces the calls that affect file locks.
    ///
    /// # Safety
    /// As for [`replace`]; `set` is its `xSetSystemCall`.
    #[cfg(target_os = "linux")]
    unsafe fn replace_locks(vfs: *mut c::sqlite3_vfs, set: Set) -> bool {
        use crate::ffi::locks;

        // SAFETY: SQLite casts the pointers back to the signatures of these functions, as in `replace`.
        unsafe {
            let calls: [(&CStr, Call); 2] = [
                (c"fcntl", std::mem::transmute::<*const c_void, Call>(locks::fcntl as *const c_void)),
                (c"close", std::mem::transmute::<*const c_void, Call>(locks::close as *const c_void)),
            ];
            calls.into_iter().all(|(name, call)| set(vfs, name.as_ptr(), Some(call)) == c::SQLITE_OK)
        }
    }

    /// Other systems keep process-wide locks.
    #[cfg(not(target_os = "linux"))]
    unsafe fn replace_locks(_: *mut c::sqlite3_vfs, _: Set) -> bool {
        true
    }

    /// Runs `act` on a file, and stores its error in `errno`.
    ///
    /// # Safety
    /// `name` is NUL-terminated.
    unsafe fn with<T>(
        name: *const c_char,
        changes: bool,
        act: impl FnOnce(&Dir, &Path) -> io::Result<T>,
    ) -> Option<T> {
        // SAFETY: `name` is NUL-terminated by the contract.
        let name = unsafe { CStr::from_ptr(name) };
        let refused = || Err(io::Error::from_raw_os_error(libc::EACCES));
        let done = caught(refused(), || files::with(name, changes, act));
        done.map_err(|error| Errno::set_raw(number(&error))).ok()
    }

    /// Returns the system's number of an error.
    fn number(error: &io::Error) -> c_int {
        match (error.raw_os_error(), error.kind()) {
            (Some(number), _) => number,
            (None, io::ErrorKind::NotFound) => libc::ENOENT,
            (None, _) => libc::EACCES,
        }
    }

    /// # Safety
    /// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
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
        // SAFETY: SQLite's names are NUL-terminated.
        unsafe { with(name, how.write || how.create, act) }.map_or(-1, |file| file.into_std().into_raw_fd())
    }

    /// # Safety
    /// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
    unsafe extern "C" fn stat(name: *const c_char, out: *mut libc::stat) -> c_int {
        // SAFETY: SQLite's names are NUL-terminated.
        let Some(found) = (unsafe { with(name, false, |dir, path| dir.symlink_metadata(path)) }) else {
            return -1;
        };
        // SAFETY: SQLite passes a pointer to a writable `stat`, which consists of integers. Their types differ
        // between systems.
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
    /// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
    unsafe extern "C" fn unlink(name: *const c_char) -> c_int {
        // SAFETY: SQLite's names are NUL-terminated.
        unsafe { with(name, true, |dir, path| dir.remove_file(path)) }.map_or(-1, |()| 0)
    }

    /// Opens a file's directory, which SQLite then syncs to disk.
    ///
    /// # Safety
    /// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
    unsafe extern "C" fn open_directory(name: *const c_char, out: *mut c_int) -> c_int {
        // SAFETY: SQLite's names are NUL-terminated, and `out` is writable.
        unsafe {
            let Some(dir) = with(name, false, files::parent) else { return c::SQLITE_CANTOPEN };
            out.write(dir.into_std().into_raw_fd());
        }
        c::SQLITE_OK
    }

    /// Returns 0 if the file exists. Permissions are checked when it is opened.
    ///
    /// # Safety
    /// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
    unsafe extern "C" fn access(name: *const c_char, _: c_int) -> c_int {
        // SAFETY: SQLite's names are NUL-terminated.
        unsafe { with(name, false, |dir, path| dir.symlink_metadata(path)) }.map_or(-1, |_| 0)
    }

    // Calls that SQLite does not need for anything guests may do.

    /// # Safety
    /// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
    unsafe extern "C" fn mkdir(_: *const c_char, _: libc::mode_t) -> c_int {
        refuse() as c_int
    }

    /// # Safety
    /// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
    unsafe extern "C" fn rmdir(_: *const c_char) -> c_int {
        refuse() as c_int
    }

    /// # Safety
    /// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
    unsafe extern "C" fn readlink(_: *const c_char, _: *mut c_char, _: usize) -> isize {
        refuse()
    }

    /// # Safety
    /// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
    unsafe extern "C" fn getcwd(_: *mut c_char, _: usize) -> *mut c_char {
        refuse();
        std::ptr::null_mut()
    }

    fn refuse() -> isize {
        Errno::set_raw(libc::EACCES);
        -1
    }
}
