//! The interpreter: what one event costs, early and late in a run, and what a whole trace costs.
//!
//! An event is what `dvm_vm::step` takes: an answer of the own kernel, or a frame. Figures are means over
//! the 80 events of one level around the event that is named (64 answers, 16 frames; the last frame opens
//! the next level with its 64 calls). A frame brings a signature, which the step checks. The aim is set
//! for frames that have been checked, so the price of the checks, measured alone, is taken off there.

use dvm_core::Signed;
use dvm_core::trace::TraceEvent;
use dvm_vm::{State, replay, step};
use ed25519_dalek::SigningKey;

use crate::Outcome;
use crate::table::{Against, Row};
use crate::timing::{Effort, afresh};
use crate::trace::{LongRun, PARTIES};

const SECTION: &str = "vm";
/// Events of one level: every window of so many has the same mix.
const WINDOW: usize = 80;
/// Where windows begin: the window's middle is the event that is named.
const EVENTS: [usize; 3] = [50, 500, 5_000];
/// The aim per event.
const STEP_US: f64 = 5.0;
/// The aim for a trace of ten thousand events, checked and run again.
const REPLAY_MS: f64 = 100.0;

/// Measures.
///
/// # Errors
/// A run that is none.
pub fn rows(effort: Effort) -> Outcome<Vec<Row>> {
    let run = LongRun::new(0)?;
    let row = |measure: String, us: f64, against| Row::new(SECTION, measure, (us, "us"), against);
    let mut rows = Vec::new();
    let check = check_us(&run, effort)?;
    for at in EVENTS {
        let us = window_us(&run, at, effort, |_| true)?;
        let checks = check * f64::from(PARTIES) / WINDOW as f64;
        let measure = format!("step at event {at}, less its signatures' checks");
        rows.push(row(measure, us - checks, Against::AtMost(STEP_US)));
        rows.push(row(format!("step at event {at}, all of it"), us, Against::Nothing));
    }
    let answer = window_us(&run, 500, effort, |frame| !frame)?;
    rows.push(row("  of these: an answer of the kernel".to_owned(), answer, Against::Nothing));
    let frame = window_us(&run, 500, effort, |frame| frame)?;
    let alone = Against::Reference { who: "its check alone", figure: check };
    rows.push(row("  of these: a frame".to_owned(), frame, alone));
    rows.push(replayed(&run, effort)?);
    Ok(rows)
}

/// Mean microseconds of the events of one kind in the window around an event.
fn window_us(
    run: &LongRun,
    at: usize,
    effort: Effort,
    wanted: impl Fn(bool) -> bool + Sync,
) -> Outcome<f64> {
    let first = at - WINDOW / 2;
    let before = run.state_at(first)?;
    let window: Vec<(&TraceEvent, bool)> =
        run.events.iter().zip(run.frames.iter().copied()).skip(first).take(WINDOW).collect();
    let count = window.iter().filter(|(_, frame)| wanted(*frame)).count();
    let mut sums = Vec::with_capacity(effort.batches);
    for _ in 0..effort.batches {
        let state = before.clone();
        let took = afresh(|| timed(run, state, &window, &wanted)).ok_or("a thread that died")?;
        sums.push(took.map_err(|error| error.to_string())?);
    }
    Ok(crate::figures::quantile(&sums, 0.5) * 1e6 / count as f64)
}

/// Seconds that the wanted events of a window took. The clock's own price is in it, about 0.03 us each.
fn timed(
    run: &LongRun,
    mut state: State,
    window: &[(&TraceEvent, bool)],
    wanted: impl Fn(bool) -> bool,
) -> Result<f64, String> {
    let mut seconds = 0.0;
    for (event, frame) in window {
        let started = std::time::Instant::now();
        let taken = step(&run.ctx, &mut state, event);
        let took = started.elapsed().as_secs_f64();
        taken.map_err(|error| error.to_string())?;
        if wanted(*frame) {
            seconds += took;
        }
    }
    Ok(seconds)
}

/// Microseconds of the check of one frame header's signature that was not seen before: the mean over a level's frames.
fn check_us(run: &LongRun, effort: Effort) -> Outcome<f64> {
    let headers = run.events.iter().filter_map(|event| match event {
        TraceEvent::Frame(fact) => Some(&fact.header),
        _ => None,
    });
    let mut signed = Vec::new();
    for header in headers.take(usize::from(PARTIES)) {
        signed.push((header, run.ctx.key(&header.body.from).ok_or("a sender without a key")?));
    }
    let checks = || {
        let started = std::time::Instant::now();
        let held = signed.iter().filter(|(header, key)| header.verify(*key).is_ok()).count();
        (started.elapsed().as_secs_f64(), held)
    };
    let mut seconds = Vec::with_capacity(effort.batches);
    for _ in 0..effort.batches {
        let (took, held) = afresh(checks).ok_or("a thread that died")?;
        if held != signed.len() {
            return Err("a frame whose signature does not hold".into());
        }
        seconds.push(took);
    }
    Ok(crate::figures::quantile(&seconds, 0.5) * 1e6 / signed.len() as f64)
}

/// Two runs, because a plan's bounds end one below ten thousand events: every event taken again, the
/// TraceRoot made again and held against the signed one.
fn replayed(run: &LongRun, effort: Effort) -> Outcome<Row> {
    let second = LongRun::new(1)?;
    let signer = SigningKey::from_bytes(&[9; 32]);
    let runs = [run, &second];
    let mut signed = Vec::new();
    for run in runs {
        let root = replay(&run.ctx, &run.events).map_err(|error| error.to_string())?;
        signed.push(Signed::new(root, &signer));
    }
    let key = dvm_core::Signer::public_key(&signer);
    let events: usize = runs.iter().map(|run| run.events.len()).sum();
    let verified = || {
        let started = std::time::Instant::now();
        let held = runs.iter().zip(&signed).filter(|(run, signed)| {
            let root = replay(&run.ctx, &run.events);
            signed.verify(key).is_ok_and(|recorded| root.as_ref() == Ok(recorded))
        });
        (held.count(), started.elapsed().as_secs_f64())
    };
    let mut seconds = Vec::new();
    for _ in 0..effort.batches.div_ceil(8) {
        let (held, took) = afresh(verified).ok_or("a thread that died")?;
        if held != runs.len() {
            return Err("a run that does not replay to its root".into());
        }
        seconds.push(took);
    }
    let seconds = crate::figures::quantile(&seconds, 0.5);
    let measure = format!("verify and replay of {events} events (2 runs)");
    Ok(Row::new(SECTION, measure, (seconds * 1e3, "ms"), Against::AtMost(REPLAY_MS)))
}
