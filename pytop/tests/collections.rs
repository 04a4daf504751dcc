//! Garbage collections and imports are counted as the process itself sees them.

mod support;

use std::fs;
use std::process::Command;

use support::{
    Counted, Form, Interpreter, Python, Pytop, Running, Snapshot, install_copy, interpreter,
    interpreters, machine_wide,
};

/// Modules that the script imports at each go: three plain ones, two of which one imports the other,
/// and a package with two in it.
const IMPORTS: u64 = 8;
/// Times that each process goes.
const GOES: usize = 3;

/// What a process says, or pytop says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Told {
    collections: u64,
    /// In seconds.
    pause: f64,
    /// In seconds.
    longest: f64,
    imports: u64,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.collections += other.collections;
        self.pause += other.pause;
        self.longest = self.longest.max(other.longest);
        self.imports += other.imports;
    }

    /// What pytop says of a process, over all snapshots. `None` when it says that it knows nothing.
    fn by_pytop(counted: &Counted, pid: u32) -> Option<Self> {
        let mut all = Self::default();
        for process in counted.process(pid) {
            let gc = process.gc?;
            assert!(gc.longest_pause_s <= gc.pause_s, "{process:?}");
            assert_eq!(gc.collections == 0, gc.pause_s == 0.0, "{process:?}");
            all.add(Self {
                collections: gc.collections,
                pause: gc.pause_s,
                longest: gc.longest_pause_s,
                imports: process.imports?,
            });
        }
        Some(all)
    }

    /// Compares what pytop says with what the process says. The process sees its collections from a
    /// little earlier and to a little later.
    fn assert_is(self, own: Self, interpreter: &Interpreter) {
        let name = &interpreter.name;
        assert_eq!(self.collections, own.collections, "{name}");
        assert_eq!(self.imports, own.imports, "{name}");
        for (told, own) in [(self.pause, own.pause), (self.longest, own.longest)] {
            assert!(
                told <= own * 1.01,
                "{name}: {told} s, in the process {own} s"
            );
            assert!(
                told >= own / 2.0,
                "{name}: {told} s, in the process {own} s"
            );
        }
    }
}

/// Lets a process go, and returns what it says.
fn go(running: &mut Running) -> Told {
    running.go();
    let [collections, pause, longest, imports] = running.numbers::<u64>()[..] else {
        panic!("four numbers are expected");
    };
    // All three generations are collected once, and the youngest one by itself many times.
    assert!(collections > 3, "{collections}");
    assert_eq!(imports, IMPORTS);
    let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
    Told {
        collections,
        pause: seconds(pause),
        longest: seconds(longest),
        imports,
    }
}

/// A process that goes when it is told to.
struct Process {
    /// Its script is there as long as this is.
    python: Python,
    running: Running,
}

impl Process {
    fn start(interpreter: &'static Interpreter) -> Self {
        let python = Python::new(interpreter, Form::Chroot, "collecting.py");
        let running = python.start();
        Self { python, running }
    }

    fn pid(&self) -> u32 {
        self.running.pid()
    }

    fn go(&mut self) -> Told {
        go(&mut self.running)
    }

    /// Compares what pytop says of it with what it says itself.
    fn compare(&self, counted: &Counted, own: Told) {
        let told = Told::by_pytop(counted, self.pid()).expect("it is told");
        told.assert_is(own, self.python.interpreter);
    }
}

/// Waits until snapshots tell of a process what it does.
fn await_told(pytop: &mut Pytop, pid: u32) {
    let tells = |snapshot: &Snapshot| {
        let process = snapshot.processes.iter().find(|process| process.pid == pid);
        process.is_some_and(|process| process.gc.is_some())
    };
    while !tells(pytop.snapshot()) {}
}

#[test]
fn what_is_told_is_what_processes_tell_themselves() {
    let mut processes: Vec<_> = interpreters()
        .iter()
        .map(|interpreter| (Process::start(interpreter), Told::default()))
        .collect();
    // One of the same interpreter that nobody asks for.
    let mut other = Process::start(interpreter("3.13"));
    let pids: Vec<_> = processes.iter().map(|it| it.0.pid().to_string()).collect();
    let mut pytop = Pytop::start(["-d", "0.2", "-p", &pids.join(",")]);
    for _ in 0..GOES {
        for (process, own) in &mut processes {
            own.add(process.go());
            other.go();
        }
        pytop.snapshot();
    }
    let counted = pytop.interrupt();
    assert!(counted.process(other.pid()).is_empty());
    for (process, own) in &processes {
        process.compare(&counted, *own);
    }
}

#[test]
fn on_the_whole_machine_they_are_told_of_processes_that_come_later_too() {
    for interpreter in [interpreter("3.11"), interpreter("3.15")] {
        let mut early = Process::start(interpreter);
        let mut pytop = Pytop::start(machine_wide(["-d", "0.2"]));
        await_told(&mut pytop, early.pid());
        let mut late = Process::start(interpreter);
        let own = early.go();
        let of_late = late.go();
        let counted = pytop.interrupt();
        early.compare(&counted, own);
        // Its start is counted, too, before it does what it is told to.
        let told = Told::by_pytop(&counted, late.pid()).expect("it is told");
        assert!(told.collections >= of_late.collections, "{told:?}");
        assert!(told.imports > of_late.imports, "{told:?}");
    }
}

/// CPython writes a line for each import that it tells by the marker, whether it succeeds or not.
#[test]
fn imports_of_a_command_are_counted_from_its_start_to_its_end() {
    for interpreter in interpreters() {
        let python = Python::of_text(
            interpreter,
            Form::Chroot,
            "import json, decimal\ntry:\n import missing\nexcept ImportError:\n pass\n".to_owned(),
        );
        let words = |options: &[&str]| {
            let mut words = interpreter.words(Form::Chroot);
            words.extend(options.iter().map(|option| (*option).to_owned()));
            words.push(python.filename().to_owned());
            words
        };
        let options = ["-I", "-S", "-X", "importtime"];
        let counted = Pytop::spawn(["--".to_owned()].into_iter().chain(words(&options))).finish();
        assert!(counted.status.success(), "{:?}", counted.messages);
        let times: Vec<_> = counted
            .messages
            .iter()
            .filter_map(|line| line.strip_prefix("import time: "))
            .filter(|line| !line.starts_with("self [us]"))
            .collect();
        let (missing, found): (Vec<&str>, Vec<&str>) = times
            .iter()
            .copied()
            .partition(|line: &&str| line.ends_with(" missing"));
        assert_eq!(missing.len(), 1, "{times:?}");
        let imports = counted
            .snapshots
            .iter()
            .flat_map(|snapshot| &snapshot.processes);
        let imports: u64 = imports.filter_map(|process| process.imports).sum();
        assert_eq!(
            imports,
            found.len() as u64,
            "{}: {times:?}",
            interpreter.name
        );
    }
}

/// One marker of three is gone: what the others tell is told, and nothing is told of what it tells.
#[test]
fn an_interpreter_without_a_marker_tells_nothing_rather_than_zero() {
    let interpreter = interpreter("3.9");
    let python = Python::new(interpreter, Form::Direct, "collecting.py");
    for (marker, tells_collections, tells_imports) in [
        ("gc__start", false, true),
        ("gc__done", false, true),
        ("import__find__load__done", true, false),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let copy = folder.path().join("python3.9");
        install_copy(&copy, &interpreter.executable, 0o755);
        let mut bytes = fs::read(&copy).expect("a copy can be read");
        let name = format!("python\0{marker}\0");
        let places: Vec<_> = (0..bytes.len() - name.len())
            .filter(|at| bytes[*at..].starts_with(name.as_bytes()))
            .collect();
        assert!(!places.is_empty(), "{marker} is in the file");
        for at in places {
            bytes[at] = b'P';
        }
        fs::write(&copy, bytes).expect("a copy can be written");
        let mut command = Command::new(&copy);
        command
            .args(python.after_executable())
            .envs(interpreter.environment(Form::Direct));
        let mut running = Running::spawn(format!("3.9 without {marker}"), command);
        running.expect("ready");
        let pytop = Pytop::start(["-d", "0.2", "-p", &running.pid().to_string()]);
        let own = go(&mut running);
        let counted = pytop.interrupt();
        assert!(counted.calls(running.pid()) > 0);
        let processes = counted.process(running.pid());
        assert!(!processes.is_empty());
        let (mut collections, mut imports) = (0, 0);
        for process in processes {
            assert_eq!(process.gc.is_some(), tells_collections, "{process:?}");
            assert_eq!(process.imports.is_some(), tells_imports, "{process:?}");
            collections += process.gc.map_or(0, |gc| gc.collections);
            imports += process.imports.unwrap_or(0);
        }
        assert_eq!(
            collections,
            if tells_collections {
                own.collections
            } else {
                0
            }
        );
        assert_eq!(imports, if tells_imports { own.imports } else { 0 });
    }
}
