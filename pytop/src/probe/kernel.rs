//! Loading pytop's programs and maps into the kernel.

mod survey;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use aya::maps::{Array, MapData, MapError};
use aya::{Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use pytop_common::code::CodeSpec;
use pytop_common::count::{METER_SITE, Milestone};
use pytop_common::marker::MarkerSpec;
use pytop_common::quick::QuickSite;
use pytop_common::runtime::RuntimeSpec;
use pytop_common::trace::FrameSpec;
use thiserror::Error;

pub use survey::{Loaded, Survey};

use super::counts::{Capacity, Counts, Drained, Frame, Noticed, Seen};
use super::events::Events;
use super::meter::{self, Meter};
use super::program::{Program, ProgramError, Programs, Purpose};
use super::quick::quick_site;
use super::syscall::{self, UprobeEvent};
use super::texts::Names;
use super::tracefs::Tracefs;
use super::uprobe::{AttachError, Place, Probe, Target, has_links, hint, place, place_gated};
use crate::os_error::{describe, is_refusal};

/// The compiled programs: `cargo xtask build-ebpf` makes them, the build script chooses the file.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("PYTOP_BPF_OBJECT"));

/// Where the kernel tells the perf event type of uprobes.
const UPROBE_TYPE: &str = "/sys/bus/event_source/devices/uprobe/type";

/// What the kernel side has to know of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Description {
    /// Where a marker's arguments are.
    Marker(MarkerSpec),
    /// What is where at a probe without a marker.
    Code(CodeSpec),
    /// What is where at a probe of a trace.
    Frame(FrameSpec),
    /// What the marker of a collection or an import tells.
    Runtime(RuntimeSpec),
    /// The same of a probe without a marker at which calls begin to be timed.
    Timed(CodeSpec, FrameSpec),
    /// The same of one where that ends.
    Exit(FrameSpec),
    /// That it was hit is all.
    Nothing,
}

/// The number of a probe's specification, which is the probe's attach cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SiteId(pub u16);

/// The programs and maps, in the kernel as long as this lives.
pub struct Kernel {
    /// The maps that user space has no business with.
    _ebpf: Ebpf,
    programs: Programs,
    pmu_type: u32,
    markers: Array<MapData, MarkerSpec>,
    codes: Array<MapData, CodeSpec>,
    /// What makes a quick program for each site that can have one.
    quick: HashMap<SiteId, QuickSite>,
    frames: Array<MapData, FrameSpec>,
    runtime: Array<MapData, RuntimeSpec>,
    next_site: u16,
    counts: Counts,
    doors: aya::maps::HashMap<MapData, u32, u64>,
    milestones: Array<MapData, Milestone>,
    events: Events,
    /// Where probes are to have gates.
    tracefs: Option<Tracefs>,
}

/// How much room a trace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes of the ring of events: a power of two, and no less than a page.
    pub ring: u32,
    /// Frames below so many others are not told.
    pub max_depth: u32,
}

impl Room {
    /// None: for a top, which counts.
    const NONE: Self = Self {
        ring: 4096,
        max_depth: 0,
    };
}

/// The maps that durations take. They have some 70 MiB, and more for what finds no room there.
const ROOM_OF_DURATIONS: [&str; 5] = [
    "RUNNING",
    "MORE_RUNNING",
    "FINISHED",
    "SPILLED_EVEN",
    "SPILLED_ODD",
];

/// Why the programs could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The user may not do this.
    ///
    /// Each of the capabilities that the message names has its part: `CAP_SYS_ADMIN` to place
    /// uprobes (`CAP_BPF` and `CAP_PERFMON`, which it includes, were enough from Linux 5.8 to 6.15:
    /// kernel/events/core.c, `perf_uprobe_event_init`), `CAP_SYS_PTRACE` to look at the processes
    /// of others, and `CAP_DAC_READ_SEARCH` to open their files, deleted ones above all: the
    /// directory that leads to those, `/proc/PID/map_files`, is open to its owner alone.
    #[error(
        "not enough privilege to count calls: the kernel refused {refused} ({}); {remedy}",
        describe(source)
    )]
    NotPermitted {
        /// What the kernel was asked for.
        refused: &'static str,
        /// What the kernel answered.
        source: io::Error,
        /// What the user can do.
        remedy: &'static str,
    },
    /// The kernel lacks something.
    #[error("this kernel cannot count calls: it lacks {feature}, which needs {needs}")]
    MissingFeature {
        /// What is missing.
        feature: &'static str,
        /// The kernel version or setting that has it.
        needs: &'static str,
    },
    /// Something else went wrong.
    #[error("cannot load the eBPF programs into this kernel: {reason}")]
    Failed {
        /// What went wrong, in the words of the library.
        reason: String,
    },
}

impl Kernel {
    /// Loads programs and maps.
    pub fn load(capacity: Capacity) -> Result<Self, LoadError> {
        Self::load_with(capacity, Room::NONE, false, true)
    }

    /// Loads programs and maps for counting calls and measuring their durations.
    pub fn load_for_durations(capacity: Capacity) -> Result<Self, LoadError> {
        Self::load_with(capacity, Room::NONE, true, true)
    }

    /// [`Kernel::load`], but processes can be left out of the probes that are placed.
    pub fn load_with_gates(capacity: Capacity) -> Result<Self, LoadError> {
        let tracefs = Tracefs::open().map_err(explain_tracefs)?;
        let mut kernel = Self::load_with(capacity, Room::NONE, false, false)?;
        kernel.tracefs = Some(tracefs);
        Ok(kernel)
    }

    /// Loads programs and maps for a trace.
    pub fn load_for_trace(room: Room) -> Result<Self, LoadError> {
        Self::load_with(Capacity::Fixed(1), room, false, true)
    }

    /// [`Kernel::load`], but each probe becomes a perf event, as on kernels without `uprobe_multi`
    /// links.
    pub fn load_without_links(capacity: Capacity) -> Result<Self, LoadError> {
        Self::load_with(capacity, Room::NONE, false, false)
    }

    fn load_with(
        capacity: Capacity,
        room: Room,
        durations: bool,
        links: bool,
    ) -> Result<Self, LoadError> {
        let pmu_type = uprobe_pmu_type()?;
        require_uprobes(pmu_type)?;
        let (mut ebpf, mut programs) = load_object(capacity, room, durations)?;
        // The kernel works at the one, and waits at the other.
        let (ready, counts) = thread::scope(|scope| {
            let counts = scope.spawn(|| Counts::new(&mut ebpf, capacity, durations));
            let ready = prepare(&mut programs, links);
            (ready, counts.join())
        });
        ready?;
        let counts = counts.map_err(|_| failed("making the tables failed"))?;
        let counts = counts.map_err(|error| explain_map(&error))?;
        let markers = Array::try_from(take_map(&mut ebpf, "MARKERS")?).map_err(failed)?;
        let codes = Array::try_from(take_map(&mut ebpf, "CODES")?).map_err(failed)?;
        let doors = take_map(&mut ebpf, "DOORS")?;
        let doors = aya::maps::HashMap::try_from(doors).map_err(failed)?;
        let milestones = Array::try_from(take_map(&mut ebpf, "MILESTONES")?).map_err(failed)?;
        let frames = Array::try_from(take_map(&mut ebpf, "FRAMES")?).map_err(failed)?;
        let runtime = Array::try_from(take_map(&mut ebpf, "RUNTIME")?).map_err(failed)?;
        let events = Events::new(&mut ebpf).map_err(|error| explain_map(&error))?;
        Ok(Self {
            _ebpf: ebpf,
            programs,
            pmu_type,
            markers,
            codes,
            quick: HashMap::new(),
            frames,
            runtime,
            next_site: 0,
            counts,
            doors,
            milestones,
            events,
            tracefs: None,
        })
    }

    /// Makes known to the kernel side what it has to know of a probe.
    pub fn describe(&mut self, description: &Description) -> Result<SiteId, LoadError> {
        let site = SiteId(self.next_site);
        if u32::from(site.0) >= METER_SITE {
            return Err(failed("no room for the description of one more probe"));
        }
        self.describe_at(site, description)?;
        self.next_site += 1;
        Ok(site)
    }

    fn describe_at(&mut self, site: SiteId, description: &Description) -> Result<(), LoadError> {
        let index = u32::from(site.0);
        match description {
            Description::Marker(spec) => self.markers.set(index, spec, 0).map_err(failed)?,
            Description::Code(spec) => self.codes.set(index, spec, 0).map_err(failed)?,
            Description::Frame(spec) | Description::Exit(spec) => {
                self.frames.set(index, spec, 0).map_err(failed)?;
            }
            Description::Timed(code, frame) => {
                self.codes.set(index, code, 0).map_err(failed)?;
                self.frames.set(index, frame, 0).map_err(failed)?;
            }
            Description::Runtime(spec) => self.runtime.set(index, spec, 0).map_err(failed)?,
            Description::Nothing => {}
        }
        if let Some(quick) = quick_site(description) {
            self.quick.insert(site, quick);
        }
        Ok(())
    }

    /// Places probes in a file, which run `program`: all of them, or none.
    pub fn attach(
        &mut self,
        program: Program,
        target: &Target<'_>,
        places: &[Place],
    ) -> Result<Vec<Probe>, AttachError> {
        let purpose = self.programs.purpose();
        let quick = |place: &Place| self.quick.get(&place.site).copied();
        let mut places: Vec<_> = places.iter().map(|place| (quick(place), *place)).collect();
        places.sort_by_key(|(quick, _)| *quick);
        let mut probes = Vec::new();
        for same in places.chunk_by(|(one, _), (next, _)| one == next) {
            let site = same.first().and_then(|(quick, _)| *quick);
            let loaded = self.programs.get_for(program, site);
            let loaded = loaded.map_err(|error| AttachError::NotLoaded {
                path: target.path.into(),
                reason: explain_program(&error).to_string(),
            })?;
            let same: Vec<_> = same.iter().map(|(_, place)| *place).collect();
            match &mut self.tracefs {
                Some(tracefs) if program.counts() => {
                    for place in &same {
                        probes.push(place_gated(loaded, tracefs, target, place)?);
                    }
                }
                _ => probes.extend(place(loaded, purpose, self.pmu_type, target, &same)?),
            }
        }
        Ok(probes)
    }

    /// Places milestones in a process, which count in [`Kernel::passes`] by the numbers of their sites:
    /// all of them, or none. Kernels without `uprobe_multi` links that keep to a process have none.
    pub fn place_milestones(
        &mut self,
        target: &Target<'_>,
        places: &[Place],
    ) -> Result<Vec<Probe>, AttachError> {
        let program = self.programs.get(Program::Milestone);
        match program {
            Ok(program) if has_links(program) => {
                place(program, Purpose::Multi, self.pmu_type, target, places)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Has the milestones with this number, none of which is in place, count from 0 again: the passes of
    /// all threads, or of one alone.
    pub fn count_passes_of(&mut self, site: SiteId, thread: Option<u32>) {
        let milestone = Milestone {
            thread: thread.unwrap_or(0).into(),
            ..Milestone::default()
        };
        // An array has all its entries; a number beyond it is none that counts.
        let _ = self.milestones.set(site.0.into(), milestone, 0);
    }

    /// How often the milestones with this number have been passed.
    #[must_use]
    pub fn passes(&self, site: SiteId) -> u64 {
        self.last_pass(site).0
    }

    /// Likewise, and when that was last, by `CLOCK_MONOTONIC`: zero before the first time.
    #[must_use]
    pub fn last_pass(&self, site: SiteId) -> (u64, Duration) {
        let milestone = self.milestones.get(&site.0.into(), 0).unwrap_or_default();
        (milestone.passes, Duration::from_nanos(milestone.last))
    }

    /// What the cost of a hit can be measured with. `None` where pytop's own file cannot be probed.
    pub fn meter(&mut self) -> Option<Meter> {
        let site = SiteId(u16::try_from(METER_SITE).ok()?);
        self.describe_at(site, &meter::description()).ok()?;
        Meter::place(self, site)
    }

    /// Ends the interval: takes everything that was counted since the call before.
    ///
    /// Waits for the programs that run at this moment, some tens of milliseconds; what is called
    /// meanwhile is counted in the next interval.
    pub fn drain(&mut self) -> Result<Drained, MapError> {
        self.counts.drain()
    }

    /// File and function of a frame of the interval that has ended last, by [`Frame::text`].
    ///
    /// [`Frame::text`]: super::Frame::text
    #[must_use]
    pub fn names(&self, text: u64) -> Option<&Names> {
        self.counts.names(text)
    }

    /// Hands to `visit` the functions that have lasted, with their calls in this interval so far. The
    /// hash of names that are not known yet is 0. Asks nothing of the kernel.
    pub fn visit_hits(&self, visit: impl FnMut(Frame)) {
        self.counts.visit_hits(visit);
    }

    /// All other hits of a process since the start, and perhaps some of another one's.
    #[must_use]
    pub fn careful_hits(&self, pid: u32) -> u64 {
        self.counts.careful_hits(pid)
    }

    /// Takes the processes that have passed a door since the last time, with the time at which
    /// they first did, by the monotonic clock.
    pub fn take_doors(&mut self) -> Vec<(u32, Duration)> {
        let passed: Vec<(u32, u64)> = self.doors.iter().filter_map(Result::ok).collect();
        let passed = passed.into_iter().map(|(pid, time)| {
            // Not there is as good as removed.
            let _ = self.doors.remove(&pid);
            (pid, Duration::from_nanos(time))
        });
        passed.collect()
    }

    /// What the kernel knows of a process that entered a function or passed a door.
    #[must_use]
    pub fn seen(&self, pid: u32) -> Option<Seen> {
        self.counts.seen(pid)
    }

    /// What has happened in traced threads.
    pub fn events(&mut self) -> &mut Events {
        &mut self.events
    }

    /// The names with this key in the table of texts, whether they were asked for before or not.
    pub fn names_of_event(&mut self, text: u64) -> Option<Names> {
        self.counts.look_up(text)
    }

    /// What was noticed since the call before, without a look at the counts: for a trace, which has
    /// none.
    pub fn notice(&mut self) -> Result<Noticed, MapError> {
        self.counts.notice()
    }

    /// A process has another program now: the calls of the old one run no more.
    pub fn forget_running(&mut self, pid: u32) {
        self.counts.forget_running(pid);
    }

    /// Forgets what the kernel knows of processes that have ended.
    pub fn forget_processes(&mut self, pids: impl IntoIterator<Item = u32>) {
        self.counts.forget_processes(pids);
    }
}

/// Finds out whether this kernel takes the programs, and by which kind of link.
fn prepare(programs: &mut Programs, links: bool) -> Result<(), LoadError> {
    require_lossless_uprobes(programs)?;
    if links {
        prefer_links(programs);
    }
    // The first program says whether this kernel takes any.
    require_program(programs, Program::FunctionEntry)
}

/// Makes the maps of the object, and takes its programs, none of which is loaded yet.
fn load_object(
    capacity: Capacity,
    room: Room,
    durations: bool,
) -> Result<(Ebpf, Programs), LoadError> {
    let seed = rand_seed();
    // Kernel types are of no use to programs that read none, and the log costs time: whatever is
    // refused is a map.
    let mut loader = EbpfLoader::new();
    if !durations {
        for map in ROOM_OF_DURATIONS {
            loader.map_max_entries(map, 1);
        }
    }
    let ebpf = loader
        .btf(None)
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .override_global("SEED", &seed, true)
        .map_max_entries("TEXTS", capacity.of_texts())
        .map_max_entries("KNOWN", capacity.of_known())
        .override_global("MAX_DEPTH", &room.max_depth, true)
        .map_max_entries("EVENTS", room.ring)
        .load(OBJECT)
        .map_err(|error| explain(&error))?;
    let programs = Programs::new(OBJECT, ebpf.maps(), Purpose::Event)?;
    Ok((ebpf, programs))
}

/// Has programs loaded for `uprobe_multi` links where the kernel has these, and says whether it has.
fn prefer_links(programs: &mut Programs) -> bool {
    programs.set_purpose(Purpose::Multi);
    let has_links = programs.get(Program::FunctionEntry).is_ok_and(has_links);
    if !has_links {
        programs.set_purpose(Purpose::Event);
    }
    has_links
}

/// Fails when the kernel does not take a program.
fn require_program(programs: &mut Programs, program: Program) -> Result<(), LoadError> {
    let loaded = programs.get(program).map(drop);
    loaded.map_err(|error| explain_program(&error))
}

pub(super) fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, LoadError> {
    ebpf.take_map(name).ok_or_else(|| LoadError::Failed {
        reason: format!("the object has no map {name}"),
    })
}

fn uprobe_pmu_type() -> Result<u32, LoadError> {
    let failed = |why: &str| LoadError::Failed {
        reason: format!("cannot read {UPROBE_TYPE}: {why}"),
    };
    match fs::read_to_string(UPROBE_TYPE) {
        Ok(text) => text.trim().parse().map_err(|_| failed("it is no number")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LoadError::MissingFeature {
            feature: "uprobes as perf events (/sys/bus/event_source/devices/uprobe)",
            needs: "Linux 6.0 or later, built with CONFIG_UPROBE_EVENTS, and sysfs mounted on /sys",
        }),
        Err(error) => Err(failed(&format!("{}{}", describe(&error), hint(&error)))),
    }
}

/// Fails when uprobes cannot be placed, which would otherwise be known only once there is a
/// process to count.
///
/// The kernel looks at the privileges first (kernel/events/core.c, `perf_uprobe_event_init`), and
/// refuses the empty path only then.
fn require_uprobes(pmu_type: u32) -> Result<(), LoadError> {
    let nowhere = UprobeEvent {
        pmu_type,
        path: c"",
        offset: 0,
        semaphore_offset: 0,
        pid: None,
    };
    match syscall::open_uprobe(&nowhere) {
        Err(error) if is_refusal(&error) => Err(not_permitted("a uprobe", error)),
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            Err(LoadError::MissingFeature {
                feature: "perf events (the perf_event_open system call)",
                needs: "Linux 6.0 or later, built with CONFIG_PERF_EVENTS",
            })
        }
        _ => Ok(()),
    }
}

fn explain_tracefs(error: io::Error) -> LoadError {
    match error.raw_os_error() {
        _ if is_refusal(&error) => not_permitted("the list of uprobes (tracefs)", error),
        Some(libc::ENODEV | libc::ENOENT | libc::ENOSYS) => LoadError::MissingFeature {
            feature: "the list of uprobes (tracefs), without which counting cannot leave processes \
                      out, as it has to with a bound",
            needs: "Linux 6.0 or later, built with CONFIG_UPROBE_EVENTS",
        },
        _ => failed(format!(
            "cannot use the list of uprobes (tracefs): {}{}",
            describe(&error),
            hint(&error)
        )),
    }
}

fn not_permitted(refused: &'static str, source: io::Error) -> LoadError {
    let remedy = if nix::unistd::geteuid().is_root() {
        "root is restricted here, as it is in a container: pytop needs the capabilities \
         CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and a seccomp profile that lets it \
         use bpf and perf_event_open (docker run --privileged --pid=host)"
    } else {
        "run pytop as root (sudo pytop), or with the capabilities CAP_SYS_ADMIN, CAP_SYS_PTRACE \
         and CAP_DAC_READ_SEARCH"
    };
    LoadError::NotPermitted {
        refused,
        source,
        remedy,
    }
}

/// Older kernels pass over a hit while any other eBPF work goes on on the same CPU
/// (`bpf_prog_active` in `trace_call_bpf`, `kernel/trace/bpf_trace.c`). Since Linux 6.0 uprobes have
/// a way of their own (`bpf_prog_run_array_uprobe`), which came together with sleepable programs.
fn require_lossless_uprobes(programs: &Programs) -> Result<(), LoadError> {
    match programs.try_sleepable() {
        Err(ProgramError::Refused { source, .. })
            if source.raw_os_error() == Some(libc::EINVAL) =>
        {
            Err(LoadError::MissingFeature {
                feature: "uprobes that never miss a hit (sleepable uprobe programs)",
                needs: "Linux 6.0 or later",
            })
        }
        Err(error) => Err(explain_program(&error)),
        Ok(()) => Ok(()),
    }
}

fn explain(error: &EbpfError) -> LoadError {
    match error {
        EbpfError::MapError(error) => explain_map(error),
        other => failed(other),
    }
}

fn explain_map(error: &MapError) -> LoadError {
    match error {
        MapError::CreateError { name, io_error } => {
            explain_io(io_error, &format!("cannot create the map {name}"))
        }
        MapError::SyscallError(syscall) => explain_io(&syscall.io_error, syscall.call),
        _ => failed(error),
    }
}

fn explain_program(error: &ProgramError) -> LoadError {
    match error {
        ProgramError::Object(reason) => failed(reason),
        ProgramError::Refused { source, log }
            if !matches!(
                source.raw_os_error(),
                Some(libc::EPERM | libc::EACCES | libc::ENOSYS)
            ) =>
        {
            let mut reason = describe(source);
            if !log.is_empty() {
                reason.push_str(": ");
                reason.push_str(log);
            }
            LoadError::Failed { reason }
        }
        ProgramError::Refused { source, .. } => explain_io(source, "cannot load a program"),
    }
}

/// Explains the kernel's answer to what was tried.
fn explain_io(io_error: &io::Error, tried: &str) -> LoadError {
    match io_error.raw_os_error() {
        Some(number @ (libc::EPERM | libc::EACCES)) => {
            not_permitted("an eBPF program", io::Error::from_raw_os_error(number))
        }
        Some(libc::ENOSYS) => LoadError::MissingFeature {
            feature: "eBPF (the bpf system call)",
            needs: "Linux 6.0 or later, built with CONFIG_BPF_SYSCALL",
        },
        _ => LoadError::Failed {
            reason: format!("{tried}: {}{}", describe(io_error), hint(io_error)),
        },
    }
}

pub(super) fn failed(error: impl std::fmt::Display) -> LoadError {
    LoadError::Failed {
        reason: error.to_string(),
    }
}

/// A number that no traced program can know.
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}
