//! The container of a process, from the names of its control groups.
//!
//! There are no containers in the kernel, only processes with namespaces and control groups of
//! their own. The one place where every container engine leaves a name is the path of the control
//! group, in `/proc/PID/cgroup`:
//!
//! ```text
//! 12:cpu,cpuacct:/docker/3f4e5d6c7b8a…                                   v1, one line a controller
//! 0::/system.slice/docker-3f4e5d6c7b8a….scope                            v2, one line
//! 0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod9d….slice/cri-containerd-0a1b….scope
//! 0::/machine.slice/libpod-77aa….scope/container
//! 0::/lxc.payload.web1/system.slice/cron.service
//! 0::/machine.slice/systemd-nspawn@build.service/payload
//! ```
//!
//! The engine's own processes stand beside the container under names of their own
//! (`libpod-conmon-…`, `lxc.monitor.…`, `supervisor`) and belong to the host.

use std::borrow::Cow;

use crate::model::text::visible;

/// Characters that are shown of a container's 64-digit id: as many as `docker ps` shows.
const SHORT_ID: usize = 12;

/// A short name for the container whose control groups these are, such as `docker:3f4e5d6c7b8a`
/// or `lxc:web1`. `None` when they are the host's.
///
/// `cgroup` is the text of `/proc/PID/cgroup`. Of containers within one another, the innermost is
/// named.
#[must_use]
pub fn container(cgroup: &[u8]) -> Option<String> {
    cgroup.split(|byte| *byte == b'\n').find_map(|line| {
        // hierarchy:controllers:path
        let path = line.splitn(3, |byte| *byte == b':').nth(2)?;
        in_path(&visible(path))
    })
}

fn in_path(path: &str) -> Option<String> {
    let components: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    (0..components.len()).rev().find_map(|index| {
        let component = components.get(index)?;
        let parent = index
            .checked_sub(1)
            .and_then(|parent| components.get(parent))
            .copied()
            .unwrap_or_default();
        let child = components.get(index + 1).copied().unwrap_or_default();
        let in_kubernetes = components.iter().any(|part| part.starts_with("kubepods"));
        named(component, parent, child, in_kubernetes)
    })
}

/// The container that a component of the path names, if it names one.
fn named(component: &str, parent: &str, child: &str, in_kubernetes: bool) -> Option<String> {
    let unit = component
        .strip_suffix(".scope")
        .or_else(|| component.strip_suffix(".service"));
    if let Some(unit) = unit {
        return scope(unit, child);
    }
    if let Some(name) = component.strip_prefix("lxc.payload.") {
        return Some(format!("lxc:{name}"));
    }
    if parent == "lxc" {
        return Some(format!("lxc:{component}"));
    }
    if parent == "ecs" || is_task_id(component) {
        return Some(format!("ecs:{}", shorten(component)));
    }
    if let Some(name) = dashed(component) {
        return Some(name);
    }
    // cgroup v1 under containerd's own driver: kubepods-burstable-pod….slice:cri-containerd:ID
    let mut parts = component.rsplit(':');
    let id = parts.next().filter(|id| is_id(id))?;
    let engine = match (parts.next(), parent) {
        (Some(engine), _) => engine_name(engine).unwrap_or("container"),
        (None, "docker") => "docker",
        (None, "buildkit") => "buildkit",
        (None, _) if in_kubernetes => "k8s",
        (None, _) => "container",
    };
    Some(format!("{engine}:{}", shorten(id)))
}

/// The container of a systemd unit.
fn scope(unit: &str, child: &str) -> Option<String> {
    if let Some(name) = unit.strip_prefix("systemd-nspawn@") {
        // The unit of the container manager holds both: itself, and what it contains.
        return (child != "supervisor").then(|| format!("nspawn:{}", unescape(name)));
    }
    if let Some(name) = unit.strip_prefix("machine-") {
        let name = unescape(name);
        return Some(match name.strip_prefix("lxc-") {
            Some(name) => format!("lxc:{name}"),
            // Virtual machines have units of this kind too, but no processes of ours in them.
            None => format!("nspawn:{name}"),
        });
    }
    if let Some(rest) = unit.strip_prefix("snap.") {
        let name = rest.split('.').next().unwrap_or(rest);
        return Some(format!("snap:{name}"));
    }
    if let Some(rest) = unit.strip_prefix("app-flatpak-") {
        let name = rest.rsplit_once('-').map_or(rest, |(name, _)| name);
        return Some(format!("flatpak:{}", unescape(name)));
    }
    dashed(unit)
}

/// The container that a name such as `docker-ID` tells.
fn dashed(name: &str) -> Option<String> {
    let (engine, id) = name.rsplit_once('-')?;
    let engine = engine_name(engine)?;
    is_id(id).then(|| format!("{engine}:{}", shorten(id)))
}

/// The engine by the prefix that it gives its units. `None` for others, `libpod-conmon` and
/// `crio-conmon` among them, which run on the host.
fn engine_name(prefix: &str) -> Option<&'static str> {
    Some(match prefix {
        "docker" => "docker",
        "libpod" => "podman",
        "cri-containerd" | "containerd" | "nerdctl" => "containerd",
        "crio" => "crio",
        "buildkit" => "buildkit",
        _ => return None,
    })
}

/// Whether this is a container id: 64 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether this is the id of a task as Fargate has them: 32 hexadecimal digits and a number.
fn is_task_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(task, number)| {
        task.len() == 32
            && task.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn shorten(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// Undoes the escaping of systemd's unit names, in which `\x2d` is a hyphen.
fn unescape(name: &str) -> Cow<'_, str> {
    if name.contains(r"\x2d") {
        Cow::Owned(name.replace(r"\x2d", "-"))
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4e5d6c7b8a9900112233445566778899aabbccddeeff001122334455667788";

    #[test]
    fn every_engine_leaves_its_name() {
        for (cgroup, expected) in [
            // Docker: v1 with either driver, v2, and on the inside of a private namespace.
            ("12:cpu,cpuacct:/docker/{ID}\n0::/\n", "docker:3f4e5d6c7b8a"),
            (
                "3:memory:/system.slice/docker-{ID}.scope\n",
                "docker:3f4e5d6c7b8a",
            ),
            (
                "0::/system.slice/docker-{ID}.scope\n",
                "docker:3f4e5d6c7b8a",
            ),
            (
                "0::/system.slice/docker-{ID}.scope/init.scope\n",
                "docker:3f4e5d6c7b8a",
            ),
            ("0::/../docker-{ID}.scope\n", "docker:3f4e5d6c7b8a"),
            ("0::/docker/buildkit/{ID}\n", "buildkit:3f4e5d6c7b8a"),
            // Podman: root, rootless, cgroupfs.
            (
                "0::/machine.slice/libpod-{ID}.scope/container\n",
                "podman:3f4e5d6c7b8a",
            ),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope\n",
                "podman:3f4e5d6c7b8a",
            ),
            (
                "11:pids:/libpod_parent/libpod-{ID}\n",
                "podman:3f4e5d6c7b8a",
            ),
            // Kubernetes: systemd and cgroupfs drivers, containerd and CRI-O, v1 and v2.
            (
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod9d.slice/cri-containerd-{ID}.scope\n",
                "containerd:3f4e5d6c7b8a",
            ),
            (
                "0::/kubepods.slice/kubepods-pod9d.slice/crio-{ID}.scope\n",
                "crio:3f4e5d6c7b8a",
            ),
            (
                "9:pids:/kubepods/besteffort/pod0b1c/{ID}\n",
                "k8s:3f4e5d6c7b8a",
            ),
            (
                "9:pids:/system.slice/containerd.service/kubepods-burstable-pod9d.slice:cri-containerd:{ID}\n",
                "containerd:3f4e5d6c7b8a",
            ),
            // containerd by itself (nerdctl): the namespace, and the id.
            ("0::/default/{ID}\n", "container:3f4e5d6c7b8a"),
            (
                "0::/system.slice/nerdctl-{ID}.scope\n",
                "containerd:3f4e5d6c7b8a",
            ),
            // Kubernetes inside Docker (kind): the inner one.
            (
                "0::/docker/0000000000000000000000000000000000000000000000000000000000000000/kubelet/kubepods/burstable/pod1/{ID}\n",
                "k8s:3f4e5d6c7b8a",
            ),
            // LXC and LXD.
            (
                "0::/lxc.payload.web1/system.slice/cron.service\n",
                "lxc:web1",
            ),
            ("10:devices:/lxc/web1/user.slice\n", "lxc:web1"),
            // systemd-nspawn, and machines of machined.
            (
                "0::/machine.slice/systemd-nspawn@my\\x2dbuild.service/payload/system.slice/x.service\n",
                "nspawn:my-build",
            ),
            (
                "0::/machine.slice/machine-debian\\x2dsid.scope/payload\n",
                "nspawn:debian-sid",
            ),
            (
                "0::/machine.slice/machine-lxc\\x2d42\\x2dweb.scope\n",
                "lxc:42-web",
            ),
            // Amazon's container service.
            (
                "4:memory:/ecs/0a1b2c3d4e5f60718293a4b5c6d7e8f9/{ID}\n",
                "container:3f4e5d6c7b8a",
            ),
            (
                "0::/ecs/0a1b2c3d4e5f60718293a4b5c6d7e8f9-1234567890\n",
                "ecs:0a1b2c3d4e5f",
            ),
            // Packaged desktop programs.
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-flatpak-org.gimp.GIMP-4711.scope\n",
                "flatpak:org.gimp.GIMP",
            ),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/snap.spyder.spyder-0c1d.scope\n",
                "snap:spyder",
            ),
        ] {
            let cgroup = cgroup.replace("{ID}", ID);
            assert_eq!(
                container(cgroup.as_bytes()).as_deref(),
                Some(expected),
                "{cgroup}"
            );
        }
    }

    #[test]
    fn the_host_and_the_engines_themselves_are_in_no_container() {
        for cgroup in [
            "",
            "\n",
            "0::/\n",
            "0::\n",
            "garbage",
            "0::/init.scope\n",
            "12:cpu:/\n11:memory:/user.slice\n0::/user.slice/user-0.slice/session-1.scope\n",
            "0::/system.slice/docker.service\n",
            "0::/system.slice/containerd.service\n",
            "0::/machine.slice/libpod-conmon-{ID}.scope\n",
            "0::/machine.slice/crio-conmon-{ID}.scope\n",
            "0::/lxc.monitor.web1\n",
            "0::/machine.slice/systemd-nspawn@build.service/supervisor\n",
            "0::/system.slice/docker-3f4e5d6c7b8a.scope\n",
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-0c1d.scope\n",
        ] {
            let cgroup = cgroup.replace("{ID}", ID);
            assert_eq!(container(cgroup.as_bytes()), None, "{cgroup}");
        }
    }

    #[test]
    fn a_name_cannot_reach_the_terminal_raw() {
        let name = container(b"0::/lxc.payload.\x1b[31m\xff/init.scope\n");
        assert_eq!(name.as_deref(), Some("lxc:\\x1b[31m\\xff"));
    }
}
