//! Makes the README's picture from a real run.

mod glyph;
mod svg;

use std::env;
use std::fs;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::command::{build_pytop, capture, find, run};
use crate::privilege::{again_as_root, is_root};
use crate::pythons::Pythons;
use crate::terminal::Terminal;
use crate::workload::Workload;
use crate::workspace;

/// Draw the screen of a real run into assets/screenshot.svg.
///
/// The sample workload runs meanwhile, on Python 3.9 and on 3.15.
#[derive(Args)]
pub(crate) struct Screenshot {
    /// Columns of the terminal.
    #[arg(long, default_value = "118")]
    columns: NonZeroU16,
    /// Rows of the terminal.
    #[arg(long, default_value = "30")]
    rows: NonZeroU16,
    /// How long to let pytop run, so that its graphs have something to show.
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// Keys to press a second before the picture is taken.
    #[arg(long)]
    keys: Option<String>,
    /// Also write a PNG to this file, by rsvg-convert or chromium.
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Options for pytop.
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<String>,
    /// Print the picture; set when this runs again as root.
    #[arg(long, hide = true, value_name = "PYTOP")]
    print_of: Option<PathBuf>,
}

impl Screenshot {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(pytop) = &self.print_of {
            println!("{}", self.picture(pytop)?);
            return Ok(());
        }
        let pytop = build_pytop()?;
        Pythons::default().fetch()?;
        eprintln!("watching pytop for {} seconds", self.seconds);
        let picture = if is_root() {
            self.picture(&pytop)?
        } else {
            let mut again = again_as_root()?;
            again.arg("--print-of").arg(&pytop);
            capture(again.args(env::args_os().skip(2)))?
        };
        let path = workspace::assets().join("screenshot.svg");
        fs::write(&path, picture).with_context(|| format!("cannot write {}", path.display()))?;
        println!("assets/screenshot.svg");
        match &self.png {
            Some(png) => render(&path, png),
            None => Ok(()),
        }
    }

    /// Runs pytop on a terminal, with something to count, and draws what it shows.
    fn picture(&self, pytop: &Path) -> Result<String> {
        let pythons = Pythons::default().fetch()?;
        let _workloads = pythons
            .interpreters
            .iter()
            .filter(|python| ["3.9", "3.15"].contains(&python.name.as_str()))
            .map(Workload::start_in_root)
            .collect::<Result<Vec<_>>>()?;
        let mut command = Command::new(pytop);
        command.args(&self.options);
        let mut terminal = Terminal::start(&command, self.columns, self.rows)?;
        terminal.watch(Duration::from_secs(self.seconds))?;
        terminal.press(self.keys.as_deref().unwrap_or_default())?;
        terminal.watch(Duration::from_secs(1))?;
        let picture = svg::draw(terminal.screen());
        terminal.press("q")?;
        let status = terminal.wait(Duration::from_secs(10))?;
        if !status.success() {
            bail!("pytop ended with {status}");
        }
        Ok(picture)
    }
}

/// Draws an SVG file into a PNG file.
fn render(svg: &Path, png: &Path) -> Result<()> {
    if find("rsvg-convert").is_some() {
        return run(Command::new("rsvg-convert")
            .arg("--output")
            .arg(png)
            .arg(svg));
    }
    if find("chromium").is_some() {
        let mut command = Command::new("chromium");
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
        ]);
        command.arg("--window-size=1100,700");
        command
            .arg(format!("--screenshot={}", png.display()))
            .arg(svg);
        return capture(&mut command).map(drop);
    }
    bail!("a PNG needs rsvg-convert (package librsvg2-bin) or chromium")
}
