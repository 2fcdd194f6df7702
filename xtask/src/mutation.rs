//! `cargo xtask mutation [MODULE]`: small changes everywhere in the modules that decide, each noticed by a test.
//!
//! `cargo mutants` makes the changes, one at a time, in a copy under the target directory, and runs the tests of the
//! module's package. Where the named mutants (`crate::controls`) ask whether a known attack is seen, this asks what else
//! nobody would see. Figures: docs/mutation.md.
//! Always true: the work tree is not touched; a module below the line fails the task, and what was missed is named.

use std::{fmt, path::Path};

use crate::{
    task::{self, Stop, Workspace},
    tidy::Finding,
    tools, weaken,
};

/// Of all changes that compile, so many in a hundred must be noticed.
const SCORE_MIN: usize = 85;

/// A module that decides something, and whose tests must say so.
struct Module {
    name: &'static str,
    package: &'static str,
    files: &'static [&'static str],
    /// Arguments of `cargo test`: the targets that judge it.
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
        tests: &["--lib", "--test", "engine"],
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
        tests: &["--lib", "--test", "bundle"],
    },
];

const KERNEL: &[&str] = &["--lib", "--test", "cluster", "--test", "peer"];

/// Judges every module, or the one of this name.
pub(crate) fn run(workspace: &Workspace, only: Option<&str>) -> Result<(), Stop> {
    let chosen: Vec<&Module> =
        MODULES.iter().filter(|module| only.is_none_or(|name| module.name == name)).collect();
    if let (Some(name), true) = (only, chosen.is_empty()) {
        return Err(Stop::Usage { given: format!("mutation {name}") });
    }
    let mutants = tools::cargo_mutants(workspace)?;
    let tree = workspace.target.join("mutation/tree");
    weaken::copy(workspace, &tree)?;
    let mut findings = Vec::new();
    for module in chosen {
        let output = workspace.target.join("mutation").join(module.name);
        std::fs::create_dir_all(&output).map_err(|cause| unusable(module, cause))?;
        let mut command = workspace.command(&mutants, &["mutants", "--in-place", "--no-shuffle"]);
        command.arg("--dir").arg(&tree).arg("--output").arg(&output);
        // A changed loop may not end; a slow machine is not a changed loop.
        command.args(["--minimum-test-timeout", "120", "--package", module.package]);
        command.args(module.files.iter().flat_map(|file| ["--file", file]));
        command.arg("--").args(module.tests);
        command.env("CARGO_TARGET_DIR", workspace.target.join("mutation/target"));
        command.env("CARGO_PROFILE_DEV_DEBUG", "none").current_dir(&tree);
        // Its exit code says that something was missed; how much is in its report.
        let ended = task::run(&mut command);
        let score = match Score::read(&output.join("mutants.out")) {
            Some(score) => score,
            // No report: it broke before it could judge anything.
            None => return ended,
        };
        println!("{:<9} {score}", module.name);
        findings.extend((score.percent() < SCORE_MIN).then(|| Finding {
            place: module.name.to_owned(),
            what: format!("only {score}"),
            remedy: "write a test for what was missed; mutants.out/missed.txt names it",
        }));
    }
    if findings.is_empty() { Ok(()) } else { Err(Stop::Findings(findings)) }
}

fn unusable(module: &Module, cause: std::io::Error) -> Stop {
    Stop::Unusable { what: module.name.to_owned(), cause }
}

/// The counts of a finished report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Score {
    caught: usize,
    missed: usize,
    unviable: usize,
}

impl Score {
    /// None if there is no report.
    fn read(report: &Path) -> Option<Self> {
        let lines = |name: &str| {
            let text = std::fs::read_to_string(report.join(name)).ok()?;
            Some(text.lines().filter(|line| !line.is_empty()).count())
        };
        // A change after which a test does not end was noticed.
        let caught = lines("caught.txt")?.saturating_add(lines("timeout.txt")?);
        Some(Self { caught, missed: lines("missed.txt")?, unviable: lines("unviable.txt")? })
    }

    /// Noticed changes, of a hundred that compile. Nothing to judge is no pass.
    fn percent(self) -> usize {
        let viable = self.caught.saturating_add(self.missed);
        self.caught.saturating_mul(100).checked_div(viable).unwrap_or(0)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { caught, missed, unviable } = self;
        let percent = self.percent();
        write!(f, "{percent} % ({caught} noticed, {missed} missed, {unviable} do not compile)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_counts_what_compiles_and_a_missing_report_is_none() {
        let report = tempfile::tempdir().unwrap();
        assert_eq!(Score::read(report.path()), None);
        let counts = [("caught", 17), ("missed", 3), ("timeout", 0), ("unviable", 9)];
        for (name, lines) in counts {
            let text = "a change\n".repeat(lines);
            std::fs::write(report.path().join(format!("{name}.txt")), text).unwrap();
        }
        let score = Score::read(report.path()).unwrap();
        assert_eq!(score, Score { caught: 17, missed: 3, unviable: 9 });
        assert_eq!(score.percent(), SCORE_MIN);
        assert!(Score { caught: 16, missed: 3, unviable: 0 }.percent() < SCORE_MIN);
        assert_eq!(Score { caught: 0, missed: 0, unviable: 9 }.percent(), 0);
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
