//! Which method counts an interpreter, and what probes it takes.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::attachments::File;
use super::code_cache::CodeCache;
use super::{durations, tracing};
use crate::cli::MethodChoice;
use crate::cpython::{CodeMethod, NotCountable, Version, examine_code};
use crate::discover::FileId;
use crate::model::Method;
use crate::probe::{Description, Program};

/// The first version that can be built with a just-in-time compiler.
const FIRST_WITH_COMPILER: (u8, u8) = (3, 13);

/// How an interpreter is counted.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) method: Method,
    pub(crate) probes: Vec<PlannedProbe>,
    /// Why it cannot be timed, though that was asked for.
    pub(super) untimed: Option<Refusal>,
}

/// A probe that is to be placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedProbe {
    pub(super) program: Program,
    /// Where the instruction is in the file.
    pub(super) offset: u64,
    /// Where the semaphore is in the file.
    pub(super) semaphore: Option<u64>,
    pub(super) description: Description,
}

/// What is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Entries are counted.
    Counting,
    /// They are counted and timed.
    Durations,
    /// They are told, and so are exits.
    Tracing,
}

/// The plans of all files that were asked about.
pub(crate) struct Planner {
    choice: MethodChoice,
    purpose: Purpose,
    cache: CodeCache,
    plans: HashMap<FileId, Result<Arc<Plan>, Arc<str>>>,
    /// Files that were looked for in the cache ahead of their use.
    looked_up: HashSet<FileId>,
}

impl Planner {
    pub(crate) fn new(choice: MethodChoice, purpose: Purpose) -> Self {
        Self {
            choice,
            purpose,
            cache: CodeCache::of_user(),
            plans: HashMap::new(),
            looked_up: HashSet::new(),
        }
    }

    /// Whether what is planned is a trace.
    pub(super) fn traces(&self) -> bool {
        self.purpose == Purpose::Tracing
    }

    /// How a file is counted.
    ///
    /// # Errors
    /// Why it cannot be counted, to complete the sentence "not counted: …".
    pub(crate) fn plan(&mut self, file: &File) -> Result<Arc<Plan>, Arc<str>> {
        let plan = self.plans.entry(file.id);
        plan.or_insert_with(|| made(self.choice, self.purpose, &self.cache, file))
            .clone()
    }

    /// How a file is counted by this method, whatever others it allows.
    ///
    /// # Errors
    /// Why it cannot be counted so.
    pub(crate) fn plan_by(&self, method: Method, file: &File) -> Result<Plan, Refusal> {
        plan(MethodChoice::Only(method), &self.cache, file)
    }

    /// Plans for many files, with all processors.
    pub(crate) fn plan_all(&mut self, files: &[Arc<File>]) {
        let (choice, purpose, cache) = (self.choice, self.purpose, &self.cache);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut plans = Vec::new();
            while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                plans.push((file.id, made(choice, purpose, cache, file)));
            }
            plans
        };
        let plans = thread::scope(|scope| {
            let helpers = thread::available_parallelism().map_or(0, |all| all.get() - 1);
            let helpers: Vec<_> = (0..helpers.min(files.len().saturating_sub(1)))
                .filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let mut plans = work();
            for helper in helpers {
                plans.extend(helper.join().unwrap_or_default());
            }
            plans
        });
        self.plans.extend(plans);
    }

    /// Whether it is known how a file is counted, or can be found out without a long look at it.
    pub(super) fn is_quick(&mut self, file: &File) -> bool {
        if self.purpose != Purpose::Counting {
            return self.plans.contains_key(&file.id);
        }
        self.plans.contains_key(&file.id)
            || file.interpreter.entry.is_ok()
            || (self.looked_up.insert(file.id) && kept(&self.cache, file).is_some())
    }
}

fn made(
    choice: MethodChoice,
    purpose: Purpose,
    cache: &CodeCache,
    file: &File,
) -> Result<Arc<Plan>, Arc<str>> {
    let plan = plan(choice, cache, file);
    let plan = match purpose {
        Purpose::Counting => plan,
        Purpose::Durations => plan.map(|plan| durations::of(plan, file)),
        Purpose::Tracing => plan.and_then(|plan| tracing::of(plan, file)),
    };
    plan.map(Arc::new)
        .map_err(|refusal| refusal.to_string().into())
}

/// Chooses: the live marker where there is one, unless another method was asked for.
fn plan(choice: MethodChoice, cache: &CodeCache, file: &File) -> Result<Plan, Refusal> {
    let interpreter = &file.interpreter;
    match choice {
        MethodChoice::Auto if interpreter.entry.is_ok() => marker(cache, file),
        MethodChoice::Only(Method::Marker) => marker(cache, file),
        MethodChoice::Auto => code(cache, file),
        MethodChoice::Only(asked) => {
            if let Some(version) = interpreter.version
                && asked != method_of(version)
            {
                let versions = match asked {
                    Method::Eval => "CPython 3.6 to 3.10",
                    _ => "CPython 3.11 and later",
                };
                return Err(Refusal {
                    reason: format!(
                        "the method '{}' is for {versions}, and this is CPython {version}",
                        asked.name(),
                    ),
                    remedy: Some("leave out --method"),
                });
            }
            code(cache, file)
        }
    }
}

/// The method that counts a version without a marker.
fn method_of(version: Version) -> Method {
    if version.minor() < (3, 11) {
        Method::Eval
    } else {
        Method::Resume
    }
}

fn marker(cache: &CodeCache, file: &File) -> Result<Plan, Refusal> {
    let sites = file.interpreter.entry.as_ref()?;
    let probes = sites.iter().map(|site| PlannedProbe {
        program: Program::FunctionEntry,
        offset: site.file_offset,
        semaphore: site.semaphore_file_offset,
        description: Description::Marker(site.spec),
    });
    let mut probes: Vec<_> = probes.collect();
    let version = file.interpreter.version.map(Version::minor);
    if version.is_some_and(|version| version >= FIRST_WITH_COMPILER) {
        // Compiled code passes the marker by. Where it begins is not known of every interpreter.
        probes.extend(found(cache, file).ok().as_ref().and_then(compiled));
    }
    Ok(Plan {
        method: Method::Marker,
        probes,
        untimed: None,
    })
}

fn code(cache: &CodeCache, file: &File) -> Result<Plan, Refusal> {
    let found = found(cache, file)?;
    let (method, program) = match &found {
        CodeMethod::Eval(_) => (Method::Eval, Program::Evaluation),
        CodeMethod::Resume(_) => (Method::Resume, Program::Resume),
    };
    let code = found.probes().map_err(|reason| Refusal::from(&reason))?;
    let probes = code.into_iter().map(|code| PlannedProbe {
        program,
        offset: code.file_offset,
        semaphore: None,
        description: Description::Code(code.spec),
    });
    Ok(Plan {
        method,
        probes: probes.chain(compiled(&found)).collect(),
        untimed: None,
    })
}

/// The probe that tells when a just-in-time compiler is at work.
fn compiled(found: &CodeMethod) -> Option<PlannedProbe> {
    Some(PlannedProbe {
        program: Program::Compiled,
        offset: found.executor_file_offset()?,
        semaphore: None,
        description: Description::Nothing,
    })
}

/// Where a file can be counted without its marker.
fn found(cache: &CodeCache, file: &File) -> Result<CodeMethod, Refusal> {
    if let Some(kept) = kept(cache, file) {
        return Ok(kept);
    }
    let found = examine_code(&file.file, &file.path, &file.interpreter);
    let found = found.map_err(|error| Refusal::because(error.to_string()))?;
    let found = found.map_err(|reason| Refusal::from(&reason))?;
    if let Some(build_id) = &file.interpreter.build_id {
        cache.keep(&file.file, build_id, &found);
    }
    Ok(found)
}

/// What an earlier run found in a file.
fn kept(cache: &CodeCache, file: &File) -> Option<CodeMethod> {
    cache.find(&file.file, file.interpreter.build_id.as_deref()?)
}

/// Why a file cannot be counted. Its text completes the sentence "not counted: …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What stands in the way.
    pub(crate) reason: String,
    /// What the user can do, where there is something.
    remedy: Option<&'static str>,
}

impl Refusal {
    /// Nothing can be done about it.
    pub(super) fn because(reason: String) -> Self {
        Self {
            reason,
            remedy: None,
        }
    }
}

impl From<&NotCountable> for Refusal {
    fn from(reason: &NotCountable) -> Self {
        Self {
            reason: reason.to_string(),
            remedy: reason.remedy(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)?;
        match self.remedy {
            Some(remedy) => write!(formatter, "; {remedy}"),
            None => Ok(()),
        }
    }
}
