//! Connections that are silent: what one takes that has been answered once, a process each, beside a server on bare mio;
//! and how long an answer takes when all are there.
//!
//! `cargo bench -p lunatic-benches --bench connections [MOST]`. Linux only: it reads `/proc`. The clients are this program,
//! with a socket for each connection, on another processor than the servers, which are there one after the other.
//!
//! Memory is told by slopes: what the last step of connections took more than the first one, divided by how many they are.
//! The kernel's memory is that of both ends, and of whatever else the machine does meanwhile: let it do nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lunatic_benches::bare;
use lunatic_benches::server::{SERVE, Server, make_room};
use lunatic_benches::table::{cell, median};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Connections at the last step, if the system lets a program have so many.
const MOST: usize = 15_000;

/// Steps, as parts of the last one; the first is as small as a fifteenth.
const STEPS: [f64; 4] = [1.0 / 15.0, 1.0 / 3.0, 2.0 / 3.0, 1.0];

/// Descriptors that a program has for other things.
const OTHERS: usize = 100;

/// For how many connections the arithmetic is printed at the end.
const GOAL: f64 = 2e6;

/// What the kernel and the allocator have to come to rest, and how long the processor is watched.
const REST: Duration = Duration::from_secs(2);
const WATCH: Duration = Duration::from_secs(10);

/// Requests of a measurement.
const REQUESTS: usize = 20_000;

/// Bytes that an answer has at most.
const ANSWER: usize = 256;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// What a server takes with so many connections.
struct Step {
    connections: usize,
    /// Bytes: the server's own, where a page that several share counts in parts; page tables; the kernel's for sockets.
    own: f64,
    tables: f64,
    kernel: f64,
    /// How long an answer takes on any one of them, in microseconds: in the middle, and for one in a hundred.
    middle_us: f64,
    slow_us: f64,
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some(SERVE) {
        bare::serve().expect("it serves until it is killed");
        return;
    }
    let wanted = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(MOST);
    let most = wanted.min(descriptors() - OTHERS);
    make_room();
    let heads = ["connections", "own KiB", "tables KiB", "kernel KiB", "answer µs", "p99 µs"];
    println!("{:<16}{}", "", heads.map(|head| format!("{head:>13}")).concat());
    let starts: [fn() -> Server; 2] =
        [|| Server::own("bare mio", &[]), || Server::guest("a process each", "http", &[])];
    for start in starts {
        report(&start(), most);
    }
}

/// As many descriptors as this program, and those that it starts, may have.
fn descriptors() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the system has this limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard one anyone may set it");
    usize::try_from(hard).expect("a limit fits")
}

/// Connects to a server step by step, and prints what that takes.
fn report(server: &Server, most: usize) {
    let mut connections = Vec::new();
    let mut steps = Vec::new();
    for part in STEPS {
        let count = (most as f64 * part) as usize;
        while connections.len() < count {
            let mut connection = TcpStream::connect(&server.address).expect("the server listens");
            connection.set_nodelay(true).expect("a new socket takes it");
            ask(&mut connection);
            connections.push(connection);
        }
        let step = measure(server, &mut connections);
        let figures =
            [step.own / 1024.0, step.tables / 1024.0, step.kernel / 1024.0, step.middle_us, step.slow_us];
        let figures = figures.map(|figure| cell(Some(figure), 13)).concat();
        println!("{:<16}{:>13}{figures}", server.name, step.connections);
        steps.push(step);
    }
    let used = server.cpu_time();
    std::thread::sleep(WATCH);
    let processor = (server.cpu_time() - used).as_secs_f64() / WATCH.as_secs_f64() * 100.0;
    println!("{:<16}uses {processor:.3} % of a processor while all are silent", server.name);
    let [first, .., last] = &steps[..] else { unreachable!("there are steps") };
    let each = |of: fn(&Step) -> f64| (of(last) - of(first)) / (last.connections - first.connections) as f64;
    let (own, tables, kernel) = (each(|step| step.own), each(|step| step.tables), each(|step| step.kernel));
    println!(
        "{:<16}takes {own:.0} + {tables:.0} bytes for each, the kernel {kernel:.0} for both ends",
        server.name
    );
    let gibibytes = |each: f64| each * GOAL / f64::from(1 << 30);
    println!(
        "{:<16}for {GOAL:.0}: {GOAL:.0} × {:.0} = {:.1} GiB, the kernel {:.1} GiB for both ends\n",
        server.name,
        own + tables,
        gibibytes(own + tables),
        gibibytes(kernel),
    );
}

/// Measures with the connections that are there. What memory is taken is seen before they are used again.
fn measure(server: &Server, connections: &mut [TcpStream]) -> Step {
    std::thread::sleep(REST);
    let own = field(&server.proc("smaps_rollup"), "Pss:");
    let tables = field(&server.proc("status"), "VmPTE:");
    let system = std::fs::read_to_string("/proc/meminfo").expect("this is Linux");
    let mut any = Any(connections.len() as u64);
    let mut times: Vec<f64> = (0..REQUESTS)
        .map(|_| {
            let connection = &mut connections[any.below(connections.len())];
            let start = Instant::now();
            ask(connection);
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    Step {
        connections: connections.len(),
        own,
        tables,
        kernel: field(&system, "Slab:"),
        slow_us: times[REQUESTS * 99 / 100],
        middle_us: median(times).expect("there are requests"),
    }
}

/// Asks, and waits for the answer.
fn ask(connection: &mut TcpStream) {
    connection.write_all(REQUEST).expect("the server is there");
    let mut answer = [0; ANSWER];
    let count = connection.read(&mut answer).expect("the server answers");
    assert!(answer[..count].ends_with(b"Hello world\n"), "the answer is in one piece");
}

/// A field of one of the kernel's lists, in bytes.
fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says it");
    let number = line.trim().strip_suffix(" kB").expect("in kB").parse::<f64>().expect("a number");
    number * 1024.0
}

/// Numbers that look random, the same in each run (xorshift).
struct Any(u64);

impl Any {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
