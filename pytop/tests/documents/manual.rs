//! The manual page: one for all of it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use clap_mangen::Man;

use super::{definition, options, subcommands};

/// What no definition has.
const CLOSING: &str = include_str!("closing.1");

/// The page, as roff source.
pub(super) fn page() -> String {
    let command = definition();
    let man = Man::new(command.clone())
        .title("PYTOP")
        .section("1")
        .source(concat!("pytop ", env!("CARGO_PKG_VERSION")))
        .manual("User Commands")
        .date("");
    let mut page = rendered(|to| man.render_title(to));
    page.push_str(&plain(&rendered(|to| man.render_name_section(to))));
    page.push_str(".SH SYNOPSIS\n");
    synopsis(&mut page, &command);
    page.push_str(&plain(&rendered(|to| man.render_description_section(to))));
    page.push_str(&plain(&rendered(|to| man.render_options_section(to))));
    page.push_str(".SH SUBCOMMANDS\n");
    for name in subcommands(&command) {
        let subcommand = command.find_subcommand(name).expect("it has this name");
        let man = Man::new(subcommand.clone());
        let _ = writeln!(page, ".SS pytop {name}");
        page.push_str(&without_heading(&rendered(|to| {
            man.render_description_section(to)
        })));
        page.push_str(&without_heading(&rendered(|to| {
            man.render_options_section(to)
        })));
        for (title, text) in after_help(subcommand) {
            match title {
                Some(title) => {
                    let _ = writeln!(page, ".PP\n.B {title}:");
                    literal(&mut page, &text);
                }
                None => {
                    let _ = writeln!(page, ".PP\n{}", escaped(&text));
                }
            }
        }
    }
    keys(&mut page);
    let (mut privileges, mut sections) = (String::new(), String::new());
    for (title, text) in after_help(&command) {
        match title {
            Some(title) => {
                let _ = writeln!(sections, ".SH {}", title.to_uppercase());
                literal(&mut sections, &text);
            }
            None => privileges = text,
        }
    }
    page.push_str(&sections);
    page.push_str(".SH PRIVILEGES\n");
    let _ = writeln!(page, "{}", escaped(&privileges));
    page.push_str(CLOSING);
    page
}

fn rendered(render: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    render(&mut text).expect("memory takes all");
    String::from_utf8(text).expect("a manual is text")
}

/// A part of the page without what every part begins with.
fn plain(part: &str) -> String {
    let is_opening = |line: &&str| line.starts_with(".ie ") || line.starts_with(".el ");
    let lines = part.lines().filter(|line| !is_opening(line));
    lines.fold(String::new(), |mut all, line| {
        all.push_str(line);
        all.push('\n');
        all
    })
}

fn without_heading(part: &str) -> String {
    let part = plain(part);
    let (heading, rest) = part.split_once('\n').expect("a section has a heading");
    assert!(heading.starts_with(".SH "), "{heading}");
    rest.to_owned()
}

/// How pytop is called, and how its subcommands are.
fn synopsis(page: &mut String, command: &clap::Command) {
    let usages = |command: &clap::Command| {
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage:").to_owned();
        let lines = usage.lines().map(|line| line.trim().to_owned());
        lines.collect::<Vec<_>>()
    };
    let mut lines = usages(command);
    lines.retain(|line| !line.contains("SUBCOMMAND"));
    for name in subcommands(command) {
        lines.extend(usages(command.find_subcommand(name).expect("it is there")));
    }
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            page.push_str(".br\n");
        }
        let _ = writeln!(page, "{}", escaped(line));
    }
}

/// The keys of the screen.
fn keys(page: &mut String) {
    page.push_str(".SH KEYS\nOn the screen:\n");
    let mut section = "";
    for help in pytop::tui::key_help() {
        if help.section != section {
            section = help.section;
            let _ = writeln!(page, ".SS {section}");
        }
        let names: Vec<_> = help.keys.iter().map(|key| escaped(key)).collect();
        let _ = writeln!(
            page,
            ".TP\n\\fB{}\\fR\n{}",
            names.join("  "),
            escaped(help.help)
        );
    }
}

/// The sections that stand after the options, with their titles, and what has none.
fn after_help(command: &clap::Command) -> Vec<(Option<String>, String)> {
    let text = command.get_after_long_help().map(ToString::to_string);
    let text = text.unwrap_or_default();
    let sections = text
        .split("\n\n")
        .map(|section| match section.split_once(":\n") {
            Some((title, lines)) => (Some(title.to_owned()), lines.to_owned()),
            None => (None, section.to_owned()),
        });
    sections.collect()
}

/// Lines that stay as they are.
fn literal(page: &mut String, text: &str) {
    page.push_str(".PP\n.nf\n");
    for line in text.lines() {
        let _ = writeln!(page, "{}", escaped(line));
    }
    page.push_str(".fi\n");
}

fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for line in text.lines() {
        if !safe.is_empty() {
            safe.push('\n');
        }
        // What begins with one of these would be a request.
        if line.starts_with(['.', '\'']) {
            safe.push_str("\\&");
        }
        for character in line.chars() {
            match character {
                '\\' => safe.push_str("\\e"),
                '-' => safe.push_str("\\-"),
                '\'' => safe.push_str("\\(aq"),
                '^' => safe.push_str("\\(ha"),
                '~' => safe.push_str("\\(ti"),
                '`' => safe.push_str("\\(ga"),
                _ => safe.push(character),
            }
        }
    }
    safe
}

#[test]
fn the_page_has_everything() {
    let page = page();
    let command = definition();
    for option in options(&command) {
        assert!(page.contains(&escaped(&option)), "{option}");
    }
    for name in subcommands(&command) {
        assert!(page.contains(&format!("\n.SS pytop {name}\n")), "{name}");
    }
    for help in pytop::tui::key_help() {
        assert!(page.contains(&escaped(help.help)), "{}", help.help);
    }
    assert!(!page.contains("count\\-nothing"));
    let sections = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "SUBCOMMANDS",
        "KEYS",
        "EXAMPLES",
        "EXIT STATUS",
        "PRIVILEGES",
        "METHODS",
        "JSON",
        "OVERHEAD",
        "FILES",
        "ENVIRONMENT",
        "SEE ALSO",
    ];
    let found: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".SH "))
        .map(|title| title.trim_matches('"'))
        .collect();
    assert_eq!(found, sections);
}

/// Each request is one that every formatter of manuals knows, and what is opened is closed.
#[test]
fn the_page_is_well_formed() {
    let page = page();
    let mut is_literal = false;
    for line in page.lines() {
        let Some(request) = line.strip_prefix('.') else {
            assert!(!line.starts_with('\''), "{line}");
            continue;
        };
        let name = request.split(' ').next().unwrap_or_default();
        match name {
            "nf" | "fi" => {
                assert_eq!(is_literal, name == "fi", "{line}");
                is_literal = name == "nf";
            }
            "TH" | "SH" | "SS" | "PP" | "TP" | "IP" | "RS" | "RE" | "B" | "I" | "BR" | "IR"
            | "br" | "ie" | "el" => {}
            other => panic!("an unknown request {other:?} in {line}"),
        }
    }
    assert!(!is_literal);
}

/// Where groff is installed, as CI sees to it, it has nothing to complain of.
#[test]
fn groff_has_no_complaints() {
    let groff = Command::new("groff")
        .args(["-man", "-ww", "-Tutf8", "-rLL=100n"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut groff = match groff {
        Ok(groff) => groff,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => panic!("groff cannot be started: {error}"),
    };
    let mut input = groff.stdin.take().expect("its input is a pipe");
    input
        .write_all(page().as_bytes())
        .expect("it reads its input");
    drop(input);
    let output = groff.wait_with_output().expect("it can be waited for");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    let shown = String::from_utf8(output.stdout).expect("it writes UTF-8");
    assert!(shown.contains("pytop probes"), "{shown}");
}
