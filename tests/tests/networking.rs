//! Sockets and name resolution: a guest that uses all of the `lunatic` crate's networking, and peers outside of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use lunatic_tests::Killed;
use lunatic_tests::commands::{command, run, run_scenario, stderr, stdout};
use lunatic_tests::guests::build;

fn guest() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| build("tests/guests/networking", "test-networking"))
}

lunatic_tests::cache!("networking");

/// A directory with the files for TLS: `ca.pem`, and a certificate that it has signed: `cert.pem` for localhost with `key.pem`.
fn certificates() -> &'static str {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("networking-certificates");
        std::fs::create_dir_all(&directory).expect("it can be made");
        let write =
            |name: &str, text: String| std::fs::write(directory.join(name), text).expect("it can be written");
        let mut authority = rcgen::CertificateParams::new([]).expect("no names are good names");
        // Not the default name: a certificate whose issuer has its own name counts as self-signed.
        authority.distinguished_name.push(rcgen::DnType::CommonName, "the authority of these tests");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("there is randomness");
        write("ca.pem", authority.self_signed(&key).expect("it can sign").pem());
        let authority = rcgen::Issuer::new(authority, key);
        let server = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a good name");
        let key = rcgen::KeyPair::generate().expect("there is randomness");
        write("cert.pem", server.signed_by(&key, &authority).expect("it can sign").pem());
        write("key.pem", key.serialize_pem());
        directory
    });
    directory.to_str().expect("a name in UTF-8")
}

/// Runs a scenario on one worker and on two.
fn scenario(name: &str, options: &[&str]) {
    run_scenario(&[&["--cache-dir", cache()], options].concat(), guest(), name);
}

macro_rules! scenarios {
    ($($function:ident => $name:literal),* $(,)?) => {$(
        #[test]
        fn $function() {
            scenario($name, &["--dir", &format!("{}::.", certificates())]);
        }
    )*};
}

scenarios! {
    a_connection_echoes => "tcp-echo",
    many_connections_echo_at_once => "tcp-crowd",
    more_than_fits_a_buffer_arrives_whole => "tcp-bulk",
    reading_writing_and_connecting_time_out => "tcp-timeouts",
    what_was_peeked_at_can_be_read => "tcp-peek",
    errors_are_reported => "tcp-errors",
    a_stream_is_shared_by_processes => "tcp-clones",
    // HOSTILE 33: killed while accepting or reading.
    a_killed_process_leaves_no_socket => "tcp-killed",
    a_stream_that_no_process_takes_is_closed => "tcp-ends",
    a_tls_connection_echoes => "tls-echo",
    more_than_fits_a_buffer_arrives_whole_over_tls => "tls-bulk",
    faults_of_tls_are_told_and_harm_no_one_else => "tls-faults",
    tls_times_out => "tls-timeouts",
    datagrams_arrive => "udp",
    an_error_of_a_datagram_is_told_once => "udp-refused",
    settings_of_datagram_sockets => "udp-settings",
    names_are_looked_up => "names",
}

#[test]
fn addresses_that_are_not_allowed_are_refused() {
    let rules = ["--allow-connect", "127.0.0.1:9", "--allow-bind", "127.0.0.1:20000-20099"];
    scenario("denied", &[&rules[..], &["--allow-resolve", "*.example"]].concat());
}

#[test]
fn no_network_refuses_all_access() {
    let output = run(&["--no-network"], guest(), &["tcp-echo"]);
    assert_eq!(output.status.code(), Some(134));
    assert!(
        stderr(&output).contains("this process is not allowed to bind 127.0.0.1:0"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_simulation_refuses_network_access() {
    let output = run(&["--seed", "1"], guest(), &["tcp-echo"]);
    assert!(stderr(&output).contains("a simulation has no network yet"), "{}", stderr(&output));
}

/// A guest that is a server, and its address.
struct Server {
    _child: Killed,
    address: String,
}

impl Server {
    fn start(options: &[&str], scenario: &str) -> Server {
        let mut exec = command("lunatic-exec");
        exec.args(["--cache-dir", cache(), "--dir", &format!("{}::.", certificates())]).args(options);
        exec.arg(guest()).args([scenario, "0"]);
        Server::of(exec)
    }

    /// Starts a command that prints its address in its first line.
    fn of(mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where");
        let address = line.trim().strip_prefix("listening at ").expect("an address").to_owned();
        Server { _child: Killed(child), address }
    }

    fn port(&self) -> &str {
        self.address.rsplit_once(':').expect("an address has a port").1
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).expect("it listens")
    }
}

fn echoes(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).expect("there is room");
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, text);
}

/// HOSTILE 41: clients that send nothing, or a byte now and then, delay no other client.
#[test]
fn silent_and_slow_clients_delay_no_other_client() {
    let server = Server::start(&["--workers", "1"], "tcp-serve");
    let mut silent: Vec<_> = (0..500).map(|_| server.connect()).collect();
    for round in 0..100u8 {
        echoes(&mut server.connect(), &[round; 100]);
        silent[usize::from(round)].write_all(b"a").expect("there is room");
    }
    // The same for clients that disconnect without reading their answers.
    for stream in &mut silent {
        stream.write_all(&[7; 5000]).expect("there is room");
    }
    drop(silent);
    echoes(&mut server.connect(), b"still there");
}

/// The guest with a limit of a hundred descriptors.
fn short_of_descriptors(args: &[&str]) -> Command {
    let exec = command("lunatic-exec");
    let mut shell = Command::new("sh");
    shell.env_remove("HOME").env_remove("XDG_CACHE_HOME");
    shell.args(["-c", "ulimit -n 100 && exec \"$0\" \"$@\""]).arg(exec.get_program());
    shell.args(["--cache-dir", cache(), "--workers", "2"]).arg(guest()).args(args);
    shell
}

/// HOSTILE 22: no descriptor leaks, however the processes end that own sockets.
#[test]
fn connections_leave_no_descriptor() {
    let output = short_of_descriptors(&["leaks"]).output().expect("it starts");
    assert_eq!(stdout(&output), "done: leaks\n", "{}", stderr(&output));
}

/// HOSTILE 25: without free descriptors, existing connections are served, and waiting clients are accepted when others leave.
#[test]
fn connections_wait_while_descriptors_are_short() {
    let server = Server::of(short_of_descriptors(&["tcp-serve", "0"]));
    let mut connected: Vec<_> = (0..60).map(|_| server.connect()).collect();
    connected.iter_mut().for_each(|stream| echoes(stream, b"in"));
    let mut waiting: Vec<_> = (0..60).map(|_| server.connect()).collect();
    connected.iter_mut().for_each(|stream| echoes(stream, b"still"));
    drop(connected);
    // The first connection beyond the limit may have been closed.
    let mut served = 0;
    for stream in &mut waiting {
        let mut answer = [0; 4];
        if stream.write_all(b"late").is_ok() && stream.read_exact(&mut answer).is_ok() {
            served += 1;
        }
    }
    assert!(served >= 58, "{served} of 60");
}

/// Python's TLS, which is OpenSSL.
fn python(script: &str, args: &[&str]) -> Command {
    let mut python = Command::new("python3");
    python.args(["-c", script]).args(args).current_dir(certificates());
    python
}

#[test]
fn a_python_tls_client_is_served() {
    let server = Server::start(&[], "tls-serve");
    let client = python(
        r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile="ca.pem")
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context.maximum_version = version
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as tcp:
        with context.wrap_socket(tcp, server_hostname="localhost") as tls:
            for size in (1, 100, 100_000):
                sent = bytes(i % 251 for i in range(size))
                tls.sendall(sent)
                got = b""
                while len(got) < size:
                    got += tls.recv(1 << 16)
                assert got == sent
            print(tls.version())
"#,
        &[server.port()],
    )
    .output()
    .expect("there is Python");
    assert_eq!(stdout(&client), "TLSv1.2\nTLSv1.3\n", "{}", stderr(&client));
}

#[test]
fn a_python_tls_server_can_be_asked() {
    let server = Server::of(python(
        r#"
import socket, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
listener = socket.create_server(("127.0.0.1", 0))
print("listening at 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
while True:
    tcp, _ = listener.accept()
    with context.wrap_socket(tcp, server_side=True) as tls:
        tls.recv(1000)
        tls.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"." * 100_000 + b"\nthe end\n")
        tls.unwrap()
"#,
        &[],
    ));
    let output = run(
        &["--cache-dir", cache(), "--dir", &format!("{}::.", certificates())],
        guest(),
        &["tls-fetch", "localhost", server.port()],
    );
    assert_eq!(stdout(&output), "the end\ndone: tls-fetch\n", "{}", stderr(&output));
}

/// HOSTILE 41: clients that stop in the middle of a handshake delay neither other clients nor the accepting process.
#[test]
fn unfinished_handshakes_delay_no_other_client() {
    let server = Server::start(&["--workers", "1"], "tls-serve");
    let begun: Vec<_> = (0..100)
        .map(|number| {
            let mut stream = server.connect();
            // The first bytes of a ClientHello, without the rest.
            stream.write_all(&[0x16, 3, 1, 2, 0, 1][..number % 7]).expect("there is room");
            stream
        })
        .collect();
    let client = python(
        r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile="ca.pem")
with context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))), server_hostname="localhost") as tls:
    tls.sendall(b"hello")
    print(tls.recv(100).decode())
"#,
        &[server.port()],
    )
    .output()
    .expect("there is Python");
    assert_eq!(stdout(&client), "hello\n", "{}", stderr(&client));
    drop(begun);
}

/// A listener with a full backlog does not answer, so connecting to it takes until the timeout.
#[test]
fn connecting_to_a_listener_that_does_not_answer_times_out() {
    let server = Server::of(python(
        r#"
import socket, time
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(0)
address = listener.getsockname()
print("listening at 127.0.0.1:%d" % address[1], flush=True)
waiting = []
for _ in range(4):
    waiting.append(socket.socket())
    waiting[-1].setblocking(False)
    waiting[-1].connect_ex(address)
time.sleep(60)
"#,
        &[],
    ));
    std::thread::sleep(std::time::Duration::from_millis(200));
    let output = run(&["--cache-dir", cache()], guest(), &["tcp-unanswered", server.port()]);
    assert_eq!(stdout(&output), "done: tcp-unanswered\n", "{}", stderr(&output));
}
