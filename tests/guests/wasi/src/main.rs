//! Raw functions of WASI preview 1, error code by error code. The first argument is the scenario. Directory 3 is empty at first and
//! writable. Directory 4, if it exists, is read-only and has a file and a directory.

mod descriptors;
mod directories;
mod files;
mod links;
mod polling;
mod race;
mod rights;
mod sockets;
mod strangers;
mod streams;
mod times;

/// The writable directory.
pub const DIR: u32 = 3;
/// The read-only directory.
pub const READ_ONLY: u32 = 4;

/// All rights.
pub const ALL: u64 = (1 << 30) - 1;

/// Expects an error number.
#[macro_export]
macro_rules! fails {
    ($call:expr, $($errno:ident)|+) => {{
        #[allow(unused_unsafe)]
        let result = unsafe { $call };
        let allowed = [$(wasi::$errno),+];
        assert!(
            result.as_ref().is_err_and(|errno| allowed.contains(errno)),
            "{} should fail with {}, not {:?}", stringify!($call), stringify!($($errno)|+), result.map(drop),
        );
    }};
}

/// Expects success.
#[macro_export]
macro_rules! works {
    ($call:expr) => {{
        #[allow(unused_unsafe)] // One may be in another.
        let result = unsafe { $call };
        result.unwrap_or_else(|errno| panic!("{}: {errno:?}", stringify!($call)))
    }};
}

/// Creates an empty file.
pub fn create(dir: u32, path: &str) {
    works!(wasi::fd_close(works!(wasi::path_open(dir, 0, path, wasi::OFLAGS_CREAT, 0, 0, 0))));
}

/// Opens a file with all rights.
pub fn open(dir: u32, path: &str, how: u16) -> u32 {
    works!(wasi::path_open(dir, 0, path, how, ALL, ALL, 0))
}

/// Opens a directory with all rights of its parent.
pub fn open_dir(dir: u32, path: &str) -> u32 {
    let stat = works!(wasi::fd_fdstat_get(dir));
    let (base, inheriting) = (stat.fs_rights_base, stat.fs_rights_inheriting);
    works!(wasi::path_open(dir, 0, path, wasi::OFLAGS_DIRECTORY, base, inheriting, 0))
}

pub fn write(fd: u32, bytes: &[u8]) -> Result<usize, wasi::Errno> {
    unsafe { wasi::fd_write(fd, &[wasi::Ciovec { buf: bytes.as_ptr(), buf_len: bytes.len() }]) }
}

pub fn pwrite(fd: u32, bytes: &[u8], offset: u64) -> Result<usize, wasi::Errno> {
    unsafe { wasi::fd_pwrite(fd, &[wasi::Ciovec { buf: bytes.as_ptr(), buf_len: bytes.len() }], offset) }
}

pub fn read(fd: u32, bytes: &mut [u8]) -> Result<usize, wasi::Errno> {
    unsafe { wasi::fd_read(fd, &[wasi::Iovec { buf: bytes.as_mut_ptr(), buf_len: bytes.len() }]) }
}

pub fn pread(fd: u32, bytes: &mut [u8], offset: u64) -> Result<usize, wasi::Errno> {
    unsafe { wasi::fd_pread(fd, &[wasi::Iovec { buf: bytes.as_mut_ptr(), buf_len: bytes.len() }], offset) }
}

/// The content of a file from its current position.
pub fn rest(fd: u32) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 64]);
    loop {
        match read(fd, &mut piece).expect("it can be read") {
            0 => return all,
            count => all.extend_from_slice(&piece[..count]),
        }
    }
}

fn main() {
    let name = std::env::args().nth(1).expect("a scenario");
    let scenario: fn() = match name.as_str() {
        "descriptors" => descriptors::descriptors,
        "renumber" => descriptors::renumber,
        "preopens" => descriptors::preopens,
        "exhausted" => descriptors::exhausted,
        "listing" => directories::listing,
        "directories" => directories::directories,
        "directory-calls" => directories::what_directories_refuse,
        "paths" => directories::paths,
        "files" => files::files,
        "append" => files::append,
        "seek" => files::seek,
        "positions" => files::positions,
        "truncate" => files::truncate,
        "allocate" => files::allocate,
        "buffers" => files::buffers,
        "symlinks" => links::symlinks,
        "links" => links::links,
        "rename" => links::rename,
        "escapes" => links::escapes,
        "polling" => polling::polling,
        "poll-stdin" => polling::stdin,
        "sleep" => polling::sleep,
        "race" => race::race,
        "rights" => rights::rights,
        "inheriting" => rights::inheriting,
        "read-only" => rights::read_only,
        "server" => sockets::server,
        "plain-server" => sockets::plain_server,
        "not-sockets" => sockets::not_sockets,
        "strangers" => strangers::strangers,
        "streams" => streams::streams,
        "terminals" => streams::terminals,
        "fifo" => streams::fifo,
        "devices" => streams::devices,
        "times" => times::times,
        "clocks" => times::clocks,
        _ => panic!("no scenario {name}"),
    };
    scenario();
    // Some scenarios have closed standard output.
    let _ = write(1, format!("done: {name}\n").as_bytes());
}
