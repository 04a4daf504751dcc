//! Columns that are as wide as what is in them.

use std::io::{self, Write};

use super::table::cells;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Numbers are.
    pub(super) is_right_aligned: bool,
}

impl Column {
    pub(super) fn left(title: &'static str) -> Self {
        Self {
            title,
            is_right_aligned: false,
        }
    }

    pub(super) fn right(title: &'static str) -> Self {
        Self {
            title,
            is_right_aligned: true,
        }
    }
}

/// Prints a line of titles, and one for each row, all of them after `indentation`. What is in them
/// has to be harmless already.
pub(super) fn write<const N: usize>(
    output: &mut impl Write,
    indentation: &str,
    columns: [Column; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let mut widths = columns.map(|column| cells(column.title));
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cells(cell).max(*width);
        }
    }
    let titles = columns.map(|column| column.title.to_owned());
    for row in [&titles].into_iter().chain(rows) {
        let mut line = indentation.to_owned();
        for ((cell, column), width) in row.iter().zip(&columns).zip(widths) {
            let padding = " ".repeat(width.saturating_sub(cells(cell)));
            if column.is_right_aligned {
                line.push_str(&padding);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&padding);
            }
            line.push_str("  ");
        }
        writeln!(output, "{}", line.trim_end())?;
    }
    Ok(())
}
