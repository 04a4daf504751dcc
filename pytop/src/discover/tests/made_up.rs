//! Made-up `/proc` trees.

use std::time::Duration;

use std::fmt::Write as _;
use std::fs;
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::sys::stat::{major, minor};
use tempfile::TempDir;

use super::super::error::{FileError, LookError};
use super::super::event::{MappedExecutable, MappedInode, ProcessEvent};
use super::super::finder::Attention;
use super::super::mapping::Device;
use super::super::proc_root::ProcRoot;
use super::{DAMAGED, Examined, MARK, Version, finder, version};

/// A folder with a `/proc` tree and the files that its processes map.
struct Machine {
    folder: TempDir,
}

/// How a made-up process is let be examined.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    /// Through `map_files`.
    MapFiles,
    /// Only through `exe` and `root`, as for lack of a capability.
    Paths,
}

impl Machine {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let machine = Self { folder };
        let own = machine.proc().join("self");
        fs::create_dir_all(&own).expect("a folder");
        symlink("/", own.join("root")).expect("a link");
        machine
    }

    fn proc(&self) -> PathBuf {
        self.folder.path().join("proc")
    }

    fn finder(&self) -> (super::Finder<Version>, Examined) {
        finder(ProcRoot::open(&self.proc()).expect("a folder"))
    }

    /// A file with this text and end.
    fn file(&self, name: impl AsRef<Path>, text: &[u8], end: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, [text, end].concat()).expect("written");
        path
    }

    fn python(&self, name: impl AsRef<Path>, version: Version) -> PathBuf {
        let end = [MARK, version.to_string().as_bytes()].concat();
        self.file(name, b"ELF", &end)
    }

    /// A process that executes the first of these files and has mapped all of them.
    fn process(&self, pid: u32, files: &[&Path], access: Access) -> PathBuf {
        let folder = self.proc().join(pid.to_string());
        fs::create_dir_all(folder.join("map_files")).expect("a folder");
        let exe = files.first().expect("an executable");
        link(exe, &folder.join("exe"));
        link(Path::new("/"), &folder.join("root"));
        let mut maps = String::from(
            "7ffd0a5f2000-7ffd0a5f4000 r-xp 00000000 00:00 0                          [vdso]\n",
        )
        .into_bytes();
        for (index, file) in files.iter().enumerate() {
            let start = 0x7f00_0000_0000_u64 + 0x10_0000 * index as u64;
            let metadata = fs::metadata(file).expect("a file");
            let mut line = String::new();
            write!(
                line,
                "{start:x}-{:x} r-xp 00001000 {:02x}:{:02x} {}     ",
                start + 0x1000,
                major(metadata.st_dev()),
                minor(metadata.st_dev()),
                metadata.st_ino(),
            )
            .expect("a string");
            maps.extend_from_slice(line.as_bytes());
            let path = file.as_os_str().as_bytes();
            for byte in path {
                match byte {
                    b'\n' => maps.extend_from_slice(b"\\012"),
                    _ => maps.push(*byte),
                }
            }
            maps.push(b'\n');
            if access == Access::MapFiles {
                let range = format!("map_files/{start:x}-{:x}", start + 0x1000);
                link(file, &folder.join(range));
            }
        }
        fs::write(folder.join("maps"), maps).expect("written");
        self.stat(pid, b"python", 'S', 1, 100);
        fs::write(
            folder.join("status"),
            format!("Name:\tpython\nTgid:\t{pid}\nUid:\t0\t0\t0\t0\n"),
        )
        .expect("written");
        fs::write(folder.join("cgroup"), "0::/init.scope\n").expect("written");
        folder
    }

    fn stat(&self, pid: u32, comm: &[u8], state: char, threads: u32, start_time: u64) {
        let rest =
            format!(") {state} 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 {start_time} 0\n");
        let text = [format!("{pid} (").as_bytes(), comm, rest.as_bytes()].concat();
        fs::write(self.proc().join(pid.to_string()).join("stat"), text).expect("written");
    }
}

fn link(target: &Path, name: &Path) {
    if name.symlink_metadata().is_ok() {
        fs::remove_file(name).expect("removed");
    }
    symlink(target, name).expect("a link");
}

/// The event of a process's mapping of a file, as `Machine::process` maps it.
fn mapped(pid: u32, file: &Path, index: u64, generation: u64) -> ProcessEvent {
    ProcessEvent::MappedExecutable(MappedExecutable {
        pid,
        file: MappedInode {
            // Not the device that maps has.
            device: Device {
                major: 4000,
                minor: 1,
            },
            inode: fs::metadata(file).expect("a file").st_ino(),
            generation,
        },
        start: 0x7f00_0000_0000 + 0x10_0000 * index,
        length: 0x1000,
        offset: 0x1000,
    })
}

#[test]
fn interpreters_are_found_by_content_whatever_their_name() {
    for access in [Access::MapFiles, Access::Paths] {
        let machine = Machine::new();
        let python = machine.python("python3", '9');
        let renamed = machine.python("backup-tool", '8');
        let stub = machine.file("stub", b"loads the library", b"");
        let library = machine.python("libpython.so", 'L');
        let shell = machine.file("python3-config", b"no interpreter, but for the name", b"");
        machine.process(20, &[&python], access);
        machine.process(10, &[&renamed], access);
        machine.process(30, &[&stub, &shell, &library], access);
        machine.process(40, &[&shell], access);
        machine.process(50, &[&python, &library], access);
        let (mut finder, examined) = machine.finder();
        let scan = finder.scan().expect("a tree");
        let found: Vec<_> = scan
            .processes
            .iter()
            .map(|found| (found.process.id.pid, version(found)))
            .collect();
        let expected = [(10, "8"), (20, "9"), (30, "L"), (50, "9L")];
        assert_eq!(found, expected.map(|(pid, text)| (pid, text.to_owned())));
        assert_eq!(scan.interpreters.len(), 3);
        assert_eq!(scan.not_permitted, 0);
        assert_eq!(examined.load(Ordering::Relaxed), 5, "each file once");
        finder.scan().expect("a tree");
        assert_eq!(examined.load(Ordering::Relaxed), 5, "each file once");
    }
}

#[test]
fn processes_tell_who_they_are() {
    let machine = Machine::new();
    let python = machine.python("python3 (deleted)", '9');
    let folder = machine.process(7, &[&python], Access::MapFiles);
    machine.stat(7, b") \n\x1b[31m(", 'S', 1, 4711);
    fs::write(
        folder.join("status"),
        "Name:\tx\nTgid:\t7\nUid:\t0\t4294000000\t0\t0\n",
    )
    .expect("written");
    fs::write(
        folder.join("cgroup"),
        format!("0::/system.slice/docker-{}.scope\n", "ab".repeat(32)),
    )
    .expect("written");
    let (mut finder, _) = machine.finder();
    let found = finder.look_at(7).expect("found");
    let process = &found.process;
    assert_eq!((process.id.pid, process.id.start_time), (7, 4711));
    assert_eq!(process.parent, 1);
    assert_eq!(process.comm.as_bytes(), b") \n\x1b[31m(");
    assert_eq!(process.comm.to_string(), ") \\n\\x1b[31m(");
    assert_eq!(process.exe.as_bytes(), python.as_os_str().as_bytes());
    assert!(!process.exe_deleted, "that is its name");
    assert_eq!(&*process.user, "4294000000");
    assert_eq!(process.container.as_deref(), Some("docker:abababababab"));
}

#[test]
fn a_deleted_executable_is_told_by_its_old_path() {
    let machine = Machine::new();
    let python = machine.python("python3", '9');
    let folder = machine.process(7, &[&python], Access::MapFiles);
    let mut shown = python.clone().into_os_string().into_vec();
    shown.extend_from_slice(b" (deleted)");
    // Where a dangling link leads in the kernel's tree, `map_files` still has the file.
    link(
        Path::new(std::ffi::OsStr::from_bytes(&shown)),
        &folder.join("link"),
    );
    let (text, deleted) = {
        let root = ProcRoot::open(&machine.proc()).expect("a folder");
        fs::rename(folder.join("link"), folder.join("exe")).expect("renamed");
        super::super::process::executable(&root, 7).expect("a link")
    };
    assert_eq!(text.as_bytes(), python.as_os_str().as_bytes());
    assert!(deleted);
}

#[test]
fn names_are_bytes() {
    for access in [Access::MapFiles, Access::Paths] {
        let machine = Machine::new();
        let name = std::ffi::OsStr::from_bytes(b"a\nb \\ \xff\x1b[31m");
        let python = machine.python(name, '9');
        machine.process(7, &[&python], access);
        let (mut finder, _) = machine.finder();
        let found = finder.look_at(7).expect("found");
        assert_eq!(found.interpreters[0].path, python);
    }
}

#[test]
fn only_regular_files_are_opened() {
    let machine = Machine::new();
    let shell = machine.file("sh", b"a shell", b"");
    let pipe = machine.folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    // Opening this would wait for a writer, for ever.
    machine.process(
        7,
        &[&shell, &pipe, Path::new("/dev/null")],
        Access::MapFiles,
    );
    let (mut finder, examined) = machine.finder();
    assert!(finder.scan().expect("a tree").processes.is_empty());
    assert_eq!(examined.load(Ordering::Relaxed), 1);
}

#[test]
fn a_path_is_believed_only_if_it_leads_to_the_mapped_inode() {
    let machine = Machine::new();
    let shell = machine.file("sh", b"a shell", b"");
    let library = machine.python("libpython.so", '9');
    machine.process(7, &[&shell, &library], Access::Paths);
    // The package was upgraded: the path leads to the next version, but that is not mapped.
    fs::rename(&library, machine.folder.path().join("kept")).expect("renamed");
    machine.python("libpython.so", 'X');
    let (mut finder, _) = machine.finder();
    assert!(finder.scan().expect("a tree").processes.is_empty());
}

#[test]
fn what_comes_and_goes_between_scans_is_followed() {
    let machine = Machine::new();
    let python = machine.python("python3", '9');
    let shell = machine.file("sh", b"a shell", b"");
    machine.process(7, &[&python], Access::MapFiles);
    let eight = machine.process(8, &[&shell], Access::MapFiles);
    let pids = |finder: &mut super::Finder<Version>| {
        let scan = finder.scan().expect("a tree");
        let ids = scan.processes.iter().map(|found| found.process.id);
        ids.map(|id| (id.pid, id.start_time)).collect::<Vec<_>>()
    };
    for relies_on_events in [false, true] {
        let (mut finder, _) = machine.finder();
        finder.rely_on_events(relies_on_events);
        assert_eq!(pids(&mut finder), [(7, 100)]);
        // Another process with the same number and program.
        machine.stat(7, b"python", 'S', 1, 101);
        assert_eq!(pids(&mut finder), [(7, 101)]);
        // An exec in either direction. That of the interpreter shows without an event.
        machine.process(7, &[&shell], Access::MapFiles);
        machine.process(8, &[&python], Access::MapFiles);
        if relies_on_events {
            let event = mapped(8, &python, 0, 5);
            assert_eq!(finder.on_event(&event), Attention::LookAt(8));
            assert!(finder.look_at(8).is_ok());
        }
        assert_eq!(pids(&mut finder), [(8, 100)]);
        // An end.
        fs::rename(&eight, machine.folder.path().join("gone")).expect("renamed");
        assert_eq!(pids(&mut finder), []);
        fs::rename(machine.folder.path().join("gone"), &eight).expect("renamed");
        machine.process(7, &[&python], Access::MapFiles);
        machine.process(8, &[&shell], Access::MapFiles);
    }
}

#[test]
fn a_library_that_is_loaded_later_is_found_without_events() {
    let machine = Machine::new();
    let server = machine.file("uwsgi", b"loads plugins", b"");
    let library = machine.python("libpython.so", '9');
    machine.process(7, &[&server], Access::MapFiles);
    let (mut finder, _) = machine.finder();
    assert!(finder.scan().expect("a tree").processes.is_empty());
    machine.process(7, &[&server, &library], Access::MapFiles);
    assert_eq!(finder.scan().expect("a tree").processes.len(), 1);
}

#[test]
fn with_events_a_process_is_still_read_again_within_ten_scans() {
    let machine = Machine::new();
    let server = machine.file("uwsgi", b"loads plugins", b"");
    let library = machine.python("libpython.so", '9');
    machine.process(7, &[&server], Access::MapFiles);
    let (mut finder, _) = machine.finder();
    finder.rely_on_events(true);
    assert!(finder.scan().expect("a tree").processes.is_empty());
    machine.process(7, &[&server, &library], Access::MapFiles);
    let scans = (1..=10).find(|_| !finder.scan().expect("a tree").processes.is_empty());
    assert!(scans.is_some(), "found in no scan");
    // Loss of events is told, and the next scan reads everything.
    machine.process(8, &[&server], Access::MapFiles);
    finder.scan().expect("a tree");
    machine.process(8, &[&server, &library], Access::MapFiles);
    let lost = ProcessEvent::Lost { events: 1 };
    assert_eq!(finder.on_event(&lost), Attention::Scan);
    assert_eq!(finder.scan().expect("a tree").processes.len(), 2);
}

#[test]
fn a_process_lives_as_long_as_its_last_thread() {
    let machine = Machine::new();
    let python = machine.python("python3", '9');
    let folder = machine.process(7, &[&python], Access::MapFiles);
    let (mut finder, _) = machine.finder();
    assert_eq!(finder.scan().expect("a tree").processes.len(), 1);
    // The first thread ends: no executable and no mappings any more.
    machine.stat(7, b"python", 'Z', 3, 100);
    fs::remove_file(folder.join("exe")).expect("removed");
    fs::write(folder.join("maps"), "").expect("written");
    assert_eq!(finder.scan().expect("a tree").processes.len(), 1);
    assert!(finder.look_at(7).is_ok());
    machine.stat(7, b"python", 'Z', 1, 100);
    assert_eq!(finder.scan().expect("a tree").processes.len(), 0);
}

#[test]
fn a_rename_is_seen_in_the_next_scan() {
    let machine = Machine::new();
    let python = machine.python("python3", '9');
    machine.process(7, &[&python], Access::MapFiles);
    let (mut finder, _) = machine.finder();
    finder.rely_on_events(true);
    finder.scan().expect("a tree");
    finder.scan().expect("a tree");
    machine.stat(7, b"worker", 'S', 1, 100);
    let scan = finder.scan().expect("a tree");
    assert_eq!(scan.processes[0].process.comm.as_bytes(), b"worker");
}

#[test]
fn a_file_that_is_written_to_is_examined_again() {
    let machine = Machine::new();
    let python = machine.python("python3", '8');
    let shell = machine.file("sh", b"a shell", b"");
    machine.process(7, &[&python], Access::MapFiles);
    machine.process(8, &[&shell], Access::MapFiles);
    let (mut finder, examined) = machine.finder();
    finder.rely_on_events(true);
    let before = finder.scan().expect("a tree");
    assert_eq!(version(&before.processes[0]), "8");
    // A new time of modification, and nothing else: the record stays what it was.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    let file = fs::File::options()
        .write(true)
        .open(&python)
        .expect("a file");
    file.set_modified(later).expect("touched");
    let touched = finder.scan().expect("a tree");
    assert_eq!(examined.load(Ordering::Relaxed), 3);
    assert!(std::sync::Arc::ptr_eq(
        &before.interpreters[0],
        &touched.interpreters[0]
    ));
    // New content in the same inode: one record takes the other's place everywhere.
    machine.python("python3", '9');
    file.set_modified(later + std::time::Duration::from_secs(5))
        .expect("touched");
    machine.python("sh", '7');
    let after = finder.scan().expect("a tree");
    let versions: Vec<_> = after.processes.iter().map(|found| version(found)).collect();
    assert_eq!(versions, ["9", "7"]);
    assert_eq!(after.interpreters.len(), 2);
}

#[test]
fn an_interpreter_that_nobody_runs_yet_is_kept_as_long_as_it_is_asked_for() {
    let machine = Machine::new();
    let python = machine.python("python3", '9');
    let script = machine.file("python", b"#!/bin/sh", b"");
    let files = [
        script,
        machine.folder.path().join("missing"),
        python.clone(),
    ];
    let (mut finder, examined) = machine.finder();
    for _ in 0..100 {
        let [installed] = &finder.interpreters_in(&files)[..] else {
            panic!("one interpreter expected");
        };
        assert_eq!(installed.interpreter, '9');
        let scan = finder.scan().expect("a tree");
        assert!(scan.processes.is_empty() && scan.unexamined.is_empty());
        assert!(Arc::ptr_eq(&scan.interpreters[0], installed));
    }
    // Its first process has the same record.
    machine.process(7, &[&python], Access::MapFiles);
    let found = finder.look_at(7).expect("found");
    let installed = finder.interpreters_in(&files);
    assert!(Arc::ptr_eq(&found.interpreters[0], &installed[0]));
    // One that has taken its place is another.
    machine.python("newer", '8');
    fs::rename(machine.folder.path().join("newer"), &python).expect("it is ours");
    assert_eq!(finder.interpreters_in(&files)[0].interpreter, '8');
    assert_eq!(examined.load(Ordering::Relaxed), 3, "each file once");
    fs::remove_dir_all(machine.proc().join("7")).expect("removed");
    for _ in 0..100 {
        finder.scan().expect("a tree");
    }
    assert!(finder.scan().expect("a tree").interpreters.is_empty());
}

#[test]
fn an_interpreter_is_kept_for_its_next_process_but_not_without_a_name() {
    let machine = Machine::new();
    let python = machine.python("python3", '9');
    let folder = machine.process(7, &[&python], Access::MapFiles);
    let (mut finder, examined) = machine.finder();
    finder.scan().expect("a tree");
    fs::remove_dir_all(&folder).expect("removed");
    for _ in 0..30 {
        let scan = finder.scan().expect("a tree");
        assert_eq!((scan.processes.len(), scan.interpreters.len()), (0, 1));
    }
    machine.process(9, &[&python], Access::MapFiles);
    assert_eq!(finder.scan().expect("a tree").processes.len(), 1);
    assert_eq!(examined.load(Ordering::Relaxed), 1);
    fs::remove_dir_all(machine.proc().join("9")).expect("removed");
    fs::remove_file(&python).expect("removed");
    finder.scan().expect("a tree");
    assert!(finder.scan().expect("a tree").interpreters.is_empty());
}

#[test]
fn a_process_that_cannot_be_counted_says_why() {
    let machine = Machine::new();
    let shell = machine.file("sh\x1b[31m", b"a shell", b"");
    let damaged = machine.file("damaged", b"ELF", DAMAGED);
    machine.process(7, &[&shell], Access::MapFiles);
    machine.process(8, &[&shell, &damaged], Access::MapFiles);
    let thread = machine.process(9, &[&machine.python("python3", '9')], Access::MapFiles);
    fs::write(thread.join("status"), "Tgid:\t3\nUid:\t0\t0\t0\t0\n").expect("written");
    let ended = machine.process(10, &[&shell], Access::MapFiles);
    fs::remove_file(ended.join("exe")).expect("removed");
    machine.stat(10, b"sh", 'Z', 1, 100);
    let (mut finder, _) = machine.finder();
    let mut error = |pid| finder.look_at(pid).expect_err("not CPython");
    let shown = error(7).to_string();
    assert!(
        shown.contains("process 7 (") && shown.contains("sh\\x1b[31m)"),
        "{shown}"
    );
    let shown = error(8).to_string();
    assert!(shown.contains("runs CPython: /"), "{shown}");
    assert!(matches!(
        error(9),
        LookError::Thread {
            thread: 9,
            process: 3
        }
    ));
    assert!(matches!(error(10), LookError::Ended { pid: 10, .. }));
    assert!(matches!(error(11), LookError::NoSuchProcess { pid: 11 }));
    let scan = finder.scan().expect("a tree");
    assert!(scan.processes.is_empty());
    assert_eq!(scan.unexamined.len(), 1);
    assert!(matches!(&*scan.unexamined[0], FileError::Damaged(_)));
}

#[test]
fn events_ask_for_a_look_only_where_it_may_find_something() {
    let machine = Machine::new();
    let python = machine.python("python3", '9');
    let shell = machine.file("sh", b"a shell", b"");
    let library = machine.file("libc.so", b"a library", b"");
    machine.process(7, &[&python], Access::MapFiles);
    machine.process(8, &[&shell, &library], Access::MapFiles);
    let (mut finder, _) = machine.finder();
    finder.rely_on_events(true);
    finder.scan().expect("a tree");

    // Children of an interpreter are interpreters, until they say otherwise.
    let fork = |parent, child| ProcessEvent::Fork {
        parent,
        child,
        thread: parent,
        at: Duration::ZERO,
    };
    assert_eq!(finder.on_event(&fork(7, 90)), Attention::LookAt(90));
    assert_eq!(finder.on_event(&fork(8, 91)), Attention::None);
    assert_eq!(
        finder.on_event(&ProcessEvent::Exec { pid: 7 }),
        Attention::LookAt(7)
    );
    assert_eq!(
        finder.on_event(&ProcessEvent::Exec { pid: 8 }),
        Attention::None
    );
    assert_eq!(
        finder.on_event(&ProcessEvent::Exit { pid: 7 }),
        Attention::LookAt(7)
    );
    assert_eq!(
        finder.on_event(&ProcessEvent::Exit { pid: 8 }),
        Attention::None
    );

    // A file that was found to hold no interpreter is not looked at again, whoever maps it.
    let events = |pid| [mapped(pid, &shell, 0, 5), mapped(pid, &library, 1, 5)];
    for event in events(8) {
        assert_eq!(finder.on_event(&event), Attention::LookAt(8));
    }
    assert!(matches!(
        finder.look_at(8),
        Err(LookError::NotCPython { .. })
    ));
    for event in events(8).into_iter().chain(events(92)) {
        assert_eq!(finder.on_event(&event), Attention::None);
    }
    // One that holds an interpreter always is, and so is the next file with the inode number of
    // one that does not.
    machine.process(93, &[&python], Access::MapFiles);
    for _ in 0..2 {
        assert_eq!(
            finder.on_event(&mapped(93, &python, 0, 5)),
            Attention::LookAt(93)
        );
        assert_eq!(version(&finder.look_at(93).expect("found")), "9");
    }
    assert_eq!(
        finder.on_event(&mapped(92, &shell, 0, 6)),
        Attention::LookAt(92)
    );
    // Nothing is believed for longer than a scan.
    finder.scan().expect("a tree");
    assert_eq!(
        finder.on_event(&mapped(8, &shell, 0, 5)),
        Attention::LookAt(8)
    );
}

#[test]
fn a_process_that_maps_without_end_waits_for_the_next_scan() {
    let machine = Machine::new();
    let shell = machine.file("sh", b"a shell", b"");
    let library = machine.python("libpython.so", '9');
    machine.process(7, &[&shell], Access::MapFiles);
    let (mut finder, _) = machine.finder();
    finder.rely_on_events(true);
    finder.scan().expect("a tree");
    let mut looks = 0;
    // Always another file, and none of them is mapped any more when it is looked at.
    while looks < 100 && finder.on_event(&mapped(7, &shell, 1, looks)) == Attention::LookAt(7) {
        finder.look_at(7).expect_err("not CPython");
        looks += 1;
    }
    assert!((8..64).contains(&looks), "{looks}");
    // What was passed over is made up for in the very next scan.
    machine.process(7, &[&shell, &library], Access::MapFiles);
    assert_eq!(finder.scan().expect("a tree").processes.len(), 1);
}
