//! The runner for stable Rust: seeds first, then changed ones; what came further is kept as a seed.
//!
//! Always true: the same seed and number of executions give the same inputs in the same order, so a
//! finding can be found again. A panic, and an input that took too long, is a finding.
//!
//! Not here: aborts (a stack that overflows, memory that is gone). They end the process; `--trace` has
//! left the input on disk before.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::mutate::{below, mutate};
use crate::{Target, corpus};

/// One input may take this long, in a build without optimisation on a busy machine.
const SLOW: Duration = Duration::from_secs(10);
/// Inputs kept beside the seeds.
const KEPT_MAX: usize = 4_096;

/// When to stop, and where to start.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of the mutator.
    pub seed: u64,
    /// Executions.
    pub execs: u64,
    /// Or time.
    pub time: Duration,
    /// Write every input to disk before it is run.
    pub trace: bool,
}

/// An input that a target did not survive.
#[derive(Clone, Debug)]
pub struct Crash {
    /// The input.
    pub input: Vec<u8>,
    /// What the panic said.
    pub message: String,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Executions done.
    pub execs: u64,
    /// Different ways seen.
    pub ways: usize,
    /// Time taken.
    pub time: Duration,
    /// The first finding.
    pub crash: Option<Crash>,
}

/// Runs a target until a limit or a finding.
pub fn fuzz(target: &Target, limits: Limits) -> Outcome {
    let begun = Instant::now();
    let mut rng = ChaCha20Rng::seed_from_u64(limits.seed);
    let mut pool = corpus::seeds(target.name);
    let mut ways = BTreeSet::new();
    let seeds = pool.len() as u64;
    let mut outcome = Outcome { execs: 0, ways: 0, time: Duration::ZERO, crash: None };
    while outcome.execs < limits.execs.max(seeds) && begun.elapsed() < limits.time {
        let input = match pool.get(outcome.execs as usize) {
            Some(seed) if outcome.execs < seeds => seed.clone(),
            _ => next(&mut rng, &pool, target.bytes_max),
        };
        if limits.trace {
            std::fs::write(traced(target), &input).expect("the crash directory is writable");
        }
        outcome.execs += 1;
        match once(target, &input) {
            Ok(seen) => {
                if ways.insert(seen) && outcome.execs > seeds && pool.len() < KEPT_MAX {
                    pool.push(input);
                }
            }
            Err(message) => {
                outcome.crash = Some(Crash { input, message });
                break;
            }
        }
    }
    Outcome { ways: ways.len(), time: begun.elapsed(), ..outcome }
}

fn next(rng: &mut ChaCha20Rng, pool: &[Vec<u8>], bytes_max: usize) -> Vec<u8> {
    let (seed, other) = (below(rng, pool.len()), below(rng, pool.len()));
    mutate(rng, &pool[seed], &pool[other], bytes_max)
}

/// One execution.
pub fn once(target: &Target, input: &[u8]) -> Result<crate::Seen, String> {
    let begun = Instant::now();
    let seen = catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "a panic without a message".to_owned())
    })?;
    let taken = begun.elapsed();
    if taken > SLOW { Err(format!("took {taken:?}")) } else { Ok(seen) }
}

/// Writes a finding; its file and how to run it again.
pub fn keep(target: &Target, crash: &Crash) -> (PathBuf, String) {
    let name = format!("{}-{:016x}", target.name, crate::Seen::of(&crash.input).0);
    let file = crashes().join(name);
    std::fs::write(&file, &crash.input).expect("the crash directory is writable");
    let command = format!("cargo run -p dvm-fuzz -- replay {} {}", target.name, file.display());
    (file, command)
}

/// Where `--trace` leaves the input that is being run.
pub fn traced(target: &Target) -> PathBuf {
    crashes().join(format!("{}-last", target.name))
}

fn crashes() -> PathBuf {
    let directory = corpus::home().join("crashes");
    std::fs::create_dir_all(&directory).expect("the crash directory can be made");
    directory
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;

    /// A decoder with a fault behind two checks, each of which shows that it was passed.
    fn faulty(data: &[u8]) -> Seen {
        let passed = [0x1b, 0x80].iter().zip(data).take_while(|(a, b)| a == b).count();
        assert!(passed < 2 || data.len() < 4, "the planted fault");
        Seen::of(passed)
    }

    fn honest(data: &[u8]) -> Seen {
        Seen::of(data.len())
    }

    fn run(run: fn(&[u8]) -> Seen) -> Outcome {
        let target = Target { name: "planted", bytes_max: 64, short: 0, run };
        let time = Duration::from_secs(60);
        fuzz(&target, Limits { seed: 1, execs: 30_000, time, trace: false })
    }

    #[test]
    fn a_fault_behind_two_checks_is_found_again_with_the_same_seed() {
        let crash = run(faulty).crash.expect("found");
        assert_eq!(crash.message, "the planted fault");
        assert_eq!(run(faulty).crash.expect("found again").input, crash.input);
    }

    #[test]
    fn a_decoder_without_a_fault_has_no_finding_and_all_executions() {
        let outcome = run(honest);
        assert!(outcome.crash.is_none());
        assert_eq!(outcome.execs, 30_000);
        assert!(outcome.ways > 32);
    }
}
