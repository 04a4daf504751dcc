//! What the kernel can do, as far as it lets this user try.

use std::fmt::Display;

use super::{Finding, Status};
use crate::os_error::{describe, without_numbers};
use crate::probe::sideband::{Sideband, SidebandError};
use crate::probe::{LoadError, Loaded, Survey};

/// The first version whose uprobes count every hit.
const FIRST: (u32, u32) = (6, 0);

/// Which kernel runs. What it can do is found by trying, because distributors bring fixes to older
/// ones.
pub(super) fn version(survey: &Survey) -> Finding {
    let name = "Linux";
    let Ok(system) = nix::sys::utsname::uname().map(|system| {
        let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
        (text(system.release()), text(system.machine()))
    }) else {
        return Finding::new(
            name,
            Status::Unknown,
            "the kernel does not tell its version",
        );
    };
    let (release, machine) = system;
    let detail = format!("{release} on {machine}");
    let counts_every_hit = matches!(&survey.loaded, Some(loaded) if loaded.lossless.is_ok());
    match parse(&release) {
        Some(version) if version < FIRST && !counts_every_hit => {
            Finding::new(name, Status::No, detail).remedy("pytop needs Linux 6.0 or later")
        }
        _ => Finding::new(name, Status::Yes, detail),
    }
}

/// The first two numbers of `6.18.5-cloud-amd64`.
fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(super) fn all(survey: &Survey) -> Vec<Finding> {
    let uprobes = match &survey.uprobes {
        Some(uprobes) => needed("uprobes", uprobes, "this user may place them"),
        None => untried("uprobes", "there are no uprobe events to place them with"),
    };
    let mut findings = vec![
        needed(
            "uprobe events",
            &survey.events,
            "the kernel has uprobes as perf events",
        ),
        uprobes,
        needed(
            "eBPF",
            &survey.maps,
            "this user may make the tables of counts",
        ),
    ];
    if let Some(loaded) = &survey.loaded {
        findings.extend(programs(loaded));
    } else {
        let names = ["lossless uprobes", "programs", "uprobe links"];
        findings.extend(names.map(|name| untried(name, "it takes eBPF to try")));
    }
    findings.push(process_events(Sideband::open().map(drop)));
    findings
}

fn programs(loaded: &Loaded) -> [Finding; 3] {
    let types = if loaded.types {
        "the kernel takes all of them"
    } else {
        "the kernel takes all of them, but not the description of their types (BTF), without which \
         that takes longer"
    };
    let links = if loaded.links {
        Finding::new("uprobe links", Status::Yes, "one for all probes of a file")
    } else {
        let detail = "this kernel has none that keep to a process: pytop places each probe by \
            itself, counts the same, and takes longer to start and to end";
        Finding::new("uprobe links", Status::Limited, detail).remedy("Linux 6.10 or later has them")
    };
    [
        needed(
            "lossless uprobes",
            &loaded.lossless,
            "no hit is passed over",
        ),
        needed("programs", &loaded.programs, types),
        links,
    ]
}

fn process_events(opened: Result<(), SidebandError>) -> Finding {
    let name = "process events";
    match opened {
        Ok(()) => Finding::new(name, Status::Yes, "the kernel tells of new processes"),
        Err(error) => {
            let detail = format!(
                "{}; without them pytop looks for new processes once a second, and may miss short \
                 ones",
                without_numbers(&error.to_string())
            );
            Finding::new(name, Status::Limited, detail)
        }
    }
}

/// Something without which a run does not begin.
fn needed(name: &'static str, tried: &Result<(), LoadError>, detail: &str) -> Finding {
    match tried {
        Ok(()) => Finding::new(name, Status::Yes, detail),
        Err(LoadError::NotPermitted {
            refused,
            source,
            remedy,
        }) => {
            let detail = format!("the kernel refused {refused} ({})", describe(source));
            Finding::new(name, Status::No, detail).remedy(*remedy)
        }
        Err(LoadError::MissingFeature { feature, needs }) => {
            Finding::new(name, Status::No, format!("this kernel lacks {feature}"))
                .remedy(format!("it takes {needs}"))
        }
        Err(LoadError::Failed { reason }) => Finding::new(name, Status::No, reason.clone()),
    }
}

fn untried(name: &'static str, why: impl Display) -> Finding {
    Finding::new(name, Status::Unknown, format!("not tried: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        for (release, version) in [
            ("6.18.5-cloud-amd64", Some((6, 18))),
            ("5.15.0", Some((5, 15))),
            ("6.0-rc1", Some((6, 0))),
            ("6", None),
            ("", None),
            ("six.one", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(parse(release), version, "{release}");
        }
    }
}
