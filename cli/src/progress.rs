//! What is told while a check is under way, and what ends it early.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bugcheck::{Cut, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use report::printable;

/// Exit code of a program that Ctrl-C ends at once: 128 and the number of the signal.
const KILLED: i32 = 130;

/// Hears of a check.
#[derive(Debug)]
pub(crate) struct Watcher {
    bar: ProgressBar,
    started: Instant,
    timeout: Option<Duration>,
    is_interrupted: Arc<AtomicBool>,
}

impl Watcher {
    /// Begins to count the time. From here on Ctrl-C ends the check and keeps what was found; when
    /// pressed again it ends the program.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        let is_interrupted = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&is_interrupted);
        // Where there are no signals, Ctrl-C just ends the program.
        let _ = ctrlc::set_handler(move || {
            if heard.swap(true, Ordering::Relaxed) {
                std::process::exit(KILLED);
            }
        });
        Self { bar: bar(), started: Instant::now(), timeout, is_interrupted }
    }

    /// Shows how far the check is, and says whether it goes on.
    pub(crate) fn hear(&mut self, progress: &Progress<'_>) -> ControlFlow<Cut> {
        if !self.bar.is_hidden() {
            self.bar.set_length(u64::from(progress.planned));
            self.bar.set_position(u64::from(progress.done));
            self.bar.set_message(words(progress));
        }
        if self.is_interrupted.load(Ordering::Relaxed) {
            return ControlFlow::Break(Cut::Interrupt);
        }
        match self.timeout {
            Some(limit) if self.started.elapsed() >= limit => ControlFlow::Break(Cut::Time),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A line on a terminal, nothing elsewhere.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} run {pos} of {len}, {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

fn words(progress: &Progress<'_>) -> String {
    let Progress { path, strategy, about, findings, codes: (reached, known), .. } = progress;
    let findings = match findings {
        0 => String::new(),
        1 => "1 finding, ".to_owned(),
        count => format!("{count} findings, "),
    };
    let codes = match known {
        0 => String::new(),
        _ => format!("{reached} of {known} control codes reached, "),
    };
    // The driver chooses names; its control characters are not for the terminal.
    printable(&format!("{findings}{codes}{path}: {strategy}: {about}"))
}

#[cfg(test)]
mod tests {
    use bugcheck::Progress;

    use super::words;

    #[test]
    fn the_line_tells_what_is_tried_and_what_was_reached() {
        let mut progress = Progress {
            path: "a.sys",
            done: 3,
            planned: 9,
            strategy: "friendly runs",
            about: "read\u{1b}[31m",
            findings: 0,
            codes: (0, 0),
            events: 0,
        };
        assert_eq!(words(&progress), "a.sys: friendly runs: read [31m");
        (progress.findings, progress.codes) = (2, (1, 4));
        let expected = "2 findings, 1 of 4 control codes reached, a.sys: friendly runs: read [31m";
        assert_eq!(words(&progress), expected);
    }
}
