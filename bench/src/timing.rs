//! How long a piece of work takes in this process: batches of it, timed whole.
//!
//! Always true: what a piece needs is made before the clock starts and dropped after it stops; the
//! median batch counts, so that what else the machine does shows as little as it can.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::figures::quantile;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Timed batches of each measure.
    pub batches: usize,
    /// Signatures per scenario of the whole path.
    pub requests: usize,
}

impl Effort {
    /// What a figure to be written down takes.
    pub const FULL: Self = Self { batches: 101, requests: 200 };
    /// Enough to see that everything runs.
    pub const SMOKE: Self = Self { batches: 3, requests: 2 };
}

/// Seconds of the median batch, where `make` is not timed and `work` is.
pub fn median<T, U>(
    effort: Effort,
    mut make: impl FnMut() -> T,
    mut work: impl FnMut(T) -> U,
) -> f64 {
    let mut seconds = Vec::with_capacity(effort.batches);
    for _ in 0..effort.batches {
        let given = black_box(make());
        let started = Instant::now();
        let made = black_box(work(given));
        seconds.push(started.elapsed().as_secs_f64());
        drop(made);
    }
    quantile(&seconds, 0.5)
}

/// Median seconds of two ways to do the same work, measured in turns: what slows the machine for a
/// while slows both.
pub fn in_turns<T, U>(
    effort: Effort,
    mut one: impl FnMut() -> T,
    mut other: impl FnMut() -> U,
) -> (f64, f64) {
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for _ in 0..effort.batches {
        ones.push(seconds_of(&mut one).as_secs_f64());
        others.push(seconds_of(&mut other).as_secs_f64());
    }
    (quantile(&ones, 0.5), quantile(&others, 0.5))
}

/// Does the work on a thread that has verified nothing yet: a signature that held is not checked twice on one.
pub fn afresh<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| scope.spawn(work).join()).ok()
}

fn seconds_of<T>(work: &mut impl FnMut() -> T) -> Duration {
    let started = Instant::now();
    let made = black_box(work());
    let took = started.elapsed();
    drop(made);
    took
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_work_is_timed() {
        let slow = Duration::from_millis(20);
        let effort = Effort { batches: 3, requests: 0 };
        assert!(median(effort, || std::thread::sleep(slow), |()| ()) < 0.02);
        assert!(median(effort, || (), |()| std::thread::sleep(slow)) >= 0.02);
    }

    #[test]
    fn both_ways_are_measured() {
        let effort = Effort { batches: 3, requests: 0 };
        let (one, other) = in_turns(effort, || (), || std::thread::sleep(Duration::from_millis(5)));
        assert!(one < other);
    }
}
