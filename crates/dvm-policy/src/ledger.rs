//! The limits ledger: executions per key in a rolling hour, reserved before they happen.
//!
//! Source: the design's chapter on policies, limits ledger. Reserve at admission, in the same
//! transaction as the receipt; commit at execution; give back only if this node provably revealed
//! nothing.
//!
//! Always true: an intent counts once per key; a reservation counts until it is given back or, once
//! committed, for an hour after. Limits are per peer: with a local limit L the cluster can spend up
//! to n·L/t.

use std::collections::BTreeMap;

use dvm_core::{KeyId, Link, ReasonCode};
use serde::{Deserialize, Serialize};

/// The rolling window.
const HOUR_MS: u64 = 3_600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Entry {
    /// Admitted; may still happen.
    Reserved,
    /// Happened, or may have, at this time.
    Committed(u64),
}

impl Entry {
    fn counts(self, now_ms: u64) -> bool {
        match self {
            Self::Reserved => true,
            // A clock that went back keeps the entry: it ages only by time that passed.
            Self::Committed(at) => now_ms.saturating_sub(at) < HOUR_MS,
        }
    }
}

/// What this node has reserved and spent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    keys: BTreeMap<KeyId, BTreeMap<Link, Entry>>,
}

impl Ledger {
    /// Executions of this key that count now, apart from those of `intent` itself.
    pub fn used_by_others(&self, key_id: &KeyId, intent: &Link, now_ms: u64) -> u32 {
        let entries = self.keys.get(key_id).into_iter().flatten();
        let counted = entries.filter(|(of, entry)| *of != intent && entry.counts(now_ms)).count();
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
        let entries = self.keys.entry(key_id.clone()).or_default();
        entries.retain(|of, entry| *of == intent || entry.counts(now_ms));
        entries.entry(intent).or_insert(Entry::Reserved);
        Ok(others.saturating_add(1))
    }

    /// Marks a reservation as spent at this time; a later commit of the same intent moves the time.
    ///
    /// # Errors
    /// `NOT_FOUND` without a reservation.
    pub fn commit(&mut self, key_id: &KeyId, intent: &Link, now_ms: u64) -> Result<(), ReasonCode> {
        let entry = self.keys.get_mut(key_id).and_then(|entries| entries.get_mut(intent));
        *entry.ok_or(ReasonCode::NotFound)? = Entry::Committed(now_ms);
        Ok(())
    }

    /// Gives a reservation back: this node provably revealed nothing.
    ///
    /// # Errors
    /// `NOT_FOUND` without a reservation; `REPLAY_OR_CONFLICT` once it is spent.
    pub fn give_back(&mut self, key_id: &KeyId, intent: &Link) -> Result<(), ReasonCode> {
        let entries = self.keys.get_mut(key_id).ok_or(ReasonCode::NotFound)?;
        match entries.get(intent) {
            None => Err(ReasonCode::NotFound),
            Some(Entry::Committed(_)) => Err(ReasonCode::ReplayOrConflict),
            Some(Entry::Reserved) => {
                entries.remove(intent);
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
