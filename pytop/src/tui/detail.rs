//! One row in full: its names, its counts, and its calls over time.

use std::collections::BTreeSet;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::app::App;
use super::cell::Pieces;
use super::distribution;
use super::graph;
use super::number::{self, counted};
use super::process_view::{coverage, who};
use crate::model::{EntryKey, History, ProcessStatus, Row, Snapshot};

/// Columns of the labels.
const LABEL: usize = 10;
/// Rows of the chart when the text above needs the room.
const LOW_CHART: u16 = 3;
/// Functions of a file or process that are listed.
const FUNCTIONS: usize = 10;

/// The parts of the body.
struct Parts {
    title: Rect,
    text: Rect,
    chart: Rect,
}

fn parts(body: Rect, lines: usize) -> Parts {
    let lines = u16::try_from(lines).unwrap_or(u16::MAX);
    let inner = body.height.saturating_sub(1);
    // The chart takes what the text leaves, and something in any case.
    let left = inner.saturating_sub(lines.saturating_add(1));
    let chart = left.max(LOW_CHART.min(inner / 2));
    let at = |y: u16, height: u16| Rect {
        y: body.y + y,
        height,
        ..body
    };
    Parts {
        title: at(0, body.height.min(1)),
        text: at(body.height.min(1), inner - chart),
        chart: at(body.height - chart, chart),
    }
}

/// How far the text can be scrolled.
pub(super) fn scroll_limit(app: &App, key: &EntryKey) -> usize {
    let body = app.areas().body();
    let lines = lines(app, key, body.width).len();
    lines.saturating_sub(parts(body, lines).text.height.into())
}

/// Draws a row, its text scrolled by so many lines.
pub(super) fn draw(app: &App, key: &EntryKey, scroll: usize, body: Rect, buffer: &mut Buffer) {
    let lines = lines(app, key, body.width);
    let parts = parts(body, lines.len());
    let title = match key {
        EntryKey::Function(_) => "FUNCTION",
        EntryKey::File(_) => "FILE",
        EntryKey::Process(_) => "PROCESS",
    };
    let hidden = lines
        .len()
        .saturating_sub(scroll + usize::from(parts.text.height));
    let more = if hidden > 0 {
        format!("{} below", counted(hidden, "more line", "more lines"))
    } else if scroll > 0 {
        "the end".to_owned()
    } else {
        String::new()
    };
    buffer.set_style(parts.title, app.theme.columns);
    buffer.set_line(
        parts.title.x,
        parts.title.y,
        &Line::styled(title, app.theme.sorted),
        parts.title.width,
    );
    let more = Line::styled(more, app.theme.dim);
    super::titles::put(&more, true, parts.title, 0, parts.title.width, buffer);
    for (row, line) in parts.text.rows().zip(lines.iter().skip(scroll)) {
        buffer.set_line(row.x, row.y, line, row.width);
    }
    let chart = distribution::draw_beside(app, key, parts.chart, buffer);
    draw_chart(app, key, chart, buffer);
}

/// Calls per second over the last intervals.
fn draw_chart(app: &App, key: &EntryKey, area: Rect, buffer: &mut Buffer) {
    if area.height < 3 || area.width < 30 {
        return;
    }
    let theme = &app.theme;
    let totals = &app.shown().totals;
    let histories = totals.histories(std::slice::from_ref(key), History::CAPACITY);
    let samples = histories.into_iter().next().unwrap_or_default();
    let largest = samples.iter().copied().fold(0.0_f32, f32::max);
    let label = format!("{}/s", number::rate(largest.into()));
    let margin = u16::try_from(label.len().max(8) + 1).unwrap_or(area.width);
    let bars = Rect {
        x: area.x + margin,
        width: area.width.saturating_sub(margin),
        height: area.height - 1,
        ..area
    };
    let columns = usize::from(bars.width);
    let per_column = graph::samples_per_column(History::CAPACITY, columns);
    let repeat = (columns / History::CAPACITY).max(1);
    let samples = graph::means(
        samples.into_iter(),
        totals.snapshots(),
        per_column,
        columns / repeat,
    );
    let values: Vec<f32> = samples
        .iter()
        .flat_map(|sample| std::iter::repeat_n(*sample, repeat))
        .collect();
    graph::draw(&values, bars, theme.graph, &app.glyphs, buffer);
    let left = margin - 1;
    let put = |text: &str, y: u16, buffer: &mut Buffer| {
        let line = Rect::new(area.x, y, area.width, 1);
        let text = Line::styled(text.to_owned(), theme.dim);
        super::titles::put(&text, true, line, 0, left, buffer);
    };
    put(&label, bars.y, buffer);
    put("0", bars.bottom() - 1, buffer);
    let shown = columns.min(values.len().max(1)) / repeat * per_column;
    let shown = u32::try_from(shown).unwrap_or(u32::MAX);
    let ago = Line::styled(
        format!("{} ago", number::duration(app.interval * shown)),
        theme.dim,
    );
    let begin = bars
        .right()
        .saturating_sub(u16::try_from(values.len()).unwrap_or(bars.width));
    let now = Line::styled("now", theme.dim);
    let axis = area.bottom() - 1;
    let end = bars.right().saturating_sub(3);
    let begin = begin.min(end.saturating_sub(14)).max(bars.x);
    buffer.set_line(begin, axis, &ago, end.saturating_sub(begin + 1));
    buffer.set_line(end, axis, &now, 3);
}

/// The text, wrapped.
fn lines(app: &App, key: &EntryKey, width: u16) -> Vec<Line<'static>> {
    let mut text = Writer {
        app,
        width: usize::from(width).saturating_sub(LABEL).max(1),
        lines: Vec::new(),
    };
    let Some(snapshot) = &app.shown().snapshot else {
        return text.lines;
    };
    let rows: Vec<&Row> = snapshot
        .rows
        .iter()
        .filter(|row| key.covers(&row.function))
        .collect();
    let process = |pid: u32| snapshot.processes.iter().find(|process| process.pid == pid);
    match key {
        EntryKey::Function(function) => {
            text.add("Function", &function.name.visible(), app.theme.strong);
            let line = function.line;
            let line = line.map_or_else(|| "unknown".to_owned(), |line| line.to_string());
            let place = format!("{}, line {line}", function.filename.visible());
            text.add("File", &place, Style::new());
            text.counts(snapshot, key, &rows, Some(function.pid));
            for (label, durations) in distribution::lines(app, function, &rows) {
                text.add(label, &durations, Style::new());
            }
            text.process(function.pid, process(function.pid));
        }
        EntryKey::File(filename) => {
            text.add("File", &filename.visible(), app.theme.strong);
            text.counts(snapshot, key, &rows, None);
            let pids: BTreeSet<u32> = rows.iter().map(|row| row.function.pid).collect();
            let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
            text.add("Processes", &pids.join(", "), Style::new());
            text.functions(rows);
        }
        EntryKey::Process(pid) => {
            text.process(*pid, process(*pid));
            text.counts(snapshot, key, &rows, None);
            text.functions(rows);
        }
    }
    text.lines
}

/// Labelled lines that are being written.
struct Writer<'a> {
    app: &'a App,
    width: usize,
    lines: Vec<Line<'static>>,
}

impl Writer<'_> {
    /// A visible text under a label, whole, broken anywhere.
    fn add(&mut self, label: &'static str, visible: &str, style: Style) {
        let mut pieces = Pieces::default();
        pieces.push(visible, style, &self.app.glyphs);
        self.label(label, pieces.wrap(self.width));
    }

    /// A sentence under a label.
    fn add_words(&mut self, label: &'static str, pieces: &Pieces) {
        self.label(label, pieces.wrap_words(self.width));
    }

    fn label(&mut self, label: &'static str, wrapped: Vec<Line<'static>>) {
        for (index, line) in wrapped.into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            let label = Span::styled(format!("{label:<LABEL$}"), self.app.theme.dim);
            let mut spans = vec![label];
            spans.extend(line.spans);
            self.lines.push(Line::from(spans));
        }
    }

    fn counts(&mut self, snapshot: &Snapshot, key: &EntryKey, rows: &[&Row], pid: Option<u32>) {
        let calls: u64 = rows.iter().map(|row| row.calls).sum();
        let seconds = snapshot.interval.as_secs_f64();
        let rate = if seconds > 0.0 {
            calls as f64 / seconds
        } else {
            0.0
        };
        let mut pieces = Pieces::default();
        let glyphs = &self.app.glyphs;
        let is_estimate = rows
            .iter()
            .any(|row| snapshot.estimate(row.function.pid).is_some());
        let totals = &self.app.shown().totals;
        let was_estimate = match key {
            EntryKey::Function(function) => totals.is_estimate_of(function.pid),
            EntryKey::Process(pid) => totals.is_estimate_of(*pid),
            EntryKey::File(_) => totals.is_estimated(),
        };
        let about = |is_estimate: bool| if is_estimate { "~" } else { "" };
        let number = format!("{}{}", about(is_estimate), number::grouped(calls));
        pieces.push(&number, self.app.theme.strong, glyphs);
        let interval = number::duration(snapshot.interval);
        let rate = format!("{}{}", about(is_estimate), number::rate(rate));
        let total = number::grouped(totals.total_of(key));
        let total = format!("{}{total}", about(was_estimate));
        let text = format!(" in {interval} ({rate}/s), {total} in total");
        pieces.push(&text, Style::new(), glyphs);
        self.add_words("Calls", &pieces);
        let mut share = String::new();
        if let Some(pid) = pid {
            let process = snapshot.rows.iter();
            let process = process.filter(|row| row.function.pid == pid);
            let process: u64 = process.map(|row| row.calls).sum();
            share = format!("{} of the process, ", number::percent(part(calls, process)));
        }
        share += &number::percent(part(calls, snapshot.total_calls()));
        share += " of everything that is counted";
        let mut pieces = Pieces::default();
        pieces.push(&share, Style::new(), glyphs);
        self.add_words("Share", &pieces);
    }

    fn process(&mut self, pid: u32, process: Option<&ProcessStatus>) {
        let Some(process) = process else {
            self.add("Process", &format!("{pid}, which has ended"), Style::new());
            return;
        };
        let glyphs = &self.app.glyphs;
        let mut pieces = Pieces::default();
        for span in who(self.app, process) {
            pieces.push(&span.content, Style::new(), glyphs);
        }
        self.add_words("Process", &pieces);
        self.add("", &process.exe.visible(), Style::new());
        let mut pieces = Pieces::default();
        coverage(self.app, process, &mut pieces);
        self.add_words("", &pieces);
    }

    /// The functions of a file or process with the most calls.
    fn functions(&mut self, mut rows: Vec<&Row>) {
        rows.sort_by(|left, right| {
            let order = right.calls.cmp(&left.calls);
            let (left, right) = (&left.function, &right.function);
            order
                .then_with(|| left.filename.cmp(&right.filename))
                .then_with(|| (left.line, left.pid).cmp(&(right.line, right.pid)))
        });
        let all = rows.len();
        for (index, row) in rows.into_iter().take(FUNCTIONS).enumerate() {
            let mut pieces = Pieces::default();
            let glyphs = &self.app.glyphs;
            let calls = format!("{:>13}  ", number::grouped(row.calls));
            pieces.push(&calls, self.app.theme.strong, glyphs);
            pieces.push(&row.function.name.visible(), Style::new(), glyphs);
            let line = row
                .function
                .line
                .map_or_else(|| "-".to_owned(), |line| line.to_string());
            let place = format!("  {}:{line}", row.function.filename.visible());
            pieces.push(&place, self.app.theme.dim, glyphs);
            let line = pieces.fit(
                self.width,
                super::cell::Cut::Tail,
                self.app.theme.dim,
                glyphs,
            );
            let label = if index == 0 { "Most" } else { "" };
            self.label(label, vec![line]);
        }
        if all > FUNCTIONS {
            let more = counted(all - FUNCTIONS, "more function", "more functions");
            self.add("", &format!("{more} were called"), self.app.theme.dim);
        }
    }
}

fn part(calls: u64, all: u64) -> f64 {
    if all == 0 {
        0.0
    } else {
        calls as f64 / all as f64
    }
}
