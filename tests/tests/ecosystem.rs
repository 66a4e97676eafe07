//! Published crates for Lunatic, run by the command: a server that uses `submillisecond`, with Python and curl as clients; the
//! client `nightfly`, with a server in Python; and `lunatic-log`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use lunatic_tests::Killed;
use lunatic_tests::commands::{command, run, stderr, stdout};
use lunatic_tests::guests::build;
use lunatic_tests::skip;

fn guest() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| build("tests/guests/web", "test-web"))
}

lunatic_tests::cache!("ecosystem");

/// A server that prints its address in one of its first lines. It is killed when dropped.
struct Server {
    _child: Killed,
    port: String,
    log: Arc<Mutex<String>>,
}

impl Server {
    fn of(mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("it says where");
        let after = line.split("127.0.0.1:").nth(1).expect("an address");
        let port = after.chars().take_while(char::is_ascii_digit).collect();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = log.clone();
        // The server would stop at a full pipe.
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut log = kept.lock().expect("no thread panics with the lock");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Server { _child: Killed(child), port, log }
    }

    fn submillisecond(workers: &str) -> Server {
        let mut exec = command("lunatic-exec");
        exec.args(["--cache-dir", cache(), "--workers", workers]).arg(guest()).args(["serve", "trace"]);
        Server::of(exec)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(format!("127.0.0.1:{}", self.port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("more than none");
        stream
    }
}

/// Runs a script after the common prelude.
fn python(script: &str, args: &[&str]) -> Output {
    let mut limited = Command::new("timeout");
    limited.args(["60", "python3", "-c", &format!("{PRELUDE}{script}")]).args(args);
    limited.output().expect("there is Python")
}

const PRELUDE: &str = r#"
import base64, http.client, json, os, socket, sys, threading

def connect():
    return http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)

def ask(connection, method, path, body=None, **headers):
    connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    return answer, answer.read()

def get(path, **headers):
    answer, body = ask(connect(), "GET", path, **headers)
    return answer.status, body.decode()

def raw(*parts):
    import time
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) as stream:
        for part in parts:
            stream.sendall(part)
            time.sleep(0.02)
        stream.shutdown(socket.SHUT_WR)
        answer = b""
        while more := stream.recv(1 << 16):
            answer += more
        return answer
"#;

/// Runs a script against the server on one worker and on two.
fn serves(script: &str) {
    for workers in ["1", "2"] {
        let server = Server::submillisecond(workers);
        let client = python(script, &[&server.port]);
        assert!(client.status.success(), "on {workers} workers: {}{}", stdout(&client), stderr(&client));
    }
}

#[test]
fn routes_have_parameters_queries_guards_and_middleware() {
    serves(
        r#"
assert get("/") == (200, "Hello from a guest!")
assert get("/hello/Ada/3") == (200, "Hello, Ada! " * 3)
assert get("/path/4294967295") == (200, "4294967296")
assert get("/path/none")[0] == 400, get("/path/none")
assert get("/path/4294967296")[0] == 400, get("/path/none")
assert get("/search?b=2&a=x%20y+z&c=%26") == (200, "a=x y z\nb=2\nc=&")
assert get("/rest-of/it/all") == (200, "of/it/all")
assert get("/nowhere") == (404, "there is nothing here")
assert get("/files/note.txt") == (200, "A file that the guest was built with.\n")
assert get("/files/other.txt") == (404, "there is nothing here")
assert get("/api/secret") == (404, "there is nothing here")
assert get("/api/secret", x_key="open sesame") == (200, "forty-two")
connection = connect()
answer, body = ask(connection, "DELETE", "/order/7")
assert (answer.status, body, answer.headers["x-method"]) == (202, b"order 7 is gone", "DELETE")
answer, body = ask(connection, "POST", "/")
assert answer.status == 404, answer.status
"#,
    );
}

#[test]
fn persistent_connections_transfer_bodies_of_any_size() {
    serves(
        r#"
connection = connect()
connection.connect()
own = connection.sock
for size in (0, 1, 100, 5000, 100_000, 3_000_000):
    sent = bytes(i % 251 for i in range(size))
    answer, body = ask(connection, "POST", "/echo", sent)
    assert answer.status == 200 and body == sent, size
    answer, body = ask(connection, "GET", f"/large/{size}")
    assert answer.status == 200 and body == sent, size
order = {"id": 7, "items": ["zange", "näil", "\"quoted\""], "note": None}
answer, body = ask(connection, "PUT", "/order", json.dumps(order), content_type="application/json")
assert answer.status == 201 and answer.headers["content-type"] == "application/json", (answer.status, body)
assert json.loads(body) == order | {"items": sorted(order["items"])}, body
answer, body = ask(connection, "PUT", "/order", "{\"id\": }", content_type="application/json")
assert answer.status == 400, answer.status
for count in range(1, 20):
    answer, body = ask(connection, "GET", "/count")
    assert (answer.status, body) == (200, str(count).encode()), body
assert connection.sock is own, "it was never closed"
"#,
    );
}

#[test]
fn requests_may_arrive_in_pieces_and_pipelined() {
    serves(
        r#"
request = b"GET /hello/Ada/1 HTTP/1.1\r\nHost: here\r\n\r\n"
one = raw(request)
assert one.startswith(b"HTTP/1.1 200 OK\r\n") and one.endswith(b"\r\n\r\nHello, Ada! "), one
assert raw(*(bytes([byte]) for byte in request)) == one
assert raw(request * 20) == one * 20
assert raw((request * 3)[:100], (request * 3)[100:]) == one * 3
post = b"POST /size HTTP/1.1\r\nContent-Length: 10000\r\n\r\n"
answer = raw(post, b"x" * 3000, b"x" * 6999, b"x")
assert answer.endswith(b"\r\n\r\n10000"), answer
"#,
    );
}

#[test]
fn bad_requests_and_failing_handlers_affect_no_other_client() {
    serves(
        r#"
kept = connect()
assert ask(kept, "GET", "/")[0].status == 200
error = b"HTTP/1.1 500 Internal Server Error\r\n"
assert raw(b"what is this?\r\n\r\n").startswith(error)
assert raw(b"GET / HTTP/9.9\r\n\r\n").startswith(error)
assert raw(b"POST /echo HTTP/1.1\r\nContent-Length: many\r\n\r\n").startswith(error)
assert raw(b"POST /echo HTTP/1.1\r\nContent-Length: 10\r\n\r\nshort").startswith(error)
assert raw(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n").startswith(error)
assert raw(b"GET / HTTP/1.1\r\nHos").startswith(error)
assert raw(b"") == b""
for path in ("/panic", "/trap"):
    assert get(path) == (500, "Internal Server Error"), path
assert ask(kept, "GET", "/")[0].status == 200, "the connection of another"
assert get("/") == (200, "Hello from a guest!")
"#,
    );
}

/// Each client keeps a connection of its own. Slow ones among them delay no other.
#[test]
fn a_hundred_clients_are_served_at_once() {
    for workers in ["1", "2"] {
        let server = Server::submillisecond(workers);
        let slow: Vec<_> = (0..100)
            .map(|_| {
                let mut stream = server.connect();
                stream.write_all(b"GET /slow/2000 HTTP/1.1\r\n\r\n").expect("it listens");
                stream
            })
            .collect();
        let began = std::time::Instant::now();
        std::thread::scope(|scope| {
            for client in 0..100 {
                let mut stream = server.connect();
                scope.spawn(move || {
                    for round in 0..10 {
                        let expected = format!("Hello, {client}! ").repeat(round);
                        let request = format!("GET /hello/{client}/{round} HTTP/1.1\r\n\r\n");
                        stream.write_all(request.as_bytes()).expect("it listens");
                        assert_eq!(body(&mut stream), expected);
                    }
                });
            }
        });
        for mut stream in slow {
            assert_eq!(body(&mut stream), "at last");
        }
        assert!(began.elapsed() < Duration::from_secs(60), "one after the other they would take minutes");
    }
}

/// Reads one answer.
fn body(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("there is an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("it is text").to_lowercase();
    assert!(head.starts_with("http/1.1 200 ok"), "{head}");
    let length = head.split("content-length: ").nth(1).expect("it has a length");
    let length = length.lines().next().and_then(|length| length.parse().ok()).expect("a number");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("there is a body");
    String::from_utf8(body).expect("it is text")
}

/// Another process than the one that got the request serves an upgraded connection.
#[test]
fn a_connection_becomes_a_web_socket() {
    serves(
        r#"
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) as stream:
    key = base64.b64encode(bytes(16)).decode()
    stream.sendall(f"GET /socket HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    reader = stream.makefile("rb")
    status = reader.readline()
    assert b" 101 " in status, status
    while reader.readline() != b"\r\n":
        pass
    for number in range(100):
        text = f"message {number}".encode()
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(text))
        stream.sendall(bytes([0x81, 0x80 | len(text)]) + mask + masked)
        kind, length = reader.read(2)
        assert (kind, reader.read(length)) == (0x81, text.upper())
"#,
    );
}

#[test]
fn curl_can_use_the_server() {
    let server = Server::submillisecond("2");
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", server.port);
    let curl = |args: &[&str]| Command::new("curl").args(["-sS", "--max-time", "30"]).args(args).output();
    let Ok(hello) = curl(&[&at("/hello/curl/2")]) else {
        skip("there is no curl");
        return;
    };
    assert_eq!(stdout(&hello), "Hello, curl! Hello, curl! ", "{}", stderr(&hello));
    let kept = curl(&["--write-out", "%{num_connects} ", &at("/"), &at("/path/1"), &at("/rest-x")])
        .expect("it runs");
    assert_eq!(stdout(&kept), "Hello from a guest!1 20 x0 ", "{}", stderr(&kept));
    let sent = "something ".repeat(50_000);
    let echoed = curl(&["--data-binary", &sent[..100_000], &at("/echo")]).expect("it runs");
    assert!(stdout(&echoed) == sent[..100_000], "{}", stderr(&echoed));
}

/// Many processes log; one process writes the log.
#[test]
fn each_request_is_logged() {
    let server = Server::submillisecond("2");
    for number in 0..50 {
        let mut stream = server.connect();
        stream.write_all(format!("GET /path/{number} HTTP/1.1\r\n\r\n").as_bytes()).expect("it listens");
        assert_eq!(body(&mut stream), (number + 1).to_string());
    }
    // The log may be written after the answer has arrived.
    for _ in 0..1000 {
        let logged = server.log.lock().expect("no thread panics with the lock").lines().count();
        if logged == 50 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let log = server.log.lock().expect("no thread panics with the lock");
    for number in 0..50 {
        assert!(log.contains(&format!(" /path/{number} ")), "{number}: {log}");
    }
}

#[test]
fn a_subscriber_writes_what_is_logged() {
    for workers in ["1", "2"] {
        let output = run(&["--cache-dir", cache(), "--workers", workers], guest(), &["log"]);
        let children: String = (0..3)
            .flat_map(|child| {
                (0..3).map(move |line| format!("INFO test_web::log: line {line} of child {child}\n"))
            })
            .collect();
        let expected = format!(
            "INFO test_web::log: from the first process\nWARN test_web::log: a warning\n{children}done: log\n"
        );
        assert_eq!(stdout(&output), expected, "{}", stderr(&output));
        assert_eq!(stderr(&output), "ERROR test_web::log: an error\n");
    }
}

/// A server with an answer for each case of the guest.
const PYTHONS: &str = r#"
import gzip, http.server, time, zlib

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    text = b"piece by piece. " * 100

    def answer(self, body, status=200, **headers):
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/hello":
            self.answer(b"Hello")
        elif path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            text = gzip.compress(self.text)
            for at in range(0, len(text), 7):
                piece = text[at:at + 7]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
                time.sleep(0.005)
            self.wfile.write(b"0\r\n\r\n")
        elif path == "/gzip":
            self.answer(gzip.compress(self.text), Content_Encoding="gzip")
        elif path == "/deflate":
            self.answer(zlib.compress(self.text), Content_Encoding="deflate")
        elif path == "/query":
            self.answer(query.encode())
        elif path == "/redirect":
            self.answer(b"", 302, Location="/hello")
        elif path == "/slow":
            time.sleep(1)
            self.answer(b"late")
        else:
            self.answer(b"no", 404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(body, Content_Type=self.headers.get("Content-Type", "text/plain"))

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("listening at 127.0.0.1:%d" % server.server_address[1], flush=True)
server.serve_forever()
"#;

fn pythons_server() -> Server {
    let mut python = Command::new("python3");
    python.args(["-c", PYTHONS]);
    Server::of(python)
}

#[test]
fn nightfly_understands_answers_of_a_python_server() {
    let server = pythons_server();
    for workers in ["1", "2"] {
        let address = format!("127.0.0.1:{}", server.port);
        let output = run(&["--cache-dir", cache(), "--workers", workers], guest(), &["fetch", &address]);
        assert!(stdout(&output).ends_with("done: fetch\n"), "{}{}", stdout(&output), stderr(&output));
    }
}

#[test]
fn nightfly_reports_failed_requests() {
    let server = pythons_server();
    // No listener; a listener that does not speak TLS; a network that is not allowed.
    let refused = "http://127.0.0.1:9/";
    let no_tls = format!("https://127.0.0.1:{}/", server.port);
    let denied = format!("http://127.0.0.1:{}/hello", server.port);
    for (options, url) in [(&[][..], refused), (&[], &no_tls), (&["--no-network"], &denied)] {
        let output = run(&[&["--cache-dir", cache()], options].concat(), guest(), &["fetch-failing", url]);
        assert!(
            stdout(&output).ends_with("done: fetch-failing\n"),
            "{url}: {}{}",
            stdout(&output),
            stderr(&output)
        );
    }
}
