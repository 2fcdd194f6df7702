//! The runner's command line: list the targets, run one, or run one input again.
//!
//! Exit codes: 0 nothing found, 1 a finding (its file and its command are printed), 2 not understood.

use std::process::ExitCode;
use std::time::Duration;

use dvm_fuzz::run::{Crash, Limits, fuzz, keep, once};
use dvm_fuzz::{TARGETS, Target, target};

const USAGE: &str = "\
usage: dvm-fuzz list
       dvm-fuzz run TARGET [--seconds N | --execs N] [--seed S] [--trace]
       dvm-fuzz replay TARGET FILE";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["list"] => {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            Some(true)
        }
        ["run", name, options @ ..] => target(name).zip(limits(options)).map(|(t, l)| run(t, l)),
        ["replay", name, file] => target(name).map(|target| replay(target, file)),
        _ => None,
    };
    match done {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::from(1),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn limits(options: &[&str]) -> Option<Limits> {
    let mut limits =
        Limits { seed: 1, execs: u64::MAX, time: Duration::from_secs(10), trace: false };
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        match *option {
            "--seconds" => limits.time = Duration::from_secs(rest.next()?.parse().ok()?),
            "--execs" => {
                limits.execs = rest.next()?.parse().ok()?;
                limits.time = Duration::from_secs(86_400);
            }
            "--seed" => limits.seed = rest.next()?.parse().ok()?,
            "--trace" => limits.trace = true,
            _ => return None,
        }
    }
    Some(limits)
}

fn run(target: &Target, limits: Limits) -> bool {
    let outcome = fuzz(target, limits);
    let per_second = outcome.execs as f64 / outcome.time.as_secs_f64().max(0.001);
    println!(
        "{:<26} {:>9} executions {:>8.0}/s {:>5} ways",
        target.name, outcome.execs, per_second, outcome.ways
    );
    outcome.crash.is_none_or(|crash| {
        let (file, command) = keep(target, &crash);
        println!("FOUND by seed {}: {}\n  input   {}", limits.seed, crash.message, file.display());
        println!("  again   {command}");
        false
    })
}

fn replay(target: &Target, file: &str) -> bool {
    let input = match std::fs::read(file) {
        Ok(input) => input,
        Err(error) => {
            eprintln!("{file}: {error}");
            return false;
        }
    };
    match once(target, &input) {
        Ok(_) => {
            println!("{} survives {file}", target.name);
            true
        }
        Err(message) => {
            let crash = Crash { input, message };
            println!(
                "{} does not survive {} bytes: {}",
                target.name,
                crash.input.len(),
                crash.message
            );
            false
        }
    }
}
