//! Real processes: copies of `cat`, which wait until their input ends.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, gettid};
use tempfile::TempDir;

use super::super::container::container;
use super::super::error::LookError;
use super::super::mapping::Mappings;
use super::super::proc_root::ProcRoot;
use super::{MARK, Version, examine, finder, version};

/// A process that ends with this value.
struct Running(Child);

impl Running {
    /// Starts a command and waits until it has written a line: until it has executed its program.
    fn start(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut running = Self(child);
        running.echo();
        running
    }

    /// Has `cat` repeat a byte: it is up and running then.
    fn echo(&mut self) {
        use std::io::Read as _;
        let input = self.0.stdin.as_mut().expect("piped");
        input.write_all(b"\n").expect("reading");
        let output = self.0.stdout.as_mut().expect("piped");
        output.read_exact(&mut [0]).expect("cat repeats it");
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // By now it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cat() -> PathBuf {
    let search = std::env::var_os("PATH").expect("a search path");
    std::env::split_paths(&search)
        .map(|folder| folder.join("cat"))
        .find(|path| path.is_file())
        .expect("a cat")
}

/// A copy of a program that counts as an interpreter.
///
/// Another process writes it: if this one did, a child that another test starts at the same time
/// could still have the file open for writing when it is executed, which the kernel refuses.
fn marked(program: &Path, copy: PathBuf, version: Version) -> PathBuf {
    let end = [MARK, version.to_string().as_bytes()].concat();
    let status = Command::new("sh")
        .args(["-c", r#"cp -- "$1" "$2" && printf %s "$3" >> "$2""#, "sh"])
        .args([
            program.as_os_str(),
            copy.as_os_str(),
            OsStr::from_bytes(&end),
        ])
        .status()
        .expect("a shell");
    assert!(status.success(), "cannot copy {}", program.display());
    copy
}

/// Runs such a copy. The name under which it runs lets programs that are many in one know which
/// they are to be.
fn run(program: &Path) -> Running {
    Running::start(Command::new(program).arg0("cat"))
}

fn host() -> ProcRoot {
    ProcRoot::host().expect("proc")
}

/// Some of what is tested can only be set up by root.
fn expect_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test has to be run as root"
    );
}

#[test]
fn a_renamed_interpreter_is_found_and_described() {
    let folder = TempDir::new().expect("a folder");
    let program = marked(&cat(), folder.path().join("back\nup"), '9');
    let running = run(&program);
    let (mut finder, _) = finder(host());
    let scan = finder.scan().expect("proc");
    let pids = scan.processes.iter().map(|found| found.process.id.pid);
    assert!(pids.into_iter().any(|pid| pid == running.pid()));
    let found = finder.look_at(running.pid()).expect("found");
    assert_eq!(version(&found), "9");
    let process = &found.process;
    assert_eq!(process.comm.as_bytes(), b"back\nup");
    assert_eq!(process.exe.as_bytes(), program.as_os_str().as_bytes());
    assert_eq!(process.parent, std::process::id());
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("readable");
    assert_eq!(Some(&*process.user), user.as_ref().map(|user| &*user.name));
    let interpreter = &found.interpreters[0];
    assert_eq!(interpreter.path, program);
    assert!(!interpreter.deleted && !process.exe_deleted);
    // Ended, but not waited for; then gone.
    drop(scan);
    let pid = running.pid();
    let mut running = running;
    running.0.kill().expect("killed");
    let id = Id::Pid(Pid::from_raw(pid.cast_signed()));
    waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("ended");
    assert!(matches!(finder.look_at(pid), Err(LookError::Ended { .. })));
    let scan = finder.scan().expect("proc");
    assert!(
        scan.processes
            .iter()
            .all(|found| found.process.id.pid != pid)
    );
    drop(running);
    assert!(matches!(
        finder.look_at(pid),
        Err(LookError::NoSuchProcess { .. })
    ));
}

#[test]
fn a_deleted_or_replaced_file_is_the_one_that_runs() {
    let folder = TempDir::new().expect("a folder");
    let program = marked(&cat(), folder.path().join("python"), '8');
    let upgrade = marked(&cat(), folder.path().join("upgrade"), '9');
    let old = run(&program);
    fs::rename(upgrade, &program).expect("renamed");
    let new = run(&program);
    let (mut finder, examined) = finder(host());
    let before = finder.look_at(old.pid()).expect("found");
    assert_eq!(version(&before), "8");
    assert!(before.process.exe_deleted && before.interpreters[0].deleted);
    assert_eq!(before.interpreters[0].path, program);
    assert_eq!(
        before.process.exe.as_bytes(),
        program.as_os_str().as_bytes()
    );
    let after = finder.look_at(new.pid()).expect("found");
    assert_eq!(version(&after), "9");
    assert!(!after.process.exe_deleted && !after.interpreters[0].deleted);
    // The record outlives both the name and the process.
    drop(old);
    let file = &before.interpreters[0].file;
    assert_eq!(examine(file, &program).expect("readable"), Some('8'));
    drop(examined);
}

#[test]
fn a_changed_root_is_no_obstacle_and_is_told() {
    expect_root();
    let folder = TempDir::new().expect("a folder");
    let plain = run(&cat());
    let maps = fs::File::open(format!("/proc/{}/maps", plain.pid())).expect("alive");
    let loader_folder = folder.path().join("lib");
    fs::create_dir(&loader_folder).expect("a folder");
    let mut loader = None;
    for file in Mappings::read(maps).expect("readable").files {
        let path = super::super::proc_root::path_of(&file.path);
        let name = path.file_name().expect("a file");
        fs::copy(path, loader_folder.join(name)).expect("copied");
        if name.as_bytes().starts_with(b"ld") {
            loader = Some(Path::new("/lib").join(name));
        }
    }
    marked(&cat(), folder.path().join("cat"), '9');
    // The loader is the executable, and has mapped the interpreter.
    let running = Running::start(
        Command::new("chroot")
            .arg(folder.path())
            .arg(loader.expect("a dynamic loader"))
            .args(["--library-path", "/lib", "/cat"]),
    );
    let (mut finder, _) = finder(host());
    let found = finder.look_at(running.pid()).expect("found");
    assert_eq!(version(&found), "9");
    // Where the tests themselves run in a container, that is what is told.
    let own = container(&fs::read("/proc/self/cgroup").expect("readable"));
    let expected = own.as_deref().unwrap_or("chroot");
    assert_eq!(found.process.container.as_deref(), Some(expected));
    assert!(
        found
            .process
            .exe
            .as_bytes()
            .starts_with(folder.path().as_os_str().as_bytes())
    );
}

#[test]
fn one_file_behind_many_overlays_has_one_record() {
    expect_root();
    let folder = TempDir::new().expect("a folder");
    for name in ["image", "empty", "merged"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    let below = marked(&cat(), folder.path().join("image/python"), '9');
    // Each in a mount namespace and on an overlay file system of its own, as containers are.
    let start = || {
        Running::start(
            Command::new("unshare").args(["--mount", "sh", "-ec"]).arg(format!(
                "cd '{}'; mount -t overlay overlay -o lowerdir=image:empty merged; exec merged/python",
                folder.path().display()
            )),
        )
    };
    let first = start();
    let second = start();
    let outside = run(&below);
    let (mut finder, examined) = finder(host());
    let scan = finder.scan().expect("proc");
    let found = |running: &Running| {
        let mut found = scan.processes.iter();
        Arc::clone(
            found
                .find(|found| found.process.id.pid == running.pid())
                .expect("found"),
        )
    };
    let record = Arc::clone(&found(&first).interpreters[0]);
    for running in [&second, &outside] {
        assert!(Arc::ptr_eq(&record, &found(running).interpreters[0]));
    }
    let listed = scan
        .interpreters
        .iter()
        .filter(|file| Arc::ptr_eq(file, &record));
    assert_eq!(listed.count(), 1);
    // The record stays one when the process that it was first seen with has ended.
    drop((first, examined));
    for _ in 0..3 {
        let scan = finder.scan().expect("proc");
        assert!(
            scan.interpreters
                .iter()
                .any(|file| Arc::ptr_eq(file, &record))
        );
    }
    assert!(Arc::ptr_eq(
        &record,
        &finder.look_at(second.pid()).expect("found").interpreters[0]
    ));
}

#[test]
fn a_thread_is_not_taken_for_a_process() {
    let (tell, told) = mpsc::channel();
    let (finish, finished) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        tell.send(gettid()).expect("listening");
        finished.recv().expect("told to finish");
    });
    let id = told.recv().expect("started").as_raw().cast_unsigned();
    let (mut finder, _) = finder(host());
    let error = finder.look_at(id).expect_err("a thread");
    finish.send(()).expect("waiting");
    thread.join().expect("ended");
    assert!(
        matches!(error, LookError::Thread { thread, process }
            if thread == id && process == std::process::id()),
        "{error}"
    );
}

#[test]
fn a_process_without_interpreter_says_so() {
    let running = run(&cat());
    let (mut finder, _) = finder(host());
    let error = finder.look_at(running.pid()).expect_err("no interpreter");
    let shown = error.to_string();
    assert!(matches!(error, LookError::NotCPython { .. }), "{shown}");
    assert!(
        shown.contains("cat") || shown.contains("coreutils"),
        "{shown}"
    );
}
