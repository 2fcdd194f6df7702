//! The kernel's clock: wall time that never runs backwards.
//!
//! Always true: `now_ms` never returns less than it returned before, nor less than the high-water mark it was
//! resumed from. So an expiry that this kernel has once seen pass stays passed, across restarts too.
//! Not here: reading wall time (an argument), persistence (`vault::Txn::raise_clock`), and comparing with peers.

/// A clock resumed from the vault's high-water mark.
#[derive(Debug)]
pub struct Clock {
    high_ms: u64,
}

impl Clock {
    /// Continues from `high_ms`, the mark that the vault kept (0 on the very first start).
    pub fn resume(high_ms: u64) -> Self {
        Self { high_ms }
    }

    /// The time to use, given the machine's wall time: the later of `wall_ms` and everything seen before.
    pub fn now_ms(&mut self, wall_ms: u64) -> u64 {
        self.high_ms = self.high_ms.max(wall_ms);
        self.high_ms
    }

    /// The latest time this clock has returned: what the vault persists.
    pub fn high_ms(&self) -> u64 {
        self.high_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_advances_with_wall_time_and_never_goes_back() {
        let mut clock = Clock::resume(0);
        assert_eq!(clock.now_ms(10), 10);
        assert_eq!(clock.now_ms(9), 10);
        assert_eq!(clock.now_ms(11), 11);
    }

    #[test]
    fn clock_does_not_go_below_the_mark_it_was_resumed_from() {
        let mut clock = Clock::resume(1_000);
        assert_eq!(clock.now_ms(999), 1_000);
        assert_eq!(clock.now_ms(1_001), 1_001);
        assert_eq!(clock.high_ms(), 1_001);
    }
}
