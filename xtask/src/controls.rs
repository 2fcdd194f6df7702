//! `cargo xtask controls`: every test that a mutant names passes without the mutant and fails with it.
//!
//! A test of an attack that cannot fail shows nothing; this shows that it can, and on the defence that it is about.
//! Source: docs/decisions/0007-weakened-tree.md.
//! Always true: a test that did not run, that fails with no mutant on, or that hangs, is no control; each such row
//! fails the task, after all others were tried.
//! Not here: the simulator's mutants (`crate::mutants`).

mod build;
mod runs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::{
    task::{Stop, Workspace},
    tidy::Finding,
    weaken::{self, Mutant, TestRef},
};
use build::Built;
use runs::Ended;

/// Which rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which<'a> {
    /// Those that are not marked slow.
    Quick,
    /// All.
    All,
    /// The one of this name.
    Only(&'a str),
}

/// Tries every chosen row.
pub(crate) fn run(workspace: &Workspace, which: Which) -> Result<(), Stop> {
    let weakened = weaken::prepare(workspace)?;
    let rows: Vec<&Mutant> = weakened.mutants.iter().filter(|row| chosen(row, which)).collect();
    if let (Which::Only(name), true) = (which, rows.is_empty()) {
        return Err(Stop::Usage { given: format!("controls --only {name}") });
    }
    let built = build::tests(&weakened, &rows)?;
    let sound = without(&built, &rows)?;
    let tries: Vec<(&Mutant, TestRef)> =
        rows.iter().flat_map(|row| row.tests().map(|test| (*row, test))).collect();
    let verdicts = with(&built, &tries, &sound)?;
    let mut findings = Vec::new();
    for ((row, test), verdict) in tries.iter().zip(verdicts) {
        println!("{:<36} {:<13} {test}", row.name, verdict.word());
        findings.extend(verdict.fault().map(|fault| Finding {
            place: format!("mutants/{}: {}", row.table, row.name),
            what: format!("`{test}` {fault}"),
            remedy: "sharpen the test, or the row",
        }));
    }
    println!("{} mutants, {} controls, {} not shown", rows.len(), tries.len(), findings.len());
    if findings.is_empty() { Ok(()) } else { Err(Stop::Findings(findings)) }
}

fn chosen(row: &Mutant, which: Which) -> bool {
    let wanted = match which {
        Which::Quick => !row.slow,
        Which::All => true,
        Which::Only(name) => row.name == name,
    };
    wanted && row.tests().next().is_some()
}

/// What a control came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It passes without and fails with the mutant.
    Shown,
    /// It passes with the mutant, too.
    Blind,
    /// It fails or hangs with no mutant on.
    Unsound,
    /// No such test ran.
    Absent,
    /// With the mutant it does not end.
    Hangs,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Blind => "NOT SHOWN",
            Self::Unsound => "UNSOUND",
            Self::Absent => "NO SUCH TEST",
            Self::Hangs => "HANGS",
        }
    }

    fn fault(self) -> Option<&'static str> {
        match self {
            Self::Shown => None,
            Self::Blind => Some("passes although the mutant is on"),
            Self::Unsound => Some("does not pass with no mutant on"),
            Self::Absent => Some("did not run"),
            Self::Hangs => Some("does not end while the mutant is on"),
        }
    }
}

/// How each named test ends with no mutant on.
fn without(built: &Built, rows: &[&Mutant]) -> Result<BTreeMap<TestRef, Ended>, Stop> {
    let mut targets: BTreeMap<(String, String), BTreeSet<TestRef>> = BTreeMap::new();
    for test in rows.iter().flat_map(|row| row.tests()) {
        targets.entry((test.package.clone(), test.target.clone())).or_default().insert(test);
    }
    let mut ended = BTreeMap::new();
    for tests in targets.into_values() {
        let names: Vec<&TestRef> = tests.iter().collect();
        if runs::run(built, &names, None)? == Ended::Passed {
            ended.extend(tests.into_iter().map(|test| (test, Ended::Passed)));
        } else {
            // One of them; each alone says which.
            for test in tests {
                let alone = runs::run(built, &[&test], None)?;
                ended.insert(test, alone);
            }
        }
    }
    Ok(ended)
}

/// What each control comes to, in order; as many at a time as there are processors.
fn with(
    built: &Built,
    tries: &[(&Mutant, TestRef)],
    sound: &BTreeMap<TestRef, Ended>,
) -> Result<Vec<Verdict>, Stop> {
    let next = Mutex::new(0..tries.len());
    let found = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let at = next.lock().ok().and_then(|mut next| next.next());
            let Some((at, (row, test))) = at.and_then(|at| tries.get(at).map(|one| (at, one)))
            else {
                return;
            };
            let verdict = match sound.get(test) {
                Some(Ended::Passed) => runs::run(built, &[test], Some(row)).map(judged),
                Some(Ended::Absent) => Ok(Verdict::Absent),
                _ => Ok(Verdict::Unsound),
            };
            if let Ok(mut found) = found.lock() {
                found.insert(at, verdict);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    found.into_inner().unwrap_or_default().into_values().collect()
}

fn judged(ended: Ended) -> Verdict {
    match ended {
        Ended::Failed => Verdict::Shown,
        Ended::Passed => Verdict::Blind,
        Ended::Absent => Verdict::Absent,
        Ended::Hung => Verdict::Hangs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failure_shows_an_attack() {
        assert_eq!(judged(Ended::Failed).fault(), None);
        for other in [Ended::Passed, Ended::Absent, Ended::Hung] {
            assert!(judged(other).fault().is_some(), "{other:?}");
        }
    }
}
