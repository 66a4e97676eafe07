//! A progress bar for long work, shown on terminals only.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that ends sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(400);

/// A bar on stderr, if that is a terminal. It appears when the work has taken a while, and is cleared when dropped.
#[derive(Debug)]
pub struct Progress {
    what: String,
    started: Instant,
    patience: Duration,
    target: Option<ProgressDrawTarget>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts measuring the work's time. `what` is shown beside the bar.
    #[must_use]
    pub fn new(what: &str) -> Progress {
        Progress::on(ProgressDrawTarget::stderr(), what, PATIENCE)
    }

    fn on(target: ProgressDrawTarget, what: &str, patience: Duration) -> Progress {
        let started = Instant::now();
        Progress { what: what.to_owned(), started, patience, target: Some(target), bar: None }
    }

    /// Shows that `done` units of `all` are done.
    pub fn update(&mut self, done: usize, all: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        } else if self.started.elapsed() >= self.patience
            && let Some(target) = self.target.take()
        {
            // Created only now: an empty bar would already draw a line.
            let bar = ProgressBar::with_draw_target(Some(all as u64), target);
            // The template is a valid constant; without the style, the bar would only look different.
            if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent:>3} %") {
                bar.set_style(style);
            }
            bar.set_message(self.what.clone());
            bar.set_position(done as u64);
            bar.tick();
            self.bar = Some(bar);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    fn on(terminal: &InMemoryTerm, patience: Duration) -> Progress {
        Progress::on(ProgressDrawTarget::term_like(Box::new(terminal.clone())), "preparing", patience)
    }

    #[test]
    fn the_bar_appears_and_is_cleared() {
        let terminal = InMemoryTerm::new(4, 60);
        let mut progress = on(&terminal, Duration::ZERO);
        progress.update(30, 120);
        let line = terminal.contents();
        assert!(line.starts_with("preparing ") && line.ends_with(" 25 %"), "{line:?}");
        drop(progress);
        assert_eq!(terminal.contents(), "");
    }

    #[test]
    fn short_work_shows_no_bar() {
        let terminal = InMemoryTerm::new(4, 60);
        let mut progress = on(&terminal, Duration::from_secs(3600));
        (0..100).for_each(|done| progress.update(done, 100));
        assert_eq!(terminal.contents(), "");
    }
}
