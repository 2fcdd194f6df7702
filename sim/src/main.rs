//! `dvm-sim`: runs seeds, tells the story of one, or crosses every durable write with a crash.
//!
//! Exit code: 0 no complaint, 1 a checker complains, 2 the command line or the simulation itself.
//! With `--json` standard output is one object.

mod report;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use dvm_sim::campaign::{self, Campaign};
use dvm_sim::matrix::{self, Matrix, SCENARIOS};
use dvm_sim::{SimError, Stage};
use indicatif::{ProgressBar, ProgressStyle};

/// A simulated world is mostly small short-lived values, and both threads make them at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whole clusters under seeded faults and lies, judged by what must hold.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Options {
    /// Run so many seeds.
    #[arg(long, conflicts_with_all = ["seed", "matrix"], required_unless_present_any = ["seed", "matrix"])]
    seeds: Option<u64>,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
    /// Stop at the first complaint.
    #[arg(long)]
    until_complaint: bool,
    /// Run this seed twice and tell its story.
    #[arg(long, conflicts_with = "matrix")]
    seed: Option<u64>,
    /// A crash at every durable write.
    #[arg(long)]
    matrix: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match (options.seed, options.matrix) {
        (Some(seed), _) => one(seed, options.json),
        (None, true) => cross(options.json),
        (None, false) => many(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("dvm-sim: {error}");
            ExitCode::from(2)
        }
    }
}

fn bar(length: u64, unit: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    let template = format!("{{bar:40}} {{pos}}/{{len}} {unit}  {{per_sec}}  {{eta}} left  {{msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

/// One seed, twice; true if no rule is broken.
fn one(seed: u64, json: bool) -> Result<bool, SimError> {
    let mut stage = Stage::new()?;
    let outcome = stage.run(seed, true)?;
    let outcome = campaign::again(&mut stage, outcome)?;
    if json {
        println!("{}", report::outcome_json(&outcome));
    } else {
        print!("{}", report::story(&outcome));
    }
    Ok(outcome.complaint.is_none())
}

fn many(options: &Options) -> Result<bool, SimError> {
    let campaign = Campaign {
        from: options.from,
        seeds: options.seeds.unwrap_or(0),
        threads: options.threads,
        until_complaint: options.until_complaint,
    };
    let bar = bar(campaign.seeds, "seeds");
    let summary = campaign::run(campaign, |summary| {
        bar.set_position(summary.seeds);
        if !summary.complaints.is_empty() {
            bar.set_message(format!("{} complaints", summary.complaints.len()));
        }
    })?;
    bar.finish_and_clear();
    if options.json {
        println!("{}", report::summary_json(&summary));
    } else {
        print!("{}", report::summary(&summary));
    }
    Ok(summary.complaints.is_empty())
}

fn cross(json: bool) -> Result<bool, SimError> {
    let mut stage = Stage::new()?;
    let mut all: BTreeMap<&str, Matrix> = BTreeMap::new();
    let bar = bar(0, "points");
    for scenario in &SCENARIOS {
        bar.set_message(scenario.name);
        all.insert(scenario.name, matrix::run(&mut stage, scenario, || bar.inc(1))?);
    }
    bar.finish_and_clear();
    if json {
        println!("{}", report::matrix_json(&all));
    } else {
        print!("{}", report::matrix(&all));
    }
    Ok(all.values().all(|matrix| matrix.bad.is_empty()))
}
