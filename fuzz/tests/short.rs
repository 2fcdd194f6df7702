//! Every target, shortly: the same inputs in every run. `cargo xtask fuzz` runs longer.

use std::time::Duration;

use dvm_fuzz::TARGETS;
use dvm_fuzz::run::{Limits, fuzz, keep};

/// All targets together, in a build without optimisation.
const TIME_MAX: Duration = Duration::from_secs(60);

// One test: memory is counted for the whole process.
#[test]
fn no_target_has_a_finding_within_its_short_run() {
    let mut left = TIME_MAX;
    let mut found = Vec::new();
    for target in TARGETS {
        let limits = Limits { seed: 1, execs: target.short, time: left, trace: false };
        let outcome = fuzz(target, limits);
        println!(
            "{:<24} {:>6} {:>9.1?} {:>4}",
            target.name, outcome.execs, outcome.time, outcome.ways
        );
        left = left.saturating_sub(outcome.time);
        if let Some(crash) = outcome.crash {
            let (_, command) = keep(target, &crash);
            found.push(format!("{}: {}\n  {command}", target.name, crash.message));
        } else {
            assert!(outcome.execs >= target.short, "{} had no time left", target.name);
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
