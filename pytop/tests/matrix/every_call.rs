//! Every call of every kind, on every interpreter, by every method.

use crate::run::{all_variants, under_one_pytop};
use crate::support::{Comparison, Counted, Interpreter, at_hand, live};
use crate::table::{self, Line};
use crate::whole_machine;
use crate::workload::{Finished, Workload};

/// All interpreters at once, each by the method that it is counted by when nothing is asked for,
/// and once more those with a live marker by the other method that they have.
#[test]
fn every_call_is_counted_by_every_method() {
    let _turn = whole_machine();
    let mut results = Results::default();
    let workloads = at_hand().map(|interpreter| (Workload::new(interpreter), interpreter.method()));
    results.add("auto", &workloads.collect::<Vec<_>>());
    for interpreter in live() {
        let method = interpreter.method_without_marker();
        results.add(method, &[(Workload::new(interpreter), method)]);
    }
    results.check();
}

#[derive(Default)]
struct Results(Vec<(Vec<Finished>, Counted)>);

impl Results {
    fn add(&mut self, choice: &str, workloads: &[(Workload, &'static str)]) {
        let cases = workloads
            .iter()
            .flat_map(|(workload, method)| all_variants(workload, method));
        self.0.push(under_one_pytop(choice, cases.collect()));
    }

    fn check(&self) {
        let mut lines: Vec<Line> = Vec::new();
        let mut comparisons = Vec::new();
        for (finished, counted) in &self.0 {
            let mut all = Comparison::default();
            for run in finished {
                let line = line(&mut lines, run.case.interpreter(), run.case.method);
                line.runs += 1;
                line.expected += run.expected.calls();
                line.counted += run.compare(counted, &mut all);
            }
            comparisons.push((all, counted));
        }
        lines.sort_by_key(|line| (line.interpreter.minor(), line.interpreter.version.clone()));
        table::write(&lines);
        for (all, counted) in comparisons {
            all.assert(counted);
            let uncounted = counted.uncounted();
            assert_eq!((uncounted.table_full, uncounted.implausible), (0, 0));
        }
    }
}

fn line<'a>(
    lines: &'a mut Vec<Line>,
    interpreter: &'static Interpreter,
    method: &'static str,
) -> &'a mut Line {
    let found = lines
        .iter()
        .position(|line| std::ptr::eq(line.interpreter, interpreter) && line.method == method);
    let index = found.unwrap_or_else(|| {
        lines.push(Line {
            interpreter,
            method,
            runs: 0,
            expected: 0,
            counted: 0,
        });
        lines.len() - 1
    });
    &mut lines[index]
}
