//! Interpreters are found by what they are, wherever they lie and whenever they come.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use support::{
    Comparison, Counted, Form, Interpreter, Python, Pytop, Running, functions, install_copy,
    interpreter, live,
};

/// Calls that a process makes for one line that it reads.
const CALLS: u64 = 100_003;
/// Within what time of its start a process of an unknown interpreter has to be counted.
const UNKNOWN: Duration = Duration::from_millis(100);

/// A copy of an interpreter, in the folder of the script that it runs.
struct Copy {
    python: Python,
    /// Its name in that folder.
    name: &'static str,
}

impl Copy {
    fn new(python: Python, name: &'static str) -> Self {
        let copy = Self { python, name };
        install_copy(&copy.path(), &copy.python.interpreter.executable, 0o755);
        copy
    }

    /// Its file, as seen from here.
    fn path(&self) -> PathBuf {
        self.python.script.folder().join(self.name)
    }

    /// Its file, as its processes see it.
    fn inside(&self) -> String {
        format!("{}/{}", self.python.script.folder_inside(), self.name)
    }

    fn spawn(&self) -> Running {
        let Python {
            interpreter, form, ..
        } = self.python;
        let mut words = interpreter.words(form);
        *words.last_mut().expect("a command has a last word") = self.inside();
        words.extend(self.python.after_executable());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .envs(interpreter.environment(form));
        Running::spawn(format!("{} {}", self.name, interpreter.name), command)
    }

    fn start(&self) -> Running {
        let running = self.spawn();
        running.expect("ready");
        running
    }
}

fn calling(interpreter: &'static Interpreter, form: Form) -> Python {
    Python::new(interpreter, form, "loop.py").argument(&CALLS)
}

/// Checks that a process that ran `loop.py` is listed as counted, and that its calls are.
fn assert_counted(what: &str, counted: &Counted, pid: u32, python: &Python, calls: u64) {
    let expected = functions([("called", Some(python.line("def called")), calls)]);
    let mut comparison = Comparison::default();
    comparison.add(what, &counted.functions(pid, python.filename()), &expected);
    comparison.assert(counted);
    let listed = counted.process(pid);
    let last = listed
        .last()
        .unwrap_or_else(|| panic!("{what} is not listed"));
    assert!(last.method.is_some(), "{what}: {last:?}");
    assert_eq!(last.reason, None, "{what}");
}

/// Like any program of the machine, and in a root of its own.
fn forms() -> [(&'static Interpreter, Form); 2] {
    [
        (interpreter("3.9"), Form::Direct),
        (interpreter("3.15"), Form::Chroot),
    ]
}

#[test]
fn a_renamed_interpreter_is_counted() {
    for (interpreter, form) in forms() {
        let copy = Copy::new(calling(interpreter, form), "uwsgi");
        let mut running = copy.start();
        let pytop = Pytop::start::<&str>([]);
        running.run();
        let counted = pytop.interrupt();
        let what = format!("a renamed {}", interpreter.name);
        assert_counted(&what, &counted, running.pid(), &copy.python, CALLS);
        running.end_well();
    }
}

#[test]
fn a_deleted_interpreter_is_counted() {
    for (interpreter, form) in forms() {
        let copy = Copy::new(calling(interpreter, form), "python3");
        let mut running = copy.start();
        fs::remove_file(copy.path()).expect("a copy can be deleted");
        let pytop = Pytop::start::<&str>([]);
        running.run();
        let counted = pytop.interrupt();
        let what = format!("a deleted {}", interpreter.name);
        assert_counted(&what, &counted, running.pid(), &copy.python, CALLS);
        running.end_well();
    }
}

#[test]
fn a_replaced_interpreter_is_counted_and_so_is_the_one_in_its_place() {
    for (interpreter, form) in forms() {
        let copy = Copy::new(calling(interpreter, form), "python3");
        let mut old = copy.start();
        let upgrade = copy.path().with_file_name("upgrade");
        install_copy(&upgrade, &interpreter.executable, 0o755);
        fs::rename(upgrade, copy.path()).expect("a copy can be replaced");
        let mut new = copy.start();
        let pytop = Pytop::start::<&str>([]);
        old.run();
        new.run();
        new.run();
        let counted = pytop.interrupt();
        let what = format!("a replaced {}", interpreter.name);
        assert_counted(&what, &counted, old.pid(), &copy.python, CALLS);
        let what = format!("a {} in another's place", interpreter.name);
        assert_counted(&what, &counted, new.pid(), &copy.python, 2 * CALLS);
        old.end_well();
        new.end_well();
    }
}

#[test]
fn one_interpreter_within_and_without_a_root_is_counted_once() {
    let python = [Form::Chroot, Form::Direct].map(|form| calling(interpreter("3.9"), form));
    let mut running = [&python[0], &python[1]].map(Python::start);
    let pytop = Pytop::start::<&str>([]);
    running.iter_mut().for_each(Running::run);
    let counted = pytop.interrupt();
    for (running, python) in running.iter_mut().zip(&python) {
        assert_counted("one of two", &counted, running.pid(), python, CALLS);
        running.end_well();
    }
}

/// Calls one function after the other for a second, each once, and then tells when it did so.
const ONE_AFTER_THE_OTHER: &str = "\
import time
first = time.monotonic()
names = {}
exec(compile(''.join('def f%d(): pass\\n' % i for i in range(300)), '/made', 'exec'), names)
stamps = []
while stamps[-1:] < [first + 1] and len(stamps) < 300:
    function = names['f%d' % len(stamps)]
    stamps.append(time.monotonic())
    function()
    time.sleep(0.005)
print(int(first * 1e9))
for stamp in stamps: print(int(stamp * 1e9))
";

#[test]
fn an_interpreter_that_comes_later_is_counted_at_once() {
    for (interpreter, form) in forms() {
        let python = Python::of_text(interpreter, form, ONE_AFTER_THE_OTHER.to_owned());
        let copy = Copy::new(python, "unknown");
        let pytop = Pytop::start::<&str>([]);
        let spawned =
            Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is such a clock"));
        let mut running = copy.spawn();
        let stamps: Vec<_> = running
            .rest()
            .iter()
            .map(|line| Duration::from_nanos(line.parse().expect("a time")))
            .collect();
        running.end_well();
        let counted = pytop.interrupt();
        let (first, stamps) = stamps.split_first().expect("it told its times");
        assert!(stamps.len() > 50, "{} functions", stamps.len());

        let found = counted.functions(running.pid(), "/made");
        let missed = (0..stamps.len())
            .position(|number| {
                let line = u32::try_from(number).expect("they are few") + 1;
                found.contains_key(&(format!("f{number}"), Some(line)))
            })
            .unwrap_or_else(|| panic!("nothing is counted: {:?}", counted.process(running.pid())));
        let after = stamps[missed].saturating_sub(*first);
        println!(
            "{}: counted {after:?} after its first bytecode, {:?} after it was spawned; {missed} \
             functions missed",
            interpreter.name,
            stamps[missed].saturating_sub(spawned)
        );
        assert!(after < UNKNOWN, "counted after {after:?} only");
        let names: Vec<_> = (0..stamps.len())
            .map(|number| format!("f{number}"))
            .collect();
        let expected = functions(
            (1..)
                .zip(&names)
                .skip(missed)
                .map(|(line, name)| (name.as_str(), Some(line), 1)),
        );
        // The module itself has begun before its functions, so it may have been missed.
        let mut found = found;
        found.retain(|(name, _), _| name != "<module>");
        let mut comparison = Comparison::default();
        comparison.add(&interpreter.version, &found, &expected);
        comparison.assert(&counted);
    }
}

/// The rows of a process, whichever it is.
type Start = BTreeMap<(String, String, Option<u32>), u64>;

#[test]
fn a_further_process_of_a_known_interpreter_is_counted_from_its_first_bytecode() {
    for interpreter in live() {
        let short = Python::new(interpreter, Form::Chroot, "short.py")
            .option("-S")
            .option("-E")
            .option("-B")
            .argument(&1013);
        let words = short.words();
        let launched = Pytop::spawn(["--"].into_iter().chain(words.iter().map(String::as_str)));
        let launched = launched.finish();
        assert!(launched.status.success(), "{launched:?}");
        let pid = launched.rows().next().expect("it has called").pid;
        let expected: Start = launched.all_functions(pid);
        let called = (
            short.filename().to_owned(),
            "called".to_owned(),
            Some(short.line("def called")),
        );
        assert_eq!(expected.get(&called), Some(&1013));
        assert!(expected.len() > 50, "a start enters {expected:?} only");

        let mut known = calling(interpreter, Form::Chroot).start();
        let pytop = Pytop::start::<&str>([]);
        // A pipe, as the one that pytop started has: Python asks a file for its position, and calls
        // a function if there is one.
        let mut command = short.command();
        command.stderr(Stdio::piped());
        let mut further = Running::spawn("a further process".to_owned(), command);
        further.end_well();
        let counted = pytop.interrupt();
        known.end_well();
        let found = counted.all_functions(further.pid());
        let differences: Vec<_> = expected
            .keys()
            .chain(found.keys())
            .filter(|key| expected.get(*key) != found.get(*key))
            .map(|key| (key, expected.get(key), found.get(key)))
            .collect();
        assert!(differences.is_empty(), "{differences:?}");
    }
}

/// A process whose interpreter lies in an overlay file system of its own over `folder`.
fn start_in_overlay(python: &Python, folder: &str) -> Running {
    const MOUNT: &str = "\
set -e
mount -t tmpfs tmpfs \"$1\"
mkdir \"$1/upper\" \"$1/work\" \"$1/merged\"
mount -t overlay overlay -o \"lowerdir=$2,upperdir=$1/upper,workdir=$1/work\" \"$1/merged\"
cd \"$1/merged\"
shift 2
exec ./python \"$@\"
";
    let mount = python.script.folder().join("mount");
    fs::create_dir_all(&mount).expect("a folder can be made");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--", "sh", "-c", MOUNT, "sh"])
        .arg(mount)
        .arg(folder)
        .args(python.after_executable())
        .envs(python.interpreter.environment(python.form));
    let running = Running::spawn("a process in an overlay".to_owned(), command);
    running.expect("ready");
    running
}

#[test]
fn overlays_over_one_interpreter_count_its_calls_once() {
    let python = calling(interpreter("3.9"), Form::Direct);
    let lower = python.script.folder().join("lower");
    fs::create_dir(&lower).expect("a folder can be made");
    install_copy(&lower.join("python"), &python.interpreter.executable, 0o755);
    let lower = lower.to_str().expect("paths of tests are UTF-8");
    let mut running = [0; 2].map(|_| start_in_overlay(&python, lower));
    let pytop = Pytop::start::<&str>([]);
    running.iter_mut().for_each(Running::run);
    // A third comes while pytop runs. Its file is known, by another name.
    let mut third = start_in_overlay(&python, lower);
    third.run();
    running.iter_mut().for_each(Running::run);
    let counted = pytop.interrupt();
    for running in &mut running {
        assert_counted("an overlay", &counted, running.pid(), &python, 2 * CALLS);
        running.end_well();
    }
    third.end_well();
    let found = counted.functions(third.pid(), python.filename());
    let called = ("called".to_owned(), Some(python.line("def called")));
    assert_eq!(found.get(&called), Some(&CALLS));
}

/// What a libpython does that an embedding program loads late, as far as discovery can see: a
/// file with markers is mapped as executable by a process that has run for long.
#[test]
fn an_interpreter_that_is_loaded_later_makes_its_process_a_counted_one() {
    const LOADS: &str = "\
import mmap, os, sys
os.write(1, b'ready\\n')
os.read(0, 64)
with open(sys.argv[1], 'rb') as file:
    loaded = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
os.write(1, b'done\\n')
os.read(0, 64)
";
    let python = Python::of_text(interpreter("3.13"), Form::Chroot, LOADS.to_owned());
    let library = "libpython3.15.so.1.0";
    install_copy(
        &python.script.folder().join(library),
        &interpreter("3.15").executable,
        0o755,
    );
    let library = format!("{}/{library}", python.script.folder_inside());
    let python = python.argument(&library);
    let mut running = python.start();
    let pid = running.pid();
    // Without its marker, the interpreter that runs would be counted from the start.
    let mut pytop = Pytop::start(["--method", "marker"]);
    let listed = |pytop: &mut Pytop| {
        let snapshot = pytop.snapshot();
        let process = snapshot.processes.iter().find(|process| process.pid == pid);
        process.expect("it runs CPython").method.clone()
    };
    assert_eq!(listed(&mut pytop), None);
    running.run();
    // The snapshot of the interval in which it was loaded may be from before; not the one after.
    let methods = [listed(&mut pytop), listed(&mut pytop)];
    assert!(methods[1].is_some(), "{methods:?}");
    running.end_well();
    pytop.interrupt();
}
