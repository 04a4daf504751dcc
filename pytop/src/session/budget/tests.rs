//! Made-up processes, whose calls are known.

mod looks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashMap;

use super::gauge::{Estimated, Gauge};
use super::pace::{self, Pace, Step};
use super::reading::{HitCost, Key, Look, Passes, Reading};

/// The cost of a hit in seconds.
const HIT: f64 = 560e-9;
const COST: HitCost = HitCost {
    seconds: HIT,
    uncertainty: 0.2,
    pass: HIT,
};

/// The function that is called.
const HOT: Key = (1, Some(10));

/// A milestone may come, or not.
const MAY_COME: bool = true;
const ALONE: bool = false;

/// A process that calls all the time that it runs.
struct Made {
    /// Own work from one call to the next, in seconds.
    work: f64,
    /// The part of the time that it runs.
    busy: f64,
    /// What a hit really costs, in seconds.
    hit: f64,
    /// How it passes a milestone, if there is one.
    milestone: Option<Passing>,
    passed: f64,
    last: Instant,
    pace: Pace,
    gauge: Gauge,
    began: Instant,
    now: Instant,
    /// Up to now.
    used: f64,
    own: f64,
    /// In this interval.
    calls: f64,
    hits: f64,
    seen: Reading,
    placed: bool,
}

/// A look at a process that calls one function only.
fn only(reading: Reading) -> Look {
    Look {
        reading,
        functions: Arc::new(HashMap::from_iter([(HOT, reading.hits)])),
    }
}

/// So many calls of that function.
fn counted(calls: u64) -> HashMap<Key, u64> {
    HashMap::from_iter([(HOT, calls)])
}

/// So many passes of a milestone by a look at a process.
fn with_passes(passes: u64, reading: Reading) -> Reading {
    let so_far = Passes {
        count: passes as f64,
        known: reading.used,
        last: None,
        is_free: false,
    };
    Reading {
        passed: Some(so_far),
        ..reading
    }
}

/// It was last passed at this time.
fn last_at(last: Duration, reading: Reading) -> Reading {
    let passed = reading.passed.map(|passed| Passes {
        last: Some(last),
        ..passed
    });
    Reading { passed, ..reading }
}

/// Calls that were made besides those that were counted.
fn besides(estimated: &Estimated) -> f64 {
    estimated.besides.values().sum()
}

/// How often a milestone is passed.
#[derive(Clone, Copy)]
enum Passing {
    /// Each time that so much own work is done, in seconds.
    Work(f64),
    /// Each time that so much time has gone by, in seconds.
    Clock(f64),
}

impl Made {
    fn new(allowed: f64, work: f64, busy: f64) -> Self {
        let now = Instant::now();
        Self {
            work,
            busy,
            hit: HIT,
            milestone: None,
            passed: 0.0,
            last: now,
            pace: Pace::new(allowed, now, 7),
            gauge: Gauge::counting(Reading::default()),
            began: now,
            now,
            used: 0.0,
            own: 0.0,
            calls: 0.0,
            hits: 0.0,
            seen: Reading::default(),
            placed: true,
        }
    }

    /// Lets it run for so many seconds.
    fn go_on(&mut self, seconds: f64) {
        let used = seconds * self.busy;
        let hit = if self.placed { self.hit } else { 0.0 };
        let each = self.work + hit;
        let calls = used / each;
        self.used += used;
        let own = calls * self.work;
        self.own += own;
        let passes = match self.milestone {
            Some(Passing::Work(each)) => own / each,
            Some(Passing::Clock(each)) => seconds / each,
            None => 0.0,
        };
        let before = self.passed.floor();
        self.passed += passes;
        self.calls += calls;
        if self.placed {
            self.hits += calls;
        }
        if self.passed.floor() > before {
            let part = 1.0 - self.passed.fract() / passes;
            self.last = self.now + Duration::from_secs_f64(part * seconds);
        }
        self.now += Duration::from_secs_f64(seconds);
    }

    fn read(&self) -> Reading {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small"
        )]
        let whole = |number: f64| number as u64;
        let reading = Reading {
            used: Duration::from_secs_f64(self.used),
            hits: whole(self.hits),
            careful: 0,
            at: self.now - self.began,
            passed: None,
        };
        match self.milestone {
            Some(_) => last_at(
                self.last - self.began,
                with_passes(whole(self.passed), reading),
            ),
            None => reading,
        }
    }

    fn look(&mut self) -> Step {
        let read = self.read();
        let step = self.pace.take(&pace::Look {
            at: self.now,
            used: read.used.saturating_sub(self.seen.used),
            spent: (read.hits - self.seen.hits) as f64 * COST.seconds,
        });
        self.seen = read;
        self.gauge_window(read);
        step
    }

    /// As it is done where there is a milestone.
    fn gauge_window(&mut self, read: Reading) {
        if self.milestone.is_some() && self.pace.is_open() {
            self.gauge.look(only(read));
            self.pace.hasten(self.now, Duration::ZERO);
        }
        self.pace
            .be_patient(self.milestone.is_some() && self.gauge.wants_step());
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Stay | Step::Settle => {}
            Step::Open => {
                // The kernel takes its time.
                self.go_on(0.000_7);
                self.placed = true;
                self.go_on(0.000_5);
                self.gauge.open(only(self.read()));
                self.pace.opened(self.now);
            }
            Step::Close => {
                self.gauge.close(only(self.seen));
                self.go_on(0.000_6);
                self.placed = false;
            }
        }
    }

    /// One interval of a second; what was estimated, and what was called.
    fn interval(&mut self) -> (Option<Estimated>, f64, f64) {
        let end = self.now + Duration::from_secs(1);
        while self.now < end {
            let due = self.pace.due().min(end);
            let wait = due.saturating_duration_since(self.now).as_secs_f64();
            self.go_on(wait.max(0.000_1));
            let step = self.look();
            self.step(step);
        }
        match self.look() {
            Step::Open => self.pace.put_off(self.now),
            step @ (Step::Close | Step::Settle) => self.step(step),
            Step::Stay => {
                let step = self.pace.interrupt(self.now);
                self.step(step);
            }
        }
        // What is hit while probes go is counted in this interval.
        self.seen = self.read();
        let estimated =
            self.gauge
                .end_interval(only(self.seen), &counted(self.seen.hits), COST, ALONE);
        let (calls, hits) = (self.calls, self.hits);
        (self.calls, self.hits) = (0.0, 0.0);
        self.seen.hits = 0;
        (estimated, calls, hits)
    }
}

#[test]
fn a_process_below_the_budget_is_counted_always() {
    // 50,000 calls a second of its own time cost it 2.8 %.
    for busy in [1.0, 0.3, 0.01] {
        let mut made = Made::new(0.05, 20e-6, busy);
        for _ in 0..60 {
            let (estimated, calls, hits) = made.interval();
            assert_eq!(estimated, None, "{busy}");
            assert!((calls - hits).abs() < 1e-6);
        }
    }
}

#[test]
fn what_is_allowed_is_not_exceeded_and_estimates_hold() {
    for allowed in [0.01, 0.05, 0.2] {
        for work in [60e-9, 200e-9, 1e-6, 5e-6] {
            for busy in [1.0, 0.4] {
                let mut made = Made::new(allowed, work, busy);
                let (mut all, mut guessed) = (0.0, 0.0);
                for _ in 0..10 {
                    let (estimated, calls, hits) = made.interval();
                    let Some(estimated) = estimated else {
                        continue;
                    };
                    all += calls;
                    guessed += hits + besides(&estimated);
                }
                let what = format!("{allowed} {work} {busy}");
                let slowdown = made.used / made.own - 1.0;
                // What it loses before it is found out counts for some seconds.
                let late = 0.09 / (10.0 * busy);
                assert!(slowdown < allowed * 1.1 + late, "{what}: {slowdown}");
                if work > HIT / allowed {
                    assert!(all < 0.5, "{what}");
                } else {
                    assert!(guessed > 0.0, "{what}");
                    let ratio = guessed / all;
                    // What is not known well is taken to be a little more than it seems.
                    let least = if work < 100e-9 { 0.85 } else { 0.95 };
                    assert!((least..1.05).contains(&ratio), "{what}: {ratio}");
                }
            }
        }
    }
}

#[test]
fn a_window_that_waits_for_a_step_is_not_begun_where_the_interval_ends_too_soon() {
    let milliseconds = |left| Some(Duration::from_millis(left));
    let mut pace = Pace::new(0.05, Instant::now(), 1);
    assert!(!pace.lacks_room(milliseconds(10)));
    pace.be_patient(true);
    assert!(pace.lacks_room(milliseconds(249)));
    assert!(!pace.lacks_room(milliseconds(251)));
    assert!(!pace.lacks_room(None));
    // What may be lost is less, and so is what it may take.
    let mut pace = Pace::new(0.01, Instant::now(), 1);
    pace.be_patient(true);
    assert!(pace.lacks_room(milliseconds(49)));
    assert!(!pace.lacks_room(milliseconds(51)));
}

/// What a process told in ten seconds to what it called, and the largest uncertainty, once it has been
/// found out.
fn told_to_real(made: &mut Made) -> (f64, f64) {
    made.interval();
    made.interval();
    let (mut all, mut guessed, mut off) = (0.0, 0.0, 0.0_f64);
    for _ in 0..10 {
        let (estimated, calls, hits) = made.interval();
        let estimated = estimated.unwrap();
        all += calls;
        guessed += hits + besides(&estimated);
        off = off.max(estimated.uncertainty);
    }
    (guessed / all, off)
}

#[test]
fn a_milestone_tells_what_the_cost_of_a_hit_does_not() {
    for off in [0.85, 1.0, 1.15] {
        for work in [9e-9, 30e-9, 90e-9, 400e-9] {
            let mut made = Made::new(0.05, work, 1.0);
            made.hit = HIT * off;
            let (without, uncertainty) = told_to_real(&mut made);
            assert!(
                work > 100e-9 || uncertainty > 0.5,
                "{off} {work} {uncertainty}"
            );
            let mut made = Made::new(0.05, work, 1.0);
            made.hit = HIT * off;
            made.milestone = Some(Passing::Work(50e-6));
            made.pace.lengthen(true);
            let (with, uncertainty) = told_to_real(&mut made);
            let what = format!("{off} {work}: {without} {with} {uncertainty}");
            assert!((0.96..1.04).contains(&with), "{what}");
            assert!(uncertainty < 0.3, "{what}");
        }
    }
}

/// A window of some milliseconds has a pass or two, or none in most of them, and the cost of a hit is not known.
#[test]
fn passes_that_are_farther_apart_than_windows_are_long_tell_as_well() {
    for distance in [100e-6, 300e-6, 1e-3, 3e-3, 5e-3] {
        let mut made = Made::new(0.05, 30e-9, 1.0);
        made.hit = HIT * 1.15;
        made.milestone = Some(Passing::Work(distance));
        made.pace.lengthen(true);
        let (told, uncertainty) = told_to_real(&mut made);
        let slowdown = made.used / made.own - 1.0;
        let what = format!("{distance}: {told} {uncertainty} {slowdown}");
        assert!((0.97..1.03).contains(&told), "{what}");
        // It is told by 15 % more than it seems.
        assert!(slowdown < 0.05 * 1.15 + 0.01, "{what}");
    }
}

#[test]
fn what_is_passed_by_the_clock_is_no_milestone() {
    for work in [30e-9, 90e-9, 400e-9] {
        let told = |milestone| {
            let mut made = Made::new(0.05, work, 1.0);
            made.milestone = milestone;
            told_to_real(&mut made)
        };
        let (without, _) = told(None);
        let (with, _) = told(Some(Passing::Clock(200e-6)));
        assert!((without - with).abs() < 0.03, "{work}: {without} {with}");
    }
}

#[test]
fn windows_come_several_times_a_second_and_not_in_step() {
    let mut made = Made::new(0.05, 100e-9, 1.0);
    for _ in 0..3 {
        made.interval();
    }
    let mut opened = Vec::new();
    let end = made.now + Duration::from_secs(4);
    while made.now < end {
        let wait = made.pace.due().saturating_duration_since(made.now);
        made.go_on(wait.as_secs_f64().max(0.000_1));
        let step = made.look();
        if step == Step::Open {
            opened.push(made.now);
        }
        made.step(step);
    }
    let mut gaps: Vec<_> = opened.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    let (shortest, longest) = (gaps[0], gaps[gaps.len() - 1]);
    assert!((20..=60).contains(&gaps.len()), "{}", gaps.len());
    assert!(longest > shortest * 3 / 2, "{shortest:?} {longest:?}");
}

#[test]
fn a_process_that_cools_down_is_counted_always_again() {
    for (work, busy) in [(100e-6, 1.0), (20e-6, 0.05), (1e-3, 0.001)] {
        let mut made = Made::new(0.05, 60e-9, 1.0);
        for _ in 0..5 {
            made.interval();
        }
        assert!(made.interval().0.is_some());
        (made.work, made.busy) = (work, busy);
        let mut intervals = 0;
        while made.interval().0.is_some() {
            intervals += 1;
            assert!(intervals < 6, "{work} {busy}");
        }
        for _ in 0..5 {
            assert_eq!(made.interval().0, None, "{work} {busy}");
        }
    }
}

#[test]
fn one_that_heats_up_again_and_again_has_to_wait_longer() {
    let mut made = Made::new(0.05, 60e-9, 1.0);
    for round in 0..40 {
        made.work = if round % 2 == 0 { 60e-9 } else { 1e-3 };
        for _ in 0..2 {
            made.interval();
        }
    }
    let slowdown = made.used / made.own - 1.0;
    assert!(slowdown < 0.1, "{slowdown}");
}

#[test]
fn what_a_nearly_idle_process_loses_is_no_matter() {
    let mut now = Instant::now();
    let mut pace = Pace::new(0.05, now, 1);
    for _ in 0..2000 {
        now += Duration::from_millis(50);
        // A fifth of its time, but 2 ms in a second.
        let look = pace::Look {
            at: now,
            used: Duration::from_micros(500),
            spent: 0.000_1,
        };
        assert_eq!(pace.take(&look), Step::Stay);
    }
}
