//! The screen on made-up numbers: no root, no eBPF, no Python. For work on the screen itself.
//!
//! ```text
//! cargo run --example screen [busy | empty | silent | idle | hostile | full | end | panic | many]
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pytop::model::{
    Coverage, Method, ProcessStatus, Row, Runtime, Snapshot, Text, Uncounted, View,
};
use pytop::tui::{self, Settings};
use pytop::updates::{Command, Scope, Update};
use tokio::sync::mpsc;

/// (path, functions)
const FILES: [(&str, &[&str]); 7] = [
    (
        "/srv/shop/app/models/order.py",
        &[
            "total",
            "lines",
            "is_paid",
            "__init__",
            "reserve",
            "<listcomp>",
        ],
    ),
    (
        "/srv/shop/app/views/checkout.py",
        &["dispatch", "get_context_data", "post", "<lambda>"],
    ),
    (
        "/usr/lib/python3.9/json/decoder.py",
        &["decode", "raw_decode", "JSONObject", "py_scanstring"],
    ),
    (
        "/usr/lib/python3.9/site-packages/sqlalchemy/orm/loading.py",
        &[
            "instances",
            "_instance",
            "load_scalar_attributes",
            "get_from_identity",
        ],
    ),
    (
        "/usr/lib/python3.9/asyncio/base_events.py",
        &["_run_once", "call_soon", "time", "_call_soon", "call_at"],
    ),
    (
        "/usr/lib/python3.9/logging/__init__.py",
        &[
            "isEnabledFor",
            "getEffectiveLevel",
            "debug",
            "handle",
            "format",
            "emit",
        ],
    ),
    (
        "<frozen importlib._bootstrap>",
        &["_find_and_load", "_handle_fromlist"],
    ),
];

fn rows(tick: u32, scenario: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    match scenario {
        "empty" | "silent" | "idle" => {}
        "hostile" => {
            for (filename, function) in [
                ("/tmp/\x1b[31mred\x1b[0m.py", "\x1b]0;title\x07"),
                ("/tmp/new\nline.py", "tab\there"),
                ("/tmp/\u{202e}yp.live", "\u{200b}hidden"),
                ("/srv/项目/模块/注文処理.py", "合計を計算する"),
                ("/tmp/e\u{301}t\u{301}e\u{301}.py", "na\u{ef}ve"),
                ("/tmp/🐍🎉.py", "👩‍💻"),
            ] {
                rows.push(row(812, filename, 7, function, 1009));
            }
            let (filename, name) = (b"/tmp/\xff\xfe.py".as_slice(), b"\xc3(".as_slice());
            rows.push(Row::new(812, filename, Some(9), name, 503));
            rows.push(row(812, &"/long".repeat(2000), 9, &"x".repeat(10_000), 211));
        }
        "many" => {
            for index in 0..10_000 {
                let filename = format!("/srv/generated/module_{:03}.py", index / 40);
                let calls = u64::from((index * 7919 + tick * 31) % 5003);
                rows.push(row(
                    812 + index % 7,
                    &filename,
                    index % 997 + 1,
                    &format!("function_{index}"),
                    calls + 1,
                ));
            }
        }
        _ => {
            let mut index = 0;
            for pid in [812_u32, 813, 2_204, 40_961] {
                for (file, functions) in FILES {
                    for (at, function) in functions.iter().enumerate() {
                        index += 1;
                        let wave = (f64::from(tick) / f64::from(3 + index % 11)).sin() + 1.05;
                        let scale = 400_000.0 / f64::from(index).powf(1.3);
                        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                        let calls = (wave * scale) as u64;
                        if calls > 0 && !(index % 5 == 0 && tick.is_multiple_of(3)) {
                            let line = u32::try_from(at).unwrap_or_default() * 37 + 12;
                            rows.push(row(pid, file, line, function, calls));
                        }
                    }
                }
            }
        }
    }
    rows
}

fn row(pid: u32, filename: &str, line: u32, function: &str, calls: u64) -> Row {
    Row::new(pid, filename, Some(line), function, calls)
}

fn processes(rows: &[Row], scenario: &str) -> Vec<ProcessStatus> {
    let process = |pid: u32, exe: &str, python: &str, coverage: Coverage| ProcessStatus {
        pid,
        comm: Text::from(exe.rsplit('/').next().unwrap_or_default()),
        exe: exe.into(),
        interpreter: exe.into(),
        python: Some(python.into()),
        user: if pid < 2000 { "www-data" } else { "root" }.into(),
        container: (pid > 2000).then(|| "3f9d2c1ab77e".into()),
        coverage,
        calls: rows
            .iter()
            .filter(|row| row.function.pid == pid)
            .map(|row| row.calls)
            .sum(),
        probe_cost: None,
        estimate: None,
        runtime: Runtime::default(),
        ended: false,
    };
    let marker = Coverage::Counted(Method::Marker);
    let silent = Coverage::NotCounted(
        "its function__entry marker is there but never fires in CPython 3.11 to 3.14".into(),
    );
    let mut processes = Vec::new();
    if scenario == "empty" {
        return processes;
    }
    if scenario != "silent" {
        processes.push(process(812, "/usr/bin/python3.9", "3.9.2", marker.clone()));
        processes.push(process(813, "/usr/bin/python3.9", "3.9.2", marker.clone()));
        processes.push(process(
            2204,
            "/opt/venv/bin/uwsgi",
            "3.15.0",
            marker.clone(),
        ));
        processes.push(process(40_961, "/usr/bin/python3.9", "3.9.2", marker));
    }
    processes.push(process(
        1190,
        "/usr/bin/python3.11",
        "3.11.2",
        silent.clone(),
    ));
    processes.push(process(1191, "/usr/bin/python3.11", "3.11.2", silent));
    processes.push(process(
        50_000,
        "/usr/local/bin/python3",
        "3.8.20",
        Coverage::NotCounted("it was built without markers (--with-dtrace)".into()),
    ));
    processes
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let scenario = std::env::args().nth(1).unwrap_or_else(|| "busy".to_owned());
    let (sender, updates) = mpsc::channel(4);
    let (commands, mut asked) = mpsc::channel(4);
    let interval = Duration::from_secs(1);
    let feed = scenario.clone();
    tokio::spawn(async move {
        let mut interval = interval;
        for tick in 0_u32.. {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                command = asked.recv() => match command {
                    Some(Command::SetInterval(asked)) => {
                        interval = asked;
                        continue;
                    }
                    Some(Command::Quit) | None => return,
                },
            }
            let rows = rows(tick, &feed);
            let snapshot = Snapshot {
                time: SystemTime::now(),
                interval,
                processes: processes(&rows, &feed),
                rows,
                drain: Duration::from_millis(20),
                untimed: None,
                bounded: false,
                uncounted: Uncounted {
                    table_full: if feed == "full" { 17 } else { 0 },
                    unreadable_name: u64::from(feed == "full" && tick.is_multiple_of(5)),
                    implausible: 0,
                },
            };
            let end = feed == "end" && tick == 5;
            if sender
                .send(Update::Snapshot(Arc::new(snapshot)))
                .await
                .is_err()
            {
                return;
            }
            if end {
                let reason = "python3 app.py has exited with status 0".to_owned();
                let _ = sender.send(Update::Ended(reason)).await;
                return;
            }
            assert!(feed != "panic" || tick < 3, "a panic, as was asked for");
        }
    });
    let scope = if scenario == "end" {
        Scope::Command("python3 app.py".to_owned())
    } else {
        Scope::Machine
    };
    tui::run(
        updates,
        commands,
        Settings::from_environment(View::default(), interval, scope),
        &|_| anyhow::bail!("this screen counts nothing"),
    )
    .await
}
