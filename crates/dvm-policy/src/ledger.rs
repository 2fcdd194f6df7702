//! The limits ledger: executions per key in a rolling hour, reserved before they happen.
//!
//! Source: the design's chapter on policies, limits ledger. Reserve at admission, in the same
//! transaction as the receipt; commit at execution; give back only if this node provably revealed
//! nothing.
//!
//! Always true: an intent counts once per key; a reservation counts until it is given back or, once
//! committed, for an hour after. Limits are per peer: with a local limit L the cluster can spend up
//! to n·L/t.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::{KeyId, Link, ReasonCode};

/// The rolling window.
const HOUR_MS: u64 = 3_600_000;

/// The executions of one key that count, and those that are about to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Spending {
    /// Every intent that counts; with the time at which it happened, or may have, once it is committed.
    entries: BTreeMap<Link, Option<u64>>,
    /// The committed ones, oldest first: what is over is found without looking at the rest.
    by_time: BTreeSet<(u64, Link)>,
}

impl Spending {
    /// The committed ones that do not count any more. A clock that went back keeps an entry: it ages only by time that
    /// passed.
    fn over(&self, now_ms: u64) -> impl Iterator<Item = &(u64, Link)> {
        let last = now_ms.checked_sub(HOUR_MS);
        self.by_time.iter().take_while(move |(at, _)| last.is_some_and(|last| *at <= last))
    }

    fn used_by_others(&self, intent: &Link, now_ms: u64) -> usize {
        let over = self.over(now_ms).filter(|(_, of)| of != intent).count();
        let others = self.entries.len() - usize::from(self.entries.contains_key(intent));
        others - over
    }

    /// Forgets what does not count any more, apart from `intent`.
    fn sweep(&mut self, intent: &Link, now_ms: u64) {
        let over = self.over(now_ms).filter(|(_, of)| of != intent);
        for entry in over.copied().collect::<Vec<_>>() {
            self.by_time.remove(&entry);
            self.entries.remove(&entry.1);
        }
    }

    fn commit(&mut self, intent: &Link, now_ms: u64) -> Option<()> {
        let at = self.entries.get_mut(intent)?;
        let before = at.replace(now_ms);
        if let Some(before) = before {
            self.by_time.remove(&(before, *intent));
        }
        self.by_time.insert((now_ms, *intent));
        Some(())
    }
}

/// What this node has reserved and spent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    keys: BTreeMap<KeyId, Spending>,
}

impl Ledger {
    /// Executions of this key that count now, apart from those of `intent` itself.
    pub fn used_by_others(&self, key_id: &KeyId, intent: &Link, now_ms: u64) -> u32 {
        let counted = self.keys.get(key_id).map_or(0, |key| key.used_by_others(intent, now_ms));
        u32::try_from(counted).unwrap_or(u32::MAX)
    }

    /// Reserves one execution; the same intent again changes nothing. Gives the count after it.
    ///
    /// # Errors
    /// `RESOURCE_LIMIT` if the cap is used up.
    pub fn reserve(
        &mut self,
        key_id: &KeyId,
        intent: Link,
        cap: u32,
        now_ms: u64,
    ) -> Result<u32, ReasonCode> {
        let others = self.used_by_others(key_id, &intent, now_ms);
        if others >= cap {
            return Err(ReasonCode::ResourceLimit);
        }
        let key = self.keys.entry(key_id.clone()).or_default();
        key.sweep(&intent, now_ms);
        key.entries.entry(intent).or_insert(None);
        Ok(others.saturating_add(1))
    }

    /// Marks a reservation as spent at this time; a later commit of the same intent moves the time.
    ///
    /// # Errors
    /// `NOT_FOUND` without a reservation.
    pub fn commit(&mut self, key_id: &KeyId, intent: &Link, now_ms: u64) -> Result<(), ReasonCode> {
        let key = self.keys.get_mut(key_id).ok_or(ReasonCode::NotFound)?;
        key.commit(intent, now_ms).ok_or(ReasonCode::NotFound)
    }

    /// Gives a reservation back: this node provably revealed nothing.
    ///
    /// # Errors
    /// `NOT_FOUND` without a reservation; `REPLAY_OR_CONFLICT` once it is spent.
    pub fn give_back(&mut self, key_id: &KeyId, intent: &Link) -> Result<(), ReasonCode> {
        let key = self.keys.get_mut(key_id).ok_or(ReasonCode::NotFound)?;
        match key.entries.get(intent) {
            None => Err(ReasonCode::NotFound),
            Some(Some(_)) => Err(ReasonCode::ReplayOrConflict),
            Some(None) => {
                key.entries.remove(intent);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyId {
        "k".parse().unwrap()
    }
    fn intent(n: u8) -> Link {
        Link::of_raw(&[n])
    }

    #[test]
    fn the_cap_is_reached_exactly_and_the_same_intent_counts_once() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.reserve(&key(), intent(1), 2, 0), Ok(1));
        assert_eq!(ledger.reserve(&key(), intent(1), 2, 0), Ok(1));
        assert_eq!(ledger.reserve(&key(), intent(2), 2, 0), Ok(2));
        assert_eq!(ledger.reserve(&key(), intent(3), 2, 0), Err(ReasonCode::ResourceLimit));
    }

    #[test]
    fn a_spent_execution_counts_for_an_hour_and_a_reservation_until_it_is_given_back() {
        let mut ledger = Ledger::default();
        ledger.reserve(&key(), intent(1), 1, 0).unwrap();
        assert_eq!(ledger.used_by_others(&key(), &intent(2), 10 * HOUR_MS), 1);
        ledger.commit(&key(), &intent(1), 1_000).unwrap();
        assert_eq!(ledger.used_by_others(&key(), &intent(2), 1_000 + HOUR_MS - 1), 1);
        assert_eq!(ledger.used_by_others(&key(), &intent(2), 1_000 + HOUR_MS), 0);
        assert_eq!(ledger.reserve(&key(), intent(2), 1, 1_000 + HOUR_MS), Ok(1));
    }

    #[test]
    fn a_later_commit_moves_the_time_and_a_clock_that_went_back_ends_nothing() {
        let mut ledger = Ledger::default();
        ledger.reserve(&key(), intent(1), 1, 0).unwrap();
        ledger.commit(&key(), &intent(1), 1_000).unwrap();
        ledger.commit(&key(), &intent(1), 2_000).unwrap();
        assert_eq!(ledger.used_by_others(&key(), &intent(2), 1_000 + HOUR_MS), 1);
        assert_eq!(ledger.used_by_others(&key(), &intent(2), 2_000 + HOUR_MS), 0);
        assert_eq!(ledger.used_by_others(&key(), &intent(1), 2_000), 0);
        assert_eq!(ledger.used_by_others(&key(), &intent(2), 500), 1);
        // What is over of one intent stays its own: it counts for that one only.
        assert_eq!(ledger.reserve(&key(), intent(1), 1, 2_000 + HOUR_MS), Ok(1));
        assert_eq!(ledger.give_back(&key(), &intent(1)), Err(ReasonCode::ReplayOrConflict));
    }

    #[test]
    fn only_what_was_reserved_and_not_spent_can_be_given_back() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.give_back(&key(), &intent(1)), Err(ReasonCode::NotFound));
        ledger.reserve(&key(), intent(1), 1, 0).unwrap();
        assert_eq!(ledger.give_back(&key(), &intent(1)), Ok(()));
        assert_eq!(ledger.commit(&key(), &intent(1), 0), Err(ReasonCode::NotFound));
        ledger.reserve(&key(), intent(1), 1, 0).unwrap();
        ledger.commit(&key(), &intent(1), 0).unwrap();
        assert_eq!(ledger.give_back(&key(), &intent(1)), Err(ReasonCode::ReplayOrConflict));
    }
}
