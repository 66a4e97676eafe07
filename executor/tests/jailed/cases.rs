//! The cases. Each succeeds outside of the jail; inside, only the allowed ones do.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use lunatic_executor::{Cache, JailError, NetworkRules, RuntimeConfig, enter_jail};

/// The surroundings of a case, made before the jail.
pub(crate) struct Place {
    root: PathBuf,
    /// A listener of this process to connect to.
    address: SocketAddr,
    parent: i32,
    _listener: TcpListener,
    /// Belongs to another program, as far as the case is concerned.
    _server: UnixDatagram,
}

impl Place {
    pub(crate) fn new(root: &Path) -> Place {
        // The cache was created outside.
        Cache::open(root.join("cache"), 1 << 20).expect("it is ours");
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let parent = std::os::unix::process::parent_id() as i32;
        let server = UnixDatagram::bind(root.join("beside/socket")).expect("there is none yet");
        Place { root: root.into(), address, parent, _listener: listener, _server: server }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

type Attempt = fn(&Place) -> io::Result<()>;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) is_allowed: bool,
    pub(crate) network: NetworkRules,
    pub(crate) attempt: Attempt,
}

/// Everything is allowed.
const ALL: NetworkRules = NetworkRules { connect: None, bind: None, resolve: None };
/// Nothing is allowed.
const NONE: NetworkRules =
    NetworkRules { connect: Some(Vec::new()), bind: Some(Vec::new()), resolve: Some(Vec::new()) };
/// Only connecting is allowed, to any address.
const CONNECT: NetworkRules =
    NetworkRules { connect: None, bind: Some(Vec::new()), resolve: Some(Vec::new()) };
/// Only listening is allowed, at any address.
const BIND: NetworkRules = NetworkRules { connect: Some(Vec::new()), bind: None, resolve: Some(Vec::new()) };

const fn allowed(name: &'static str, network: NetworkRules, attempt: Attempt) -> Case {
    Case { name, is_allowed: true, network, attempt }
}

const fn refused(name: &'static str, network: NetworkRules, attempt: Attempt) -> Case {
    Case { name, is_allowed: false, network, attempt }
}

pub(crate) const CASES: &[Case] = &[
    // Files.
    allowed("reading_what_is_given", NONE, |place| fs::read(place.at("given/sub/file")).map(drop)),
    allowed("changing_what_is_given", NONE, |place| {
        fs::write(place.at("given/new"), "new")?;
        fs::rename(place.at("given/new"), place.at("given/sub/newer"))?;
        fs::create_dir(place.at("given/more"))?;
        fs::remove_dir(place.at("given/more"))?;
        OpenOptions::new().write(true).open(place.at("given/file"))?.set_len(1)?;
        std::os::unix::fs::symlink("file", place.at("given/link"))?;
        fs::remove_file(place.at("given/sub/newer"))
    }),
    allowed("reading_what_is_for_reading", NONE, |place| fs::read(place.at("read-only/file")).map(drop)),
    allowed("listing_what_is_for_reading", NONE, |place| fs::read_dir(place.at("read-only")).map(drop)),
    refused("writing_what_is_for_reading", NONE, |place| fs::write(place.at("read-only/file"), "x")),
    refused("making_a_file_in_what_is_for_reading", NONE, |place| fs::write(place.at("read-only/new"), "x")),
    refused("removing_what_is_for_reading", NONE, |place| fs::remove_file(place.at("read-only/file"))),
    refused("emptying_what_is_for_reading", NONE, |place| {
        let path = CString::new(place.at("read-only/file").as_os_str().as_bytes())?;
        // SAFETY: the path is a C string that lives as long as the call.
        done(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_TRUNC) })
    }),
    refused("reading_beside", NONE, |place| fs::read(place.at("beside/file")).map(drop)),
    refused("reading_beside_by_a_link", NONE, |place| {
        // In a jail the link can be made, but not followed.
        std::os::unix::fs::symlink("../beside/file", place.at("given/link")).map_err(io::Error::other)?;
        fs::read(place.at("given/link")).map(drop)
    }),
    refused("reading_beside_by_the_root_of_the_process", NONE, |place| {
        let below = place.at("beside/file");
        fs::read(Path::new("/proc/self/root").join(below.strip_prefix("/").expect("it is absolute")))
            .map(drop)
    }),
    refused("listing_beside", NONE, |place| fs::read_dir(place.at("beside")).map(drop)),
    refused("writing_beside", NONE, |place| fs::write(place.at("beside/new"), "x")),
    refused("renaming_to_beside", NONE, |place| fs::rename(place.at("given/file"), place.at("beside/new"))),
    refused("renaming_from_beside", NONE, |place| fs::rename(place.at("beside/file"), place.at("given/new"))),
    refused("linking_from_beside", NONE, |place| {
        fs::hard_link(place.at("beside/file"), place.at("given/new"))
    }),
    refused("reading_the_passwords", ALL, |_| fs::read("/etc/passwd").map(drop)),
    refused("reading_the_names_without_looking_up", NONE, |_| fs::read("/etc/hosts").map(drop)),
    allowed("reading_the_names", ALL, |_| fs::read("/etc/hosts").map(drop)),
    refused("reading_of_the_parent", NONE, |place| {
        fs::read(format!("/proc/{}/cmdline", place.parent)).map(drop)
    }),
    refused("reading_a_device", NONE, |_| File::open("/dev/zero").map(drop)),
    refused("changing_permissions", NONE, |place| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(place.at("given/file"), fs::Permissions::from_mode(0o777))
    }),
    allowed("times_of_what_is_open", NONE, |place| {
        let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        OpenOptions::new().write(true).open(place.at("given/file"))?.set_times(times)
    }),
    refused("times_of_a_file_beside", NONE, |place| set_times(&place.at("beside/file"))),
    refused("times_of_what_is_for_reading", ALL, |place| set_times(&place.at("read-only/file"))),
    refused("making_a_pipe_with_a_name", NONE, |place| {
        let path = CString::new(place.at("given/pipe").as_os_str().as_bytes())?;
        // SAFETY: the path is a C string that lives as long as the call.
        done(unsafe { libc::mkfifo(path.as_ptr(), 0o600) })
    }),
    // The cache.
    allowed("reading_the_cache", NONE, |place| fs::read_dir(place.at("cache")).map(drop)),
    refused("writing_the_cache", NONE, |place| fs::write(place.at("cache/planted.code"), "code")),
    refused("moving_into_the_cache", NONE, |place| {
        fs::rename(place.at("given/file"), place.at("cache/planted.code"))
    }),
    // Processes.
    allowed("starting_a_thread", NONE, |_| {
        let thread = std::thread::Builder::new().name("more".into()).spawn(|| fs::read("/proc/self/maps"))?;
        thread.join().expect("it does not panic").map(drop)
    }),
    refused("reading_beside_on_a_thread", NONE, |place| {
        let path = place.at("beside/file");
        std::thread::spawn(move || fs::read(path).map(drop)).join().expect("it does not panic")
    }),
    refused("starting_a_program", NONE, |_| Command::new("/bin/true").status().map(drop)),
    refused("becoming_a_program", NONE, |_| {
        let (path, end) = (c"/bin/true", std::ptr::null());
        // SAFETY: the arguments are a list that ends with a null pointer; no environment.
        let result = unsafe { libc::execve(path.as_ptr(), [path.as_ptr(), end].as_ptr(), [end].as_ptr()) };
        done(result)
    }),
    refused("forking", NONE, |_| {
        // SAFETY: the process has one thread, and the child only exits.
        match unsafe { libc::fork() } {
            // SAFETY: this ends the process at once and calls nothing else.
            0 => unsafe { libc::_exit(0) },
            result => done(result),
        }
    }),
    refused("tracing", NONE, |_| {
        // SAFETY: asks to be traced by the parent, which only waits for this process; no memory is involved.
        done(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } as i32)
    }),
    refused("signals_to_the_parent", NONE, |place| {
        // SAFETY: signal 0 sends nothing; the call only checks whether a signal could be sent.
        done(unsafe { libc::kill(place.parent, 0) })
    }),
    refused("signals_to_a_thread_of_another", NONE, |place| {
        // SAFETY: as before.
        done(unsafe { libc::syscall(libc::SYS_tgkill, place.parent, place.parent, 0) } as i32)
    }),
    refused("memory_of_another", NONE, |place| {
        // SAFETY: both lists of pieces are empty, so nothing is copied.
        let result =
            unsafe { libc::process_vm_readv(place.parent, std::ptr::null(), 0, std::ptr::null(), 0, 0) };
        done(result as i32)
    }),
    refused("a_namespace_of_its_own", NONE, |_| {
        // SAFETY: the arguments are numbers; no memory is involved.
        done(unsafe { libc::unshare(libc::CLONE_FILES) })
    }),
    refused("limits_of_its_own", NONE, |_| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: both pointers are to structures that live as long as the call.
        let asked = unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
        done(asked).map_err(io::Error::other)?;
        // SAFETY: as before.
        done(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) })
    }),
    refused("a_ring_of_system_calls", NONE, |_| {
        let mut parameters = [0u8; 120];
        // SAFETY: the parameters are 120 bytes of zeroes, which is the size that the call reads.
        done(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) } as i32)
    }),
    refused("signals_by_a_descriptor", NONE, |place| {
        use std::os::fd::AsRawFd;
        let file = File::open(place.at("given/file")).map_err(io::Error::other)?;
        // SAFETY: the arguments are numbers, one of which is an open descriptor.
        done(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETOWN, place.parent) })
    }),
    // The network.
    allowed("a_connection", ALL, |place| TcpStream::connect(place.address).map(drop)),
    allowed("a_connection_without_binding", CONNECT, |place| TcpStream::connect(place.address).map(drop)),
    refused("a_connection_with_binding_only", BIND, |place| TcpStream::connect(place.address).map(drop)),
    allowed("listening_with_binding_only", BIND, |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    refused("listening_without_binding", CONNECT, |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    refused("a_connection_without_a_network", NONE, |place| TcpStream::connect(place.address).map(drop)),
    refused("listening_without_a_network", NONE, |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    refused("datagrams_without_a_network", NONE, |_| UdpSocket::bind("127.0.0.1:0").map(drop)),
    allowed("datagrams", ALL, |_| UdpSocket::bind("127.0.0.1:0").map(drop)),
    refused("a_connection_by_sending", BIND, |place| {
        let SocketAddr::V4(address) = place.address else { unreachable!("it is bound to 127.0.0.1") };
        // SAFETY: an address of zeroes is a valid value; its family, port and host are set below.
        let mut to: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        to.sin_family = libc::AF_INET as u16;
        to.sin_port = address.port().to_be();
        to.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
        // SAFETY: the arguments are numbers; no memory is involved.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
        done(socket).map_err(io::Error::other)?;
        let (to, size) = ((&raw const to).cast(), size_of_val(&to) as u32);
        // SAFETY: the pointers are to one byte and to an address of this size, which live as long as the call.
        done(unsafe { libc::sendto(socket, b"x".as_ptr().cast(), 1, libc::MSG_FASTOPEN, to, size) } as i32)
    }),
    refused("sockets_of_this_machine", ALL, |_| {
        // SAFETY: the arguments are numbers; no memory is involved.
        done(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) })
    }),
    refused("a_datagram_to_a_server_of_this_machine", NONE, |place| send_to_server(place, libc::SOCK_DGRAM)),
    refused("a_datagram_to_a_server_with_flags", ALL, |place| {
        send_to_server(place, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
    }),
    refused("a_pair_of_packets", ALL, |_| pair(libc::SOCK_SEQPACKET).map(drop)),
    allowed("a_pair_of_streams", NONE, |_| UnixStream::pair().map(drop)),
    refused("listening_without_an_address", CONNECT, |_| listen_at_once()),
    refused("listening_without_an_address_or_a_network", NONE, |_| listen_at_once()),
    allowed("listening_where_binding_is_allowed", BIND, |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    refused("sockets_of_the_kernel", ALL, |_| {
        // SAFETY: the arguments are numbers; no memory is involved.
        done(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, 0) })
    }),
    // Within a jail, landlock itself is refused. Entering a second jail must report that, not ignore it.
    refused("entering_where_there_is_no_landlock", NONE, |_| {
        match enter_jail(&RuntimeConfig::default(), None) {
            Ok(()) => Ok(()),
            Err(JailError::Landlock(_)) => Err(io::Error::from_raw_os_error(libc::EPERM)),
            Err(error) => Err(io::Error::other(error)),
        }
    }),
    // Descriptors that were open before.
    allowed("writing_to_standard_error", NONE, |_| io::stderr().write_all(b"")),
];

/// The error of a call that has returned this value.
fn done(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set_times(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a C string that lives as long as the call; a null pointer as times means now.
    done(unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), std::ptr::null(), 0) })
}

fn pair(kind: i32) -> io::Result<[i32; 2]> {
    let mut pair = [0; 2];
    // SAFETY: the array has space for two descriptors.
    done(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) })?;
    Ok(pair)
}

/// Sends from one socket of a pair to a named socket.
fn send_to_server(place: &Place, kind: i32) -> io::Result<()> {
    let [from, _] = pair(kind)?;
    // SAFETY: an address of zeroes is a valid value; its family and path are set below.
    let mut to: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    to.sun_family = libc::AF_UNIX as u16;
    for (to, from) in to.sun_path.iter_mut().zip(place.at("beside/socket").as_os_str().as_bytes()) {
        *to = *from as libc::c_char;
    }
    let (to, size) = ((&raw const to).cast(), size_of_val(&to) as u32);
    // SAFETY: the pointers are to one byte and to an address of this size, which live as long as the call.
    done(unsafe { libc::sendto(from, b"x".as_ptr().cast(), 1, 0, to, size) } as i32)
}

/// Listens with a socket that is not bound.
fn listen_at_once() -> io::Result<()> {
    // SAFETY: the arguments are numbers; no memory is involved.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
    done(socket)?;
    // SAFETY: the arguments are numbers; no memory is involved.
    done(unsafe { libc::listen(socket, 1) })
}
