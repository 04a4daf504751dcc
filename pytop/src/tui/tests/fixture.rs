//! A machine that is always the same, and a screen on it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Size;

use super::super::Settings;
use super::super::action::{Action, Effects};
use super::super::app::App;
use super::super::theme::Colors;
use super::super::{input, screen};
use crate::model::{
    Collections, Coverage, Method, ProcessStatus, Row, Runtime, Snapshot, Uncounted, View,
};
use crate::updates::{Scope, Update};

/// A screen without a terminal.
pub(super) struct Screen {
    pub(super) app: App,
}

/// How a test's screen begins.
pub(super) fn settings() -> Settings {
    Settings {
        view: View::default(),
        interval: Duration::from_secs(1),
        scope: Scope::Machine,
        ascii: false,
        colors: Colors::Indexed,
        close_at_end: false,
    }
}

impl Screen {
    /// A screen before the first snapshot.
    pub(super) fn new(width: u16, height: u16) -> Self {
        Self::with(settings(), width, height)
    }

    pub(super) fn with(settings: Settings, width: u16, height: u16) -> Self {
        Self {
            app: App::new(settings, Size::new(width, height)),
        }
    }

    /// A screen on the busy machine.
    pub(super) fn busy(width: u16, height: u16) -> Self {
        let mut screen = Self::new(width, height);
        screen.run(40);
        screen
    }

    /// Lets so many intervals pass on the busy machine.
    pub(super) fn run(&mut self, ticks: u64) {
        for tick in 0..ticks {
            self.take(snapshot(rows(tick)));
        }
    }

    pub(super) fn take(&mut self, snapshot: Snapshot) -> Effects {
        self.hear(Update::Snapshot(Arc::new(snapshot)))
    }

    pub(super) fn hear(&mut self, update: Update) -> Effects {
        self.app.update(Action::Update(update))
    }

    /// Presses a key.
    pub(super) fn key(&mut self, code: KeyCode) -> Effects {
        self.event(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    pub(super) fn control(&mut self, character: char) -> Effects {
        let code = KeyCode::Char(character);
        self.event(Event::Key(KeyEvent::new(code, KeyModifiers::CONTROL)))
    }

    /// Presses a letter key after another.
    pub(super) fn press(&mut self, characters: &str) {
        for character in characters.chars() {
            self.key(match character {
                '\t' => KeyCode::Tab,
                character => KeyCode::Char(character),
            });
        }
    }

    pub(super) fn click(&mut self, column: u16, row: u16) -> Effects {
        self.mouse(MouseEventKind::Down(MouseButton::Left), column, row)
    }

    pub(super) fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) -> Effects {
        self.event(Event::Mouse(MouseEvent {
            kind,
            column,
            row,
            modifiers: KeyModifiers::NONE,
        }))
    }

    pub(super) fn event(&mut self, event: Event) -> Effects {
        match input::action(self.app.context(), event) {
            Some(action) => self.app.update(action),
            None => Effects::NONE,
        }
    }

    pub(super) fn buffer(&self) -> Buffer {
        let size = self.app.size;
        let mut terminal = Terminal::new(TestBackend::new(size.width, size.height)).unwrap();
        terminal
            .draw(|frame| screen::draw(&self.app, frame))
            .unwrap();
        terminal.backend().buffer().clone()
    }

    /// The text on the screen.
    pub(super) fn text(&self) -> String {
        let buffer = self.buffer();
        let mut text = String::new();
        for y in 0..buffer.area.height {
            let mut line = String::new();
            let mut covered = 0;
            for x in 0..buffer.area.width {
                // The second half of a wide character is a cell without a width of its own.
                if covered > 0 {
                    covered -= 1;
                    continue;
                }
                let symbol = buffer[(x, y)].symbol();
                covered = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
                line.push_str(symbol);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The line of the screen that holds a text.
    pub(super) fn line(&self, part: &str) -> String {
        let text = self.text();
        let line = text.lines().find(|line| line.contains(part));
        line.unwrap_or_else(|| panic!("no {part} in\n{text}"))
            .to_owned()
    }

    pub(super) fn has(&self, part: &str) -> bool {
        self.text().contains(part)
    }
}

/// A function of a process.
pub(super) fn row(pid: u32, filename: &str, line: u32, function: &str, calls: u64) -> Row {
    let line = (line > 0).then_some(line);
    Row::new(pid, filename, line, function, calls)
}

/// What the busy machine calls in an interval.
pub(super) fn rows(tick: u64) -> Vec<Row> {
    // Up and down in steps, as work comes and goes.
    let wave = [1, 2, 4, 7, 9, 8, 5, 3];
    let at = |speed: u64| wave[usize::try_from(tick / speed).unwrap() % wave.len()];
    let mut rows = vec![
        row(
            812,
            "/srv/shop/app/models/order.py",
            12,
            "total",
            201_011 * at(1),
        ),
        row(
            812,
            "/srv/shop/app/models/order.py",
            49,
            "lines",
            30_011 * at(2),
        ),
        row(
            813,
            "/srv/shop/app/models/order.py",
            12,
            "total",
            17_011 * at(3),
        ),
        row(
            812,
            "/usr/lib/python3.9/json/decoder.py",
            343,
            "raw_decode",
            9_001 * at(1),
        ),
        row(40_961, "/opt/worker/tasks.py", 7, "<lambda>", 4_001 * at(2)),
        row(40_961, "/opt/worker/tasks.py", 0, "<module>", 1),
        row(
            812,
            "/usr/lib/python3.9/site-packages/sqlalchemy/orm/loading.py",
            1_204,
            "load_scalar_attributes_from_the_identity_map",
            1_009,
        ),
    ];
    for index in 0..40 {
        let function = format!("handle_{index:02}");
        let calls = (41 - u64::from(index)) * at(1 + u64::from(index) % 4);
        rows.push(row(
            813,
            "/srv/shop/app/views/checkout.py",
            20 + index * 9,
            &function,
            calls,
        ));
    }
    rows
}

pub(super) fn process(pid: u32, exe: &str, python: &str, coverage: Coverage) -> ProcessStatus {
    ProcessStatus {
        pid,
        comm: exe.rsplit('/').next().unwrap_or_default().into(),
        exe: exe.into(),
        interpreter: exe.into(),
        python: Some(python.into()),
        user: if pid < 1000 { "www-data" } else { "root" }.into(),
        container: (pid > 2000).then(|| "3f9d2c1ab77e".into()),
        coverage,
        calls: 0,
        probe_cost: None,
        runtime: Runtime::default(),
        estimate: None,
        ended: false,
    }
}

/// Processes that cannot be counted.
pub(super) fn silent() -> Vec<ProcessStatus> {
    let silent = Coverage::NotCounted(
        "CPython 3.11 to 3.14 have the function__entry marker but never reach it, and this \
         interpreter was built in that range"
            .into(),
    );
    let absent = Coverage::NotCounted("it was built without markers (--with-dtrace)".into());
    vec![
        process(1190, "/usr/bin/python3.11", "3.11.2", silent.clone()),
        process(1191, "/usr/bin/python3.11", "3.11.2", silent),
        process(50_000, "/usr/local/bin/python3", "3.8.20", absent),
    ]
}

/// An interval of one second on the busy machine.
pub(super) fn snapshot(rows: Vec<Row>) -> Snapshot {
    let marker = || Coverage::Counted(Method::Marker);
    let mut processes = vec![
        process(812, "/usr/bin/python3.9", "3.9.2", marker()),
        process(813, "/usr/bin/python3.9", "3.9.2", marker()),
        process(40_961, "/opt/venv/bin/uwsgi", "3.15.0", marker()),
    ];
    for process in &mut processes {
        let own = rows.iter().filter(|row| row.function.pid == process.pid);
        process.calls = own.map(|row| row.calls).sum();
        process.probe_cost = Some(process.calls as f64 * 6e-7);
    }
    let collections = |count, pause, longest| Runtime {
        gc: Some(Collections {
            count,
            pause: Duration::from_micros(pause),
            longest: Duration::from_micros(longest),
        }),
        imports: Some(count / 4),
    };
    for (process, runtime) in processes
        .iter_mut()
        .zip([collections(12, 34_100, 8_230), collections(0, 0, 0)])
    {
        process.runtime = runtime;
    }
    processes.extend(silent());
    Snapshot {
        time: SystemTime::UNIX_EPOCH,
        interval: Duration::from_secs(1),
        drain: Duration::from_millis(20),
        rows,
        uncounted: Uncounted::default(),
        untimed: None,
        bounded: false,
        processes,
    }
}
