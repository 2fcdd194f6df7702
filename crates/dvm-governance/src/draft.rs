//! Drafts: the next decision and the next event, with every field that the state determines.
//!
//! What a draft gets wrong, `apply` refuses; this only spares callers the bookkeeping.

use dvm_core::authority::Floor;
use dvm_core::codec::link_of;
use dvm_core::governance::{Event, EventKind, GovernanceDecision, SignedDecision};
use dvm_core::{B32, KeyId, Link, NodeId, PersonId};

use crate::state::{AuthorityState, KeyRecord};

/// What a proposer chooses.
#[derive(Clone, Debug)]
pub struct Terms {
    /// For an activation: the floor.
    pub floor: Option<Floor>,
    /// Who proposes.
    pub proposer: PersonId,
    /// Not before this time.
    pub not_before_ms: u64,
    /// Not after this time.
    pub expires_ms: u64,
    /// Random.
    pub nonce: B32,
}

/// The key that an event is about, and its epoch; 0 for none or unknown.
pub(crate) fn key_epoch_of(state: &AuthorityState, kind: &EventKind) -> u32 {
    let current = |key_id: &KeyId| state.keys.get(key_id).map_or(0, |k| k.epoch);
    let prepared = |record: &KeyRecord| record.prepared.as_ref().map_or(0, |p| p.ready.key_epoch);
    match kind {
        EventKind::KeyObjectPublished { .. } => 1,
        EventKind::KeyEpochPrepared { key_id, .. } => current(key_id).saturating_add(1),
        EventKind::KeyEpochActivated { key_id } | EventKind::KeyEpochCancelled { key_id } => {
            state.keys.get(key_id).map_or(0, prepared)
        }
        EventKind::TransitionAuthorized { key_id }
        | EventKind::KeyActivated { key_id }
        | EventKind::FloorChanged { key_id, .. }
        | EventKind::KeySuspended { key_id }
        | EventKind::KeyResumed { key_id }
        | EventKind::KeyRotated { key_id, .. }
        | EventKind::KeyUnfrozen { key_id }
        | EventKind::PairUnbanned { key_id, .. }
        | EventKind::KeyDeactivated { key_id }
        | EventKind::KeyCompromised { key_id }
        | EventKind::KeyDestroyed { key_id } => current(key_id),
        EventKind::ClusterFormed { .. }
        | EventKind::NodeEnrolled { .. }
        | EventKind::PassportIssued { .. }
        | EventKind::NodeFenced { .. }
        | EventKind::NodeRebound { .. }
        | EventKind::NodeRemoved { .. }
        | EventKind::WitnessAdded { .. }
        | EventKind::WitnessRemoved { .. }
        | EventKind::PolicyRootAdopted { .. }
        | EventKind::ApproverSetAdopted { .. }
        | EventKind::GovernorsChanged { .. }
        | EventKind::EmergencyHold
        | EventKind::EmergencyLift
        | EventKind::ClusterDegraded
        | EventKind::ClusterNormal
        | EventKind::ClusterDisputed { .. }
        | EventKind::DisputeCleared
        | EventKind::ClusterRetired => 0,
    }
}

/// The decision to propose for a transition at this state. For an activation the transition is
/// `KeyActivated`, and the key facts are those of the recorded key.
pub fn draft_decision(
    state: &AuthorityState,
    transition: EventKind,
    terms: Terms,
) -> GovernanceDecision {
    let key_ready_cid = match &transition {
        EventKind::KeyActivated { key_id } => state.keys.get(key_id).map(|k| k.key_ready_cid),
        _ => None,
    };
    GovernanceDecision {
        cluster: state.cluster,
        key_epoch: key_epoch_of(state, &transition),
        transition,
        key_ready_cid,
        floor: terms.floor,
        prev_head: state.head(),
        not_before_ms: terms.not_before_ms,
        expires_ms: terms.expires_ms,
        nonce: terms.nonce,
        proposer: terms.proposer,
    }
}

/// The next event, ready for its author to sign. `KeyActivated` names the decision and the key
/// facts that are already in the log; its entry carries no decision of its own.
pub fn draft_event(
    state: &AuthorityState,
    kind: EventKind,
    decision: Option<&SignedDecision>,
    author: NodeId,
) -> Event {
    let (decision_cid, artifact_refs): (Option<Link>, Vec<Link>) = match &kind {
        EventKind::KeyActivated { key_id } => {
            let record = state.keys.get(key_id);
            let refs = record.map(|k| k.key_ready_cid).into_iter().collect();
            (record.and_then(|k| k.decision), refs)
        }
        EventKind::KeyEpochActivated { key_id } => {
            let prepared = state.keys.get(key_id).and_then(|k| k.prepared.as_ref());
            let refs = prepared.map(|p| p.key_ready_cid).into_iter().collect();
            (decision.map(|d| link_of(&d.decision)), refs)
        }
        EventKind::KeyObjectPublished { key_ready_cid, .. }
        | EventKind::KeyEpochPrepared { key_ready_cid, .. } => (None, vec![*key_ready_cid]),
        _ => (decision.map(|d| link_of(&d.decision)), Vec::new()),
    };
    Event {
        cluster: state.cluster,
        seq: state.next_seq(),
        prev_event_cid: state.last_event,
        key_epoch: key_epoch_of(state, &kind),
        kind,
        decision_cid,
        artifact_refs,
        author,
    }
}
