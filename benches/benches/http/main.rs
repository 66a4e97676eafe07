//! HTTP: a short answer to persistent connections with a process each, compared with a server on bare mio, and with Go's sockets if
//! Go is installed.
//!
//! `cargo bench -p lunatic-benches --bench http [ROUNDS]`. The load is `wrk` on one processor; the servers take turns on another
//! (`taskset`). wrk reaches about as many requests per second as the fastest server, so the figures are the server's processor time
//! per request, and the 99th percentile of the response time.

use std::process::Command;
use std::time::Duration;

use lunatic_benches::bare;
use lunatic_benches::server::{LOAD, SERVE, Server};
use lunatic_benches::table::{cell, median};
use lunatic_tests::guests::root;

const ROUNDS: usize = 5;

/// The numbers of connections.
const CONNECTIONS: [u32; 2] = [64, 1000];

/// The seconds of load in a round.
const SECONDS: u32 = 2;

/// The figures of a server in a round.
struct Load {
    /// The processor time of the server per request, in microseconds.
    cpu_us: f64,
    p99_ms: f64,
    requests_per_second: f64,
}

fn main() {
    // With this argument, the program is the server on bare mio.
    if std::env::args().nth(1).as_deref() == Some(SERVE) {
        bare::serve().expect("it serves until it is killed");
        return;
    }
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(ROUNDS);
    let mut servers = vec![Server::own("bare mio", &[]), Server::guest("a process each", "http", &[])];
    match go() {
        Ok(go) => servers.push(go),
        Err(missing) => println!("left out: {missing}"),
    }
    if let Err(error) = Command::new("wrk").arg("--version").output() {
        println!("wrk is not installed ({error}): there is no load");
        return;
    }
    println!(
        "{:<20}{:>13}{:>13}{:>13}{:>13}{:>13}",
        format!("medians of {rounds}"),
        "CPU µs/req",
        "over mio",
        "p99 ms",
        "over mio",
        "requests/s"
    );
    for connections in CONNECTIONS {
        let mut loads: Vec<Vec<Load>> = servers.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (server, loads) in servers.iter_mut().zip(&mut loads) {
                loads.push(load(server, connections));
            }
        }
        let mut bare = None;
        for (server, loads) in servers.iter().zip(&loads) {
            let of = |figure: fn(&Load) -> f64| median(loads.iter().map(figure).collect());
            let (cpu, p99) = (of(|load| load.cpu_us), of(|load| load.p99_ms));
            let (bare_cpu, bare_p99) = *bare.get_or_insert((cpu, p99));
            let over = |own: Option<f64>, bare: Option<f64>| own.zip(bare).map(|(own, bare)| own / bare);
            println!(
                "{:<20}{}{}{}{}{}",
                format!("{} × {connections}", server.name),
                cell(cpu, 13),
                cell(over(cpu, bare_cpu), 13),
                cell(p99, 13),
                cell(over(p99, bare_p99), 13),
                cell(of(|load| load.requests_per_second), 13),
            );
        }
    }
}

/// The server in Go. Prints a message if Go is not installed.
fn go() -> Result<Server, String> {
    let program = root().join("target").join("peers").join("http-go");
    let mut go = Command::new("go");
    go.current_dir(root().join("benches/peers/go-http")).arg("build").arg("-o").arg(&program).arg(".");
    match go.output() {
        Ok(output) if output.status.success() => Ok(Server::start("Go", &program, &[])),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(format!("Go is not installed ({error})")),
    }
}

/// Puts a server under load.
fn load(server: &mut Server, connections: u32) -> Load {
    let before = server.cpu_time();
    let mut wrk = Command::new("taskset");
    wrk.args(["-c", LOAD, "wrk", "-t1", "--latency"]);
    wrk.arg(format!("-c{connections}"))
        .arg(format!("-d{SECONDS}s"))
        .arg(format!("http://{}/", server.address));
    let output = wrk.output().expect("it was there a moment ago");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let used: Duration = server.cpu_time() - before;
    let requests: f64 = number_before(&said, " requests in").expect("wrk counts requests");
    Load {
        cpu_us: used.as_secs_f64() * 1e6 / requests,
        p99_ms: latency(&said, "99%").expect("wrk was asked for latencies"),
        requests_per_second: requests / f64::from(SECONDS),
    }
}

/// The number in front of some words.
fn number_before(said: &str, words: &str) -> Option<f64> {
    said.split_once(words)?.0.split_whitespace().last()?.parse().ok()
}

/// A percentile, in milliseconds.
fn latency(said: &str, percentile: &str) -> Option<f64> {
    let text = said.lines().find_map(|line| line.trim().strip_prefix(percentile))?.trim();
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let factor = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}
