//! What the kernel counts and remembers by itself: openings and failures per key, intents, tombstones.
//!
//! Always true: a count is durable before the reply that it counts; a compromised runtime can raise counts of its own
//! kernel and lower none.

use std::collections::BTreeMap;

use dvm_core::codec::{Artifact, link_of};
use dvm_core::intent::{Act, CanonicalIntent};
use dvm_core::{KeyId, Link, NodeId, ReasonCode};
use dvm_governance::{Authority, KeyRecord};
use serde::{Deserialize, Serialize};

use crate::stop::{Stop, ensure};
use crate::store::{self, Draft, Kind};
use crate::vault::Vault;

const MINUTE_MS: u64 = 60_000;
/// A rolling hour in whole minutes, the one under way included: never less than an hour, so never too lenient.
const MINUTES_KEPT: u64 = 61;
/// Batches of one key in a rolling hour: one a second, which is more than any key signs. They are no executions of the
/// floor's, since they sign nothing; this bounds what a hostile node can have its kernel compute and write for them.
const BATCHES_PER_HOUR: u32 = 3_600;

/// Openings and failures of one key, or of key generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Usage {
    /// (minute since the epoch, openings in it), ascending.
    openings: Vec<(u64, u32)>,
    /// The same of openings that prepare signatures.
    prepared: Vec<(u64, u32)>,
    /// (log size at the time, failures then), ascending.
    failures: Vec<(u64, u32)>,
    /// (log size at the time, who): signers that a check of this kernel's own named, over what their kernels signed.
    banned: Vec<(u64, NodeId)>,
    /// (log size at the time, who together): signers whose signature failed without naming anybody. One of them may have
    /// cheated, so the same ones do not try again.
    suspended: Vec<(u64, Vec<NodeId>)>,
}

impl Artifact for Usage {
    const SCHEMA: &'static str = "dvm/kernel-usage/3";
}

/// Sets that are remembered. A key that failed with more of them is frozen for all, whatever its floor says.
const SUSPENDED_MAX: usize = 1_024;

fn usage_id(act: &Act) -> Vec<u8> {
    match act.signs_with() {
        None => b"keygen".to_vec(),
        Some((key_id, _)) => format!("key/{key_id}").into_bytes(),
    }
}

fn count(of: &mut Vec<(u64, u32)>, at: u64) {
    match of.last_mut() {
        Some((last, n)) if *last >= at => *n = n.saturating_add(1),
        _ => of.push((at, 1)),
    }
}

fn total<'a>(of: impl Iterator<Item = &'a (u64, u32)>) -> u32 {
    of.fold(0, |sum, (_, n)| sum.saturating_add(*n))
}

impl Usage {
    pub(crate) fn load(vault: &mut Vault, act: &Act) -> Result<Self, Stop> {
        Ok(store::load(vault, Kind::Usage, &usage_id(act))?.unwrap_or_default())
    }

    pub(crate) fn save(&self, draft: &mut Draft, act: &Act) {
        draft.put(Kind::Usage, &usage_id(act), self);
    }

    /// Whether the floor leaves room for one more opening now.
    pub(crate) fn has_room(
        &self,
        act: &Act,
        authority: &Authority<'_>,
        now_ms: u64,
    ) -> Result<(), Stop> {
        let floor = authority.floor();
        let failures = self.failures_after(authority.record().and_then(|r| r.unfrozen_seq));
        ensure(
            failures < floor.failures_to_freeze,
            ReasonCode::KeyFrozen,
            "too many failed attempts on this key",
        )?;
        self.rate(act, floor.executions_per_hour, now_ms)
    }

    /// Refuses more openings than an hour has room for: of signatures what the floor says, of batches our own bound.
    fn rate(&self, act: &Act, executions_per_hour: u32, now_ms: u64) -> Result<(), Stop> {
        let (of, most, rule) = match act.publishes() {
            true => (&self.openings, executions_per_hour, "openings per hour of the floor"),
            false => (&self.prepared, BATCHES_PER_HOUR, "batches per hour of a key"),
        };
        let since = (now_ms / MINUTE_MS).saturating_sub(MINUTES_KEPT - 1);
        let recent = total(of.iter().filter(|(minute, _)| *minute >= since));
        ensure(recent < most, ReasonCode::ResourceLimit, rule)
    }

    /// Failures since the event that unfroze the key. Its number is the size of the log before it: a failure at that
    /// size came before it.
    fn failures_after(&self, unfrozen_seq: Option<u64>) -> u32 {
        let after = |size: u64| unfrozen_seq.is_none_or(|seq| size > seq);
        total(self.failures.iter().filter(|(size, _)| after(*size)))
    }

    pub(crate) fn opened(&mut self, act: &Act, now_ms: u64) {
        let minute = now_ms / MINUTE_MS;
        let of = if act.publishes() { &mut self.openings } else { &mut self.prepared };
        of.retain(|(m, _)| m.saturating_add(MINUTES_KEPT) > minute);
        count(of, minute);
    }

    pub(crate) fn failed(&mut self, log_size: u64) {
        count(&mut self.failures, log_size);
    }

    /// Keeps a cheater from this key until an event lifts the ban.
    pub(crate) fn ban(&mut self, log_size: u64, node: NodeId) {
        self.banned.retain(|(_, known)| *known != node);
        self.banned.push((log_size, node));
    }

    /// Keeps these signers from signing together with this key until an event unfreezes it.
    pub(crate) fn suspend(&mut self, log_size: u64, signers: &[NodeId], lifted: Lifted<'_>) {
        self.suspended.retain(|(size, known)| lifted.leaves(*size) && known != signers);
        if self.suspended.len() < SUSPENDED_MAX {
            self.suspended.push((log_size, signers.to_vec()));
        }
    }

    /// Whether one of these nodes cheated on the key.
    pub(crate) fn bans(&self, nodes: &[NodeId], lifted: Lifted<'_>) -> bool {
        let mut bans = self.banned.iter().filter(|(size, node)| lifted.leaves_ban(*size, node));
        bans.any(|(_, banned)| nodes.contains(banned))
    }

    /// Whether one of these nodes was caught since the log had this size, whether or not an event lifted the ban.
    pub(crate) fn caught_since(&self, size: u64, nodes: &[NodeId]) -> bool {
        self.banned.iter().any(|(at, banned)| *at >= size && nodes.contains(banned))
    }

    /// Refuses signers with whom this kernel does not sign: a cheater among them, or a set that failed.
    pub(crate) fn may_sign(&self, signers: &[NodeId], lifted: Lifted<'_>) -> Result<(), Stop> {
        let banned = self.bans(signers, lifted);
        ensure(!banned, ReasonCode::PartyBanned, "a signer cheated on this key")?;
        let suspended = self.suspended.iter().filter(|(size, _)| lifted.leaves(*size));
        let known = suspended.clone().any(|(_, known)| known == signers);
        ensure(
            !known && suspended.count() < SUSPENDED_MAX,
            ReasonCode::KeyFrozen,
            "this signer set is suspended",
        )
    }
}

/// The events that lift what a kernel holds against signers of a key. The number of an event is the size of the log
/// before it: what came at that size came before the event.
#[derive(Clone, Copy)]
pub(crate) struct Lifted<'a> {
    /// Lifts failures and suspensions.
    unfrozen: Option<u64>,
    /// Lift bans.
    unbanned: &'a BTreeMap<NodeId, u64>,
}

impl<'a> Lifted<'a> {
    pub(crate) fn of(record: &'a KeyRecord) -> Self {
        Self { unfrozen: record.unfrozen_seq, unbanned: &record.unbanned }
    }

    fn leaves(self, size: u64) -> bool {
        self.unfrozen.is_none_or(|seq| size > seq)
    }

    fn leaves_ban(self, size: u64, node: &NodeId) -> bool {
        self.unbanned.get(node).is_none_or(|seq| size > *seq)
    }
}

/// What became of an intent, for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IntentMark {
    /// How often it was opened.
    pub(crate) openings: u32,
    /// Whether its result may be out: it never runs again then.
    pub(crate) opened_result: bool,
}

impl Artifact for IntentMark {
    const SCHEMA: &'static str = "dvm/kernel-intent-mark/1";
}

impl IntentMark {
    pub(crate) fn load(vault: &mut Vault, intent: &Link) -> Result<Self, Stop> {
        Ok(store::load(vault, Kind::Intent, &intent.to_bytes())?.unwrap_or_default())
    }

    pub(crate) fn save(&self, draft: &mut Draft, intent: &Link) {
        draft.put(Kind::Intent, &intent.to_bytes(), self);
    }
}

/// Where a denial is kept: by the intent and the key that it names. An approver of one key is nobody to another, so
/// what is said under another key's name must not be found.
pub(crate) fn tombstone_id(intent: &Link, key_id: &KeyId) -> Vec<u8> {
    [&intent.to_bytes(), key_id.as_str().as_bytes()].concat()
}

/// Refuses an intent that a person denied.
pub(crate) fn refuse_tombstoned(vault: &mut Vault, intent: &CanonicalIntent) -> Result<(), Stop> {
    let id = tombstone_id(&link_of(intent), intent.act.key_id());
    let denied = store::read(vault, Kind::Tombstone, &id)?.is_some();
    ensure(!denied, ReasonCode::DeniedByApprover, "a person denied this intent")
}

/// The roster that an intent's key has: of the act itself for a key about to be made.
pub(crate) fn holders<'a>(intent: &'a CanonicalIntent, authority: &Authority<'a>) -> &'a [NodeId] {
    match (&intent.act, authority.record()) {
        (Act::KeyGenerate { roster, .. }, _) => roster,
        (_, Some(record)) => &record.ready.roster,
        (_, None) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_before_the_unfreezing_event_are_forgiven_and_those_after_it_count() {
        let mut usage = Usage::default();
        usage.failed(7);
        usage.failed(7);
        assert_eq!(usage.failures_after(None), 2);
        assert_eq!(usage.failures_after(Some(6)), 2);
        // The event has number 7 in a log that had 7 entries when the failures were counted.
        assert_eq!(usage.failures_after(Some(7)), 0);
        usage.failed(8);
        assert_eq!(usage.failures_after(Some(7)), 1);
    }

    #[test]
    fn batches_and_signatures_of_a_key_have_hourly_bounds_of_their_own() {
        let (key_id, path) = (|| "treasury".parse().unwrap(), Vec::new());
        let batch = Act::PresignBatch {
            key_id: key_id(),
            key_epoch: 1,
            path,
            signers: nodes(["n1", "n2"]).to_vec(),
            count: 1,
        };
        let digest = dvm_core::B32::default();
        let signature = Act::SignDigest { key_id: key_id(), key_epoch: 1, digest };
        let (mut usage, hour_ms) = (Usage::default(), MINUTES_KEPT * MINUTE_MS);
        for _ in 0..BATCHES_PER_HOUR - 1 {
            usage.opened(&batch, 0);
        }
        let room = |usage: &Usage, act: &Act, now_ms| usage.rate(act, 1, now_ms).is_ok();
        assert!(room(&usage, &batch, 0) && room(&usage, &signature, 0));
        usage.opened(&batch, 0);
        assert!(!room(&usage, &batch, hour_ms - 1) && room(&usage, &batch, hour_ms));
        assert!(room(&usage, &signature, 0), "a batch signs nothing");
        usage.opened(&signature, 0);
        assert!(!room(&usage, &signature, 0));
    }

    fn nodes<const N: usize>(names: [&str; N]) -> [NodeId; N] {
        names.map(|name| name.parse().unwrap())
    }

    fn told(outcome: Result<(), Stop>) -> Option<ReasonCode> {
        outcome.err().map(|stop| match stop {
            Stop::Refused { code, .. } => code,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn ban_holds_for_its_node_until_an_event_lifts_it_for_that_node() {
        let [cheater, honest, third] = nodes(["n2", "n3", "n4"]);
        let with = |lifted: &[(&NodeId, u64)]| -> BTreeMap<NodeId, u64> {
            lifted.iter().map(|(node, seq)| ((*node).clone(), *seq)).collect()
        };
        let mut usage = Usage::default();
        usage.ban(7, cheater.clone());
        let together = [cheater.clone(), honest.clone()];
        for (unbanned, banned) in [
            (with(&[]), true),
            (with(&[(&cheater, 6)]), true),
            (with(&[(&honest, 7)]), true),
            (with(&[(&cheater, 7)]), false),
        ] {
            // Unfreezing the key forgives failures and no cheater.
            let lifted = Lifted { unfrozen: Some(9), unbanned: &unbanned };
            assert_eq!(usage.bans(&together, lifted), banned, "{unbanned:?}");
            let code = banned.then_some(ReasonCode::PartyBanned);
            assert_eq!(told(usage.may_sign(&together, lifted)), code);
            assert_eq!(told(usage.may_sign(&[honest.clone(), third.clone()], lifted)), None);
        }
        usage.ban(8, cheater.clone());
        let unbanned = with(&[(&cheater, 7)]);
        assert!(usage.bans(&together, Lifted { unfrozen: None, unbanned: &unbanned }));
    }

    #[test]
    fn ban_ends_what_began_before_it_and_lets_be_what_began_after_it_was_lifted() {
        let [cheater, honest, third] = nodes(["n2", "n3", "n4"]);
        let mut usage = Usage::default();
        usage.ban(7, cheater.clone());
        let together = [cheater, honest.clone()];
        // The event that lifts it has number 7 at the least: what can begin after it finds 8 entries.
        for (since, caught) in [(6, true), (7, true), (8, false)] {
            assert_eq!(usage.caught_since(since, &together), caught, "{since}");
        }
        assert!(!usage.caught_since(0, &[honest, third]));
    }

    #[test]
    fn signers_that_failed_without_a_name_do_not_sign_together_until_the_key_is_unfrozen() {
        let [a, b, c] = nodes(["n1", "n2", "n3"]);
        let unbanned = BTreeMap::new();
        let lifted = |unfrozen| Lifted { unfrozen, unbanned: &unbanned };
        let mut usage = Usage::default();
        usage.suspend(7, &[a.clone(), b.clone()], lifted(None));
        for (unfrozen, code) in [
            (None, Some(ReasonCode::KeyFrozen)),
            (Some(6), Some(ReasonCode::KeyFrozen)),
            (Some(7), None),
        ] {
            let pair = [a.clone(), b.clone()];
            assert_eq!(told(usage.may_sign(&pair, lifted(unfrozen))), code, "{unfrozen:?}");
        }
        for other in [vec![a.clone(), c.clone()], vec![a, b, c]] {
            assert_eq!(told(usage.may_sign(&other, lifted(None))), None);
        }
    }

    #[test]
    fn key_that_failed_with_too_many_sets_is_frozen_for_all_until_it_is_unfrozen() {
        let unbanned = BTreeMap::new();
        let lifted = |unfrozen| Lifted { unfrozen, unbanned: &unbanned };
        let set = |number: usize| nodes([&format!("n{number}"), "zz"]);
        let mut usage = Usage::default();
        for number in 1..SUSPENDED_MAX {
            usage.suspend(7, &set(number), lifted(None));
        }
        assert_eq!(told(usage.may_sign(&set(0), lifted(None))), None);
        usage.suspend(7, &set(SUSPENDED_MAX), lifted(None));
        assert_eq!(told(usage.may_sign(&set(0), lifted(None))), Some(ReasonCode::KeyFrozen));
        assert_eq!(told(usage.may_sign(&set(0), lifted(Some(7)))), None);
        // What was lifted makes room.
        usage.suspend(8, &set(0), lifted(Some(7)));
        assert_eq!(told(usage.may_sign(&set(0), lifted(Some(7)))), Some(ReasonCode::KeyFrozen));
        assert_eq!(told(usage.may_sign(&set(1), lifted(Some(7)))), None);
    }

    #[test]
    fn denial_under_another_keys_name_denies_nothing_and_under_its_own_the_intent() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let master = crate::unseal::MasterKey::from_bytes(zeroize::Zeroizing::new([7; 32]));
        let rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::seed_from_u64(1);
        let mut vault = Vault::open(dir.path(), master, Box::new(rng)).unwrap();
        let digest = dvm_core::B32([1; 32]);
        let intent = CanonicalIntent {
            cluster: Link::of_raw(b"cluster"),
            tenant: "tenant".parse().unwrap(),
            idempotency_key: "one".parse().unwrap(),
            requester: "alice".parse().unwrap(),
            act: Act::SignDigest { key_id: "treasury".parse().unwrap(), key_epoch: 1, digest },
            scope: dvm_core::intent::Scope::Public,
            display_hash: digest,
            expires_ms: 1,
        };
        for (named, denied) in [("sundries", false), ("treasury", true)] {
            let mut draft = Draft::new(&vault);
            let id = tombstone_id(&link_of(&intent), &named.parse().unwrap());
            draft.put_secret(Kind::Tombstone, &id, zeroize::Zeroizing::new(vec![1]));
            draft.commit(&mut vault, 0).unwrap();
            assert_eq!(refuse_tombstoned(&mut vault, &intent).is_err(), denied, "{named}");
        }
    }
}
