//! `cargo xtask mutation [MODULE]`: small changes everywhere in the modules that decide, each noticed by a test.
//!
//! `cargo mutants` says which changes; one build in a copy under the target directory holds all of a module's, and its
//! tests run with one on at a time. Where the named mutants (`crate::controls`) ask whether a known attack is seen, this
//! asks what else nobody would see. Figures: docs/mutation.md.
//! Always true: the work tree is not touched; a module below the line fails the task; what was missed, does not compile
//! or cannot be switched is counted apart and named.

mod build;
mod compose;
mod judge;

use std::collections::BTreeMap;
use std::{fmt, path::Path};

use crate::{
    task::{self, Stop, Workspace},
    tidy::Finding,
    tools,
};
use build::Plan;
use compose::{Change, Listed};

/// Of all changes that compile, so many in a hundred must be noticed.
const SCORE_MIN: usize = 85;

/// A module that decides something, and whose tests must say so.
struct Module {
    name: &'static str,
    package: &'static str,
    files: &'static [&'static str],
    /// The test targets that judge it, in the order in which they are tried.
    tests: &'static [&'static str],
}

const MODULES: [Module; 5] = [
    Module {
        name: "phases",
        package: "dvm-kernel",
        files: &["crates/dvm-kernel/src/phase.rs"],
        tests: KERNEL,
    },
    Module {
        name: "ladder",
        package: "dvm-node",
        files: &["crates/dvm-node/src/engine/ladder.rs"],
        tests: &["lib", "engine"],
    },
    Module {
        name: "permits",
        package: "dvm-kernel",
        files: &["crates/dvm-kernel/src/course.rs"],
        tests: KERNEL,
    },
    Module {
        name: "gate",
        package: "dvm-kernel",
        files: &["crates/dvm-kernel/src/gate.rs", "crates/dvm-kernel/src/opening.rs"],
        tests: KERNEL,
    },
    Module {
        name: "verifier",
        package: "dvm-evidence",
        files: &["crates/dvm-evidence/src/verify/*.rs"],
        tests: &["lib", "bundle"],
    },
];

const KERNEL: &[&str] = &["lib", "cluster", "peer"];

/// Judges every module, or the one of this name.
pub(crate) fn run(workspace: &Workspace, only: Option<&str>) -> Result<(), Stop> {
    let chosen: Vec<&Module> =
        MODULES.iter().filter(|module| only.is_none_or(|name| module.name == name)).collect();
    if let (Some(name), true) = (only, chosen.is_empty()) {
        return Err(Stop::Usage { given: format!("mutation {name}") });
    }
    let mut findings = Vec::new();
    for module in chosen {
        let score = judged(workspace, module)?;
        println!("{:<9} {score}", module.name);
        findings.extend((score.percent() < SCORE_MIN).then(|| Finding {
            place: module.name.to_owned(),
            what: format!("only {score}"),
            remedy: "write a test for what was missed; missed.txt names it",
        }));
    }
    if findings.is_empty() { Ok(()) } else { Err(Stop::Findings(findings)) }
}

/// Judges one module and writes its report.
fn judged(workspace: &Workspace, module: &Module) -> Result<Score, Stop> {
    let mut report = Report::default();
    let mut sources = BTreeMap::new();
    let mut changes = Vec::new();
    for (at, one) in listed(workspace, module)?.into_iter().enumerate() {
        if !sources.contains_key(&one.file) {
            sources.insert(one.file.clone(), task::read(&workspace.root.join(&one.file))?);
        }
        let source = sources.get(&one.file).map(String::as_str).unwrap_or_default();
        let name = one.name.clone();
        match Change::of(one, format!("m{at}"), source) {
            Ok(change) => changes.push(change),
            Err(reason) => report.unjudged.push(format!("{name}: {reason}")),
        }
    }
    let directory = workspace.target.join("mutation");
    let plan = Plan { package: module.package, targets: module.tests, directory };
    let built = build::build(workspace, &plan, (&sources, &changes))?;
    let (unviable, viable): (Vec<&Change>, Vec<&Change>) =
        changes.iter().partition(|change| built.unviable.contains(&change.id));
    report.unviable.extend(unviable.into_iter().map(|change| change.name.clone()));
    for (change, verdict) in viable.iter().zip(judge::judge(&built, &viable)?) {
        match verdict {
            Some(by) => report.noticed.push(format!("{}: {by}", change.name)),
            None => report.missed.push(change.name.clone()),
        }
    }
    report.write(&plan.directory.join(module.name))?;
    Ok(report.score())
}

/// Every change that the tool would make to a module.
fn listed(workspace: &Workspace, module: &Module) -> Result<Vec<Listed>, Stop> {
    let mutants = tools::cargo_mutants(workspace)?;
    let mut command = workspace.command(&mutants, &["mutants", "--list", "--json", "--no-config"]);
    command.args(["--package", module.package]);
    command.args(module.files.iter().flat_map(|file| ["--file", file]));
    let unusable = |cause| Stop::Unusable { what: "cargo mutants --list".to_owned(), cause };
    let output = command.output().map_err(unusable)?;
    if !output.status.success() {
        let command = "cargo mutants --list".to_owned();
        return Err(Stop::Failed { command, status: output.status });
    }
    serde_json::from_slice(&output.stdout).map_err(|cause| unusable(cause.into()))
}

/// What became of every change, by name.
#[derive(Default)]
struct Report {
    noticed: Vec<String>,
    missed: Vec<String>,
    unviable: Vec<String>,
    unjudged: Vec<String>,
}

impl Report {
    fn write(&self, directory: &Path) -> Result<(), Stop> {
        let unusable = |cause| Stop::Unusable { what: directory.display().to_string(), cause };
        std::fs::create_dir_all(directory).map_err(unusable)?;
        let Self { noticed, missed, unviable, unjudged } = self;
        for (name, lines) in [
            ("noticed", noticed),
            ("missed", missed),
            ("unviable", unviable),
            ("unjudged", unjudged),
        ] {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            std::fs::write(directory.join(format!("{name}.txt")), text).map_err(unusable)?;
        }
        Ok(())
    }

    fn score(&self) -> Score {
        Score {
            noticed: self.noticed.len(),
            missed: self.missed.len(),
            unviable: self.unviable.len(),
            unjudged: self.unjudged.len(),
        }
    }
}

/// How many of a module's changes came to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Score {
    noticed: usize,
    missed: usize,
    unviable: usize,
    unjudged: usize,
}

impl Score {
    /// Noticed changes, of a hundred that were judged. Nothing to judge is no pass.
    fn percent(self) -> usize {
        let judged = self.noticed.saturating_add(self.missed);
        self.noticed.saturating_mul(100).checked_div(judged).unwrap_or(0)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { noticed, missed, unviable, unjudged } = self;
        let percent = self.percent();
        write!(f, "{percent} % ({noticed} noticed, {missed} missed, ")?;
        write!(f, "{unviable} do not compile, {unjudged} not judged)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_counts_what_was_judged_and_the_report_names_all() {
        let score = |noticed, missed| Score { noticed, missed, unviable: 9, unjudged: 9 };
        assert_eq!(score(17, 3).percent(), SCORE_MIN);
        assert!(score(16, 3).percent() < SCORE_MIN);
        assert_eq!(score(0, 0).percent(), 0);
        let lines = |count: usize| vec!["a change".to_owned(); count];
        let (noticed, missed, unviable, unjudged) = (lines(17), lines(3), lines(9), lines(9));
        let report = Report { noticed, missed, unviable, unjudged };
        assert_eq!(report.score(), score(17, 3));
        let directory = tempfile::tempdir().unwrap();
        report.write(directory.path()).unwrap();
        let missed = std::fs::read_to_string(directory.path().join("missed.txt")).unwrap();
        assert_eq!(missed.lines().count(), 3);
    }

    #[test]
    fn every_file_of_a_module_is_there() {
        let workspace = Workspace::find().unwrap();
        for file in MODULES.iter().flat_map(|module| module.files) {
            let path = workspace.root.join(file.trim_end_matches("/*.rs"));
            assert!(path.exists(), "{file}");
        }
    }
}
