//! When a process is counted: always while that costs little enough, and else in windows.
//!
//! Each process has an account of processor time. What it may lose to counting is paid in as it
//! runs, what it does lose is drawn. A process whose account never runs dry is counted always. Once
//! it does, the process is counted in windows, each as soon as there is enough on the account; the
//! threshold is drawn anew for each, so that windows do not fall into step with what the process
//! does. In windows that cost less than is allowed, the process has calmed down, and after some of
//! those in a row it is counted always again.
//!
//! ```text
//!              the account runs dry                     enough on the account
//!   Always ───────────────────────────▶ Closed ─────────────────────────────▶ Open
//!      ▲                                  ▲                                     │ │
//!      │                                  └─────────── enough was spent ────────┘ │
//!      └───────────── some calm windows in a row: it settles ─────────────────────┘
//! ```
//!
//! Nothing here knows a clock, a process, or a probe.

use std::time::{Duration, Instant};

/// How often a process is looked at that is counted always, or waits for nothing in particular.
const LOOK: Duration = Duration::from_millis(50);
/// No look follows another one sooner.
const SHORTEST: Duration = Duration::from_millis(1);

/// A process is taken to use so much of a processor at least: what a nearly idle one loses hurts nobody,
/// and its windows would hold next to nothing.
const LEAST_USED: f64 = 0.05;
/// What the process may lose at once before it is counted in windows, in seconds: the calls of a
/// program that starts should not make an estimate of it.
const BURST: f64 = 0.025;
/// What it can owe at most, in short windows; what it lost beyond that before it was found out is forgiven.
const DEBT: f64 = 4.0;

/// Windows keep to so much of what is allowed, as the cost of a hit is known to a third only.
const MARGIN: f64 = 0.8;
/// Processor time from one window to the next, in seconds, unless they get too short.
const PERIOD: f64 = 0.110;
/// Likewise where windows have to be longer, to have several passes of a milestone each.
const LONG_PERIOD: f64 = 0.500;
/// Where even these have less than two, one goes on until it has: for what may be lost in so many seconds of
/// processor time, and for so many seconds at most.
const PATIENCE: (f64, f64) = (5.0, 0.2);
/// Such a window needs so many times as long by the clock as what may be lost in it.
const ROOM: f64 = 1.25;
/// The shortest window, in seconds of the process's processor time.
const WINDOW: f64 = 0.003;
/// After this time a window is opened on trial, should the process have become so quiet that it
/// would take long to earn one.
const TRIAL: Duration = Duration::from_secs(1);
/// What may be owed for that, in short windows.
const TRIAL_DEBT: f64 = 3.0;

/// After this time or the period, an open window is judged.
const JUDGED_AFTER: Duration = Duration::from_millis(500);
/// A window is calm that costs less than this part of what is allowed.
const CALM: f64 = 0.9;
/// Calm windows in a row after which a process is counted always: twice as many each time when
/// that was too soon.
const CALM_WINDOWS: (u32, u32) = (3, 48);
/// It was too soon when the account runs dry again within this time.
const RELAPSE: Duration = Duration::from_secs(30);

/// What is to be done with the probes of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Stay,
    /// They are to be placed: a window begins.
    Open,
    /// They are to be taken out.
    Close,
    /// They stay: there are no windows any more.
    Settle,
}

/// What has become of a process since the look before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    /// The processor time that the process has used since then.
    pub(super) used: Duration,
    /// What counting took of it, in seconds.
    pub(super) spent: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Always {
        since: Instant,
    },
    Closed {
        since: Instant,
        /// What has to be on the account for a window, in seconds.
        threshold: f64,
    },
    Open {
        since: Instant,
        used: f64,
        spent: f64,
    },
}

/// When one process is counted.
#[derive(Debug)]
pub(super) struct Pace {
    /// The part of its processor time that it may lose.
    allowed: f64,
    /// In seconds of processor time.
    account: f64,
    /// From one window to the next, likewise.
    period: f64,
    /// Windows go on for more than their price.
    is_patient: bool,
    state: State,
    /// When it was last looked at.
    seen: Instant,
    due: Instant,
    /// Calm windows in a row, and how many there have to be.
    calm: u32,
    calm_needed: u32,
    random: u64,
}

impl Pace {
    /// A process that is counted from now on.
    pub(super) fn new(allowed: f64, now: Instant, seed: u64) -> Self {
        Self {
            allowed,
            account: BURST,
            period: PERIOD,
            is_patient: false,
            state: State::Always { since: now },
            seen: now,
            due: now + LOOK,
            calm: 0,
            calm_needed: CALM_WINDOWS.0,
            random: seed | 1,
        }
    }

    /// Makes windows longer and rarer, or as short as can be.
    pub(super) fn lengthen(&mut self, is_long: bool) {
        self.period = if is_long { LONG_PERIOD } else { PERIOD };
    }

    /// Has windows go on for what they are open for, or close when they have cost enough.
    pub(super) fn be_patient(&mut self, is_patient: bool) {
        self.is_patient = is_patient;
    }

    /// The part of its processor time that the process may lose.
    pub(super) fn allowed(&self) -> f64 {
        self.allowed
    }

    /// What a window may cost, in seconds of processor time.
    pub(super) fn price(&self) -> f64 {
        self.period * MARGIN * self.allowed
    }

    /// What one may cost that has to go on, likewise.
    fn patience(&self) -> f64 {
        let (period, most) = PATIENCE;
        (period * MARGIN * self.allowed).min(most)
    }

    /// A window that goes on for what it is open for may not end before so much time has gone by, the rest of
    /// an interval: it is better begun in the next one. `None` where it is not known how much is left.
    pub(super) fn lacks_room(&self, left: Option<Duration>) -> bool {
        self.is_patient && left.is_some_and(|left| left.as_secs_f64() < self.patience() * ROOM)
    }

    /// When to look next.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Has the next look come within such a time, but none sooner than looks may follow each other.
    pub(super) fn hasten(&mut self, now: Instant, within: Duration) {
        self.due = self.due.min(now + within.max(SHORTEST));
    }

    /// Whether a window is open.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Takes in what has become of the process, and says what is to be done.
    pub(super) fn take(&mut self, look: &Look) -> Step {
        let elapsed = look.at.saturating_duration_since(self.seen).as_secs_f64();
        self.seen = look.at;
        let used = look.used.as_secs_f64().max(LEAST_USED * elapsed);
        let earned = match self.state {
            State::Always { .. } => self.allowed * used,
            State::Closed { .. } | State::Open { .. } => self.allowed * MARGIN * used,
        };
        let most = match self.state {
            State::Always { .. } => BURST,
            State::Closed { .. } | State::Open { .. } => self.price().max(BURST),
        };
        let debt = (DEBT * PERIOD * MARGIN * self.allowed).max(match self.state {
            State::Always { .. } => 0.0,
            State::Open { .. } => self.price() + self.patience(),
            // That of a window stays until it is paid.
            State::Closed { .. } => -self.account,
        });
        self.account = (self.account + earned - look.spent).clamp(-debt, most);
        self.due = look.at + LOOK;
        match self.state {
            State::Always { since } => {
                if self.account >= 0.0 {
                    return Step::Stay;
                }
                let (fewest, most) = CALM_WINDOWS;
                self.calm_needed = if self.calm == 0 || look.at - since > RELAPSE {
                    fewest
                } else {
                    (self.calm_needed * 2).min(most)
                };
                self.calm = 0;
                self.close(look.at)
            }
            State::Closed { since, threshold } => {
                let on_trial = look.at - since >= TRIAL
                    && self.account >= -TRIAL_DEBT * PERIOD * MARGIN * self.allowed;
                if self.account >= threshold || on_trial {
                    self.state = State::Open {
                        since: look.at,
                        used: 0.0,
                        spent: 0.0,
                    };
                    self.due = look.at + Duration::from_secs_f64(WINDOW);
                    return Step::Open;
                }
                let missing = (threshold - self.account) / (self.allowed * MARGIN);
                self.look_within(look.at, missing);
                Step::Stay
            }
            State::Open {
                since,
                used: used_before,
                spent: spent_before,
            } => self.judge(
                look.at,
                since,
                used_before + used,
                spent_before + look.spent,
            ),
        }
    }

    /// Ends a window before its time, unless it has been a calm one so far. It goes on soon.
    pub(super) fn interrupt(&mut self, now: Instant) -> Step {
        match self.state {
            State::Open { used, spent, .. } if !self.is_calm(used, spent) => {
                self.put_off(now);
                Step::Close
            }
            _ => Step::Stay,
        }
    }

    /// Not now: a window that was to be opened is opened soon.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.state = State::Closed {
            since: now,
            threshold: self.account,
        };
        self.due = now + LOOK;
    }

    fn is_calm(&self, used: f64, spent: f64) -> bool {
        spent <= CALM * self.allowed * used
    }

    /// The probes have been placed.
    pub(super) fn opened(&mut self, at: Instant) {
        if let State::Open { since, .. } = &mut self.state {
            *since = at;
            self.due = at + Duration::from_secs_f64(WINDOW);
        }
    }

    /// Looks at an open window.
    fn judge(&mut self, at: Instant, since: Instant, used: f64, spent: f64) -> Step {
        let enough = if self.is_patient {
            self.patience().max(self.price())
        } else {
            self.price()
        };
        if used >= WINDOW && spent >= enough {
            self.calm = 0;
            return self.close(at);
        }
        self.state = State::Open { since, used, spent };
        if used >= self.period || at - since >= JUDGED_AFTER {
            if self.is_calm(used, spent) {
                self.calm += 1;
            } else {
                self.calm = 0;
            }
            if self.calm >= self.calm_needed {
                self.account = BURST;
                self.state = State::Always { since: at };
                return Step::Settle;
            }
            // As a window of its own, but for the probes, which stay where they are.
            self.state = State::Open {
                since: at,
                used: 0.0,
                spent: 0.0,
            };
        }
        if spent > 0.0 {
            let elapsed = (at - since).as_secs_f64();
            self.look_within(at, (self.price() - spent).max(0.0) / spent * elapsed);
        }
        Step::Stay
    }

    fn close(&mut self, at: Instant) -> Step {
        // On the average, windows that cost the same follow each other as they can be afforded.
        let threshold = self.price() * self.uniform();
        self.state = State::Closed {
            since: at,
            threshold,
        };
        let missing = (threshold - self.account).max(0.0) / (self.allowed * MARGIN);
        self.look_within(at, missing);
        Step::Close
    }

    fn look_within(&mut self, at: Instant, seconds: f64) {
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(LOOK);
        self.due = at + wait.clamp(SHORTEST, LOOK);
    }

    /// A number from 0 to 1: Marsaglia's xorshift, as good as any for this.
    fn uniform(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }
}
