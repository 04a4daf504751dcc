//! Made-up processes, whose calls are known.

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
        is_free: false,
    };
    Reading {
        passed: Some(so_far),
        ..reading
    }
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
        self.passed += match self.milestone {
            Some(Passing::Work(each)) => own / each,
            Some(Passing::Clock(each)) => seconds / each,
            None => 0.0,
        };
        self.calls += calls;
        if self.placed {
            self.hits += calls;
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
            Some(_) => with_passes(whole(self.passed), reading),
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
        step
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

/// Of a process that runs all the time and has a milestone.
fn passing(milliseconds: u64, hits: u64, passed: u64) -> Reading {
    with_passes(passed, reading(milliseconds, hits))
}

/// What is not known well waits for the milestone that is searched, and is told by it.
#[test]
fn calls_before_a_milestone_was_found_are_told_by_it() {
    let mut gauge = Gauge::counting(Reading::default());
    gauge.close(only(reading(10, 16_000)));
    gauge.open(only(reading(300, 16_000)));
    gauge.close(only(reading(320, 48_000)));
    // Less is left for the functions than what is known of the cost of a hit.
    let waiting = gauge.end_interval(
        only(reading(1_000, 48_000)),
        &counted(48_000),
        COST,
        MAY_COME,
    );
    let waiting = waiting.unwrap();
    assert!(besides(&waiting) <= 0.0 && waiting.uncertainty >= 1.0);
    // 40 passes and 40,000 calls in windows, 10 passes in a millisecond outside.
    gauge.start_passing(passing(1_100, 0, 0));
    gauge.open(only(passing(1_500, 0, 4_000)));
    gauge.close(only(passing(1_512, 20_000, 4_020)));
    gauge.open(only(passing(1_700, 20_000, 5_900)));
    gauge.close(only(passing(1_712, 40_000, 5_920)));
    let told = gauge.end_interval(
        only(passing(2_000, 40_000, 8_800)),
        &counted(40_000),
        COST,
        MAY_COME,
    );
    let told = told.unwrap();
    // All the time outside, of which the milestone has seen less than a second.
    let outside: f64 = (300.0 - 10.0) + (1_500.0 - 320.0) + 188.0 + 288.0;
    let passes = 4_000.0 + (5_900.0 - 4_020.0) + (8_800.0 - 5_920.0);
    let seen = passes / (400.0 + 188.0 + 288.0);
    let calls = outside * seen * 1_000.0;
    assert!(
        (besides(&told) / calls - 1.0).abs() < 1e-9,
        "{told:?} {calls}"
    );
}

/// Nobody waits for ever, and nothing waits for what does not come.
#[test]
fn what_waits_for_a_milestone_is_told_in_the_end() {
    for (next, most) in [(MAY_COME, 5), (ALONE, 1)] {
        let mut gauge = Gauge::counting(Reading::default());
        gauge.close(only(reading(10, 16_000)));
        let mut intervals = 0;
        loop {
            let from = 10 + intervals * 1_000;
            gauge.open(only(reading(from + 300, 0)));
            gauge.close(only(reading(from + 320, 32_000)));
            gauge.open(only(reading(from + 600, 32_000)));
            gauge.close(only(reading(from + 620, 64_000)));
            let now = reading(from + 1_000, 64_000);
            let estimated = gauge
                .end_interval(only(now), &counted(64_000), COST, next)
                .unwrap();
            intervals += 1;
            if besides(&estimated) > 0.0 {
                break;
            }
            assert!(intervals < 10);
        }
        assert_eq!(intervals, most, "{next:?}");
    }
}

/// The last interval may be too short for a window. What happened before tells how much was called.
#[test]
fn a_last_interval_without_a_window_is_told_as_those_before() {
    for milestone in [None, Some(0)] {
        let passing = |milliseconds, hits, passed| {
            let reading = reading(milliseconds, hits);
            milestone.map_or(reading, |first: u64| with_passes(first + passed, reading))
        };
        let mut gauge = Gauge::counting(reading(0, 0));
        gauge.close(only(reading(10, 1_000)));
        gauge.start_passing(passing(10, 1_000, 0));
        // 1 us of own work for each call, and ten calls for each pass.
        gauge.open(only(passing(110, 1_000, 10_000)));
        gauge.close(only(passing(126, 11_000, 11_000)));
        gauge.open(only(passing(226, 11_000, 21_000)));
        gauge.close(only(passing(242, 21_000, 22_000)));
        let now = passing(342, 21_000, 32_000);
        let told = gauge.end_interval(only(now), &counted(21_000), COST, MAY_COME);
        assert!(told.is_some());
        let now = passing(442, 0, 42_000);
        let told = gauge
            .end_interval(only(now), &counted(0), COST, ALONE)
            .unwrap();
        assert!((besides(&told) / 100_000.0 - 1.0).abs() < 0.06, "{told:?}");
        assert!(told.uncertainty >= 1.0);
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

/// Of a process that runs all the time.
fn reading(milliseconds: u64, hits: u64) -> Reading {
    Reading {
        used: Duration::from_millis(milliseconds),
        hits,
        careful: 0,
        at: Duration::from_millis(milliseconds),
        passed: None,
    }
}

#[test]
fn what_stands_still_outside_of_windows_has_been_counted() {
    let mut gauge = Gauge::counting(Reading::default());
    gauge.close(look(10.0, 10, 100, 0));
    gauge.open(look(10.0, 10, 100, 0));
    let end = look(20.0, 20, 200, 0);
    assert_eq!(gauge.end_interval(end, &counted(200), COST, ALONE), None);
    // From here on it is closed while the process runs, and nothing is counted. The window before tells:
    // 100 us from hit to hit.
    gauge.close(look(20.0, 20, 0, 0));
    let work = 100e-6 - COST.seconds;
    let end = look(120.0, 120, 0, 0);
    let nothing = gauge.end_interval(end, &counted(0), COST, ALONE);
    let nothing = nothing.unwrap();
    assert!((told(&nothing).0 - 0.1 / work).abs() < 1e-4, "{nothing:?}");
    assert!(nothing.share <= 0.0 && nothing.uncertainty >= 1.0);
}

/// A program may do other things at its start than later.
#[test]
fn the_time_before_the_first_window_tells_nothing_of_what_follows() {
    let mut gauge = Gauge::counting(Reading::default());
    // 10 us from hit to hit at first, 2 us in the window.
    gauge.close(only(reading(300, 30_000)));
    gauge.open(only(reading(400, 30_000)));
    gauge.close(only(reading(420, 40_000)));
    let estimated = gauge.end_interval(only(reading(500, 40_000)), &counted(40_000), COST, ALONE);
    let calls = besides(&estimated.expect("it was not counted always"));
    let outside = 0.180 / (2e-6 - COST.seconds);
    assert!((calls / outside - 1.0).abs() < 0.01, "{calls} {outside}");
}

/// The functions that these tests tell apart.
const HOT: Key = (1, Some(10));
const CALM: Key = (2, Some(20));

/// At times in milliseconds, of the process and by the clock, with so many hits of the two functions.
fn look(used: f64, at: u64, hot: u64, calm: u64) -> Look {
    let reading = Reading {
        used: Duration::from_secs_f64(used * 1e-3),
        hits: hot + calm,
        careful: 0,
        at: Duration::from_millis(at),
        passed: None,
    };
    let functions = HashMap::from_iter([(HOT, hot), (CALM, calm)]);
    Look {
        reading,
        functions: Arc::new(functions),
    }
}

/// What is told of the two functions, besides what was counted.
fn told(estimated: &Estimated) -> (f64, f64) {
    let of = |key| estimated.besides.get(&key).copied().unwrap_or(0.0);
    (of(HOT), of(CALM))
}

/// It has used a processor all the time up to now, and hardly does any more.
#[test]
fn one_that_calms_down_outside_of_windows_is_not_taken_for_busy() {
    // Counted always up to then, or in windows.
    for is_found_out in [false, true] {
        let mut gauge = Gauge::counting(Reading::default());
        gauge.close(look(100.0, 100, 100_000, 0));
        let end = look(100.0, 100, 100_000, 0);
        assert_eq!(
            gauge.end_interval(end, &counted(100_000), COST, ALONE),
            None
        );
        if is_found_out {
            gauge.open(look(100.0, 100, 0, 0));
            gauge.close(look(110.0, 110, 10_000, 0));
        }
        // Busy for half a second, then it calls once in 50 ms.
        gauge.open(look(600.0, 600, 10_000, 0));
        let end = look(600.2, 1_000, 10_000, 8);
        let calm = gauge.end_interval(end, &counted(10_008), COST, ALONE);
        let calm = calm.unwrap();
        let busy = 0.49 / (1e-6 - COST.seconds);
        let (hot, other) = told(&calm);
        assert!((hot / busy - 1.0).abs() < 0.1, "{calm:?}");
        assert!(other < 30.0, "{calm:?}");
    }
}

#[test]
fn what_is_called_between_two_regimes_is_half_of_each() {
    let mut gauge = Gauge::counting(look(0.0, 0, 0, 0).reading);
    gauge.close(look(10.0, 10, 5_000, 0));
    gauge.open(look(10.0, 10, 5_000, 0));
    gauge.close(look(20.0, 20, 15_000, 0));
    // 20 us from hit to hit of the other one, and it stays there.
    gauge.open(look(420.0, 420, 15_000, 0));
    gauge.close(look(440.0, 440, 15_000, 1_000));
    gauge.open(look(640.0, 640, 15_000, 1_000));
    gauge.close(look(660.0, 660, 15_000, 2_000));
    let end = look(760.0, 760, 15_000, 2_000);
    let estimated = gauge.end_interval(end, &counted(17_000), COST, ALONE);
    let (hot, calm) = told(&estimated.unwrap());
    assert!((hot * (1e-6 - COST.seconds) / 0.2 - 1.0).abs() < 1e-4);
    assert!((calm * (20e-6 - COST.seconds) / 0.5 - 1.0).abs() < 1e-4);
}

/// Calm windows are long. What is called at their end, when it is not calm any more, is something else.
#[test]
fn a_window_in_which_the_process_heats_up_has_two_parts() {
    let mut gauge = Gauge::counting(look(0.0, 0, 0, 0).reading);
    gauge.close(look(10.0, 10, 10_000, 0));
    gauge.open(look(10.0, 10, 10_000, 0));
    for at in [60, 110, 160] {
        let calls = (at - 10) / 5;
        let used = at as f64 * 0.01 + 9.9;
        gauge.look(look(used, at, 10_000, calls));
    }
    gauge.close(look(26.5, 175, 25_000, 30));
    // The rest of what it does now, and some time in which it is calm again.
    let end = look(126.5, 1_000, 25_000, 30);
    let estimated = gauge.end_interval(end, &counted(25_030), COST, ALONE);
    let estimated = estimated.unwrap();
    let (hot, calm) = told(&estimated);
    assert!(
        (hot * (1e-6 - COST.seconds) / 0.1 - 1.0).abs() < 0.02,
        "{estimated:?}"
    );
    assert!(calm < 1.0, "{estimated:?}");
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
