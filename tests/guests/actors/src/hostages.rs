//! Processes that wait for events that never happen, or read without end, and one that continues beside them.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use lunatic::{Mailbox, MessageSignal, ProcessDiedSignal, sleep, spawn};

/// How late a tick may be. A worker that is never blocked is far below this; the margin is for a machine busy with other tests.
const LATE: Duration = Duration::from_millis(1500);

/// The directory "files" has a named pipe without a writer, and one without a reader. "dev" has the machine's devices.
pub fn hostages(mailbox: Mailbox<()>) {
    let mailbox = mailbox.monitorable();
    let hostages: Vec<_> = (0..8u32)
        .flat_map(|number| {
            [
                spawn!(|| read("files/in")),
                spawn!(|| drop(OpenOptions::new().write(true).open("files/out"))),
                spawn!(|| read("dev/zero")),
                spawn!(|| drop(std::io::stdin().read(&mut [0; 100]))),
                spawn!(|number| write_for_ever(number)),
                spawn!(|| std::thread::sleep(Duration::from_secs(1000))),
            ]
        })
        .collect();
    let mut latest = Duration::ZERO;
    for _ in 0..100 {
        let (begun, wanted) = (Instant::now(), Duration::from_millis(5));
        sleep(wanted);
        latest = latest.max(begun.elapsed().saturating_sub(wanted));
    }
    assert!(latest < LATE, "a tick came {latest:?} too late");
    // A killed process is gone, whatever it waits for.
    let begun = Instant::now();
    for hostage in &hostages {
        assert!(hostage.is_alive(), "a waiting process has ended");
        mailbox.monitor(*hostage);
        hostage.kill();
    }
    for _ in &hostages {
        let MessageSignal::Signal(ProcessDiedSignal(_)) = mailbox.receive() else { panic!("nobody writes") };
    }
    assert!(begun.elapsed() < LATE, "their ends took {:?}", begun.elapsed());
}

fn read(path: &str) {
    let mut file = std::fs::File::open(path).unwrap();
    let mut bytes = vec![0; 1 << 16];
    while file.read(&mut bytes).unwrap() > 0 {}
}

/// Syncs each piece to the disk before the next one.
fn write_for_ever(number: u32) {
    let mut file = std::fs::File::create(format!("files/written.{number}")).unwrap();
    loop {
        file.write_all(&[0; 4096]).unwrap();
        file.sync_all().unwrap();
        file.set_len(0).unwrap();
    }
}
