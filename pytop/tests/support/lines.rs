//! Lines of a pipe, waited for with a deadline.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use super::DEADLINE;

/// The lines of a pipe, read as they come so that its writer never waits.
pub(crate) struct Lines {
    what: String,
    lines: Receiver<String>,
}

impl Lines {
    /// Reads from a pipe; `what` names it in failures.
    pub(crate) fn of(what: String, pipe: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(pipe.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                let text = String::from_utf8_lossy(&line)
                    .trim_end_matches('\n')
                    .to_owned();
                if sender.send(text).is_err() {
                    break;
                }
                line.clear();
            }
        });
        Self { what, lines }
    }

    /// The next line; `None` at the end.
    ///
    /// # Panics
    /// None comes within [`DEADLINE`].
    pub(crate) fn next(&self) -> Option<String> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("no line from {} within {DEADLINE:?}", self.what)
            }
        }
    }

    /// The next line, if there is one by `deadline`; `None` at the end, too.
    pub(crate) fn next_by(&self, deadline: Instant) -> Option<String> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(left).ok()
    }

    /// What has come so far.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// All lines up to the end.
    pub(crate) fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }
}
