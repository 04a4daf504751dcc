//! Says of each file what pytop knows of it, and how long it took to find out.
//!
//! ```text
//! cargo run --release --example examine -- /usr/bin/python3 /usr/lib
//! ```
//!
//! Folders are searched for files that are executable or named like shared libraries; of those,
//! only interpreters and damaged files are listed.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pytop::cpython::{ExamineError, Interpreter, examine};

fn main() {
    let mut dismissed = Vec::new();
    for argument in std::env::args_os().skip(1) {
        let argument = PathBuf::from(argument);
        if argument.is_dir() {
            for path in candidates(&argument) {
                match timed(&path) {
                    Some((Ok(None), time)) => dismissed.push((time, path)),
                    Some((result, time)) => print(&path, &result, time),
                    None => {}
                }
            }
        } else if let Some((result, time)) = timed(&argument) {
            print(&argument, &result, time);
        }
    }
    dismissed.sort();
    if let (Some((least, _)), Some((most, slowest))) = (dismissed.first(), dismissed.last()) {
        let all: Duration = dismissed.iter().map(|(time, _)| *time).sum();
        let middle = dismissed
            .get(dismissed.len() / 2)
            .map_or(all, |(time, _)| *time);
        println!(
            "dismissed {} files in {all:.1?}: least {least:.1?}, median {middle:.1?}, most {most:.1?} ({})",
            dismissed.len(),
            slowest.display(),
        );
    }
}

/// The result of the second of two runs, so that the time is not the disk's.
fn timed(path: &Path) -> Option<(Result<Option<Interpreter>, ExamineError>, Duration)> {
    let file = File::open(path)
        .inspect_err(|error| println!("{}: {error}", path.display()))
        .ok()?;
    let _ = examine(&file, path);
    let start = Instant::now();
    let result = examine(&file, path);
    Some((result, start.elapsed()))
}

fn print(path: &Path, result: &Result<Option<Interpreter>, ExamineError>, time: Duration) {
    println!("{} ({time:.1?})", path.display());
    match result {
        Ok(None) => println!("    no CPython"),
        Err(error) => println!("    error: {error}"),
        Ok(Some(interpreter)) => {
            match interpreter.version {
                Some(version) => println!("    CPython {version}, {}", interpreter.architecture),
                None => println!(
                    "    CPython of unknown version, {}",
                    interpreter.architecture
                ),
            }
            if let Some(id) = &interpreter.build_id {
                print!("    build id ");
                for byte in id {
                    print!("{byte:02x}");
                }
                println!();
            }
            match &interpreter.entry {
                Ok(sites) => sites.iter().for_each(|site| println!("    {site:x?}")),
                Err(reason) => println!("    not counted: {reason}"),
            }
        }
    }
}

fn candidates(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.path().symlink_metadata() else {
                continue;
            };
            let executable = metadata.permissions().mode() & 0o111 != 0;
            let library = entry.file_name().to_string_lossy().contains(".so");
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file() && (executable || library) {
                found.push(entry.path());
            }
        }
    }
    found
}
