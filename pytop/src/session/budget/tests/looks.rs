//! Made-up looks at processes, at times and with hits that are given.

use super::*;

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
        // A milestone tells as well without a window in the interval, the cost of a hit does not.
        assert_eq!(told.uncertainty < 0.1, milestone.is_some(), "{told:?}");
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

/// Another function.
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

/// Functions of which the last is called ten times as often as the first.
const FUNCTIONS: u64 = 10;
/// Calls after which one has lasted.
const LASTS: u64 = 1024;

/// A process that has called all functions in turn, so many `calls` in all of this interval: at its last
/// look, of `at` milliseconds, and what was counted in the interval.
fn in_turn(at: f64, calls: u64) -> (Look, HashMap<Key, u64>) {
    let of = |function: u64| (calls * function).div_ceil(FUNCTIONS * (FUNCTIONS + 1) / 2);
    let counted = (1..=FUNCTIONS).map(|function| ((function, None), of(function)));
    let counted: HashMap<Key, u64> = counted.collect();
    let functions = counted.iter().filter(|(_, calls)| **calls > LASTS);
    let functions = functions.map(|(key, calls)| (*key, calls - LASTS));
    let time = Duration::from_secs_f64(at * 1e-3);
    let reading = Reading {
        used: time,
        hits: counted.values().sum(),
        careful: counted.values().map(|calls| (*calls).min(LASTS)).sum(),
        at: time,
        passed: None,
    };
    let look = Look {
        reading,
        functions: Arc::new(functions.collect()),
    };
    (look, counted)
}

/// Each function has its share of what is told, off by no more than such a part of it.
fn assert_shares(estimated: &Estimated, counted: &HashMap<Key, u64>, off: f64) {
    let all: u64 = counted.values().sum();
    for (key, calls) in counted {
        let told = estimated.besides[key] / besides(estimated);
        let real = *calls as f64 / all as f64;
        assert!((told / real - 1.0).abs() < off, "{key:?}: {told} {real}");
    }
}

/// Some last before the windows, some in them, and some not at all.
#[test]
fn functions_that_last_later_are_told_as_often_as_they_are_called() {
    for calls in [30_000, 60_000, 90_000] {
        let mut gauge = Gauge::counting(Reading::default());
        gauge.close(in_turn(20.0, 20_000).0);
        gauge.open(in_turn(400.0, 20_000).0);
        let (end, counted) = in_turn(400.0 + (calls - 20_000) as f64 * 1e-3, calls);
        gauge.close(end.clone());
        let mut end = end;
        end.reading.used = Duration::from_secs(1);
        end.reading.at = Duration::from_secs(1);
        let estimated = gauge.end_interval(end, &counted, COST, ALONE).unwrap();
        assert_shares(&estimated, &counted, 0.02);
    }
}

/// In windows in which functions have not lasted yet, hits take longer, and the first of those that have
/// lasted seem to be all.
#[test]
fn functions_that_last_in_windows_are_of_one_regime() {
    let mut gauge = Gauge::counting(Reading::default());
    gauge.close(in_turn(20.0, 0).0);
    let (mut at, mut before) = (120.0, 0);
    // Hits of functions that have not lasted take 2.4 times as long.
    for calls in [3_000, 6_000, 9_000, 20_000, 40_000] {
        gauge.open(in_turn(at, before).0);
        let careful = |calls| in_turn(0.0, calls).0.reading.careful;
        let more = 1.4 * (careful(calls) - careful(before)) as f64;
        at += ((calls - before) as f64 + more) * COST.seconds * 1.1e3;
        gauge.close(in_turn(at, calls).0);
        (at, before) = (at + 100.0, calls);
    }
    let (end, counted) = in_turn(at, before);
    let estimated = gauge.end_interval(end, &counted, COST, ALONE).unwrap();
    assert_shares(&estimated, &counted, 0.05);
}

/// All that is not seen was before the window, though that is not known of any function.
#[test]
fn functions_that_lasted_while_nothing_was_open_are_told_as_often_as_they_are_called() {
    let mut gauge = Gauge::counting(Reading::default());
    gauge.close(in_turn(20.0, 0).0);
    gauge.open(in_turn(120.0, 110_000).0);
    let (end, counted) = in_turn(230.0, 220_000);
    gauge.close(end);
    let (end, _) = in_turn(500.0, 220_000);
    let estimated = gauge.end_interval(end, &counted, COST, ALONE).unwrap();
    assert_shares(&estimated, &counted, 0.001);
}

/// A number in memory may be misread in a window, in which the process works as in all others.
#[test]
fn one_window_out_of_step_is_no_regime_of_its_own() {
    // 40 ns of own work for each call, ten calls to a pass; and what the third window has.
    let counting = |milliseconds, hits, passed| {
        let reading = passing(milliseconds, hits, passed);
        let passed = reading.passed.map(|passed| Passes {
            is_free: true,
            ..passed
        });
        Reading { passed, ..reading }
    };
    let told = |third: u64| {
        let mut gauge = Gauge::counting(reading(0, 0));
        gauge.close(only(reading(10, 1_000)));
        gauge.start_passing(counting(10, 1_000, 0));
        let (mut at, mut hits, mut passed) = (10, 1_000, 0);
        for within in [1_000, 1_000, third, 1_000, 1_000] {
            (at, passed) = (at + 100, passed + 250_000);
            gauge.open(only(counting(at, hits, passed)));
            (at, hits, passed) = (at + 6, hits + 10_000, passed + within);
            gauge.close(only(counting(at, hits, passed)));
        }
        let told = gauge.end_interval(
            only(counting(at, hits, passed)),
            &counted(hits),
            COST,
            MAY_COME,
        );
        besides(&told.unwrap()) / 12_500_000.0
    };
    for third in [1_000, 500, 0] {
        let told = told(third);
        assert!((told - 1.0).abs() < 0.03, "{third}: {told}");
    }
}
