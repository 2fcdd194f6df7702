//! `cargo xtask mutants`: the simulator finds every mutant that is marked `sim`, within its seeds.
//!
//! A simulator whose checkers complain about nothing shows something only if they would complain. The weakened
//! simulator is built once, in release; each mutant is then a run of it with one variable set.
//! Always true: with no mutant on, the same build complains about nothing; a mutant that is not found, or a run that
//! breaks, fails the task after all others were tried.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{
    task::{self, Stop, Workspace},
    tidy::Finding,
    weaken::{self, Mutant},
};

/// Every mutant must be found within so many seeds.
const SEEDS: &str = "10000";
/// And none may be complained about that is not there, in so many.
const SOUND_SEEDS: &str = "300";

/// What the simulator said.
struct Said {
    /// Its exit code: 0 no complaint, 1 a complaint.
    code: Option<i32>,
    /// The line of the complaint.
    line: String,
    took: Duration,
}

/// Tries every simulator mutant, or the one of this name.
pub(crate) fn run(workspace: &Workspace, only: Option<&str>) -> Result<(), Stop> {
    let weakened = weaken::prepare(workspace)?;
    let chosen = |row: &&Mutant| row.sim && only.is_none_or(|name| row.name == name);
    let rows: Vec<&Mutant> = weakened.mutants.iter().filter(chosen).collect();
    if let (Some(name), true) = (only, rows.is_empty()) {
        return Err(Stop::Usage { given: format!("mutants --only {name}") });
    }
    task::run(&mut weakened.cargo(&["build", "--release", "-p", "dvm-sim"]))?;
    let simulator = workspace.target.join(format!("release/{}dvm-sim", weaken::PREFIX));
    let simulate = |seeds: &str, on: Option<&Mutant>| {
        let mut command = workspace.command(&simulator, &["--seeds", seeds, "--until-complaint"]);
        command.env_remove("DVM_WEAK");
        if let Some(mutant) = on {
            command.env("DVM_WEAK", &mutant.name);
        }
        said(command)
    };
    let mut findings = Vec::new();
    let none = simulate(SOUND_SEEDS, None)?;
    println!("{:<32} {:>7.1}s  {}", "(no mutant)", none.took.as_secs_f64(), none.line);
    if none.code != Some(0) {
        findings.push(unfound("no mutant", "the simulator complains with no mutant on"));
    }
    for row in &rows {
        let said = simulate(SEEDS, Some(row))?;
        println!("{:<32} {:>7.1}s  {}", row.name, said.took.as_secs_f64(), said.line);
        findings.extend(fault(said.code).map(|what| unfound(&row.name, what)));
    }
    println!("{} mutants, {} not found", rows.len(), findings.len());
    if findings.is_empty() { Ok(()) } else { Err(Stop::Findings(findings)) }
}

fn unfound(name: &str, what: &str) -> Finding {
    let remedy = "give the simulator a checker or a fault that shows it, or take `sim` away";
    Finding { place: name.to_owned(), what: what.to_owned(), remedy }
}

/// What an exit code says about a mutant, if it was not found.
fn fault(code: Option<i32>) -> Option<&'static str> {
    match code {
        Some(1) => None,
        Some(0) => Some("the simulator does not complain about it"),
        _ => Some("the simulator broke"),
    }
}

fn said(mut command: Command) -> Result<Said, Stop> {
    let started = Instant::now();
    let unusable = |cause| Stop::Unusable { what: "the weakened simulator".to_owned(), cause };
    let output = command.stdin(Stdio::null()).output().map_err(unusable)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = text.lines().find_map(|line| line.strip_prefix("COMPLAINT "));
    let complaint = complaint.unwrap_or("no complaint");
    let took = started.elapsed();
    Ok(Said { code: output.status.code(), line: complaint.chars().take(140).collect(), took })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complaint_is_a_find() {
        assert_eq!(fault(Some(1)), None);
        for code in [Some(0), Some(2), Some(101), None] {
            assert!(fault(code).is_some(), "{code:?}");
        }
    }

    #[test]
    fn the_line_of_the_complaint_is_shown() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 10 seeds; echo 'COMPLAINT seed 7: one-story: x'; exit 1"]);
        let said = said(command).unwrap();
        assert_eq!((said.code, said.line.as_str()), (Some(1), "seed 7: one-story: x"));
    }
}
