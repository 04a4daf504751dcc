//! What `readelf -n` shows of markers, field by field.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::support::at_hand;
use super::{answer, list};

/// Markers of one file, in its order.
type Markers = Vec<Marker>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Marker {
    provider: String,
    name: String,
    location: u64,
    base: u64,
    semaphore: u64,
    arguments: String,
}

/// What readelf shows of files, by their paths. The folders of C libraries are the same everywhere,
/// but who links to which is not: so a file is taken under one name.
fn readelf(files: &[PathBuf]) -> BTreeMap<String, Markers> {
    let output = Command::new("readelf")
        .arg("--notes")
        .args(files)
        .env("LC_ALL", "C")
        .output()
        .expect("readelf comes with the linker");
    let mut found = BTreeMap::new();
    let mut markers: Option<&mut Markers> = None;
    // With one file alone it does not say which.
    if let [file] = files {
        markers = Some(found.entry(file.display().to_string()).or_default());
    }
    let text = String::from_utf8(output.stdout).expect("these files have plain notes");
    for line in text.lines() {
        if let Some(file) = line.strip_prefix("File: ") {
            markers = Some(found.entry(file.to_owned()).or_default());
            continue;
        }
        let Some((field, value)) = line.trim().split_once(':') else {
            continue;
        };
        let markers = markers.as_mut().expect("a file comes first");
        let value = value.trim().to_owned();
        if field == "Provider" {
            markers.push(Marker {
                provider: value,
                ..Marker::default()
            });
            continue;
        }
        let Some(marker) = markers.last_mut() else {
            continue;
        };
        match field {
            "Name" => marker.name = value,
            "Location" => {
                let numbers: Vec<_> = line.split(',').map(number).collect();
                [marker.location, marker.base, marker.semaphore] =
                    numbers.try_into().expect("three numbers");
            }
            "Arguments" => marker.arguments = value,
            _ => {}
        }
    }
    found
}

/// The number in `Semaphore: 0x0000000000908d48`.
fn number(field: &str) -> u64 {
    let (_, digits) = field.split_once("0x").expect("a hexadecimal number");
    u64::from_str_radix(digits.trim(), 16).expect("a hexadecimal number")
}

fn probes(files: &[PathBuf]) -> BTreeMap<String, Markers> {
    let paths = files
        .iter()
        .map(|file| file.to_str().expect("a plain path"));
    let found = answer(["probes", "--format", "json"].into_iter().chain(paths));
    let found = list(&found, "files").iter().map(|file| {
        assert_eq!(file["damaged"], false, "{file}");
        let path = file["path"].as_str().expect("a path").to_owned();
        let markers = list(file, "markers").iter();
        (path, markers.map(marker).collect())
    });
    found.collect()
}

fn marker(marker: &Value) -> Marker {
    let text = |name: &str| marker[name].as_str().expect("a text").to_owned();
    let number = |name: &str| marker[name].as_u64();
    Marker {
        provider: text("provider"),
        name: text("name"),
        location: number("address").expect("an address"),
        base: number("base").expect("a base"),
        semaphore: number("semaphore").unwrap_or(0),
        arguments: text("arguments").trim().to_owned(),
    }
}

/// Whether a file is a program or a shared library, by its first bytes.
fn is_program(path: &Path) -> bool {
    let mut head = [0; 18];
    File::open(path).is_ok_and(|mut file| {
        file.read_exact(&mut head).is_ok()
            && head.starts_with(b"\x7fELF")
            && matches!(head[16..], [2 | 3, 0])
    })
}

/// The programs and shared libraries in a folder and those below it, each under its own name.
fn programs(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => programs(&path, found),
            Ok(kind) if kind.is_file() && is_program(&path) => found.push(path),
            _ => {}
        }
    }
}

#[test]
fn every_interpreter_agrees() {
    let files: Vec<PathBuf> = at_hand()
        .map(|interpreter| fs::canonicalize(&interpreter.executable).expect("it is there"))
        .collect();
    let (found, expected) = (probes(&files), readelf(&files));
    assert_eq!(found, expected);
    let with_markers = found.values().filter(|markers| {
        let mut markers = markers.iter();
        markers.any(|marker| marker.provider == "python" && marker.semaphore != 0)
    });
    assert!(with_markers.count() >= 5, "{found:#?}");
}

/// All that is installed: most have none, some have hundreds, of many providers.
#[test]
fn every_program_and_library_of_the_machine_agrees() {
    let mut files = Vec::new();
    for folder in ["/usr/bin", "/usr/lib"] {
        programs(Path::new(folder), &mut files);
    }
    files.sort();
    let (found, expected) = (probes(&files), readelf(&files));
    assert_eq!(found.len(), files.len());
    for (path, markers) in &found {
        assert_eq!(Some(markers), expected.get(path), "{path}");
    }
    // That of C++, which every machine with a C++ compiler has, and one argument of which has no
    // register: constants and addresses in memory are as readelf has them, too.
    let of_cpp = found
        .iter()
        .find(|(path, _)| path.contains("/libstdc++.so"));
    let (_, of_cpp) = of_cpp.expect("a C++ library is installed");
    assert!(
        of_cpp.iter().any(|marker| marker.name == "throw"),
        "{of_cpp:?}"
    );
}
