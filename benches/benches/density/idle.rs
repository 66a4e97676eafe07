//! The complete memory of a parked process: the memory and the page tables of the whole program with the processes, minus those
//! after the module was compiled, divided by the number of processes; and the processor time that they use.

use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use lunatic_benches::{guest, tiny_parker};
use lunatic_executor::{ExitStatus, Parts, Runtime, RuntimeConfig};

use super::{available, field, measured};

/// Longer than spawning takes.
const PATIENCE: Duration = Duration::from_secs(600);

/// For how many seconds the processor is watched.
const WATCH: u64 = 10;

/// The most bytes that a process may take, so that the machine's memory suffices.
const TINY: u64 = 13 << 10;
const RUST: u64 = 30 << 10;

/// A sink that reports the first output of the guest.
struct Bell(Sender<()>);

impl Write for Bell {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // If the receiver no longer waits, nothing has to be reported.
        let _ = self.0.send(());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Prints the table.
pub(crate) fn report(count: u64) {
    let heads = ["processes", "memory", "page tables", "both, KiB", "left", "% processor"];
    let heads: String = heads.map(|head| format!("{head:>13}")).concat();
    println!("{:<24}{heads}", "a parked process, bytes");
    for (name, kind, count, each) in
        [("tiny module", "tiny", count, TINY), ("Rust guest", "rust", count / 2, RUST)]
    {
        if count * each > available() {
            println!("{name:<24}{count:>13}  left out: {} GiB may not be enough", available() >> 30);
            continue;
        }
        let figures = measured(&["idle", kind, &count.to_string()]);
        if let [memory, tables, left, processor] = figures[..] {
            let both = (memory + tables) / 1024.0;
            println!("{name:<24}{count:>13}{memory:>13}{tables:>13}{both:>13.1}{left:>13}{processor:>13.2}");
        }
    }
}

/// Prints the figures of one row.
pub(crate) fn measure(kind: &str, count: u64) {
    let module = if kind == "tiny" { tiny_parker() } else { guest("actors") };
    let (sender, parked) = channel();
    let args = ["bench", "park", &count.to_string()].map(String::from).to_vec();
    let config = RuntimeConfig::default().args(args);
    let parts = Parts { stdout: Box::new(Bell(sender)), ..Parts::default() };
    let runtime = Runtime::with_parts(config, parts).expect("the runtime works on this machine");
    let program = runtime.load(&module).expect("the module is valid");
    let shutdown_handle = runtime.shutdown_handle();
    let before = memory();
    let running = std::thread::spawn(move || runtime.run(&program));
    parked.recv_timeout(PATIENCE).expect("all processes are spawned");
    let during = memory();
    let used = processor_time();
    std::thread::sleep(Duration::from_secs(WATCH));
    let processor = (processor_time() - used) / WATCH as f64 * 100.0;
    shutdown_handle.stop(ExitStatus(0));
    running.join().expect("the runtime does not panic");
    let [after, _] = memory();
    let [resident, tables] = [0, 1].map(|kind| (during[kind] - before[kind]) / count);
    println!("{resident} {tables} {} {processor}", after.saturating_sub(before[0]) / count);
}

/// The bytes in memory now: those of the program, where a page that is mapped several times counts once, and of its page tables.
fn memory() -> [u64; 2] {
    let read = |file| std::fs::read_to_string(file).expect("this is Linux");
    [field(&read("/proc/self/smaps_rollup"), "Pss:"), field(&read("/proc/self/status"), "VmPTE:")]
}

/// The processor time of this program in seconds.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    // After the name, which may contain anything, fields 12 and 13: in ticks, a hundred per second.
    let fields = stat.rsplit_once(')').expect("a name in parentheses").1.split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum()
}
