//! Seccomp: the allowed system calls and their arguments.
//!
//! The list was found by watching the runtime and its libraries; harmless calls were added in doubt. Landlock also
//! checks calls that open files. Other calls fail with EPERM, so that a library can continue without them. Only
//! `clone3` fails with ENOSYS: its flags are in memory, where no filter sees them. The C library then uses `clone`.
//!
//! The list has no calls of another architecture or of x32: their numbers denote other calls.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::JailError;
use super::ports::Network;

/// Calls allowed with any arguments.
const CALLS: &[c_long] = &[
    // Memory, also executable: programs compile modules.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_memfd_create,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads: waiting, ending, identity.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_membarrier,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    // The process's own signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Time and properties of the machine.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_nanosleep,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // Descriptors.
    libc::SYS_close,
    libc::SYS_copy_file_range,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    // File names, as far as landlock allows.
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_readlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    // Existing sockets, such as listeners. Creating sockets is decided below.
    libc::SYS_accept4,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
];

/// Older names of the same calls, which only x86-64 still has.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_unlink,
];
#[cfg(target_arch = "aarch64")]
const OLD_CALLS: &[c_long] = &[];

/// Calls allowed if sockets may be created. Landlock checks their ports.
const SOCKET_CALLS: &[c_long] = &[libc::SYS_bind, libc::SYS_connect];

/// Allowed kinds of internet sockets, for both IP versions. Landlock checks no ports of other kinds, and local
/// sockets would reach every local server.
const SOCKETS: [(i32, i32); 4] = [
    (libc::SOCK_STREAM, libc::IPPROTO_IP),
    (libc::SOCK_STREAM, libc::IPPROTO_TCP),
    (libc::SOCK_DGRAM, libc::IPPROTO_IP),
    (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
];

/// The mask of a socket's kind, without its flags.
const SOCKET_KIND: u64 = 0xf;

/// The C library's flags for a new thread. The thread shares everything with existing ones; it is not a process and
/// has no namespace of its own.
const THREAD: i32 = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID;

/// `fcntl` commands. None chooses who gets a descriptor's signals: it could be any process.
const FCNTL: [i32; 15] = [
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GETLK,
    libc::F_SETLK,
    libc::F_SETLKW,
    libc::F_OFD_GETLK,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
    libc::F_ADD_SEALS,
    libc::F_GET_SEALS,
    libc::F_GETPIPE_SZ,
];

/// `PAGEMAP_SCAN`: reports which pages of its own memory a process has written.
const PAGEMAP_SCAN: u64 = 0xc060_6610;

/// `ioctl` requests. They query a terminal but cannot insert input into it.
#[allow(clippy::unnecessary_cast)] // Their types differ between C libraries.
const IOCTL: [u64; 6] = [
    libc::FIONBIO as u64,
    libc::FIOCLEX as u64,
    libc::FIONREAD as u64,
    libc::TCGETS as u64,
    libc::TIOCGWINSZ as u64,
    PAGEMAP_SCAN,
];

/// Options of sockets, without packet filters.
const SOCKET_OPTIONS: [(i32, i32); 14] = [
    (libc::SOL_SOCKET, libc::SO_BROADCAST),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_IP, libc::IP_RECVERR),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
];

/// `prctl` options: names of threads and mappings.
const PRCTL: [i32; 2] = [libc::PR_SET_NAME, libc::PR_SET_VMA];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;

/// Calls with alternatives for their arguments; an empty list allows any.
type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// The filter programs, in the order of their application: the second one allows no further filter.
pub(super) struct Filters([BpfProgram; 2]);

impl Filters {
    /// Builds the filters for this network.
    pub(super) fn new(network: &Network) -> Result<Filters, JailError> {
        build(network).map(Filters).map_err(|error| JailError::Seccomp(error.into()))
    }

    /// Applies the filters to all threads.
    pub(super) fn apply(&self) -> Result<(), JailError> {
        self.0.iter().try_for_each(|program| {
            seccompiler::apply_filter_all_threads(program).map_err(|error| JailError::Seccomp(error.into()))
        })
    }
}

fn build(network: &Network) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let mut rules = Rules::from_iter(CALLS.iter().chain(OLD_CALLS).map(|&call| (call, Vec::new())));
    // The other filter decides on it.
    rules.insert(libc::SYS_clone3, Vec::new());
    add_with_arguments(&mut rules)?;
    if network.binds() {
        // Only with ports to bind: `listen` on an unbound socket uses a port of the system's choice, which no rule
        // allows.
        rules.insert(libc::SYS_listen, Vec::new());
    }
    if network.has_sockets() {
        rules.extend(SOCKET_CALLS.iter().map(|&call| (call, Vec::new())));
        rules.insert(libc::SYS_socket, socket_rules()?);
    }
    let unknown = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    Ok([
        SeccompFilter::new(unknown, SeccompAction::Allow, missing, ARCHITECTURE)?.try_into()?,
        SeccompFilter::new(rules, refused, SeccompAction::Allow, ARCHITECTURE)?.try_into()?,
    ])
}

fn add_with_arguments(rules: &mut Rules) -> Result<(), seccompiler::BackendError> {
    let one_of = |index, values: &[u64]| -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        values.iter().map(|&value| SeccompRule::new(vec![is(index, value)?])).collect()
    };
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![is_whole(0, THREAD as u64)?])?]);
    rules.insert(libc::SYS_fcntl, one_of(1, &FCNTL.map(|command| command as u64))?);
    rules.insert(libc::SYS_ioctl, one_of(1, &IOCTL)?);
    rules.insert(libc::SYS_prctl, one_of(0, &PRCTL.map(|option| option as u64))?);
    // Only reading the process's own limits.
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![is(0, 0)?, is_whole(2, 0)?])?]);
    // Only the process's own threads, which `abort` needs.
    rules.insert(libc::SYS_tgkill, one_of(0, &[u64::from(std::process::id())])?);
    // Only stream sockets, between two threads. A datagram socket could send to any named socket of this machine.
    let pair = vec![is(0, libc::AF_UNIX as u64)?, masked(1, SOCKET_KIND, libc::SOCK_STREAM as u64)?];
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(pair)?]);
    // Only open descriptors: landlock does not check paths whose times are changed.
    rules.insert(libc::SYS_utimensat, vec![SeccompRule::new(vec![is_whole(1, 0)?])?]);
    // Landlock does not check a connection that sending makes.
    for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
        rules.insert(call, vec![SeccompRule::new(vec![masked(flags, libc::MSG_FASTOPEN as u64, 0)?])?]);
    }
    let options = SOCKET_OPTIONS
        .iter()
        .map(|&(level, option)| SeccompRule::new(vec![is(1, level as u64)?, is(2, option as u64)?]));
    rules.insert(libc::SYS_setsockopt, options.collect::<Result<_, _>>()?);
    Ok(())
}

fn socket_rules() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let mut rules = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in SOCKETS {
            let kind = masked(1, SOCKET_KIND, kind as u64)?;
            rules.push(SeccompRule::new(vec![is(0, family as u64)?, kind, is(2, protocol as u64)?])?);
        }
    }
    Ok(rules)
}

/// Compares an argument of which the kernel reads 32 bits.
fn is(index: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn is_whole(index: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}

fn masked(index: u8, mask: u64, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
}
