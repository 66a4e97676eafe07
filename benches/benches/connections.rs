//! Idle connections: the memory of one that has been answered once, with a process each, compared with a server on bare mio; and
//! the response time when all of them exist.
//!
//! `cargo bench -p lunatic-benches --bench connections [MOST]`. Linux only: it reads `/proc`. This program is the clients, with a
//! socket per connection, on another processor than the servers, which run one after the other.
//!
//! Memory is measured as a slope: the difference between the last and the first step of connections, divided by their number. The
//! kernel's memory is that of both ends, and of everything else on the machine: keep it idle.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lunatic_benches::bare;
use lunatic_benches::server::{SERVE, Server, make_room};
use lunatic_benches::table::{cell, median};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The number of connections in the last step, if the system allows it.
const MOST: usize = 15_000;

/// The steps, as fractions of the last one.
const STEPS: [f64; 4] = [1.0 / 15.0, 1.0 / 3.0, 2.0 / 3.0, 1.0];

/// Descriptors for other purposes.
const OTHERS: usize = 100;

/// The number of connections for which the sum is printed at the end.
const GOAL: f64 = 2e6;

/// The time for the kernel and the allocator to settle, and for watching the processor.
const REST: Duration = Duration::from_secs(2);
const WATCH: Duration = Duration::from_secs(10);

/// The number of requests of a measurement.
const REQUESTS: usize = 20_000;

/// The largest size of an answer in bytes.
const ANSWER: usize = 256;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The figures of a server with a number of connections.
struct Step {
    connections: usize,
    /// In bytes: the server's proportional memory, its page tables, and the kernel's memory for sockets.
    own: f64,
    tables: f64,
    kernel: f64,
    /// The response time on a random connection in microseconds: median and 99th percentile.
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

/// Raises the limit of descriptors of this program and those that it starts. Returns the limit.
fn descriptors() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the system has this limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard one anyone may set it");
    usize::try_from(hard).expect("a limit fits")
}

/// Connects to a server step by step, and prints the figures.
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

/// Measures with the existing connections. Memory is measured before they are used again.
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

/// Sends a request and waits for the answer.
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

/// Pseudo-random numbers, the same in each run (xorshift).
struct Any(u64);

impl Any {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
