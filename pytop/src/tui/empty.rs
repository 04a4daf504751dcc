//! What stands in place of a table without rows: what pytop is waiting for.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::app::App;
use super::cell::Pieces;
use super::number::{self, counted};
use crate::updates::Scope;

/// Draws why there are no rows.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width).saturating_sub(4).min(72);
    let mut lines: Vec<Line<'static>> = Vec::new();
    for (index, text) in sentences(app).iter().enumerate() {
        let style = if index == 0 {
            app.theme.strong
        } else {
            Style::new()
        };
        let mut pieces = Pieces::default();
        pieces.push(text, style, &app.glyphs);
        lines.extend(pieces.wrap_words(width));
    }
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    // A third of the space above, two below.
    let top = area.y + area.height.saturating_sub(height) / 3;
    for (y, line) in (top..area.bottom()).zip(&lines) {
        let used = u16::try_from(line.width()).unwrap_or(u16::MAX);
        let indent = area.width.saturating_sub(used) / 2;
        buffer.set_line(area.x + indent, y, line, area.width - indent);
    }
}

/// The state in one sentence, then what to expect or to do.
fn sentences(app: &App) -> Vec<String> {
    let Some(snapshot) = &app.shown().snapshot else {
        let interval = number::interval(app.interval);
        return vec![
            "Counting has begun.".to_owned(),
            format!("The first numbers come after one interval of {interval}."),
        ];
    };
    let summary = &app.summary;
    if let Some(filter) = &app.view.filter
        && !snapshot.rows.is_empty()
    {
        let functions = counted(snapshot.rows.len(), "function", "functions");
        let pattern = crate::model::text::visible(filter.pattern().as_bytes()).into_owned();
        return vec![
            format!("Nothing matches /{pattern}/."),
            format!("The filter hides {functions}; Esc drops it."),
        ];
    }
    if snapshot
        .processes
        .iter()
        .any(|process| process.estimate.is_some())
    {
        return vec![
            "No call was seen.".to_owned(),
            "What is counted in windows had none in this interval.".to_owned(),
        ];
    }
    if summary.counted > 0 {
        let processes = counted(summary.counted, "process is", "processes are");
        return vec![
            "Waiting for the first call.".to_owned(),
            format!("{processes} being counted; none called a Python function in this interval."),
        ];
    }
    if summary.not_counted > 0 {
        let mut sentences = vec![format!(
            "{} and cannot be counted.",
            counted(
                summary.not_counted,
                "CPython process is running",
                "CPython processes are running",
            )
        )];
        if let Some((reason, processes)) = &summary.reason {
            let reason = crate::model::text::visible(reason.as_bytes()).into_owned();
            sentences.push(if *processes == summary.not_counted {
                format!("The reason: {reason}.")
            } else {
                format!("The reason for {processes} of them: {reason}.")
            });
        }
        sentences.push("P lists every process and its reason.".to_owned());
        return sentences;
    }
    match &app.scope {
        Scope::Machine => vec![
            "No CPython process is running.".to_owned(),
            "Each one appears here with its first call, as soon as it starts.".to_owned(),
        ],
        Scope::Processes { .. } => vec![
            "None of the processes that were named runs Python now.".to_owned(),
            "q quits.".to_owned(),
        ],
        Scope::Command(_) => vec![
            "The command runs no Python yet.".to_owned(),
            "Its functions appear here with their first calls.".to_owned(),
        ],
    }
}
