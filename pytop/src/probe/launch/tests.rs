use std::io::{Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::*;

/// Longer than anything here takes: what hangs fails.
const PATIENCE: Duration = Duration::from_mins(1);

fn words(command: &[&str]) -> Vec<OsString> {
    command.iter().map(OsString::from).collect()
}

fn start(command: &[&str], follow_children: bool) -> (Launched, File) {
    let (output, reader) = Output::capture().unwrap();
    (
        launch(&words(command), follow_children, output).unwrap(),
        reader,
    )
}

async fn next(launched: &mut Launched) -> Option<Event> {
    tokio::time::timeout(PATIENCE, launched.next())
        .await
        .unwrap()
}

/// Answers every stop, and returns how the command ended.
async fn drive(launched: &mut Launched, mut judge: impl FnMut(&Held) -> Verdict) -> ExitStatus {
    loop {
        match next(launched).await.unwrap() {
            Event::Held(held) => {
                let verdict = judge(&held);
                held.proceed(verdict);
            }
            Event::Unwatched { pid, reason } => panic!("{pid} unwatched: {reason}"),
            Event::Ended(status) => {
                assert!(next(launched).await.is_none());
                return status;
            }
        }
    }
}

async fn run(command: &[&str], follow_children: bool, verdict: Verdict) -> (u8, String) {
    let (mut launched, reader) = start(command, follow_children);
    let status = drive(&mut launched, |_| verdict).await;
    (exit_code(status), text(reader))
}

fn text(mut file: File) -> String {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn executable(pid: u32) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

fn real(path: &str) -> PathBuf {
    std::fs::canonicalize(path).unwrap()
}

fn maps(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap()
}

fn status_field(pid: u32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
}

fn script(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Waits for the end of a process, which need not be a child.
fn wait_for_end(pidfd: &OwnedFd) {
    let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(PATIENCE).unwrap();
    assert_eq!(nix::poll::poll(&mut polled, patience).unwrap(), 1);
}

#[tokio::test]
async fn the_command_s_end_is_reported_as_a_shell_would() {
    for verdict in [Verdict::Pass, Verdict::AtEntry, Verdict::Probed] {
        for follow in [false, true] {
            for (command, code) in [
                (["true"].as_slice(), 0),
                (&["false"], 1),
                (&["sh", "-c", "exit 42"], 42),
                (&["sh", "-c", "kill -9 $$"], 137),
                (&["sh", "-c", "kill -TERM $$"], 143),
            ] {
                let ended = run(command, follow, verdict).await;
                assert_eq!(
                    ended,
                    (code, String::new()),
                    "{command:?} {verdict:?} {follow}"
                );
            }
        }
    }
}

#[test]
fn a_command_that_cannot_be_run_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    let lost = script(folder.path(), "lost", "#!/no/such/interpreter\n");
    for (program, code, message) in [
        (
            "no-such-program",
            127,
            "cannot run 'no-such-program': No such file or directory",
        ),
        ("", 127, "cannot run '': No such file or directory"),
        ("/", 126, "cannot run '/': Permission denied"),
        (plain.to_str().unwrap(), 126, "Permission denied"),
        (&lost, 127, "No such file or directory"),
        (
            "no\x1b[31m",
            127,
            "cannot run 'no\\x1b[31m': No such file or directory",
        ),
        (
            "a\0b",
            126,
            "cannot run 'a\\x00b': nul byte found in provided data",
        ),
    ] {
        let error = launch(&words(&[program]), false, Output::Inherit).unwrap_err();
        assert_eq!(error.exit_code(), code, "{error}");
        assert!(error.to_string().ends_with(message), "{error}");
    }
}

#[tokio::test]
async fn every_program_of_a_chain_is_held_before_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let inner = script(
        folder.path(),
        "inner",
        "#!/usr/bin/env sh\nexec cat /dev/null\n",
    );
    let outer = script(
        folder.path(),
        "outer",
        &format!("#!/bin/sh\n: $(true)\nexec {inner}\n"),
    );
    let (mut launched, reader) = start(&[&outer], false);
    let pid = launched.pid();
    let mut held = Vec::new();
    let status = drive(&mut launched, |stop| {
        assert_eq!((stop.pid, stop.stage), (pid, Stage::Exec));
        held.push(executable(stop.pid));
        Verdict::Pass
    })
    .await;
    let expected = ["/bin/sh", "/usr/bin/env", "/bin/sh", "/bin/cat"].map(real);
    assert_eq!(held, expected);
    assert!(status.success());
    assert_eq!(text(reader), "");
}

#[tokio::test]
async fn at_the_entry_point_libraries_are_mapped_and_nothing_has_run() {
    let (mut launched, reader) = start(&["echo", "out"], false);
    let mut stages = Vec::new();
    let status = drive(&mut launched, |held| {
        assert_eq!(
            maps(held.pid).contains("libc.so"),
            held.stage == Stage::LoaderDone
        );
        assert_eq!(reader.metadata().unwrap().len(), 0);
        stages.push(held.stage);
        Verdict::AtEntry
    })
    .await;
    assert_eq!(stages, [Stage::Exec, Stage::LoaderDone]);
    assert!(status.success());
    assert_eq!(text(reader), "out\n");
}

#[tokio::test]
async fn a_program_without_a_loader_is_held_at_its_entry_too() {
    let folder = tempfile::tempdir().unwrap();
    let exit = if cfg!(target_arch = "x86_64") {
        r#"__asm__("mov $231, %eax; mov $7, %edi; syscall");"#
    } else {
        r#"__asm__("mov x8, #94; mov x0, #7; svc #0");"#
    };
    let source = folder.path().join("bare.c");
    let program = folder.path().join("bare");
    std::fs::write(&source, format!("void _start(void) {{ {exit} }}\n")).unwrap();
    for linking in ["-static", "-static-pie"] {
        let compiled = Command::new("cc")
            .args(["-nostdlib", "-fPIE", linking, "-o"])
            .args([&program, &source])
            .status();
        assert!(compiled.unwrap().success());
        let (mut launched, _reader) = start(&[program.to_str().unwrap()], false);
        let mut stages = Vec::new();
        let status = drive(&mut launched, |held| {
            stages.push(held.stage);
            Verdict::AtEntry
        })
        .await;
        assert_eq!(stages, [Stage::Exec, Stage::LoaderDone]);
        assert_eq!(exit_code(status), 7);
    }
}

#[tokio::test]
async fn signals_reach_the_command_and_only_its_own() {
    for (script, code) in [
        ("trap 'exit 7' USR1; kill -USR1 $$; exit 3", 7),
        ("trap 'exit 5' TRAP; kill -TRAP $$; exit 3", 5),
        ("trap 'exit 9' 40; kill -40 $$; exit 3", 9),
        ("trap 'exit 8' CONT; exit 0", 0),
    ] {
        for verdict in [Verdict::Pass, Verdict::AtEntry, Verdict::Probed] {
            let ended = run(&["sh", "-c", script], true, verdict).await;
            assert_eq!(ended, (code, String::new()), "{script} {verdict:?}");
        }
    }
    // From outside, at a moment at which the handler is known to be there.
    let (mut launched, _reader) =
        start(&["sh", "-c", "trap 'exit 7' USR1; env true; exit 3"], true);
    let pidfd = launched.pidfd.try_clone().unwrap();
    let status = drive(&mut launched, |held| {
        if held.stage == Stage::Exec && executable(held.pid) == real("/usr/bin/env") {
            ptrace::pidfd_send_signal(pidfd.as_fd(), libc::SIGUSR1).unwrap();
        }
        Verdict::Pass
    })
    .await;
    assert_eq!(exit_code(status), 7);
}

/// The inner shell goes on only once the outer one is seen stopped.
const STOPPED_BY_CHILD: &str = r#"
    trap 'echo continued' CONT
    (
        kill -STOP $$
        stopped=
        while [ -z "$stopped" ]; do
            while read -r key value rest; do
                case "$key$value" in State:[Tt]) stopped=1;; esac
            done < /proc/$$/status
        done
        kill -CONT $$
    ) &
    wait $!
    exit 4"#;

#[tokio::test]
async fn a_stopped_command_stays_stopped_until_it_is_continued() {
    for (follow, verdict) in [
        (false, Verdict::Pass),
        (true, Verdict::Pass),
        (false, Verdict::Probed),
    ] {
        let ended = run(&["sh", "-c", STOPPED_BY_CHILD], follow, verdict).await;
        assert_eq!(ended, (4, "continued\n".to_owned()), "{follow} {verdict:?}");
    }
}

#[tokio::test]
async fn children_are_followed_on_request() {
    let (mut launched, _reader) =
        start(&["sh", "-c", "env true; (exit 3); sh -c 'exec true'"], true);
    let command = launched.pid();
    let mut held = Vec::new();
    let status = drive(&mut launched, |stop| {
        held.push(match stop.stage {
            Stage::Forked { parent } => {
                assert_ne!(stop.pid, command);
                format!(
                    "fork of {}",
                    if parent == command {
                        "the command"
                    } else {
                        "another"
                    }
                )
            }
            _ => executable(stop.pid)
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
        });
        Verdict::Pass
    })
    .await;
    assert!(status.success());
    let shell = real("/bin/sh")
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let fork = "fork of the command";
    // A shell may run the last command without a fork.
    let (last, expected) = held.split_last().unwrap();
    assert_eq!(last, "true");
    assert_eq!(expected[..5], [&shell, fork, "env", "true", fork]);
    assert_eq!(expected.last(), Some(&shell));
}

#[tokio::test]
async fn many_children_are_all_held() {
    let script = "i=0; while [ $i -lt 101 ]; do env true & i=$((i+1)); done; wait";
    let (mut launched, _reader) = start(&["sh", "-c", script], true);
    let (mut forks, mut programs, mut entries) = (0, 0, 0);
    drive(&mut launched, |held| {
        match held.stage {
            Stage::Forked { .. } => forks += 1,
            Stage::Exec => programs += 1,
            Stage::LoaderDone => entries += 1,
        }
        Verdict::AtEntry
    })
    .await;
    assert_eq!((forks, programs, entries), (101, 203, 203));
}

/// Prints who traces the shell itself.
const TRACER: &str =
    r"while read -r key value; do [ $key = TracerPid: ] && echo $value; done < /proc/$$/status";

#[tokio::test]
async fn a_probed_command_is_traced_no_more() {
    let traced = run(&["sh", "-c", TRACER], false, Verdict::Pass).await.1;
    assert_ne!(traced, "0\n");
    assert_eq!(
        run(&["sh", "-c", TRACER], false, Verdict::Probed).await.1,
        "0\n"
    );
    assert_ne!(
        run(&["sh", "-c", TRACER], true, Verdict::Probed).await.1,
        "0\n"
    );
    let (mut launched, reader) = start(&["sh", "-c", TRACER], false);
    drive(&mut launched, |held| match held.stage {
        Stage::Exec => Verdict::AtEntry,
        _ => Verdict::Probed,
    })
    .await;
    assert_eq!(text(reader), "0\n");
}

#[tokio::test]
async fn descendants_that_outlive_the_command_are_let_go() {
    let (mut launched, reader) = start(&["sh", "-c", "tail -f /dev/null & echo $!"], true);
    assert!(drive(&mut launched, |_| Verdict::AtEntry).await.success());
    let survivor: u32 = text(reader).trim().parse().unwrap();
    assert_eq!(status_field(survivor, "TracerPid:").unwrap(), "0");
    let pidfd = ptrace::pidfd_open(survivor.cast_signed()).unwrap();
    ptrace::pidfd_send_signal(pidfd.as_fd(), libc::SIGTERM).unwrap();
    wait_for_end(&pidfd);
}

#[tokio::test]
async fn killing_by_verdict_spares_the_others() {
    let (mut launched, reader) = start(&["sh", "-c", "env true; echo $?"], true);
    let status = drive(&mut launched, |held| {
        let target = held.stage == Stage::Exec && executable(held.pid) == real("/usr/bin/env");
        if target { Verdict::Kill } else { Verdict::Pass }
    })
    .await;
    assert!(status.success());
    assert!(text(reader).ends_with("137\n"));
}

#[tokio::test]
async fn a_session_that_is_gone_takes_the_command_along() {
    // Without an answer.
    let (mut launched, reader) = start(&["echo", "out"], false);
    drop(next(&mut launched).await.unwrap());
    assert_eq!(
        exit_code(drive(&mut launched, |_| Verdict::Pass).await),
        137
    );
    assert_eq!(text(reader), "");
    // Altogether, while a process is held, and while none is.
    for verdict in [None, Some(Verdict::Pass), Some(Verdict::Probed)] {
        let (mut launched, _reader) = start(&["tail", "-f", "/dev/null"], false);
        let pidfd = launched.pidfd.try_clone().unwrap();
        if let (Some(verdict), Some(Event::Held(held))) = (verdict, next(&mut launched).await) {
            held.proceed(verdict);
        }
        drop(launched);
        wait_for_end(&pidfd);
    }
}

#[tokio::test]
async fn terminating_is_gentle_first() {
    let (mut launched, reader) = start(
        &["sh", "-c", "trap 'echo bye; exit 6' TERM; kill -STOP $$"],
        true,
    );
    let status = launched.terminate(PATIENCE).await.unwrap();
    // Whether the trap is set by then is the shell's affair.
    match exit_code(status) {
        6 => assert_eq!(text(reader), "bye\n"),
        code => assert_eq!(code, 143),
    }
    let (mut launched, _reader) = start(&["sh", "-c", "trap '' TERM; tail -f /dev/null; :"], true);
    let child = loop {
        let Some(Event::Held(held)) = next(&mut launched).await else {
            panic!("it ended")
        };
        // By now the shell is deaf to SIGTERM.
        let child = (held.stage == Stage::Exec && executable(held.pid) == real("/usr/bin/tail"))
            .then(|| ptrace::pidfd_open(held.pid.cast_signed()).unwrap());
        held.proceed(Verdict::Pass);
        if let Some(child) = child {
            break child;
        }
    };
    let status = launched.terminate(Duration::from_millis(50)).await.unwrap();
    assert_eq!(exit_code(status), 137);
    wait_for_end(&child);
}

/// This test program, made to run one of the parts below.
fn part(name: &str) -> Vec<String> {
    let program = std::env::current_exe()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let name = format!("probe::launch::tests::{name}");
    vec![
        program,
        "--exact".to_owned(),
        name,
        "--ignored".to_owned(),
        "--nocapture".to_owned(),
    ]
}

#[test]
#[ignore = "a part of `an_exec_by_a_thread_is_held`"]
fn part_execs_from_a_thread() {
    let threads: Vec<_> = (0..7).map(|_| thread::spawn(thread::park)).collect();
    assert_eq!(threads.len(), 7);
    // The harness runs this in a thread of its own: not the one whose number is the process's.
    panic!("{}", Command::new("env").arg("true").exec());
}

#[tokio::test]
async fn an_exec_by_a_thread_is_held() {
    let command = part("part_execs_from_a_thread");
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    for follow in [false, true] {
        let (mut launched, reader) = start(&command, follow);
        let pid = launched.pid();
        let mut held = Vec::new();
        let status = drive(&mut launched, |stop| {
            assert_eq!(stop.pid, pid);
            held.push((stop.stage, executable(pid)));
            Verdict::AtEntry
        })
        .await;
        assert!(status.success(), "{}", text(reader));
        let mut expected = Vec::new();
        for program in [command[0], "/usr/bin/env", "/bin/true"].map(real) {
            expected.push((Stage::Exec, program.clone()));
            expected.push((Stage::LoaderDone, program));
        }
        assert_eq!(held, expected);
    }
}

#[tokio::test]
#[ignore = "a part of `nothing_survives_the_kill_of_the_launcher`"]
async fn part_launches_and_waits() {
    let verdict = match std::env::var("PYTOP_TEST_VERDICT").unwrap().as_str() {
        "probed" => Some(Verdict::Probed),
        "pass" => Some(Verdict::Pass),
        _ => None,
    };
    let script = "echo $$; exec tail -f /dev/null";
    let mut launched = launch(&words(&["sh", "-c", script]), false, Output::Inherit).unwrap();
    let mut held_back = Vec::new();
    while let Some(event) = launched.next().await {
        let Event::Held(held) = event else {
            panic!("{event:?}")
        };
        if let Some(verdict) = verdict {
            held.proceed(verdict);
        } else {
            println!("{}", held.pid);
            held_back.push(held);
        }
    }
}

#[test]
fn nothing_survives_the_kill_of_the_launcher() {
    use std::io::BufRead as _;
    let command = part("part_launches_and_waits");
    for verdict in ["held", "pass", "probed"] {
        let mut launcher = Command::new(&command[0])
            .args(&command[1..])
            .env("PYTOP_TEST_VERDICT", verdict)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = io::BufReader::new(launcher.stdout.take().unwrap()).lines();
        let pid: i32 = lines
            .map_while(Result::ok)
            .find_map(|line| line.parse().ok())
            .unwrap();
        let pidfd = ptrace::pidfd_open(pid).unwrap();
        launcher.kill().unwrap();
        launcher.wait().unwrap();
        wait_for_end(&pidfd);
    }
}

#[tokio::test]
#[ignore = "a part of `output_can_go_to_standard_error`"]
async fn part_launches_to_standard_error() {
    let command = words(&["sh", "-c", "echo first; echo second >&2"]);
    let mut launched = launch(&command, false, Output::StdoutToStderr).unwrap();
    assert!(drive(&mut launched, |_| Verdict::Probed).await.success());
}

#[test]
fn output_can_go_to_standard_error() {
    let command = part("part_launches_to_standard_error");
    let printed = Command::new(&command[0])
        .args(&command[1..])
        .output()
        .unwrap();
    let [stdout, stderr] =
        [printed.stdout, printed.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(printed.status.success(), "{stdout}");
    assert!(stderr.contains("first\n") && stderr.contains("second\n"));
    assert!(!stdout.contains("first\n") && !stdout.contains("second\n"));
}

/// Forbids the calling thread, and what it starts, to call ptrace(2), as a container may.
fn forbid_ptrace() {
    let step = |code: u32, jump_if_not: u8, value: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf: jump_if_not,
        k: value,
    };
    let refuse = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::EPERM).unwrap();
    let mut filter = [
        // The number of the system call is the first word of struct seccomp_data.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            1,
            u32::try_from(libc::SYS_ptrace).unwrap(),
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, refuse),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len().try_into().unwrap(),
        filter: filter.as_mut_ptr(),
    };
    nix::sys::prctl::set_no_new_privs().unwrap();
    // SAFETY: the kernel copies the program, which outlives the call.
    let set = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

#[test]
fn a_forbidden_ptrace_is_named() {
    let attempt = thread::spawn(|| {
        forbid_ptrace();
        launch(&words(&["true"]), false, Output::Inherit).unwrap_err()
    });
    let error = attempt.join().unwrap();
    assert_eq!(error.exit_code(), 1);
    assert_eq!(
        error.to_string(),
        "cannot hold 'true' at its start, which takes ptrace: Operation not permitted; run pytop as \
         root, and see that neither kernel.yama.ptrace_scope nor the container's seccomp profile \
         forbids ptrace"
    );
}
