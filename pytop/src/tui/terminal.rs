//! The terminal: taken over, drawn on, and given back whatever happens.
//!
//! Nothing else in pytop writes to it. It is given back when [`Terminal`] is dropped, and before
//! the message of a panic is printed, in whichever thread that happens.

use std::io::{self, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{Command, cursor, execute};
use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{LocalFlags, tcgetattr};
use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::layout::Size;

use super::app::App;
use super::screen;

/// Whether the terminal is taken over.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while it is taken over.
pub(super) struct Terminal {
    inner: ratatui::Terminal<CrosstermBackend<Frames>>,
}

impl Terminal {
    /// Takes the terminal over.
    pub(super) fn take() -> anyhow::Result<Self> {
        restore_before_panics_are_reported();
        enter().context("cannot take over the terminal")?;
        let guard = Guard;
        let inner = ratatui::Terminal::new(CrosstermBackend::new(Frames::default()))
            .context("cannot find out the size of the terminal")?;
        std::mem::forget(guard);
        Ok(Self { inner })
    }

    /// The size of the terminal now.
    pub(super) fn size(&self) -> io::Result<Size> {
        self.inner.size()
    }

    /// Draws what has changed since the last frame.
    pub(super) fn draw(&mut self, app: &App) -> io::Result<()> {
        if !TAKEN.load(Ordering::Acquire) {
            // A panic elsewhere has given it back already.
            return Err(io::Error::other("another part of pytop has failed"));
        }
        self.inner.draw(|frame| screen::draw(app, frame))?;
        Ok(())
    }

    /// Forgets what is on the terminal, so that the next frame is drawn in full.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // Not `ratatui::Terminal::clear`, which asks the terminal where the cursor is and waits
        // for the answer, which the stream of events may take for itself.
        self.inner.backend_mut().clear()?;
        // Of the two frames that are compared, one is blank already; this blanks the other.
        self.inner.swap_buffers();
        Ok(())
    }

    /// Gives the terminal back and stops the process, as Ctrl-Z does to others, until it is
    /// continued; then takes the terminal over again.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        // Not SIGTSTP, which is handled so that one from elsewhere gives the terminal back too.
        raise(Signal::SIGSTOP)?;
        self.resume()
    }

    /// Takes the terminal over again after the process was stopped. Its modes may have changed.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        // crossterm believes raw mode to be on still when another stopped us. Where it is on, because
        // [`Self::suspend`] has been here already, it stays so: a key would be echoed in between.
        if !is_raw() {
            disable_raw_mode()?;
        }
        enter()?;
        self.clear()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        leave();
    }
}

/// Gives the terminal back when taking it over fails half-way.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::Release);
    execute!(
        io::stdout(),
        EnterAlternateScreen,
        EnableBracketedPaste,
        EnableButtons,
        cursor::Hide
    )
}

fn is_raw() -> bool {
    tcgetattr(io::stdout()).is_ok_and(|modes| !modes.local_flags.contains(LocalFlags::ICANON))
}

fn leave() {
    if TAKEN.swap(false, Ordering::AcqRel) {
        // Whatever can be given back is; there is nobody to tell of the rest.
        let _ = execute!(
            io::stdout(),
            DisableButtons,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        );
        let _ = disable_raw_mode();
    }
}

fn restore_before_panics_are_reported() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            leave();
            report(panic);
        }));
    });
}

/// Collects a frame and writes it at once, as one synchronized update where the terminal knows
/// that (mode 2026). Nothing is written to a terminal that has been given back, not even the
/// cursor that `ratatui::Terminal` shows when it is dropped.
#[derive(Default)]
struct Frames(Vec<u8>);

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0.is_empty() || !TAKEN.load(Ordering::Acquire) {
            self.0.clear();
            return Ok(());
        }
        let mut frame = Vec::with_capacity(self.0.len() + 16);
        frame.extend_from_slice(b"\x1b[?2026h");
        frame.append(&mut self.0);
        frame.extend_from_slice(b"\x1b[?2026l");
        let mut stdout = io::stdout().lock();
        stdout.write_all(&frame)?;
        stdout.flush()
    }
}

/// Reports of buttons and the wheel (mode 1000, encoded as 1006 says). crossterm's own command
/// asks for every movement of the mouse as well, which would wake pytop for nothing.
struct EnableButtons;

impl Command for EnableButtons {
    fn write_ansi(&self, out: &mut impl std::fmt::Write) -> std::fmt::Result {
        out.write_str("\x1b[?1000h\x1b[?1006h")
    }
}

/// The opposite of [`EnableButtons`].
struct DisableButtons;

impl Command for DisableButtons {
    fn write_ansi(&self, out: &mut impl std::fmt::Write) -> std::fmt::Result {
        out.write_str("\x1b[?1006l\x1b[?1000l")
    }
}
