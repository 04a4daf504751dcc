//! Whether pytop can count on this machine, and what is missing.
//!
//! Nothing is judged twice: the findings are the answers of the very checks that a run begins with,
//! and the interpreters are planned by the planner of a run. What is told beyond that (capabilities,
//! namespaces, settings) explains an answer, and is never the answer itself.

mod kernel;
mod processes;
mod restrictions;

use anyhow::Result;

use crate::cpython::Version;
use crate::inspect::Verdict;
use crate::model::Text;
use crate::probe::{Capacity, Survey};
use crate::session::{Planner, Purpose};

/// All that was found.
#[derive(Debug)]
pub struct Diagnosis {
    /// What counting needs, and what may stand in its way.
    pub findings: Vec<Finding>,
    /// The interpreters that run, and those that are installed where pytop looks for them.
    pub interpreters: Vec<KnownInterpreter>,
}

/// One thing that counting needs, or that may stand in its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What the user can do about it, where there is something.
    pub remedy: Option<String>,
}

/// Whether something is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is.
    Yes,
    /// It is not, and pytop counts without it, but less, later, or not everything.
    Limited,
    /// It is not, and pytop cannot count.
    No,
    /// It could not be tried, because something before it is missing.
    Unknown,
}

impl Status {
    /// The name that the table and JSON use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Limited => "limited",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// An interpreter of this machine.
#[derive(Debug)]
pub struct KnownInterpreter {
    /// Its file, as the first process that was seen with it has it.
    pub path: Text,
    /// The processes that run it, as far as this user may know of them.
    pub processes: usize,
    /// How it is counted.
    pub verdict: Verdict,
}

impl KnownInterpreter {
    /// Which CPython; `None` when the file does not tell.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.verdict.version
    }
}

impl Diagnosis {
    /// Looks at everything.
    ///
    /// # Errors
    /// There is no `/proc` to look at.
    pub fn make() -> Result<Self> {
        let survey = Survey::take(Capacity::default());
        let mut planner = Planner::new(crate::cli::MethodChoice::Auto, Purpose::Counting);
        let mut findings = vec![kernel::version(&survey)];
        findings.extend(restrictions::all(&survey));
        findings.extend(kernel::all(&survey));
        let (seen, interpreters) = processes::all(&mut planner)?;
        findings.extend(seen);
        Ok(Self {
            findings,
            interpreters,
        })
    }

    /// Whether a run would count.
    #[must_use]
    pub fn works(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.status != Status::No)
    }
}

impl Finding {
    fn new(name: &'static str, status: Status, detail: impl Into<String>) -> Self {
        Self {
            name,
            status,
            detail: detail.into(),
            remedy: None,
        }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
