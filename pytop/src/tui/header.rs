//! The header: what is counted, how much is called, and what is not counted.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::app::{App, Screen};
use super::cell::{Cut, Pieces};
use super::graph;
use super::number::{self, counted};
use super::segments::{self, Segment};
use crate::model::GroupBy;
use crate::updates::Scope;

/// Intervals that the graph shows at least, if it has a column for each or not.
const SPAN: usize = 240;

/// Draws the header.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        draw_settings(app, row, buffer);
    }
    let Some(last) = rows.next_back() else {
        return;
    };
    draw_coverage(app, last, buffer);
    let rates = Rect {
        y: area.y + 1,
        height: area.height.saturating_sub(2),
        ..area
    };
    draw_rates(app, rates, buffer);
}

/// What is counted, and how it is shown.
fn draw_settings(app: &App, row: Rect, buffer: &mut Buffer) {
    let theme = &app.theme;
    let mut right = Vec::new();
    if app.is_paused() {
        right.push(Segment::new(" PAUSED ", theme.paused, 0));
    }
    let arrow = if app.view.sort.is_descending() == app.view.reverse {
        app.glyphs.ascending
    } else {
        app.glyphs.descending
    };
    let sort = app.view.sort.name();
    match app.screen {
        Screen::Table => {
            let group = match app.view.group_by {
                GroupBy::Function => "functions",
                GroupBy::File => "files",
                GroupBy::Process => "processes",
            };
            let sorted = format!("{group} by {sort} {arrow}");
            right.push(Segment::new(sorted, theme.dim, 2).or(format!("{sort} {arrow}")));
            if app.view.idle {
                right.push(Segment::new("idle too", theme.dim, 3));
            }
        }
        Screen::Processes => {
            let list = &app.processes;
            let arrow = if list.sort.is_descending() == list.reverse {
                app.glyphs.ascending
            } else {
                app.glyphs.descending
            };
            let sort = list.sort.title().to_lowercase();
            let sorted = format!("every process by {sort} {arrow}");
            right.push(Segment::new(sorted, theme.dim, 2).or(format!("{sort} {arrow}")));
        }
    }
    let interval = number::interval(app.interval);
    right.push(Segment::new(format!("every {interval}"), theme.dim, 1).or(interval));
    let scope = match &app.scope {
        Scope::Machine => "whole machine".to_owned(),
        Scope::Processes { pids, children } => {
            let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
            let many = if pids.len() == 1 { "pid" } else { "pids" };
            let children = if *children { " and children" } else { "" };
            format!("{many} {}{children}", pids.join(", "))
        }
        Scope::Command(command) => crate::model::text::visible(command.as_bytes()).into_owned(),
    };
    let mut pieces = Pieces::default();
    pieces.push(&scope, theme.strong, &app.glyphs);
    let room = usize::from(row.width / 2).saturating_sub(8);
    let scope = pieces.fit(room, Cut::Tail, theme.dim, &app.glyphs);
    let left = vec![
        Segment::new("pytop", theme.title, 0),
        Segment::new(scope.to_string(), theme.strong, 2),
    ];
    segments::draw(left, right, row, buffer);
}

/// Calls per second, now and before.
fn draw_rates(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = &app.theme;
    let recorded = app.shown();
    let rate = recorded
        .snapshot
        .as_ref()
        .map_or(0.0, |snapshot| snapshot.calls_per_second());
    let totals = &recorded.totals;
    let peak = totals.rates().fold(0.0_f32, f32::max);
    let snapshot = recorded.snapshot.as_ref();
    let is_estimated = snapshot.is_some_and(|snapshot| snapshot.is_estimated());
    let about = |is_estimated: bool| if is_estimated { "~" } else { "" };
    let was_estimated = totals.is_estimated();
    let numbers = [
        format!("{}{}", about(is_estimated), number::rate(rate)),
        format!("{}{}", about(was_estimated), number::rate(peak.into())),
        format!(
            "{}{}",
            about(was_estimated),
            number::grouped(totals.calls())
        ),
    ];
    let shown = usize::from(area.height).min(numbers.len());
    let digits = numbers
        .iter()
        .take(shown)
        .map(String::len)
        .max()
        .unwrap_or_default();
    let words = [" calls/s", " at most", " in total"];
    let styles = [theme.strong, theme.dim, theme.dim];
    let lines: Vec<Line<'_>> = numbers
        .iter()
        .zip(words)
        .zip(styles)
        .take(shown)
        .map(|((number, word), style)| {
            Line::from(vec![
                Span::styled(format!("{number:>digits$}"), style),
                Span::styled(word, theme.dim),
            ])
        })
        .collect();
    for (row, line) in area.rows().zip(&lines) {
        buffer.set_line(row.x, row.y, line, row.width);
    }
    // The graph does not move when the number grows by a digit.
    let text = lines
        .iter()
        .take(area.height.into())
        .map(Line::width)
        .max()
        .unwrap_or_default();
    let text = u16::try_from(text.next_multiple_of(4).max(20) + 1).unwrap_or(u16::MAX);
    let label_width = 7;
    let columns = area.width.saturating_sub(text + label_width + 1);
    if columns < 8 {
        return;
    }
    let per_column = graph::samples_per_column(SPAN, columns.into());
    let samples = graph::means(
        totals.rates(),
        totals.snapshots(),
        per_column,
        columns.into(),
    );
    let bars = Rect {
        x: area.x + text,
        width: columns,
        ..area
    };
    graph::draw(&samples, bars, theme.graph, &app.glyphs, buffer);
    let span = app.interval * u32::try_from(per_column * usize::from(columns)).unwrap_or(u32::MAX);
    let label = Line::styled(number::duration(span), theme.dim);
    if area.height > 0 {
        let x = bars.right() + 1;
        buffer.set_line(x, area.bottom() - 1, &label, area.right().saturating_sub(x));
    }
}

/// How many processes are counted, how, and what is not.
fn draw_coverage(app: &App, row: Rect, buffer: &mut Buffer) {
    let theme = &app.theme;
    let summary = &app.summary;
    let processes = counted(summary.counted, "process", "processes");
    let interpreters = counted(summary.interpreters, "interpreter", "interpreters");
    let methods = summary.method_names();
    let by = if methods.is_empty() {
        String::new()
    } else {
        format!(" by {methods}")
    };
    let mut left = vec![
        Segment::new(
            format!("{processes}, {interpreters} counted{by}"),
            theme.dim,
            1,
        )
        .or(format!("{processes}, {interpreters}{by}"))
        .or(format!(
            "{} counted",
            number::grouped(summary.counted as u64)
        )),
    ];
    for (processes, how) in [
        (summary.estimated, "by estimate"),
        (summary.incomplete, "incomplete"),
        (summary.not_counted, "not counted"),
    ] {
        if processes > 0 {
            let number = number::grouped(processes as u64);
            left.push(
                Segment::new(format!("{number} {how} (P)"), theme.warning, 0)
                    .or(format!("{number} {how}")),
            );
        }
    }
    let cost = app.shown().snapshot.as_ref();
    if let Some(cost) = cost.and_then(|snapshot| snapshot.probe_cost())
        && summary.counted > 0
    {
        let share = number::percent(cost);
        left.push(
            Segment::new(format!("counting takes {share} of a CPU"), theme.dim, 2)
                .or(format!("cost {share}")),
        );
    }
    let uncounted = app.shown().totals.uncounted();
    if uncounted.total() > 0 {
        let total = number::grouped(uncounted.total());
        let reasons: Vec<&str> = uncounted.reasons().map(|(reason, _)| reason).collect();
        let reasons = reasons.join(", ");
        left.push(
            Segment::new(
                format!("{total} calls in no row: {reasons}"),
                theme.error,
                0,
            )
            .or(format!("{total} in no row")),
        );
    }
    let mut right = Vec::new();
    if let Some(filter) = &app.view.filter {
        let pattern = crate::model::text::visible(filter.pattern().as_bytes());
        let mut pieces = Pieces::default();
        pieces.push(&format!("/{pattern}/"), theme.key, &app.glyphs);
        let pattern = pieces
            .fit(30, Cut::Tail, theme.dim, &app.glyphs)
            .to_string();
        right.push(Segment::new(format!("filter {pattern}"), theme.key, 0).or(pattern));
    }
    let rows = app.entries.len();
    right.push(Segment::new(
        match app.view.group_by {
            GroupBy::Function => counted(rows, "function", "functions"),
            GroupBy::File => counted(rows, "file", "files"),
            GroupBy::Process => counted(rows, "process", "processes"),
        },
        theme.dim,
        3,
    ));
    if app.screen == Screen::Processes {
        right.clear();
    }
    segments::draw(left, right, row, buffer);
}
