//! What the kernel counts and remembers by itself: openings and failures per key, intents, tombstones, peers' boots.
//!
//! Always true: a count is durable before the reply that it counts; a compromised runtime can raise counts of its own
//! kernel and lower none.

use std::collections::BTreeMap;

use dvm_core::codec::Artifact;
use dvm_core::intent::{Act, CanonicalIntent};
use dvm_core::run::Boot;
use dvm_core::{Link, NodeId, ReasonCode};
use dvm_governance::Authority;
use serde::{Deserialize, Serialize};

use crate::stop::{Stop, ensure};
use crate::store::{self, Draft, Kind};
use crate::vault::Vault;

const MINUTE_MS: u64 = 60_000;
/// A rolling hour in whole minutes, the one under way included: never less than an hour, so never too lenient.
const MINUTES_KEPT: u64 = 61;

/// Openings and failures of one key, or of key generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Usage {
    /// (minute since the epoch, openings in it), ascending.
    openings: Vec<(u64, u32)>,
    /// (log size at the time, failures then), ascending.
    failures: Vec<(u64, u32)>,
}

impl Artifact for Usage {
    const SCHEMA: &'static str = "dvm/kernel-usage/1";
}

fn usage_id(act: &Act) -> Vec<u8> {
    match act {
        Act::KeyGenerate { .. } => b"keygen".to_vec(),
        Act::SignMessage { key_id, .. } | Act::SignDigest { key_id, .. } => {
            format!("key/{key_id}").into_bytes()
        }
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
    pub(crate) fn has_room(&self, authority: &Authority<'_>, now_ms: u64) -> Result<(), Stop> {
        let floor = authority.floor();
        let unfrozen = authority.record().and_then(|r| r.unfrozen_seq).unwrap_or(0);
        let failures = total(self.failures.iter().filter(|(size, _)| *size >= unfrozen));
        ensure(
            failures < floor.failures_to_freeze,
            ReasonCode::KeyFrozen,
            "too many failed attempts on this key",
        )?;
        let since = (now_ms / MINUTE_MS).saturating_sub(MINUTES_KEPT - 1);
        let recent = total(self.openings.iter().filter(|(minute, _)| *minute >= since));
        ensure(
            recent < floor.executions_per_hour,
            ReasonCode::ResourceLimit,
            "openings per hour of the floor",
        )
    }

    pub(crate) fn opened(&mut self, now_ms: u64) {
        let minute = now_ms / MINUTE_MS;
        self.openings.retain(|(m, _)| m.saturating_add(MINUTES_KEPT) > minute);
        count(&mut self.openings, minute);
    }

    pub(crate) fn failed(&mut self, log_size: u64) {
        count(&mut self.failures, log_size);
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

/// Refuses an intent that a person denied.
pub(crate) fn refuse_tombstoned(vault: &mut Vault, intent: &Link) -> Result<(), Stop> {
    let denied = store::read(vault, Kind::Tombstone, &intent.to_bytes())?.is_some();
    ensure(!denied, ReasonCode::DeniedByApprover, "a person denied this intent")
}

/// The highest statement seen of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerMark {
    pub(crate) boot: Boot,
    pub(crate) vault_seq: u64,
}

impl Artifact for PeerMark {
    const SCHEMA: &'static str = "dvm/kernel-peer-mark/1";
}

/// The highest statements seen, by peer.
pub(crate) struct PeerMarks(BTreeMap<NodeId, PeerMark>);

impl PeerMarks {
    pub(crate) fn load(vault: &mut Vault) -> Result<Self, Stop> {
        let mut marks = BTreeMap::new();
        for (id, mark) in store::load_all::<PeerMark>(vault, Kind::Peer)? {
            let node = std::str::from_utf8(&id).ok().and_then(|text| text.parse().ok());
            marks.insert(node.ok_or_else(|| Stop::internal("a peer's mark has no name"))?, mark);
        }
        Ok(Self(marks))
    }

    pub(crate) fn boot(&self, node: &NodeId) -> Option<Boot> {
        self.0.get(node).map(|mark| mark.boot)
    }

    /// The mark after an opening of a peer; refused for an older boot, or a second one of the same generation.
    pub(crate) fn raised(&self, node: &NodeId, seen: PeerMark) -> Result<PeerMark, Stop> {
        let Some(mark) = self.0.get(node) else { return Ok(seen) };
        let fenced = |rule| Stop::refused(ReasonCode::SplitBrainFenced, rule);
        if seen.boot.generation < mark.boot.generation {
            return Err(fenced("an older boot than one seen before"));
        }
        if seen.boot.generation > mark.boot.generation {
            // A restored disk would start again below what it had said.
            let rose = seen.vault_seq > mark.vault_seq;
            return if rose {
                Ok(seen)
            } else {
                Err(fenced("a newer boot with an older vault_seq"))
            };
        }
        if seen.boot.id != mark.boot.id {
            return Err(fenced("two boots of one generation"));
        }
        Ok(PeerMark { boot: mark.boot, vault_seq: seen.vault_seq.max(mark.vault_seq) })
    }

    pub(crate) fn set(&mut self, node: NodeId, mark: PeerMark) {
        self.0.insert(node, mark);
    }
}

/// Makes a peer's mark durable.
pub(crate) fn save_mark(draft: &mut Draft, node: &NodeId, mark: &PeerMark) {
    draft.put(Kind::Peer, node.as_str().as_bytes(), mark);
}

/// The roster that an intent's key has: of the act itself for a key about to be made.
pub(crate) fn holders<'a>(intent: &'a CanonicalIntent, authority: &Authority<'a>) -> &'a [NodeId] {
    match (&intent.act, authority.record()) {
        (Act::KeyGenerate { roster, .. }, _) => roster,
        (_, Some(record)) => &record.ready.roster,
        (_, None) => &[],
    }
}
