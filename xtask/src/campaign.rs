//! `cargo xtask campaign`: kills the processes of a cluster under load, for as long as one likes.
//!
//! The campaign itself is a test of `dvm`'s end-to-end suite (`campaign.rs` there), which every test run does in
//! short; this builds what it needs and hands it the numbers. `--pool` has clients spend presignatures under kills
//! until so many are spent. `--points` lets processes of the weakened tree die at
//! each place of `mutants/crash.toml` instead.
//!
//! Always true: with `--json`, standard output carries the report and nothing else; the exit code is 0 only if every
//! check of the campaign held.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Command;

use crate::task::{self, Stop, Workspace};
use crate::weaken;

/// The campaign's tests, by the names that the test runner knows.
const RANDOM: &str = "campaign::processes_killed_at_random_under_load_break_no_promise";
const POOL: &str =
    "campaign::pool::presignatures_under_kills_are_spent_once_each_and_every_request_ends";
const POINTS: &str = "campaign::points::a_process_that_dies_at_a_named_point_breaks_no_promise";
/// Enough for a claim, in some twelve minutes.
const KILLS: u64 = 500;
const CLIENTS: u64 = 4;
/// What `--pool` spends, by so many clients.
const SIGNATURES: u64 = 10_000;
const POOL_CLIENTS: u64 = 8;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    kills: u64,
    signatures: u64,
    seed: u64,
    clients: Option<u64>,
    json: bool,
    what: What,
}

/// Which campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Random,
    Pool,
    Points,
}

impl What {
    fn test(self) -> &'static str {
        match self {
            Self::Random => RANDOM,
            Self::Pool => POOL,
            Self::Points => POINTS,
        }
    }

    fn clients(self) -> u64 {
        match self {
            Self::Pool => POOL_CLIENTS,
            Self::Random | Self::Points => CLIENTS,
        }
    }
}

/// Reads the command line, builds, and runs the campaign to its end.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Stop> {
    let options = parse(args).ok_or_else(|| Stop::Usage { given: given(args) })?;
    let report = workspace.target.join("campaign.json");
    let mut test = workspace.cargo(&["test", "--locked", "-p", "dvm", "--test", "e2e", "--"]);
    test.args(["--exact", "--nocapture", "--include-ignored"]);
    test.arg(options.what.test());
    if options.what == What::Points {
        test.env("DVM_WEAK_BIN_DIR", weakened_bins(workspace)?);
    } else {
        task::run(&mut workspace.cargo(&["build", "--release", "--bins", "--locked"]))?;
        test.env("DVM_BIN_DIR", workspace.target.join("release"));
    }
    test.env("DVM_CAMPAIGN_KILLS", options.kills.to_string());
    test.env("DVM_CAMPAIGN_SEED", options.seed.to_string());
    let clients = options.clients.unwrap_or(options.what.clients());
    test.env("DVM_CAMPAIGN_CLIENTS", clients.to_string());
    test.env("DVM_CAMPAIGN_SIGNATURES", options.signatures.to_string());
    test.env("DVM_CAMPAIGN_JSON", &report);
    if !options.json {
        return task::run(&mut test);
    }
    // An older report must not pass for this one.
    let _ = std::fs::remove_file(&report);
    let outcome = task::run(quiet(&mut test)?);
    // A campaign that broke off has no report; why is on standard error.
    if let Ok(text) = std::fs::read_to_string(&report) {
        println!("{text}");
    }
    outcome
}

/// The test runner's own words go where progress goes.
fn quiet(test: &mut Command) -> Result<&mut Command, Stop> {
    let unusable = |cause| Stop::Unusable { what: "standard error".to_owned(), cause };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map_err(unusable)?;
    Ok(test.stdout(stderr))
}

/// The binaries of the weakened tree under the names by which they find each other. Not a release build: a place to
/// die at is the same place in both, and this one is there in a third of the time.
fn weakened_bins(workspace: &Workspace) -> Result<PathBuf, Stop> {
    let weakened = weaken::prepare(workspace)?;
    // Not locked: weakening gives some packages one dependency more than the lock has.
    let args = ["build", "-p", "dvm", "-p", "dvm-kernel", "--bins"];
    task::run(&mut weakened.cargo(&args))?;
    let dir = workspace.target.join("weakened/bin");
    let unusable = |cause| Stop::Unusable { what: dir.display().to_string(), cause };
    std::fs::create_dir_all(&dir).map_err(unusable)?;
    for name in ["dvm", "dvm-kernel"] {
        let built = workspace.target.join(format!("debug/{}{name}", weaken::PREFIX));
        std::fs::copy(built, dir.join(name)).map_err(unusable)?;
    }
    Ok(dir)
}

fn parse(args: &[String]) -> Option<Options> {
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |since| since.as_secs());
    let (kills, signatures) = (KILLS, SIGNATURES);
    let mut options =
        Options { kills, signatures, seed, clients: None, json: false, what: What::Random };
    let mut words = args.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut number = || words.next()?.parse::<u64>().ok();
        match word {
            "--kills" => options.kills = number()?,
            "--seed" => options.seed = number()?,
            "--signatures" => options.signatures = number()?,
            "--clients" => {
                options.clients = Some(number().filter(|n| (1..=64).contains(n))?);
            }
            "--json" => options.json = true,
            "--pool" => options.what = What::Pool,
            "--points" => options.what = What::Points,
            _ => return None,
        }
    }
    Some(options)
}

fn given(args: &[String]) -> String {
    format!("campaign {}", args.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Options> {
        parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn campaign_takes_its_numbers_and_refuses_what_it_does_not_know() {
        let whole = parsed("--kills 20 --seed 7 --clients 2 --json");
        let expected = Options {
            kills: 20,
            signatures: SIGNATURES,
            seed: 7,
            clients: Some(2),
            json: true,
            what: What::Random,
        };
        assert_eq!(whole, Some(expected));
        let points = parsed("--points");
        assert!(
            points.is_some_and(|options| options.what == What::Points && options.kills == KILLS)
        );
        let pool = parsed("--pool --signatures 12");
        assert!(pool.is_some_and(|options| options.what == What::Pool && options.signatures == 12));
        for bad in [
            "--signatures",
            "--kills",
            "--kills many",
            "--clients 0",
            "--clients 65",
            "--kill 3",
            "extra",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
