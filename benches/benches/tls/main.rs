//! TLS: full handshakes, and bytes in both directions, of a server with a process per connection, compared with one on bare rustls.
//!
//! `cargo bench -p lunatic-benches --bench tls [ROUNDS]`. This program is the load, on one processor; the servers take turns on
//! another (`taskset`). Where the load is the slower side, rates say nothing about a server, so the figure is the server's processor
//! time, including the kernel's part.

mod bare;
mod load;

use std::path::Path;
use std::time::Instant;

use lunatic_benches::server::{SERVE, Server, make_room};
use lunatic_benches::table::{cell, median};

use load::Load;

const ROUNDS: usize = 5;

/// The size of a TLS record: what both sides write and read at a time.
const PIECE: usize = 16 << 10;

/// The number of handshakes and of MiB in a round.
const HANDSHAKES: u64 = 2_000;
const MEBIBYTES: u64 = 256;

/// The benchmarks.
struct Kind {
    name: &'static str,
    count: u64,
    run: fn(&Load, &str, u64),
}

const KINDS: [Kind; 3] = [
    Kind { name: "handshake", count: HANDSHAKES, run: Load::handshakes },
    Kind {
        name: "MiB sent",
        count: MEBIBYTES,
        run: |load, address, count| load.receive(address, count << 20),
    },
    Kind {
        name: "MiB received",
        count: MEBIBYTES,
        run: |load, address, count| load.send(address, count << 20),
    },
];

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(SERVE) {
        let directory = args.next().expect("the load says where the certificate is");
        bare::serve(Path::new(&directory)).expect("it serves until it is killed");
        return;
    }
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(ROUNDS);
    let directory = certificate();
    let path = directory.path().to_str().expect("a name in UTF-8");
    let servers = [
        Server::own("bare rustls", &[path]),
        Server::guest("a process each", "tls", &["--dir", &format!("{path}::.")]),
    ];
    make_room();
    let load = Load::new();
    println!(
        "{:<32}{:>13}{:>13}{:>13}",
        format!("medians of {rounds}"),
        "CPU µs each",
        "of bare",
        "a second"
    );
    for kind in KINDS {
        // Each as processor time for one, and as a rate per second.
        let mut figures = [const { (Vec::new(), Vec::new()) }; 2];
        for _ in 0..rounds {
            for (server, (cpu, rate)) in servers.iter().zip(&mut figures) {
                let (before, start) = (server.cpu_time(), Instant::now());
                (kind.run)(&load, &server.address, kind.count);
                rate.push(kind.count as f64 / start.elapsed().as_secs_f64());
                cpu.push((server.cpu_time() - before).as_secs_f64() * 1e6 / kind.count as f64);
            }
        }
        let mut bare = None;
        for (server, (cpu, rate)) in servers.iter().zip(figures) {
            let cpu = median(cpu);
            bare = bare.or(cpu);
            println!(
                "{:<32}{}{}{}",
                format!("{}: {}", kind.name, server.name),
                cell(cpu, 13),
                cell(bare.zip(cpu).map(|(bare, own)| bare / own), 13),
                cell(median(rate), 13),
            );
        }
    }
}

/// A directory with a certificate for localhost and its key from `rcgen`: ECDSA with P-256.
fn certificate() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("there is room for files");
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("there is randomness");
    let write = |name: &str, text: String| std::fs::write(directory.path().join(name), text);
    write("cert.pem", own.cert.pem()).expect("the directory is ours");
    write("key.pem", own.signing_key.serialize_pem()).expect("the directory is ours");
    directory
}
