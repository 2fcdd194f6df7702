//! Many seeds, on some threads, until the last one or the first complaint.
//!
//! Always true: which thread runs a seed changes nothing about it. One seed in [`REPEATED`] runs
//! twice and must give the same hash.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use crate::SimError;
use crate::coverage::Coverage;
use crate::judge::Complaint;
use crate::seed::{Outcome, Stage};

/// One seed in so many runs twice.
pub const REPEATED: u64 = 64;

/// Which seeds.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// The first.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// On so many threads.
    pub threads: u64,
    /// Stop at the first complaint.
    pub until_complaint: bool,
}

/// What a campaign came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds run.
    pub seeds: u64,
    /// Of them, run twice.
    pub repeated: u64,
    /// Events, opening shares, pairs of stories, bundles and bans judged.
    pub judged: [u64; 5],
    /// Faults.
    pub coverage: Coverage,
    /// How operations ended.
    pub ends: BTreeMap<String, u64>,
    /// Seeds at which a rule did not hold, in order.
    pub complaints: BTreeMap<u64, Complaint>,
    /// Wall time in seconds.
    pub seconds: f64,
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        let Outcome { events, openings, stories, bundles, bans, .. } = outcome;
        let judged = [events, openings, stories, bundles, bans];
        for (sum, n) in self.judged.iter_mut().zip(judged) {
            *sum += n;
        }
        self.coverage.add(&outcome.coverage);
        for end in outcome.ends {
            *self.ends.entry(end).or_default() += 1;
        }
        if let Some(complaint) = outcome.complaint {
            self.complaints.insert(outcome.seed, complaint);
        }
    }
}

/// Runs a campaign. `step` is told of each seed, on the caller's thread.
///
/// # Errors
/// [`SimError`] if the simulation itself failed.
pub fn run(campaign: Campaign, mut step: impl FnMut(&Summary)) -> Result<Summary, SimError> {
    let began = Instant::now();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (results, outcomes) = mpsc::channel();
    let mut stages = vec![Stage::new()?];
    for _ in 1..campaign.threads {
        let another = stages.first().map(Stage::another).transpose()?;
        stages.extend(another);
    }
    let mut summary = Summary::default();
    let mut failed = None;
    std::thread::scope(|scope| {
        for mut stage in stages {
            let (results, next, stop) = (results.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= campaign.seeds
                        || results.send(one(&mut stage, campaign.from + n)).is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(results);
        for outcome in outcomes {
            match outcome {
                Ok(outcome) => {
                    summary.repeated += u64::from(outcome.seed.is_multiple_of(REPEATED));
                    summary.add(outcome);
                    step(&summary);
                }
                Err(error) => failed = Some(error),
            }
            if failed.is_some() || campaign.until_complaint && !summary.complaints.is_empty() {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    summary.seconds = began.elapsed().as_secs_f64();
    failed.map_or(Ok(summary), Err)
}

fn one(stage: &mut Stage, seed: u64) -> Result<Outcome, SimError> {
    let outcome = stage.run(seed, false)?;
    if seed.is_multiple_of(REPEATED) { again(stage, outcome) } else { Ok(outcome) }
}

/// Runs a seed once more and compares.
///
/// # Errors
/// [`SimError`] if the simulation itself failed.
pub fn again(stage: &mut Stage, mut outcome: Outcome) -> Result<Outcome, SimError> {
    let second = stage.run(outcome.seed, false)?;
    if second.hash != outcome.hash && outcome.complaint.is_none() {
        let what = format!("two runs gave {} and {} events", outcome.events, second.events);
        outcome.complaint = Some(Complaint { checker: "same-seed-same-hash", what });
    }
    Ok(outcome)
}
