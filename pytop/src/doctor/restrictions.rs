//! Who this user is to the kernel, and what may keep even root from counting.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use super::{Finding, Status};
use crate::os_error::describe;
use crate::probe::Survey;
use crate::session::environment::{self, Capability};

/// The inode of the initial user namespace (`PROC_USER_INIT_INO` in `include/linux/proc_ns.h`).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

pub(super) fn all(survey: &Survey) -> Vec<Finding> {
    let works = survey.events.is_ok()
        && matches!(survey.uprobes, Some(Ok(())))
        && survey.maps.is_ok()
        && survey
            .loaded
            .as_ref()
            .is_some_and(|loaded| loaded.programs.is_ok());
    vec![
        pid_namespace(),
        user_namespace(),
        system_admin(works),
        capability(
            "CAP_SYS_PTRACE",
            Capability::SysPtrace,
            "processes of other users are not looked at, and not counted",
        ),
        capability(
            "CAP_DAC_READ_SEARCH",
            Capability::DacReadSearch,
            "files that others may not read cannot be opened, deleted ones among them, and what \
             runs them is not counted",
        ),
        seccomp(
            fs::read_to_string("/proc/self/status").ok().as_deref(),
            works,
        ),
        lockdown(
            fs::read_to_string("/sys/kernel/security/lockdown").as_deref(),
            works,
        ),
        settings(works),
    ]
}

fn pid_namespace() -> Finding {
    let name = "pid namespace";
    match environment::check() {
        Ok(()) => Finding::new(name, Status::Yes, "that of the host"),
        Err(error) => Finding::new(name, Status::No, error.to_string()),
    }
}

/// The kernel asks for the capabilities of the host, not for those of a user namespace, where
/// everyone can be root.
fn user_namespace() -> Finding {
    let name = "user namespace";
    match fs::metadata("/proc/self/ns/user") {
        Ok(namespace) if namespace.ino() != INITIAL_USER_NAMESPACE => {
            let detail =
                "one of its own, whose capabilities are none outside of it, root's included";
            Finding::new(name, Status::No, detail)
                .remedy("run pytop on the host, or in a container without a user namespace")
        }
        Ok(_) => Finding::new(name, Status::Yes, "that of the host"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::new(name, Status::Yes, "this kernel has none")
        }
        Err(error) => {
            let detail = format!("cannot read /proc/self/ns/user: {}", describe(&error));
            Finding::new(name, Status::Unknown, detail)
        }
    }
}

/// What counting takes of capabilities. Some kernels ask for less.
fn system_admin(works: bool) -> Finding {
    const NAME: &str = "CAP_SYS_ADMIN";
    match environment::has(Capability::SysAdmin) {
        Some(false) if works => {
            let detail = "not held, but this kernel lets this user count without it";
            Finding::new(NAME, Status::Yes, detail)
        }
        Some(false) => {
            let detail = "not held: the kernel lets no one else place uprobes in all processes";
            Finding::new(NAME, Status::No, detail).remedy(remedy(NAME))
        }
        held => told(NAME, held),
    }
}

fn capability(name: &'static str, capability: Capability, without: &str) -> Finding {
    match environment::has(capability) {
        Some(false) => {
            Finding::new(name, Status::Limited, format!("not held: {without}")).remedy(remedy(name))
        }
        held => told(name, held),
    }
}

fn told(name: &'static str, held: Option<bool>) -> Finding {
    match held {
        Some(_) => Finding::new(name, Status::Yes, "held"),
        None => Finding::new(name, Status::Unknown, "/proc/self/status does not tell"),
    }
}

fn remedy(capability: &str) -> String {
    if nix::unistd::geteuid().is_root() {
        format!("root is restricted here, as it is in a container: give it {capability}")
    } else {
        format!("run pytop as root (sudo pytop), or with the capability {capability} too")
    }
}

/// A filter that refuses system calls, as containers have.
fn seccomp(status: Option<&str>, works: bool) -> Finding {
    let name = "seccomp";
    let mut lines = status.unwrap_or_default().lines();
    let mode = lines.find_map(|line| line.strip_prefix("Seccomp:"));
    match mode.map(str::trim) {
        None => Finding::new(name, Status::Unknown, "/proc/self/status does not tell"),
        Some("0") => Finding::new(name, Status::Yes, "no system calls are filtered"),
        Some(_) if works => {
            let detail = "system calls are filtered, and those that pytop needs are let through";
            Finding::new(name, Status::Yes, detail)
        }
        Some(_) => {
            let detail = "system calls are filtered, as in a container: this may be what refuses \
                some of them";
            Finding::new(name, Status::Limited, detail).remedy(
                "use a seccomp profile that lets bpf and perf_event_open through (docker run \
                 --privileged --pid=host)",
            )
        }
    }
}

/// What a kernel that was started by Secure Boot may keep even from root:
/// `none [integrity] confidentiality`.
fn lockdown(setting: Result<&str, &io::Error>, works: bool) -> Finding {
    let name = "lockdown";
    let Ok(setting) = setting else {
        let detail = "nothing tells of one (/sys/kernel/security/lockdown)";
        return Finding::new(name, Status::Yes, detail);
    };
    let chosen = setting.split(['[', ']']).nth(1).unwrap_or("unknown");
    let detail = crate::model::text::visible(chosen.as_bytes()).into_owned();
    if chosen == "confidentiality" && !works {
        Finding::new(name, Status::Limited, detail).remedy(
            "this may be what keeps eBPF programs from being loaded: start the kernel with \
             lockdown=integrity, or without Secure Boot",
        )
    } else {
        Finding::new(name, Status::Yes, detail)
    }
}

/// Settings that are about users without privileges.
fn settings(works: bool) -> Finding {
    let values = ["perf_event_paranoid", "unprivileged_bpf_disabled"].map(|setting| {
        let value = fs::read_to_string(format!("/proc/sys/kernel/{setting}"));
        let value = value.as_deref().map_or("not there", str::trim);
        format!(
            "kernel.{setting} {}",
            crate::model::text::visible(value.as_bytes())
        )
    });
    let values = values.join(", ");
    if works {
        let detail = format!("{values}: they are no hindrance here");
        return Finding::new("settings", Status::Yes, detail);
    }
    let detail = format!("{values}: no value of them lets users without privileges count");
    Finding::new("settings", Status::Limited, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_suspect_only_where_something_is_refused() {
        for (status, works, expected) in [
            ("Name:\tpytop\nSeccomp:\t0\n", false, Status::Yes),
            ("Seccomp:\t2\nSeccomp_filters:\t1\n", false, Status::Limited),
            ("Seccomp:\t2\nSeccomp_filters:\t1\n", true, Status::Yes),
            ("", true, Status::Unknown),
        ] {
            assert_eq!(seccomp(Some(status), works).status, expected, "{status}");
        }
        assert_eq!(seccomp(None, true).status, Status::Unknown);
    }

    #[test]
    fn a_lockdown_is_read() {
        for (setting, works, detail, status) in [
            (
                "[none] integrity confidentiality\n",
                true,
                "none",
                Status::Yes,
            ),
            (
                "none [integrity] confidentiality\n",
                false,
                "integrity",
                Status::Yes,
            ),
            (
                "none integrity [confidentiality]\n",
                false,
                "confidentiality",
                Status::Limited,
            ),
            (
                "none integrity [confidentiality]\n",
                true,
                "confidentiality",
                Status::Yes,
            ),
            ("", true, "unknown", Status::Yes),
            ("none [\u{1b}] integrity", true, "\\x1b", Status::Yes),
        ] {
            let finding = lockdown(Ok(setting), works);
            assert_eq!((finding.status, &*finding.detail), (status, detail));
        }
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(lockdown(Err(&missing), false).status, Status::Yes);
    }
}
