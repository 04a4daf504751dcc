//! The screen on a pseudo-terminal: it is given back on every way out.
//!
//! Each test runs this test program again, on a terminal of its own, with nothing but
//! [`on_a_terminal`] in it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::sync::mpsc;

use super::fixture::{rows, settings, snapshot};
use crate::tui;
use crate::updates::{Command as Asked, Update};

/// What gives the terminal back.
const LEAVE: &str = "\x1b[?1006l\x1b[?1000l\x1b[?2004l\x1b[?1049l\x1b[?25h";
/// What takes it over.
const ENTER: &str = "\x1b[?1049h";
/// Set in the processes that these tests start, for those who run ignored tests too.
const CHILD: &str = "PYTOP_TEST_ON_A_TERMINAL";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// The screen in a process of its own.
struct Terminal {
    child: Child,
    master: File,
    /// Keeps the terminal alive when the child has ended.
    slave: OwnedFd,
    seen: String,
}

impl Terminal {
    /// Starts the screen and waits until it shows numbers.
    fn start() -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).unwrap();
        let stdio = || Stdio::from(pair.slave.try_clone().unwrap());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tui::tests::terminal::on_a_terminal"])
            .args(["--ignored", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .env("RUST_BACKTRACE", "0")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        let mut terminal = Self {
            child,
            master: File::from(pair.master),
            slave: pair.slave,
            seen: String::new(),
        };
        terminal.wait_for("app/models/");
        assert!(terminal.is_raw());
        terminal
    }

    /// Reads until a text has come, and forgets everything up to it.
    fn wait_for(&mut self, text: &str) {
        let begin = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let seen = self.seen.len();
            assert!(begin.elapsed() < PATIENCE, "no {text:?} in {seen} bytes");
            self.read(Duration::from_secs(1));
        }
    }

    /// Reads what has come, waiting a little if nothing has.
    fn read(&mut self, patience: Duration) -> bool {
        let timeout = PollTimeout::try_from(patience).unwrap();
        let mut polled = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut polled, timeout).unwrap() == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        let length = self.master.read(&mut bytes).unwrap();
        self.seen
            .push_str(&String::from_utf8_lossy(&bytes[..length]));
        true
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.slave).unwrap();
        !modes
            .local_flags
            .contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    fn resize(&self, width: u16, height: u16) {
        let size = Winsize {
            ws_row: height,
            ws_col: width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the descriptor is open, and TIOCSWINSZ reads one `winsize`.
        let result =
            unsafe { libc::ioctl(self.slave.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(result, 0);
        // It is nobody's controlling terminal, so the kernel tells nobody.
        self.signal(Signal::SIGWINCH);
    }

    /// Waits for the end, and returns what came since the last text that was waited for.
    fn end(mut self) -> (ExitStatus, String, bool) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "it has not ended: {:?}",
                self.seen
            );
            // The child waits when nobody reads.
            self.read(Duration::from_millis(20));
        };
        while self.read(Duration::ZERO) {}
        let raw = self.is_raw();
        (status, std::mem::take(&mut self.seen), raw)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn keys_that_quit_give_the_terminal_back() {
    for key in ["q", "\x1b", "\x03", "\x1b[21~"] {
        let mut terminal = Terminal::start();
        terminal.press(key);
        terminal.wait_for(LEAVE);
        let (status, rest, raw) = terminal.end();
        assert!(status.success() && !raw, "{key:?} {status} {raw} {rest:?}");
    }
}

#[test]
fn signals_that_end_give_the_terminal_back() {
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        let mut terminal = Terminal::start();
        terminal.signal(signal);
        terminal.wait_for(LEAVE);
        let (status, _, raw) = terminal.end();
        assert!(status.success() && !raw, "{signal}");
    }
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_reported() {
    let mut terminal = Terminal::start();
    // The session of these tests panics when it is asked for another interval.
    terminal.press("+");
    terminal.wait_for(LEAVE);
    terminal.wait_for("asked for a panic");
    let (status, rest, raw) = terminal.end();
    assert!(!status.success() && !raw, "{status} {raw} {rest:?}");
    assert!(!rest.contains(ENTER), "{rest:?}");
    assert!(
        !rest.contains("\x1b[?2026h"),
        "nothing is drawn any more: {rest:?}"
    );
}

#[test]
fn a_stopped_screen_gives_the_terminal_back_until_it_is_continued() {
    for stop in [None, Some(Signal::SIGTSTP)] {
        let mut terminal = Terminal::start();
        match stop {
            None => terminal.press("\x1a"),
            Some(signal) => terminal.signal(signal),
        }
        terminal.wait_for(LEAVE);
        let stopped = waitpid(terminal.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
        assert!(!terminal.is_raw());
        terminal.signal(Signal::SIGCONT);
        terminal.wait_for(ENTER);
        terminal.wait_for("calls/s");
        assert!(terminal.is_raw());
        terminal.resize(30, 10);
        // Blanks are not drawn on a blank screen.
        terminal.wait_for("small");
        terminal.resize(100, 30);
        terminal.wait_for("calls/s");
        terminal.press("?");
        terminal.wait_for("more lines below");
        terminal.press("q");
        terminal.wait_for(LEAVE);
        assert!(terminal.end().0.success());
    }
}

#[test]
#[ignore = "the tests above run it, on a terminal of its own"]
fn on_a_terminal() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let result = runtime.block_on(async {
        let (updates, received) = mpsc::channel(1);
        let (asked, mut commands) = mpsc::channel(1);
        let session = tokio::spawn(async move {
            let first = Update::Snapshot(std::sync::Arc::new(snapshot(rows(0))));
            updates.send(first).await.unwrap();
            let command = commands.recv().await;
            assert_eq!(command, Some(Asked::Quit), "asked for a panic");
        });
        tui::run(received, asked, settings(), &|_| {
            anyhow::bail!("no trace here")
        })
        .await
        .unwrap();
        session.await
    });
    assert!(result.is_ok(), "the session is told to quit");
}
