//! Real processes; all of these need the privilege to watch others.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::linux::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::time::{ClockId, clock_gettime};
use tokio::sync::Mutex;

use super::*;
use crate::discover::{Attention, Finder, LookError, ProcRoot};

/// Held by each test that records events: one of them makes more than fit, which the others would
/// lose too.
static ALONE: Mutex<()> = Mutex::const_new(());

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Collects events until one of them is the last that is waited for.
async fn collect(
    sideband: &mut Sideband,
    mut is_last: impl FnMut(&ProcessEvent) -> bool,
) -> Vec<ProcessEvent> {
    let mut events = Vec::new();
    let mut done = false;
    let collecting = async {
        while !done {
            sideband.wait().await.expect("waiting");
            sideband.drain(&mut |event| {
                done |= is_last(&event);
                events.push(event);
            });
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, collecting).await.is_ok();
    assert!(in_time, "the event did not come; these did: {events:?}");
    events
}

/// `cat`, which runs until its input ends.
fn cat() -> Child {
    Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("started")
}

fn end(mut child: Child) -> u32 {
    drop(child.stdin.take());
    assert!(child.wait().expect("waited for").success());
    child.id()
}

fn open() -> Sideband {
    Sideband::open().expect("the privilege to watch processes: run the tests as root")
}

#[tokio::test]
async fn the_life_of_a_process_is_told() {
    let _alone = ALONE.lock().await;
    let mut sideband = open();
    let before = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
    let pid = end(cat());
    let events = collect(&mut sideband, |event| *event == ProcessEvent::Exit { pid }).await;
    let parent = std::process::id();
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
    assert!(events.iter().any(|event| matches!(
        *event,
        ProcessEvent::Fork { parent: from, child, at, .. }
            if (from, child) == (parent, pid) && before <= at && at <= now
    )));
    assert!(events.contains(&ProcessEvent::Exec { pid }));
    let files: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            ProcessEvent::MappedExecutable(mapping) if mapping.pid == pid => {
                assert!(mapping.length > 0 && mapping.start % 4096 == 0);
                Some(mapping.file.inode)
            }
            _ => None,
        })
        .collect();
    assert!(files.len() >= 2, "the program and its loader: {files:?}");
    let cat = which("cat");
    assert!(files.contains(&fs::metadata(cat).expect("a file").st_ino()));
}

#[tokio::test]
async fn threads_are_no_processes_and_new_names_no_programs() {
    let _alone = ALONE.lock().await;
    let mut sideband = open();
    let thread = std::thread::Builder::new().name("renamed".to_owned());
    let id = thread
        .spawn(nix::unistd::gettid)
        .expect("started")
        .join()
        .expect("ended");
    let pid = end(cat());
    let events = collect(&mut sideband, |event| *event == ProcessEvent::Exit { pid }).await;
    let id = id.as_raw().cast_unsigned();
    let own = std::process::id();
    for event in events {
        match event {
            ProcessEvent::Fork { child, .. } => assert_ne!(child, id),
            ProcessEvent::Exit { pid } | ProcessEvent::Exec { pid } => {
                assert!(pid != id && pid != own);
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_library_that_is_loaded_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("library.so");
    // Any shared library; this process has at least the C library, or else the loader.
    let original = Path::new("/proc/self/maps");
    let maps = crate::discover::mapping::Mappings::read(File::open(original).expect("proc"));
    let loaded = maps.expect("readable").files.into_iter().find(|file| {
        let path = String::from_utf8_lossy(&file.path);
        path.contains("/libc.") || path.contains("/libm.") || path.contains("/ld-")
    });
    let loaded = loaded.expect("dynamically linked");
    fs::copy(
        PathBuf::from(String::from_utf8(loaded.path).expect("text")),
        &library,
    )
    .expect("copied");
    let _alone = ALONE.lock().await;
    let mut sideband = open();
    map_executable(&library, 1);
    let inode = fs::metadata(&library).expect("a file").st_ino();
    let pid = std::process::id();
    collect(&mut sideband, |event| {
        matches!(event, ProcessEvent::MappedExecutable(mapping)
            if mapping.pid == pid && mapping.file.inode == inode)
    })
    .await;
}

/// Maps the first page of a file as executable, and takes it away again.
fn map_executable(path: &Path, times: usize) {
    let file = File::open(path).expect("a file");
    for _ in 0..times {
        // SAFETY: a new private mapping at an address of the kernel's choice, which nobody
        // uses, and which is taken away before anything else happens.
        unsafe {
            let address = libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_EXEC,
                libc::MAP_PRIVATE,
                file.as_raw_fd(),
                0,
            );
            assert_ne!(address, libc::MAP_FAILED);
            assert_eq!(libc::munmap(address, 4096), 0);
        }
    }
}

#[test]
fn what_does_not_fit_is_told_as_lost() {
    let _alone = ALONE.blocking_lock();
    let mut sideband = open();
    // More than all buffers hold, whichever CPUs this thread runs on.
    let cpus = sideband.rings.len();
    map_executable(&which("cat"), (cpus + 1) * BUFFER_BYTES / 64);
    // The kernel tells of a loss with the next record of that CPU that fits.
    let deadline = Instant::now() + PATIENCE;
    let mut lost = 0;
    while lost == 0 {
        assert!(Instant::now() < deadline, "no loss was told");
        sideband.drain(&mut |event| {
            if let ProcessEvent::Lost { events } = event {
                lost += events;
            }
        });
        end(cat());
    }
}

#[tokio::test]
async fn events_lead_to_new_interpreters() {
    const MARK: &[u8] = b"an interpreter for this test";
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("cat");
    let status = Command::new("sh")
        .args(["-c", r#"cp -- "$1" "$2" && printf %s "$3" >> "$2""#, "sh"])
        .args([which("cat"), program.clone()])
        .arg(String::from_utf8_lossy(MARK).as_ref())
        .status();
    assert!(status.expect("a shell").success());
    let mut finder = Finder::new(
        ProcRoot::host().expect("proc"),
        Box::new(|mut file, _| {
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            Ok(content.ends_with(MARK).then_some(()))
        }),
    );
    let _alone = ALONE.lock().await;
    let mut sideband = open();
    finder.rely_on_events(true);
    finder.scan().expect("proc");
    // A shell that executes it only when it is told to, so that the scan sees the shell.
    let mut child = Command::new("sh")
        .args(["-c", r#"read -r line; exec "$1""#, "sh"])
        .arg(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let pid = child.id();
    finder.scan().expect("proc");
    assert!(matches!(
        finder.look_at(pid),
        Err(LookError::NotCPython { .. })
    ));
    let input = child.stdin.as_mut().expect("piped");
    input.write_all(b"go\n").expect("reading");
    let mut found = false;
    let looking = async {
        while !found {
            sideband.wait().await.expect("waiting");
            let mut asked = Vec::new();
            sideband.drain(&mut |event| asked.push(finder.on_event(&event)));
            for attention in asked {
                found |= match attention {
                    Attention::LookAt(each) => each == pid && finder.look_at(pid).is_ok(),
                    // The machine makes more events than fit.
                    Attention::Scan => {
                        let scan = finder.scan().expect("proc");
                        let mut all = scan.processes.iter();
                        all.any(|found| found.process.id.pid == pid)
                    }
                    Attention::None => false,
                };
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, looking).await;
    child.kill().expect("killed");
    child.wait().expect("waited for");
    in_time.expect("found because of events");
    let exit = ProcessEvent::Exit { pid };
    assert_eq!(finder.on_event(&exit), Attention::LookAt(pid));
    assert!(matches!(
        finder.look_at(pid),
        Err(LookError::NoSuchProcess { .. })
    ));
    assert_eq!(finder.on_event(&exit), Attention::None);
}

fn which(program: &str) -> PathBuf {
    let search = std::env::var_os("PATH").expect("a search path");
    std::env::split_paths(&search)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .expect("installed")
}

/// Both can be moved to a thread that does nothing else.
#[test]
fn it_may_run_in_any_thread() {
    fn is_send<T: Send>() {}
    is_send::<Sideband>();
    is_send::<Finder<()>>();
}

#[test]
fn cpus_are_followed() {
    let _alone = ALONE.blocking_lock();
    let mut sideband = open();
    let cpus = sideband.rings.len();
    assert!(
        !sideband.follow_cpus().expect("readable"),
        "nothing changed"
    );
    // As if a CPU had come into use since.
    sideband.rings.pop();
    assert!(sideband.follow_cpus().expect("readable"));
    assert_eq!(sideband.rings.len(), cpus);
}

#[test]
fn a_refusal_says_what_would_help() {
    for (number, expected) in [
        (libc::EACCES, "CAP_PERFMON"),
        (libc::EPERM, "CAP_PERFMON"),
        (libc::ENOSYS, "CONFIG_PERF_EVENTS"),
        (libc::EMFILE, "on CPU 3: perf_event_open"),
    ] {
        let error = SidebandError::open(3, io::Error::from_raw_os_error(number));
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = SidebandError::Buffer {
        cpu: 3,
        source: io::Error::from_raw_os_error(libc::EPERM),
    };
    assert!(error.to_string().contains("128 KiB"), "{error}");
}
