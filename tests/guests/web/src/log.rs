//! `lunatic-log`: a process that writes the log messages of others.

use std::time::Duration;

use lunatic::spawn_link;
use lunatic_log::subscriber::fmt::FmtSubscriber;
use lunatic_log::{LevelFilter, debug, error, info, init, trace, warn};

/// Lines below the level are not written, errors go to standard error, and the lines of a process keep their order.
pub fn log() {
    init(FmtSubscriber::new(LevelFilter::Info).with_level(true).with_target(true));
    info!("from {}", "the first process");
    debug!("too fine");
    trace!("much too fine");
    warn!("a warning");
    error!("an error");
    for child in 0..3 {
        let task = spawn_link!(@task |child| {
            for line in 0..3 {
                info!("line {line} of child {child}");
            }
        });
        let () = task.result();
    }
    // The program is not notified when a line is written; this is long enough for the last ones.
    lunatic::sleep(Duration::from_millis(200));
}
