//! The list of every CPython process, and below it more of the selected one.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::app::App;
use super::areas::Areas;
use super::cell::{Cut, Pieces, shown};
use super::number;
use super::processes::{ProcessColumn, current};
use super::titles::{self, Title};
use crate::model::{Coverage, ProcessStatus};

/// A column's place in a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) column: ProcessColumn,
    pub(super) x: u16,
    pub(super) width: u16,
}

/// Narrower lists have no room for collections and imports, which the pane below them tells.
const RUNTIME_WIDTH: u16 = 180;

/// Divides a line of the list.
pub(super) fn places(width: u16) -> Vec<Place> {
    let wide = width >= 110;
    let mut columns = vec![
        (ProcessColumn::Pid, 7),
        (ProcessColumn::User, if wide { 12 } else { 8 }),
        (ProcessColumn::Container, if wide { 14 } else { 9 }),
        (ProcessColumn::Version, 7),
        (ProcessColumn::Method, 6),
        (ProcessColumn::Rate, if wide { 13 } else { 9 }),
        (ProcessColumn::Cost, 6),
        (ProcessColumn::Executable, 0),
    ];
    if width >= RUNTIME_WIDTH {
        columns.splice(
            7..7,
            [
                (ProcessColumn::Collections, 6),
                (ProcessColumn::Pause, 6),
                (ProcessColumn::LongestPause, 8),
                (ProcessColumn::Imports, 8),
            ],
        );
    }
    if width < 80 {
        columns.retain(|(column, _)| *column != ProcessColumn::User);
    }
    if wide {
        columns.push((ProcessColumn::Reason, 0));
    }
    let gaps = u16::try_from(columns.len() - 1).unwrap_or_default();
    let fixed: u16 = columns.iter().map(|(_, width)| *width).sum();
    let texts = width.saturating_sub(fixed + gaps);
    let executable = if wide { (texts / 2).min(60) } else { texts };
    let mut x = 0;
    columns
        .into_iter()
        .map(|(column, width)| {
            let width = match column {
                ProcessColumn::Executable => executable,
                ProcessColumn::Reason => texts - executable,
                _ => width,
            };
            let place = Place { column, x, width };
            x += width + 1;
            place
        })
        .collect()
}

/// The height of the pane that describes the selected process.
pub(super) fn pane_height(app: &App) -> u16 {
    let lines = description(app).len();
    u16::try_from(lines.max(2) + 1).unwrap_or(u16::MAX)
}

/// Draws the list.
pub(super) fn draw(app: &App, areas: &Areas, buffer: &mut Buffer) {
    let places = places(areas.titles.width);
    let list = &app.processes;
    titles::draw(
        places.iter().map(|place| Title {
            text: place.column.title(),
            x: place.x,
            width: place.width,
            right: place.column.is_number(),
            order: (place.column == list.sort)
                .then_some(place.column.is_descending() != list.reverse),
        }),
        areas.titles,
        app,
        buffer,
    );
    let Some(snapshot) = &app.shown().snapshot else {
        return;
    };
    let rows = list
        .ordered(snapshot)
        .enumerate()
        .skip(list.selection.offset());
    for ((index, process), y) in rows.zip(areas.rows.top()..areas.rows.bottom()) {
        let line = Rect::new(areas.rows.x, y, areas.rows.width, 1);
        let selected = list.selection.index() == Some(index);
        draw_row(app, process, &places, line, selected, buffer);
    }
    draw_pane(app, areas.pane, buffer);
}

fn draw_row(
    app: &App,
    process: &ProcessStatus,
    places: &[Place],
    line: Rect,
    selected: bool,
    buffer: &mut Buffer,
) {
    let theme = &app.theme;
    for place in places {
        let (text, style, cut) = cell(app, process, *place);
        let mut pieces = Pieces::default();
        // On the selected row only its own style counts.
        let style = if selected { Style::new() } else { style };
        let mark = if selected { Style::new() } else { theme.dim };
        pieces.push(&text, style, &app.glyphs);
        let fitted = pieces.fit(place.width.into(), cut, mark, &app.glyphs);
        titles::put(
            &fitted,
            place.column.is_number(),
            line,
            place.x,
            place.width,
            buffer,
        );
    }
    if selected {
        buffer.set_style(line, theme.selected);
    }
}

fn cell(app: &App, process: &ProcessStatus, place: Place) -> (String, Style, Cut) {
    let theme = &app.theme;
    let plain = Style::new();
    let counted = process.coverage.method().is_some();
    let quiet = if counted && !process.ended {
        plain
    } else {
        theme.dim
    };
    match place.column {
        ProcessColumn::Pid => (process.pid.to_string(), quiet, Cut::Tail),
        ProcessColumn::User => (visible(&process.user), quiet, Cut::Tail),
        ProcessColumn::Container => match &process.container {
            Some(name) => (visible(name), quiet, Cut::Tail),
            None => ("-".to_owned(), theme.dim, Cut::Tail),
        },
        ProcessColumn::Version => {
            let version = process.python.as_deref().unwrap_or("-");
            (visible(version), quiet, Cut::Tail)
        }
        ProcessColumn::Method => match process.coverage.method() {
            Some(method) => (method.name().to_owned(), quiet, Cut::Tail),
            None => ("none".to_owned(), theme.warning, Cut::Tail),
        },
        ProcessColumn::Rate => {
            if !counted {
                return ("-".to_owned(), theme.dim, Cut::Tail);
            }
            let mut rate = number::rate(per_second(app, process.calls));
            if process.estimate.is_some() {
                rate.insert(0, '~');
            }
            let style = if process.calls == 0 {
                theme.dim
            } else {
                theme.strong
            };
            (rate, style, Cut::Tail)
        }
        ProcessColumn::Cost => match process.probe_cost.filter(|_| counted) {
            Some(share) => (number::percent(share), quiet, Cut::Tail),
            None => ("-".to_owned(), theme.dim, Cut::Tail),
        },
        ProcessColumn::Collections
        | ProcessColumn::Pause
        | ProcessColumn::LongestPause
        | ProcessColumn::Imports => match runtime(app, process, place.column) {
            Some(text) => (text, quiet, Cut::Tail),
            None => ("-".to_owned(), theme.dim, Cut::Tail),
        },
        ProcessColumn::Executable => {
            let path = process.exe.visible().into_owned();
            let path = if process.ended {
                format!("{path} (ended)")
            } else {
                path
            };
            (path, quiet, Cut::Head)
        }
        ProcessColumn::Reason => match &process.coverage {
            Coverage::Counted(_) => match process.estimate {
                Some(estimate) => {
                    let more = number::percent(estimate.uncertainty);
                    let text = format!("estimate, may be {more} more");
                    (text, theme.warning, Cut::Tail)
                }
                None => (String::new(), plain, Cut::Tail),
            },
            Coverage::Incomplete(_, reason) => {
                let reason = format!("incomplete: {}", visible(reason));
                (reason, theme.warning, Cut::Tail)
            }
            Coverage::NotCounted(reason) => (visible(reason), theme.warning, Cut::Tail),
        },
    }
}

/// Collections and imports; `None` where the interpreter does not tell.
fn runtime(app: &App, process: &ProcessStatus, column: ProcessColumn) -> Option<String> {
    let gc = process.runtime.gc;
    match column {
        ProcessColumn::Collections => gc.map(|gc| number::rate(per_second(app, gc.count))),
        ProcessColumn::Pause => gc.map(|gc| number::percent(gc.share(interval(app)))),
        ProcessColumn::LongestPause => gc.map(|gc| number::pause(gc.longest)),
        ProcessColumn::Imports => {
            let imports = process.runtime.imports?;
            Some(number::rate(per_second(app, imports)))
        }
        _ => None,
    }
}

fn visible(text: &str) -> String {
    crate::model::text::visible(text.as_bytes()).into_owned()
}

fn per_second(app: &App, calls: u64) -> f64 {
    let seconds = interval(app).as_secs_f64();
    if seconds > 0.0 {
        calls as f64 / seconds
    } else {
        0.0
    }
}

fn interval(app: &App) -> Duration {
    let snapshot = app.shown().snapshot.as_ref();
    snapshot.map_or(Duration::ZERO, |snapshot| snapshot.interval)
}

fn draw_pane(app: &App, pane: Rect, buffer: &mut Buffer) {
    let mut rows = pane.rows();
    if let Some(rule) = rows.next() {
        let rule_glyph = app.glyphs.border.horizontal_top;
        let line = Line::styled(rule_glyph.repeat(rule.width.into()), app.theme.dim);
        buffer.set_line(rule.x, rule.y, &line, rule.width);
    }
    for (row, line) in rows.zip(description(app)) {
        buffer.set_line(row.x, row.y, &line, row.width);
    }
}

/// What the pane says of the selected process: whether it is counted, and how or why not, in full.
fn description(app: &App) -> Vec<Line<'static>> {
    let Some(process) = current(app) else {
        let text = "No CPython process is running. Each one appears here as soon as it starts.";
        return vec![Line::styled(text, app.theme.dim)];
    };
    let mut pieces = Pieces::default();
    let name = format!("{} {}: ", process.pid, process.comm.visible());
    pieces.push(&name, app.theme.strong, &app.glyphs);
    coverage(app, process, &mut pieces);
    upkeep(app, process, &mut pieces);
    pieces.wrap_words(app.size.width.into())
}

/// What the interpreter tells of its collections and imports, where the list has no room for that.
fn upkeep(app: &App, process: &ProcessStatus, pieces: &mut Pieces) {
    if app.size.width >= RUNTIME_WIDTH {
        return;
    }
    let of = |column| runtime(app, process, column);
    if let (Some(rate), Some(share), Some(longest)) = (
        of(ProcessColumn::Collections),
        of(ProcessColumn::Pause),
        of(ProcessColumn::LongestPause),
    ) {
        let text = format!("; gc {rate}/s, {share} of the time, longest {longest}");
        pieces.push(&text, Style::new(), &app.glyphs);
    }
    if let Some(rate) = of(ProcessColumn::Imports) {
        let text = format!("; imports {rate}/s");
        pieces.push(&text, Style::new(), &app.glyphs);
    }
}

/// A sentence on whether and how a process is counted.
pub(super) fn coverage(app: &App, process: &ProcessStatus, pieces: &mut Pieces) {
    match &process.coverage {
        Coverage::Counted(method) => {
            let text = format!(
                "counted by {} in {}",
                method.name(),
                process.interpreter.visible()
            );
            pieces.push(&text, Style::new(), &app.glyphs);
            if let Some(estimate) = process.estimate {
                let text = format!(
                    "; its calls are an estimate, from {} of its CPU time, and may well be {} more",
                    number::percent(estimate.counted),
                    number::percent(estimate.uncertainty)
                );
                pieces.push(&text, app.theme.warning, &app.glyphs);
            }
        }
        Coverage::Incomplete(method, reason) => {
            let text = format!("counted by {}, but incomplete: ", method.name());
            pieces.push(&text, app.theme.warning, &app.glyphs);
            pieces.push(&visible(reason), Style::new(), &app.glyphs);
        }
        Coverage::NotCounted(reason) => {
            pieces.push("not counted: ", app.theme.warning, &app.glyphs);
            pieces.push(&visible(reason), Style::new(), &app.glyphs);
        }
    }
    if process.ended {
        pieces.push(" (ended in this interval)", app.theme.dim, &app.glyphs);
    }
}

/// The name, user and container of a process in a few words.
pub(super) fn who(app: &App, process: &ProcessStatus) -> Vec<Span<'static>> {
    let glyphs = &app.glyphs;
    let mut text = format!(
        "{} {}, user {}",
        process.pid,
        shown(&process.comm.visible(), glyphs),
        shown(&process.user, glyphs)
    );
    if let Some(container) = &process.container {
        text.push_str(", container ");
        text.push_str(&shown(container, glyphs));
    }
    if let Some(python) = &process.python {
        text.push_str(", CPython ");
        text.push_str(&shown(python, glyphs));
    }
    vec![Span::raw(text)]
}
