//! Operations on open files that the standard library does not have.
//!
//! On systems without such an operation, advice has no effect, and other operations fail.

use std::io;
use std::time::SystemTime;

use cap_std::fs::{Dir, File, OpenOptions};

/// Sets options that keep opening from blocking: for a named pipe whose other end is closed, or a terminal without a
/// carrier. With `append`, every write goes to the end, even if the file is truncated first, which the standard
/// option for appending refuses.
#[cfg(unix)]
pub fn never_waiting(options: &mut OpenOptions, append: bool, directory: bool) {
    use cap_std::fs::OpenOptionsExt;

    let append = if append { libc::O_APPEND } else { 0 };
    let directory = if directory { libc::O_DIRECTORY } else { 0 };
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | append | directory);
}

#[cfg(not(unix))]
pub fn never_waiting(options: &mut OpenOptions, append: bool, directory: bool) {
    use cap_fs_ext::OpenOptionsMaybeDirExt;

    options.append(append).maybe_dir(directory);
}

/// Returns whether opening a file failed because it is a named pipe without a reader, or a socket.
#[cfg(unix)]
pub fn has_no_reader(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

/// Advises the system of how a range will be used: normally, sequentially, randomly, soon, not soon, once.
#[cfg(target_os = "linux")]
pub fn advise(file: &File, offset: u64, length: u64, advice: u32) -> io::Result<()> {
    use rustix::fs::Advice;

    const ALL: [Advice; 6] = [
        Advice::Normal,
        Advice::Sequential,
        Advice::Random,
        Advice::WillNeed,
        Advice::DontNeed,
        Advice::NoReuse,
    ];
    let advice = *ALL.get(advice as usize).ok_or(io::ErrorKind::InvalidInput)?;
    // A length of 0 stands for "to the end".
    Ok(rustix::fs::fadvise(file, offset, std::num::NonZeroU64::new(length), advice)?)
}

#[cfg(not(target_os = "linux"))]
pub fn advise(_: &File, _: u64, _: u64, _: u32) -> io::Result<()> {
    Ok(())
}

/// Reserves disk space for a range. A shorter file grows.
#[cfg(target_os = "linux")]
pub fn allocate(file: &File, offset: u64, length: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), offset, length)?)
}

#[cfg(not(target_os = "linux"))]
pub fn allocate(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Sets whether every write goes to the end, or to the position of the file.
#[cfg(unix)]
pub fn set_append(file: &File, append: bool) -> io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::APPEND, append);
    Ok(fcntl_setfl(file, flags)?)
}

#[cfg(not(unix))]
pub fn set_append(_: &File, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Waits until the entries of a directory are on disk.
#[cfg(unix)]
pub fn sync_dir(dir: &Dir) -> io::Result<()> {
    Ok(rustix::fs::fsync(itself(dir)?)?)
}

/// Returns a descriptor by which a directory can be read. One that is only used for paths cannot.
#[cfg(unix)]
fn itself(dir: &Dir) -> io::Result<std::os::fd::OwnedFd> {
    use rustix::fs::{Mode, OFlags, openat};

    Ok(openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(not(unix))]
pub fn sync_dir(_: &Dir) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Sets the times of access and modification; `None` leaves a time unchanged.
#[cfg(unix)]
pub fn set_times(file: &File, times: (Option<SystemTime>, Option<SystemTime>)) -> io::Result<()> {
    Ok(rustix::fs::futimens(file, &timestamps(times)?)?)
}

/// Sets the times of a directory. It is opened for that, because in a jail the times of nothing can be set by name.
#[cfg(unix)]
pub fn set_dir_times(dir: &Dir, times: (Option<SystemTime>, Option<SystemTime>)) -> io::Result<()> {
    Ok(rustix::fs::futimens(itself(dir)?, &timestamps(times)?)?)
}

/// Sets the times of what a path below a directory leads to. The file is not opened unless necessary, because opening
/// a named pipe for writing waits for its reader. In a jail it has to be opened, and is opened without blocking.
#[cfg(target_os = "linux")]
pub fn set_path_times(
    dir: &Dir,
    path: &str,
    times: (Option<SystemTime>, Option<SystemTime>),
) -> io::Result<()> {
    use cap_std::fs::OpenOptionsExt;
    use rustix::fs::{AtFlags, utimensat};
    use rustix::io::Errno;

    let open = |flags| dir.open_with(path, OpenOptions::new().read(true).custom_flags(flags));
    match utimensat(open(libc::O_PATH)?, "", &timestamps(times)?, AtFlags::EMPTY_PATH) {
        Err(Errno::PERM) => set_times(&open(libc::O_NONBLOCK | libc::O_NOCTTY)?, times),
        result => Ok(result?),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn set_path_times(
    dir: &Dir,
    path: &str,
    (accessed, modified): (Option<SystemTime>, Option<SystemTime>),
) -> io::Result<()> {
    use cap_fs_ext::{DirExt, SystemTimeSpec};

    let spec = |time| SystemTimeSpec::Absolute(cap_std::time::SystemTime::from_std(time));
    DirExt::set_times(dir, path, accessed.map(spec), modified.map(spec))
}

#[cfg(unix)]
fn timestamps(
    (accessed, modified): (Option<SystemTime>, Option<SystemTime>),
) -> io::Result<rustix::fs::Timestamps> {
    use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};

    let spec = |time: Option<SystemTime>| match time {
        None => Ok::<_, io::Error>(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ }),
        Some(time) => {
            let since =
                time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| io::ErrorKind::InvalidInput)?;
            Ok(Timespec { tv_sec: since.as_secs() as _, tv_nsec: since.subsec_nanos() as _ })
        }
    };
    Ok(Timestamps { last_access: spec(accessed)?, last_modification: spec(modified)? })
}

#[cfg(not(unix))]
pub fn set_times(_: &File, _: (Option<SystemTime>, Option<SystemTime>)) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(unix))]
pub fn set_dir_times(_: &Dir, _: (Option<SystemTime>, Option<SystemTime>)) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(unix))]
pub fn has_no_reader(_: &io::Error) -> bool {
    false
}
