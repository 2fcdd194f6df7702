//! `cargo xtask fuzz`: the fuzz targets for longer than the ordinary tests have time for.
//!
//! Without more: every target in turn, by the seeded runner on stable Rust. With `--coverage`: libFuzzer on
//! the same targets. Its instrumentation needs only code generation options that stable Rust has, and a
//! C++ compiler; it has its own target directory, so that ordinary builds stay as they are.
//!
//! Always true: a finding is a failure; its input is a file and the command that runs it again is shown,
//! also when the target took the whole process down.

use std::path::PathBuf;
use std::process::Command;

use crate::task::{self, Stop, Workspace};

/// Seconds per target, if none are given: all of them in a good quarter of an hour.
const SECONDS: u64 = 15;

/// What makes rustc count the edges that libFuzzer follows.
const INSTRUMENT: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// The only platform that the kernel's sandbox has, too.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// What was asked for.
struct Asked {
    target: Option<String>,
    seconds: u64,
    seed: u64,
    coverage: bool,
}

/// Runs one target or all of them.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Stop> {
    let usage = || Stop::Usage { given: format!("fuzz {}", args.join(" ")) };
    let asked = parse(args).ok_or_else(usage)?;
    task::run(&mut workspace.cargo(&["build", "-p", "dvm-fuzz", "--locked"]))?;
    let runner = workspace.target.join("debug").join("dvm-fuzz");
    let targets: Vec<String> = list(workspace, &runner)?
        .into_iter()
        .filter(|name| asked.target.as_ref().is_none_or(|only| only == name))
        .collect();
    if targets.is_empty() {
        return Err(usage());
    }
    let follower = if asked.coverage { Some(build_follower(workspace)?) } else { None };
    let mut failed = Vec::new();
    for target in &targets {
        let ended = match &follower {
            Some(follower) => follow(workspace, follower, (target, &asked)),
            None => mutate(workspace, &runner, (target, &asked)),
        };
        if let Err(stop) = ended {
            eprintln!("{target}: {stop}");
            failed.push(("fuzz", stop));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Stop::Checks(failed)) }
}

fn parse(args: &[String]) -> Option<Asked> {
    let mut asked = Asked { target: None, seconds: SECONDS, seed: 1, coverage: false };
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--target" => asked.target = Some(rest.next()?.clone()),
            "--seconds" => asked.seconds = rest.next()?.parse().ok()?,
            "--seed" => asked.seed = rest.next()?.parse().ok()?,
            "--coverage" => asked.coverage = true,
            _ => return None,
        }
    }
    Some(asked)
}

fn list(workspace: &Workspace, runner: &PathBuf) -> Result<Vec<String>, Stop> {
    let mut command = workspace.command(runner, &["list"]);
    let output = command
        .output()
        .map_err(|cause| Stop::Unusable { what: runner.display().to_string(), cause })?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// The seeded runner; if the process itself died, once more, each input on disk before it is run.
fn mutate(
    workspace: &Workspace,
    runner: &PathBuf,
    (target, asked): (&str, &Asked),
) -> Result<(), Stop> {
    let (seconds, seed) = (asked.seconds.to_string(), asked.seed.to_string());
    let args = ["run", target, "--seconds", &seconds, "--seed", &seed];
    let ended = task::run(&mut workspace.command(runner, &args));
    if let Err(Stop::Failed { status, .. }) = &ended
        && status.code().is_none()
    {
        // Tracing writes each input, so the way to the same one takes longer.
        let longer = (asked.seconds * 20).to_string();
        let again = ["run", target, "--seconds", &longer, "--seed", &seed, "--trace"];
        let _ = task::run(&mut workspace.command(runner, &again));
        let last = workspace.root.join("fuzz/crashes").join(format!("{target}-last"));
        eprintln!("again: cargo run -p dvm-fuzz -- replay {target} {}", last.display());
    }
    ended
}

fn build_follower(workspace: &Workspace) -> Result<PathBuf, Stop> {
    if !task::works(Command::new("c++").arg("--version")) {
        return Err(Stop::Missing { tool: "c++", how: "libFuzzer is C++: install g++ or clang" });
    }
    let directory = workspace.target.join("libfuzzer");
    let manifest = "fuzz/libfuzzer/Cargo.toml";
    let mut build =
        workspace.cargo(&["build", "--release", "--manifest-path", manifest, "--target", PLATFORM]);
    build.arg("--target-dir").arg(&directory).env("RUSTFLAGS", INSTRUMENT.join(" "));
    task::run(&mut build)?;
    Ok(directory.join(PLATFORM).join("release/any"))
}

/// libFuzzer on one target: what it learns goes to the target directory, findings to `fuzz/crashes`.
fn follow(
    workspace: &Workspace,
    follower: &PathBuf,
    (target, asked): (&str, &Asked),
) -> Result<(), Stop> {
    let learned = workspace.target.join("libfuzzer/corpus").join(target);
    let crashes = workspace.root.join("fuzz/crashes");
    for directory in [&learned, &crashes] {
        std::fs::create_dir_all(directory)
            .map_err(|cause| Stop::Unusable { what: directory.display().to_string(), cause })?;
    }
    let mut command = workspace.command(follower, &[]);
    command
        .env("DVM_FUZZ_TARGET", target)
        .arg(&learned)
        .arg(workspace.root.join("fuzz/corpus").join(target))
        .arg(format!("-max_total_time={}", asked.seconds))
        .arg(format!("-seed={}", asked.seed))
        .arg(format!("-artifact_prefix={}/{target}-", crashes.display()))
        .args(["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"]);
    task::run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<Asked> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_is_understood_whole_or_refused() {
        let asked = of("--target wire --seconds 60 --seed 7 --coverage").unwrap();
        assert_eq!((asked.target.as_deref(), asked.seconds, asked.seed), (Some("wire"), 60, 7));
        assert!(asked.coverage && !of("").unwrap().coverage);
        for bad in ["--target", "--seconds x", "wire", "--seed -1"] {
            assert!(of(bad).is_none(), "{bad}");
        }
    }
}
