//! Redirected output of children, which is invisible to them.

use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, SocketAddr};

use lunatic::net::TcpListener;
use lunatic::{Mailbox, Process, ProcessConfig, Tag};

/// Host functions, as in the table of the ABI.
///
/// # Safety
/// For all functions: a pointer must be to as many bytes as the length beside it says, or to one value if there is no length.
mod host {
    #[link(wasm_import_module = "lunatic::ext::redirect")]
    unsafe extern "C" {
        pub fn to_process(config: u64, what: u32, path: *const u8, length: usize, process: u64, tag: i64);
        pub fn to_tcp_stream(config: u64, what: u32, path: *const u8, length: usize, stream: u64);
        pub fn to_file(
            config: u64,
            what: u32,
            path: *const u8,
            length: usize,
            file: *const u8,
            file_length: usize,
            place: *mut u64,
        ) -> u32;
    }
    #[link(wasm_import_module = "lunatic::ext::config")]
    unsafe extern "C" {
        pub fn preopen_dir(
            config: u64,
            path: *const u8,
            length: usize,
            name: *const u8,
            name_length: usize,
            read_only: u32,
        );
    }
    #[link(wasm_import_module = "lunatic::networking")]
    unsafe extern "C" {
        pub fn tcp_connect(
            kind: u32,
            address: *const u8,
            port: u32,
            flow: u32,
            scope: u32,
            timeout: u64,
            place: *mut u64,
        ) -> u32;
    }
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub fn poll_oneoff(
            subscriptions: *const u64,
            events: *mut u64,
            number: usize,
            count: &mut usize,
        ) -> u16;
    }
    #[link(wasm_import_module = "lunatic::message")]
    unsafe extern "C" {
        pub fn receive(tags: *const i64, count: usize, timeout: u64) -> u32;
        pub fn data_size() -> u64;
        pub fn read_data(buffer: *mut u8, length: usize) -> usize;
    }
}

const PATH: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

fn to_process(config: &ProcessConfig, what: u32, path: &str, tag: i64) {
    let (config, me) = (config.id() as u64, lunatic::host::process_id());
    unsafe { host::to_process(config, what, path.as_ptr(), path.len(), me, tag) };
}

fn to_file(config: &ProcessConfig, what: u32, path: &str, file: &str) -> u32 {
    let (config, mut error) = (config.id() as u64, 0);
    unsafe { host::to_file(config, what, path.as_ptr(), path.len(), file.as_ptr(), file.len(), &mut error) }
}

fn connect(to: SocketAddr) -> u64 {
    let IpAddr::V4(ip) = to.ip() else { panic!("it is version 4") };
    let mut stream = 0;
    let result =
        unsafe { host::tcp_connect(4, ip.octets().as_ptr(), to.port().into(), 0, 0, u64::MAX, &mut stream) };
    assert_eq!(result, 0);
    stream
}

/// The tag of the message of a child that is done.
fn done() -> Tag {
    Tag::special(100).expect("it is one of those that are never given")
}

/// Receives messages with a tag until they have this length together.
fn received(tag: i64, length: usize) -> String {
    let mut all = Vec::new();
    while all.len() < length {
        assert_eq!(unsafe { host::receive(&tag, 1, 30_000) }, 0, "so far: {}", String::from_utf8_lossy(&all));
        let mut bytes = vec![0; unsafe { host::data_size() } as usize];
        unsafe { host::read_data(bytes.as_mut_ptr(), bytes.len()) };
        all.extend(bytes);
    }
    String::from_utf8(all).expect("it is text")
}

/// The directory "/" is preopened and writable.
pub fn redirects(mailbox: Mailbox<u64>) {
    std::fs::create_dir("/logs").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = connect(listener.local_addr().unwrap());
    let (mut other_end, _) = listener.accept().unwrap();

    let mut config = ProcessConfig::new().unwrap();
    config.set_can_spawn_processes(true);
    unsafe { host::preopen_dir(config.id() as u64, "/".as_ptr(), 1, "".as_ptr(), 0, 0) };
    to_process(&config, STDOUT, "", 101);
    assert_eq!(to_file(&config, STDERR, "", "/errors"), 0);
    to_process(&config, PATH, "/logs/app.log", 102);
    let path = "logs//./sent.log";
    unsafe { host::to_tcp_stream(config.id() as u64, PATH, path.as_ptr(), path.len(), connection) };
    // Only where the caller itself may write.
    assert_eq!(to_file(&config, STDERR, "", "/logs"), 1, "a directory is not a file");
    assert_eq!(to_file(&config, STDERR, "", "elsewhere/file"), 1);

    let child = |name: &str| {
        let parent = mailbox.this();
        Process::spawn_config(&config, (parent, name.to_owned()), |(parent, name), _: Mailbox<()>| {
            write(&name);
            parent.tag_send(done(), 1);
        })
    };
    child("first");
    assert_eq!(mailbox.tag_receive(&[done()]), 1);
    child("second");
    assert_eq!(mailbox.tag_receive(&[done()]), 1);
    let both = |what: &str| ["first", "second"].map(|name| format!("{name} {what}\n")).concat();
    // Also for grandchildren: a child spawns them, and they write to its standard output.
    let expected = both("out") + "grandchild\ngrandchild\n";
    let mut lines: Vec<_> = received(101, expected.len()).lines().map(str::to_owned).collect();
    let mut expected: Vec<_> = expected.lines().map(str::to_owned).collect();
    (lines.sort(), expected.sort());
    assert_eq!(lines, expected);
    assert_eq!(received(102, both("logged").len()), both("logged"));
    assert_eq!(std::fs::read_to_string("/errors").unwrap(), both("err"));
    let mut sent = vec![0; both("sent").len()];
    other_end.read_exact(&mut sent).unwrap();
    assert_eq!(String::from_utf8(sent).unwrap(), both("sent"));
    // A path that is not redirected leads to its file, and a redirected one does not.
    let mut names: Vec<_> =
        std::fs::read_dir("/logs").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["kept.log"]);
    assert_eq!(std::fs::read_to_string("/logs/kept.log").unwrap(), "second kept\n");
    read_only(mailbox);
}

/// The entry of a child.
fn write(name: &str) {
    println!("{name} out");
    eprintln!("{name} err");
    let mut log = std::fs::OpenOptions::new().append(true).create(true).open("/logs/app.log").unwrap();
    assert_eq!(log.metadata().unwrap().len(), 0, "it is empty when it is opened");
    writeln!(log, "{name} logged").unwrap();
    let end = log.metadata().unwrap().len();
    assert_eq!(end, name.len() as u64 + 8);
    assert_eq!(log.seek(SeekFrom::End(0)).unwrap(), end);
    log.sync_all().unwrap();
    // From a directory, by another path.
    let mut options = std::fs::OpenOptions::new();
    let options = options.read(true).write(true).create(true);
    let mut sent = options.open("/logs/../logs/sent.log").unwrap();
    writeln!(sent, "{name} sent").unwrap();
    // Reading returns at once, as at the end of any file.
    assert!(is_readable(&sent));
    assert_eq!(sent.read(&mut [0; 10]).unwrap_or(0), 0);
    std::fs::write("/logs/kept.log", format!("{name} kept\n")).unwrap();
    let grandchild = lunatic::spawn_link!(|| println!("grandchild"));
    while grandchild.is_alive() {
        lunatic::sleep(std::time::Duration::from_millis(1));
    }
}

/// Waits until a file can be read.
fn is_readable(file: &std::fs::File) -> bool {
    const TAG_READ: u64 = 1;
    let (mut subscription, mut event, mut count) = ([0u64; 6], [0u64; 4], 0);
    subscription[1] = TAG_READ;
    subscription[2] = std::os::fd::AsRawFd::as_raw_fd(file) as u64;
    let errno = unsafe { host::poll_oneoff(subscription.as_ptr(), event.as_mut_ptr(), 1, &mut count) };
    errno == 0 && count == 1
}

/// A child has a directory under another name, and may only read it.
fn read_only(mailbox: Mailbox<u64>) {
    let mut config = ProcessConfig::new().unwrap();
    config.set_can_create_configs(true);
    config.set_can_spawn_processes(true);
    let (path, name) = ("/logs", "old");
    unsafe {
        host::preopen_dir(config.id() as u64, path.as_ptr(), path.len(), name.as_ptr(), name.len(), 1);
    }
    Process::spawn_config(&config, mailbox.this(), |parent, _: Mailbox<()>| {
        assert_eq!(std::fs::read_to_string("old/kept.log").unwrap(), "second kept\n");
        assert!(std::fs::write("old/kept.log", "no").is_err());
        assert!(std::fs::remove_file("old/kept.log").is_err());
        assert!(std::fs::read_to_string("/logs/kept.log").is_err());
        // A child cannot give away more than it has.
        let config = ProcessConfig::new().unwrap();
        unsafe { host::preopen_dir(config.id() as u64, "old".as_ptr(), 3, "new".as_ptr(), 3, 0) };
        Process::spawn_config(&config, parent, |parent: Process<u64>, _: Mailbox<()>| {
            assert_eq!(std::fs::read_to_string("new/kept.log").unwrap(), "second kept\n");
            assert!(std::fs::write("new/kept.log", "no").is_err());
            assert!(std::fs::File::create("new/more").is_err());
            parent.tag_send(done(), 2);
        });
    });
    assert_eq!(mailbox.tag_receive(&[done()]), 2);
}
