//! Floors, approvals and authority to sign: one code path for kernel, policy and verifier.
//!
//! Source: the design's chapters on the kernel (floor) and on approvals.
//!
//! Always true: an approval counts for one purpose, one intent, one key epoch and one policy root;
//! one person counts once; a requester never counts. Whatever is not met is refused.
//!
//! Not here: counts per hour and freezing. They need the history of one node.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::admission::{Approval, Purpose};
use dvm_core::authority::{ApprovalRule, ApproverSet, Floor, ReleaseRule};
use dvm_core::codec::link_of;
use dvm_core::ids::SetName;
use dvm_core::intent::{Act, ActClass, CanonicalIntent};
use dvm_core::limits::APPROVALS_MAX;
use dvm_core::{B32, KeyId, Link, NodeId, PersonId, ReasonCode, Signed};

use crate::roster;
use crate::state::{AuthorityState, KeyRecord, KeyState};

/// What an approval must be about to count.
#[derive(Clone, Copy, Debug)]
pub struct ApprovalContext<'a> {
    /// The cluster.
    pub cluster: Link,
    /// The intent.
    pub intent: Link,
    /// Who asked; never counts.
    pub requester: &'a PersonId,
    /// Hash of the text that approvers were shown.
    pub display_hash: B32,
    /// The key.
    pub key_id: &'a KeyId,
    /// Its epoch.
    pub key_epoch: u32,
    /// Admission, or release of one result of one execution.
    pub purpose: &'a Purpose,
    /// The policy root in force.
    pub policy_root: Link,
    /// The judge's clock.
    pub now_ms: u64,
}

impl<'a> ApprovalContext<'a> {
    /// The context of an intent under this state.
    pub fn of(
        state: &AuthorityState,
        intent: &'a CanonicalIntent,
        purpose: &'a Purpose,
        now_ms: u64,
    ) -> Self {
        Self {
            cluster: state.cluster,
            intent: link_of(intent),
            requester: &intent.requester,
            display_hash: intent.display_hash,
            key_id: intent.act.key_id(),
            key_epoch: intent.act.key_epoch(),
            purpose,
            policy_root: state.policy_root(),
            now_ms,
        }
    }

    fn is_about(&self, approval: &Approval) -> bool {
        approval.cluster == self.cluster
            && approval.intent == self.intent
            && approval.display_hash == self.display_hash
            && approval.key_id == *self.key_id
            && approval.key_epoch == self.key_epoch
            && approval.purpose == *self.purpose
            && approval.policy_root == self.policy_root
            && self.now_ms <= approval.expires_ms
            && approval.approver != *self.requester
    }
}

/// The valid approvals by members of a set: each person once, with the link of the approval.
pub fn approvals_by<'s>(
    set: &'s ApproverSet,
    approvals: &[Signed<Approval>],
    context: &ApprovalContext<'_>,
) -> BTreeMap<&'s PersonId, Link> {
    let mut counted = BTreeMap::new();
    for signed in approvals.iter().filter(|s| context.is_about(&s.body)) {
        let Some(person) = set.members.iter().find(|p| p.person == signed.body.approver) else {
            continue;
        };
        if signed.verify(person.key).is_ok() {
            // Of several by one person the smallest link counts, whatever order they came in.
            let link = signed.link();
            let kept = counted.entry(&person.person).or_insert(link);
            *kept = link.min(*kept);
        }
    }
    counted
}

/// Whether enough distinct members of the rule's set approved. Gives the links that counted, sorted.
///
/// # Errors
/// `APPROVALS_MISSING`; `RESOURCE_LIMIT` for more approvals than may ride on one intent.
pub fn check_approvals(
    rule: &ApprovalRule,
    sets: &BTreeMap<SetName, ApproverSet>,
    approvals: &[Signed<Approval>],
    context: &ApprovalContext<'_>,
) -> Result<Vec<Link>, ReasonCode> {
    if approvals.len() > APPROVALS_MAX {
        return Err(ReasonCode::ResourceLimit);
    }
    let set = sets.get(&rule.set).ok_or(ReasonCode::ApprovalsMissing)?;
    let counted: BTreeSet<Link> = approvals_by(set, approvals, context).into_values().collect();
    // A rule that asks for nobody is a mistake, not a waiver.
    if rule.k == 0 || counted.len() < usize::from(rule.k) {
        return Err(ReasonCode::ApprovalsMissing);
    }
    Ok(counted.into_iter().collect())
}

/// The floor before an act: its class is allowed by name, and enough people said yes to it. Nobody is asked about material
/// that is only prepared: it signs nothing, and what spends it is asked about.
///
/// # Errors
/// `POLICY_DENIED` for a class that the floor does not name; `BINDING_MISMATCH` for a context of
/// another purpose; those of [`check_approvals`].
pub fn check_floor_admit(
    floor: &Floor,
    class: ActClass,
    sets: &BTreeMap<SetName, ApproverSet>,
    approvals: &[Signed<Approval>],
    context: &ApprovalContext<'_>,
) -> Result<Vec<Link>, ReasonCode> {
    if *context.purpose != Purpose::Admit {
        return Err(ReasonCode::BindingMismatch);
    }
    if !floor.acts.contains(&class) {
        return Err(ReasonCode::PolicyDenied);
    }
    let rule = floor.admit.as_ref().filter(|_| class != ActClass::PresignBatch);
    rule.map_or(Ok(Vec::new()), |rule| check_approvals(rule, sets, approvals, context))
}

/// The floor before a result leaves.
///
/// # Errors
/// `BINDING_MISMATCH` for a context of another purpose; those of [`check_approvals`].
pub fn check_floor_release(
    floor: &Floor,
    sets: &BTreeMap<SetName, ApproverSet>,
    approvals: &[Signed<Approval>],
    context: &ApprovalContext<'_>,
) -> Result<Vec<Link>, ReasonCode> {
    if *context.purpose == Purpose::Admit {
        return Err(ReasonCode::BindingMismatch);
    }
    match &floor.release {
        ReleaseRule::Auto => Ok(Vec::new()),
        ReleaseRule::Approvals(rule) => check_approvals(rule, sets, approvals, context),
    }
}

/// Proof that an act may be judged at all at this head, and the floor it must meet.
#[derive(Clone, Copy, Debug)]
pub struct Authority<'a> {
    floor: &'a Floor,
    record: Option<&'a KeyRecord>,
}

impl<'a> Authority<'a> {
    /// The floor in force.
    pub fn floor(&self) -> &'a Floor {
        self.floor
    }

    /// The key; none for a key about to be made.
    pub fn record(&self) -> Option<&'a KeyRecord> {
        self.record
    }
}

/// The record of a key that has authority at this epoch.
///
/// # Errors
/// `KEY_NOT_ACTIVE`: no such key, not active, a later epoch, or a cluster that is held, disputed,
/// forming or retired. `STALE_EPOCH`: an earlier epoch.
pub fn signing_authority<'a>(
    state: &'a AuthorityState,
    key_id: &KeyId,
    epoch: u32,
) -> Result<&'a KeyRecord, ReasonCode> {
    let record = state.keys.get(key_id).ok_or(ReasonCode::KeyNotActive)?;
    if !state.cluster_state().may_sign() || record.state != KeyState::Active {
        return Err(ReasonCode::KeyNotActive);
    }
    match epoch.cmp(&record.epoch) {
        std::cmp::Ordering::Less => Err(ReasonCode::StaleEpoch),
        std::cmp::Ordering::Greater => Err(ReasonCode::KeyNotActive),
        std::cmp::Ordering::Equal => Ok(record),
    }
}

/// The authority behind an intent at this state and time: for a signature the active key and its
/// floor, for a key generation the cluster's keygen floor.
///
/// # Errors
/// `BINDING_MISMATCH`: an intent of another cluster. `EXPIRED`. Those of [`signing_authority`]. For a
/// key generation: `KEY_NOT_ACTIVE` if the cluster may not act, `REPLAY_OR_CONFLICT` if the id is
/// taken, `PAYLOAD_REJECTED` if these nodes may not hold a key of this threshold.
pub fn authority_for<'a>(
    state: &'a AuthorityState,
    intent: &CanonicalIntent,
    now_ms: u64,
) -> Result<Authority<'a>, ReasonCode> {
    if intent.cluster != state.cluster {
        return Err(ReasonCode::BindingMismatch);
    }
    if now_ms > intent.expires_ms {
        return Err(ReasonCode::Expired);
    }
    match &intent.act {
        Act::KeyGenerate { key_id, threshold, roster, .. } => {
            if !state.cluster_state().may_sign() {
                return Err(ReasonCode::KeyNotActive);
            }
            if state.keys.contains_key(key_id) {
                return Err(ReasonCode::ReplayOrConflict);
            }
            if !roster::holders_fit(state, roster, *threshold) {
                return Err(ReasonCode::PayloadRejected);
            }
            Ok(Authority { floor: &state.manifest.keygen_floor, record: None })
        }
        act => {
            let record = signing_authority(state, act.key_id(), act.key_epoch())?;
            let floor = record.floor.as_ref().ok_or(ReasonCode::KeyNotActive)?;
            Ok(Authority { floor, record: Some(record) })
        }
    }
}

/// Whether statements of this node's boot are refused (`SPLIT_BRAIN_FENCED`).
pub fn fenced(state: &AuthorityState, node: &NodeId, boot_generation: u64) -> bool {
    state.fence(node).is_some_and(|fence| boot_generation <= fence)
}

/// The authority behind a verdict of this purpose. An intent's expiry bounds its admission; a held result has one of
/// its own, which the kernel keeps.
///
/// # Errors
/// Those of [`authority_for`]; `EXPIRED` for an admission only.
pub fn authority_behind<'a>(
    state: &'a AuthorityState,
    intent: &CanonicalIntent,
    purpose: &Purpose,
    now_ms: u64,
) -> Result<Authority<'a>, ReasonCode> {
    let at_ms = match purpose {
        Purpose::Admit => now_ms,
        Purpose::Release { .. } => now_ms.min(intent.expires_ms),
    };
    authority_for(state, intent, at_ms)
}
