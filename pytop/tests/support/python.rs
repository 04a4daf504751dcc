//! Python processes that do as they are told.

use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use super::interpreters::{Form, Interpreter};
use super::lines::Lines;
use super::script::Script;

/// How to start a script on an interpreter, any number of times.
#[derive(Clone)]
pub(crate) struct Python {
    pub(crate) interpreter: &'static Interpreter,
    pub(crate) form: Form,
    pub(crate) script: Arc<Script>,
    options: Vec<String>,
    arguments: Vec<String>,
}

impl Python {
    /// A script of `pytop/tests/scripts`.
    pub(crate) fn new(interpreter: &'static Interpreter, form: Form, script: &str) -> Self {
        Self::of_script(interpreter, form, Script::named(script, interpreter, form))
    }

    /// A script of a folder of `pytop/tests/scripts`, with all that is beside it.
    pub(crate) fn of_folder(
        interpreter: &'static Interpreter,
        form: Form,
        folder: &str,
        script: &str,
    ) -> Self {
        let script = Script::of_folder(folder, script, interpreter, form);
        Self::of_script(interpreter, form, script)
    }

    /// A script that a test has written.
    pub(crate) fn of_text(interpreter: &'static Interpreter, form: Form, text: String) -> Self {
        Self::of_script(
            interpreter,
            form,
            Script::of_text("made.py", text, interpreter, form),
        )
    }

    fn of_script(interpreter: &'static Interpreter, form: Form, script: Script) -> Self {
        let script = Arc::new(script);
        Self {
            interpreter,
            form,
            script,
            options: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// Adds an option of Python, such as `-S`.
    pub(crate) fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Adds an argument of the script.
    pub(crate) fn argument(mut self, argument: &impl ToString) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    /// The words of the command that starts it, without its environment.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = self.interpreter.words(self.form);
        words.extend(self.after_executable());
        words
    }

    /// Those of the words that follow the interpreter.
    pub(crate) fn after_executable(&self) -> Vec<String> {
        let script = self.script.filename().to_owned();
        self.options
            .iter()
            .cloned()
            .chain([script])
            .chain(self.arguments.iter().cloned())
            .collect()
    }

    /// The command that starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.interpreter.command(self.form);
        command.args(self.after_executable());
        command
    }

    /// Starts it and waits for its first line, which is `ready`.
    pub(crate) fn start(&self) -> Running {
        let running = self.spawn();
        running.expect("ready");
        running
    }

    /// Starts it.
    pub(crate) fn spawn(&self) -> Running {
        let name = format!(
            "{} on Python {}",
            self.script.filename(),
            self.interpreter.name
        );
        Running::spawn(name, self.command())
    }

    /// The filename of its code objects.
    pub(crate) fn filename(&self) -> &str {
        self.script.filename()
    }

    /// The number of the one line of the script that contains `text`.
    pub(crate) fn line(&self, text: &str) -> u32 {
        self.script.line(text)
    }
}

/// The processor time that a process has used so far, in it and in the kernel.
pub(crate) fn processor_time(pid: u32) -> Duration {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).expect("it is alive");
    clock_gettime(clock).expect("it is alive").into()
}

/// A process of a test, with the processes that it makes. Dropping ends them all.
pub(crate) struct Running {
    name: String,
    child: Child,
    to: Option<ChildStdin>,
    from: Lines,
    status: Option<ExitStatus>,
}

impl Running {
    /// Starts a command whose standard input and output are the test's; `name` is for failures.
    pub(crate) fn spawn(name: String, mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let to = child.stdin.take();
        let from = child.stdout.take().expect("standard output is a pipe");
        let from = Lines::of(name.clone(), from);
        Self {
            name,
            child,
            to,
            from,
            status: None,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints.
    pub(crate) fn line(&self) -> String {
        self.from
            .next()
            .unwrap_or_else(|| panic!("{} ended its output", self.name))
    }

    /// Waits for this line.
    pub(crate) fn expect(&self, line: &str) {
        assert_eq!(self.line(), line, "printed by {}", self.name);
    }

    /// The numbers on the next line that it prints.
    pub(crate) fn numbers<N: FromStr>(&self) -> Vec<N> {
        let line = self.line();
        let numbers = line.split(' ').map(|number| number.parse().ok());
        let numbers: Option<Vec<N>> = numbers.collect();
        numbers.unwrap_or_else(|| panic!("{} said {line}", self.name))
    }

    /// All lines that it prints from here on.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.from.rest()
    }

    /// Lets it go on.
    pub(crate) fn go(&mut self) {
        self.say("go");
    }

    /// Tells it a line.
    pub(crate) fn say(&mut self, line: &str) {
        let to = self.to.as_mut().expect("its input is open");
        // In one write: the scripts take what they read at once for a line.
        let line = format!("{line}\n");
        if let Err(error) = to.write_all(line.as_bytes()) {
            panic!("{} reads no more: {error}", self.name);
        }
    }

    /// Lets it go on, and waits for `done`.
    pub(crate) fn run(&mut self) {
        self.go();
        self.expect("done");
    }

    /// Ends its input, and waits for its own end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.to = None;
        // The end of the output comes first and can be awaited with a deadline.
        let rest = self.from.rest();
        assert!(rest.is_empty(), "{} still had to say {rest:?}", self.name);
        self.wait()
    }

    /// As [`Running::end`]; fails unless the status is 0.
    pub(crate) fn end_well(&mut self) {
        let status = self.end();
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        super::pytop::await_end(&self.name, &self.child);
        self.reap()
    }

    /// Ends what is left of it and of the processes that it has made.
    fn reap(&mut self) -> ExitStatus {
        // It leads a process group. Until it is reaped the number is nobody else's.
        let _ = killpg(Pid::from_raw(self.pid().cast_signed()), Signal::SIGKILL);
        let status = self.child.wait().expect("a child can be waited for");
        self.status = Some(status);
        status
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        assert!(self.status.is_none(), "{} has ended", self.name);
        let pid = Pid::from_raw(self.pid().cast_signed());
        kill(pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// Ends it by SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        assert_eq!(self.wait().signal(), Some(Signal::SIGKILL as i32));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.reap();
        }
    }
}
