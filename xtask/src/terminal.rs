//! A terminal without a window: runs a full-screen program and keeps what it draws.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::pty::{Winsize, openpty};

use crate::command::not_started;

/// A running program and its screen. The program is killed when this goes.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    output: Receiver<Vec<u8>>,
    parser: vt100::Parser,
}

impl Terminal {
    /// Starts a program that sees a terminal of this size, with all colours.
    pub(crate) fn start(command: &Command, columns: NonZeroU16, rows: NonZeroU16) -> Result<Self> {
        let size = Winsize {
            ws_row: rows.get(),
            ws_col: columns.get(),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).context("cannot open a pseudo-terminal")?;
        let stdio = || -> Result<Stdio> {
            Ok(pty
                .slave
                .try_clone()
                .context("cannot copy a file descriptor")?
                .into())
        };
        // In a session of its own, so that /dev/tty too is the new terminal.
        let mut session = Command::new("setsid");
        session
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("TERM", "xterm-256color")
            .env("COLORTERM", "truecolor")
            .env("LANG", "C.UTF-8")
            .env_remove("LC_ALL")
            .env_remove("NO_COLOR")
            .stdin(stdio()?)
            .stdout(stdio()?)
            .stderr(stdio()?);
        let child = session
            .spawn()
            .map_err(|error| not_started(&session, &error))?;
        // The copies that `session` holds would keep the terminal open after the program's end.
        drop(session);
        drop(pty.slave);
        let keyboard = pty
            .master
            .try_clone()
            .context("cannot copy a file descriptor")?;
        Ok(Self {
            child,
            keyboard: keyboard.into(),
            output: read_all(pty.master),
            parser: vt100::Parser::new(rows, columns, 0),
        })
    }

    /// Takes in what the program draws for a while. An early end of the program is an error.
    pub(crate) fn watch(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            match self
                .output
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => self.parser.process(&bytes),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().context("cannot wait for the program")?;
                    bail!(
                        "the program ended with {status}:\n{}",
                        self.screen().contents()
                    );
                }
            }
        }
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// The program's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) -> Result<()> {
        self.keyboard
            .write_all(keys.as_bytes())
            .context("cannot type into the terminal")
    }

    /// Waits for the program to end by itself.
    pub(crate) fn wait(mut self, limit: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            match self
                .output
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => self.parser.process(&bytes),
                Err(RecvTimeoutError::Disconnected) => {
                    return self.child.wait().context("cannot wait for the program");
                }
                Err(RecvTimeoutError::Timeout) => bail!("the program does not end"),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail if the program has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that can be read from the terminal, until the last program on it has ended.
fn read_all(terminal: OwnedFd) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut terminal = File::from(terminal);
        let mut buffer = vec![0; 1 << 16];
        // Linux ends a terminal that nobody has open any more with EIO.
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: NonZeroU16 = NonZeroU16::new(30).unwrap();
    const ROWS: NonZeroU16 = NonZeroU16::new(5).unwrap();

    #[test]
    fn a_program_sees_a_terminal_and_hears_the_keyboard() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "stty size </dev/tty; read word; printf '\\033[1mgot %s' $word",
        ]);
        let mut terminal = Terminal::start(&command, COLUMNS, ROWS).unwrap();
        terminal.press("keys\n").unwrap();
        let error = terminal
            .watch(Duration::from_mins(1))
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 0"), "{error}");
        let screen = terminal.screen();
        assert!(screen.contents().contains("5 30") && screen.contents().ends_with("got keys"));
    }
}
