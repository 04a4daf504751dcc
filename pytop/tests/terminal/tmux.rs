//! A real terminal: tmux, with a shell in it.
//!
//! Every terminal is a tmux server of its own, which ends with it. Nothing here waits for time to
//! pass: what is to come is looked for on the screen until it is there.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// What the shell prints when it is ready.
const PROMPT: &str = "shell> ";
/// tmux tells nobody of a change, so it is asked this often.
const ASK_EVERY: Duration = Duration::from_millis(40);
/// How long anything on the screen may take. Only a defect takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal with a shell in it.
pub(crate) struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// A terminal of this size, in a UTF-8 locale.
    pub(crate) fn open(columns: u16, rows: u16) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let terminal = Self { folder };
        let mut command = terminal.command();
        for name in [
            "NO_COLOR",
            "COLORTERM",
            "LC_ALL",
            "LC_CTYPE",
            "COLUMNS",
            "TMUX",
        ] {
            command.env_remove(name);
        }
        let (columns, rows) = (columns.to_string(), rows.to_string());
        command
            .args(["-f", "/dev/null", "new-session", "-d"])
            .args(["-x", &columns, "-y", &rows])
            .args(["-e", "LANG=C.UTF-8", "-e"])
            .arg(format!("PS1={PROMPT}"));
        // An editor of lines would change the terminal's modes while it waits for one.
        run(command.args(["bash", "--norc", "--noprofile", "--noediting"]));
        terminal.wait("a prompt", |screen| screen.trim_end() == PROMPT.trim_end());
        terminal
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-u", "-S"]).arg(self.socket());
        command
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        run(self.command().args(arguments))
    }

    /// Types a text.
    pub(crate) fn write(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    /// Presses a key, by tmux's name of it: a letter, or such as `Enter`, `C-z`, `F10`.
    pub(crate) fn press(&self, key: &str) {
        self.tmux(&["send-keys", "--", key]);
    }

    /// Presses the left button of the mouse, as a terminal with SGR reports tells it.
    pub(crate) fn click(&self, column: usize, row: usize) {
        let place = format!("\x1b[<0;{};{}", column + 1, row + 1);
        let bytes = format!("{place}M{place}m");
        let hex: Vec<String> = bytes.bytes().map(|byte| format!("{byte:x}")).collect();
        let mut arguments = vec!["send-keys", "-H"];
        arguments.extend(hex.iter().map(String::as_str));
        self.tmux(&arguments);
    }

    /// Types a command line.
    pub(crate) fn run(&self, line: &str) {
        self.write(line);
        self.press("Enter");
    }

    /// Makes the terminal another size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &rows]);
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same, with the escape sequences that draw its colours.
    pub(crate) fn screen_in_colour(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// One of tmux's variables.
    pub(crate) fn variable(&self, name: &str) -> String {
        let value = self.tmux(&["display-message", "-p", &format!("#{{{name}}}")]);
        value.trim_end().to_owned()
    }

    /// Waits until the screen is as it should be, and returns it.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "{what} does not come:\n{screen}");
            thread::sleep(ASK_EVERY);
        }
    }

    /// Waits until all of these are on the screen, and returns it.
    #[track_caller]
    pub(crate) fn wait_for(&self, texts: &[&str]) -> String {
        self.wait(&format!("{texts:?}"), |screen| {
            texts.iter().all(|text| screen.contains(text))
        })
    }

    /// Waits until the shell has the terminal again, and checks that it is as it was: the ordinary
    /// screen, a cursor, lines that are edited and echoed, and no reports of the mouse.
    #[track_caller]
    pub(crate) fn wait_for_shell(&self) -> String {
        let screen = self.wait("a prompt", |screen| {
            screen.trim_end().lines().last().map(str::trim_end) == Some(PROMPT.trim_end())
        });
        for (name, expected) in [
            ("alternate_on", "0"),
            ("cursor_flag", "1"),
            ("mouse_any_flag", "0"),
            ("mouse_sgr_flag", "0"),
        ] {
            assert_eq!(self.variable(name), expected, "{name}");
        }
        let terminal = self.variable("pane_tty");
        let settings = run(Command::new("stty").args(["-a", "-F", &terminal]));
        let settings: Vec<&str> = settings.split([' ', ';', '\n']).collect();
        for setting in ["echo", "icanon", "isig", "icrnl", "opost", "onlcr"] {
            assert!(settings.contains(&setting), "no {setting}: {settings:?}");
        }
        screen
    }

    /// Asks the shell for the exit status of what ran last.
    #[track_caller]
    pub(crate) fn status(&self) -> String {
        self.run("echo status: $?.");
        let screen = self.wait("a status", |screen| {
            screen.lines().any(|line| line.starts_with("status: "))
        });
        let line = screen
            .lines()
            .rev()
            .find(|line| line.starts_with("status: "));
        let status = line.and_then(|line| line["status: ".len()..].strip_suffix('.'));
        status.expect("it was just there").to_owned()
    }

    /// The process that the shell has started.
    pub(crate) fn child(&self) -> Pid {
        let children = self.children();
        let child = children
            .split_ascii_whitespace()
            .next()
            .expect("the shell has a child");
        Pid::from_raw(child.parse().expect("pids are numbers"))
    }

    /// The pids of what the shell has started and that still runs.
    pub(crate) fn children(&self) -> String {
        let shell = self.variable("pane_pid");
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        children.expect("the shell is there")
    }

    /// Sends a signal to what the shell has started.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.child(), signal).expect("it is there");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What runs in it gets SIGHUP.
        let _ = self
            .command()
            .arg("kill-server")
            .stderr(Stdio::null())
            .status();
    }
}

/// Runs a command, and returns what it prints.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        let program = command.get_program().display();
        match error.kind() {
            ErrorKind::NotFound => panic!(
                "{program} is not installed: the tests of the screen run in a real terminal \
                 (apt-get install {program})"
            ),
            _ => panic!("cannot start {program}: {error}"),
        }
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}
