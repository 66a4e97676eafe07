//! What a parked process takes of memory, all included: the resident memory and the page tables of the whole program, with
//! so many processes less those with none, divided by their number.
//!
//! `cargo bench --bench density [PROCESSES]`. Linux only: it reads `/proc/self/status`.

use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use lunatic_benches::{guest, tiny_parker};
use lunatic_executor::{ExitStatus, Parts, Runtime, RuntimeConfig};

const PROCESSES: u64 = 100_000;

/// Longer than spawning takes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Says when the guest has said something.
struct Bell(Sender<()>);

impl Write for Bell {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // If nobody waits any more it does not matter.
        let _ = self.0.send(());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes in memory now: of the program, and of the tables that map them.
fn memory() -> [u64; 2] {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    ["VmRSS:", "VmPTE:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says it");
        let number = line.trim().strip_suffix(" kB").expect("in kB").parse::<u64>().expect("a number");
        number << 10
    })
}

fn main() {
    let count = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(PROCESSES);
    println!(
        "{:<24}{:>14}{:>14}{:>14}{:>20}",
        "a process, bytes", "memory", "page tables", "both", "after all have ended"
    );
    for (name, module) in [("tiny module", tiny_parker()), ("Rust guest", guest("actors"))] {
        let before = memory();
        let (sender, parked) = channel();
        let args = ["bench", "park", &count.to_string()].map(String::from).to_vec();
        let config = RuntimeConfig { args, ..RuntimeConfig::default() };
        let parts = Parts { stdout: Box::new(Bell(sender)), ..Parts::default() };
        let runtime = Runtime::with_parts(config, parts).expect("the runtime works on this machine");
        let program = runtime.load(&module).expect("the module is valid");
        let stopper = runtime.stopper();
        let running = std::thread::spawn(move || runtime.run(&program));
        parked.recv_timeout(PATIENCE).expect("all processes are spawned");
        let during = memory();
        stopper.stop(ExitStatus(0));
        running.join().expect("the runtime does not panic");
        let [after, _] = memory();
        let [resident, tables] = [0, 1].map(|kind| (during[kind] - before[kind]) / count);
        let left = after.saturating_sub(before[0]) / count;
        println!("{name:<24}{resident:>14}{tables:>14}{:>14}{left:>20}", resident + tables);
    }
}
