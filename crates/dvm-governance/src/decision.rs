//! Decisions: which events need one, what makes one valid, and how one is read and signed.
//!
//! Source: the design's governance chapter, GovernanceDecision. A decision names the head it was
//! made at, and the event that uses it must come right after that head, so none is used twice.
//!
//! Not here: time. An event has no trusted time; `check_time` is for members that have a clock.

use dvm_core::Signer;
use dvm_core::authority::{ApprovalRule, Floor, ReleaseRule};
use dvm_core::codec::{Artifact, link_of};
use dvm_core::governance::{
    EventKind, GovernanceDecision, GovernorSignature, LogEntry, SignedDecision,
};
use dvm_core::ids::PersonId;
use dvm_core::sign::{sign_link, verify_link};

use crate::guard::{GuardRefused, Rule, ensure};
use crate::state::AuthorityState;

/// What authorises a kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// A fact that gives no authority, or the genesis itself.
    Nothing,
    /// One governor: it can only stop things.
    OneGovernor,
    /// The governors' threshold, in this entry.
    Quorum,
    /// The decision that an earlier `TransitionAuthorized` carried.
    Earlier,
}

/// What this kind of event needs.
pub fn needed(kind: &EventKind) -> Needed {
    match kind {
        EventKind::ClusterFormed { .. }
        | EventKind::KeyObjectPublished { .. }
        | EventKind::KeyEpochPrepared { .. }
        | EventKind::ClusterDegraded
        | EventKind::ClusterNormal => Needed::Nothing,
        EventKind::EmergencyHold | EventKind::ClusterDisputed { .. } => Needed::OneGovernor,
        EventKind::KeyActivated { .. } => Needed::Earlier,
        EventKind::NodeEnrolled { .. }
        | EventKind::PassportIssued { .. }
        | EventKind::NodeFenced { .. }
        | EventKind::NodeRebound { .. }
        | EventKind::NodeRemoved { .. }
        | EventKind::WitnessAdded { .. }
        | EventKind::WitnessRemoved { .. }
        | EventKind::PolicyRootAdopted { .. }
        | EventKind::ApproverSetAdopted { .. }
        | EventKind::GovernorsChanged { .. }
        | EventKind::TransitionAuthorized { .. }
        | EventKind::FloorChanged { .. }
        | EventKind::KeySuspended { .. }
        | EventKind::KeyResumed { .. }
        | EventKind::KeyEpochActivated { .. }
        | EventKind::KeyEpochCancelled { .. }
        | EventKind::KeyRotated { .. }
        | EventKind::KeyUnfrozen { .. }
        | EventKind::PairUnbanned { .. }
        | EventKind::KeyDeactivated { .. }
        | EventKind::KeyCompromised { .. }
        | EventKind::KeyDestroyed { .. }
        | EventKind::EmergencyLift
        | EventKind::DisputeCleared
        | EventKind::ClusterRetired => Needed::Quorum,
    }
}

/// Whether a decision could authorise its transition at this state: subject, head, terms, quorum.
///
/// # Errors
/// The `decision_*` rule that it breaks.
pub fn check_decision(state: &AuthorityState, signed: &SignedDecision) -> Result<(), GuardRefused> {
    let decision = &signed.decision;
    ensure(decision.cluster == state.cluster, Rule::DecisionSubject)?;
    ensure(decision.prev_head == state.head(), Rule::DecisionHead)?;
    ensure(decision.not_before_ms < decision.expires_ms, Rule::DecisionTime)?;
    let activates = matches!(decision.transition, EventKind::KeyActivated { .. });
    let (ready, floor) = (decision.key_ready_cid.is_some(), decision.floor.is_some());
    ensure(ready == activates && floor == activates, Rule::DecisionTerms)?;
    check_quorum(state, signed)
}

fn check_quorum(state: &AuthorityState, signed: &SignedDecision) -> Result<(), GuardRefused> {
    let governors = &state.manifest.governors;
    let link = link_of(&signed.decision);
    let sorted = signed.signatures.is_sorted_by(|a, b| a.governor < b.governor);
    let holds = |signature: &GovernorSignature| {
        let person = governors.members.iter().find(|p| p.person == signature.governor);
        let schema = GovernanceDecision::SCHEMA;
        person.is_some_and(|p| verify_link(&signature.cose, p.key, schema, &link))
    };
    ensure(sorted && signed.signatures.iter().all(holds), Rule::DecisionQuorum)?;
    let one_is_enough = needed(&signed.decision.transition) == Needed::OneGovernor;
    let proposer_counts = governors.proposer_counts || one_is_enough;
    let counts = |s: &&GovernorSignature| proposer_counts || s.governor != signed.decision.proposer;
    let counted = signed.signatures.iter().filter(counts).count();
    let wanted = if one_is_enough { 1 } else { usize::from(governors.threshold) };
    ensure(counted >= wanted, Rule::DecisionQuorum)
}

/// The decision of an entry against its event: present exactly when needed, for exactly this change.
pub(crate) fn check_entry(state: &AuthorityState, entry: &LogEntry) -> Result<(), GuardRefused> {
    let event = &entry.event.body;
    match (needed(&event.kind), &entry.decision) {
        (Needed::Nothing, None) => ensure(event.decision_cid.is_none(), Rule::DecisionPresent),
        (Needed::Earlier, None) => ensure(event.decision_cid.is_some(), Rule::DecisionPresent),
        (Needed::OneGovernor | Needed::Quorum, Some(signed)) => {
            let link = link_of(&signed.decision);
            ensure(event.decision_cid == Some(link), Rule::DecisionLink)?;
            let same = match &event.kind {
                EventKind::TransitionAuthorized { key_id } => {
                    signed.decision.transition == EventKind::KeyActivated { key_id: key_id.clone() }
                }
                kind => signed.decision.transition == *kind,
            };
            let epoch = signed.decision.key_epoch == event.key_epoch;
            ensure(same && epoch, Rule::DecisionSubject)?;
            check_decision(state, signed)
        }
        _ => Err(Rule::DecisionPresent.into()),
    }
}

/// One governor's signature over a decision.
pub fn sign_decision(
    decision: &GovernanceDecision,
    governor: PersonId,
    signer: &impl Signer,
) -> GovernorSignature {
    let cose = sign_link(signer, GovernanceDecision::SCHEMA, &link_of(decision));
    GovernorSignature { governor, cose }
}

/// Adds a signature in its place; a second one by the same governor replaces the first.
pub fn attach(signed: &mut SignedDecision, signature: GovernorSignature) {
    signed.signatures.retain(|s| s.governor != signature.governor);
    signed.signatures.push(signature);
    signed.signatures.sort_by(|a, b| a.governor.cmp(&b.governor));
}

/// What a governor reads before signing. Every field of the decision is in it.
pub fn human_text(decision: &GovernanceDecision) -> String {
    let mut lines = vec![
        "GOVERNANCE DECISION".to_owned(),
        format!("cluster:     {}", decision.cluster),
        format!("change:      {}", change_text(&decision.transition)),
    ];
    if decision.key_epoch > 0 {
        lines.push(format!("key epoch:   {}", decision.key_epoch));
    }
    if let Some(cid) = decision.key_ready_cid {
        lines.push(format!("key facts:   {cid}"));
    }
    if let Some(floor) = &decision.floor {
        lines.push(format!("floor:       {}", floor_text(floor)));
    }
    let head = decision.prev_head;
    lines.extend([
        format!("made at:     event {} of the log, root {}", head.size, head.root),
        format!("in force:    {} to {} (ms)", decision.not_before_ms, decision.expires_ms),
        format!("proposed by: {}", decision.proposer),
        format!("nonce:       {}", decision.nonce),
        format!("decision:    {}", link_of(decision)),
    ]);
    lines.join("\n") + "\n"
}

fn rule_text(rule: &ApprovalRule) -> String {
    format!("{} of `{}`", rule.k, rule.set)
}

fn floor_text(floor: &Floor) -> String {
    let admit = floor.admit.as_ref().map_or("nobody".to_owned(), rule_text);
    let release = match &floor.release {
        ReleaseRule::Auto => "automatic".to_owned(),
        ReleaseRule::Approvals(rule) => format!("by {}", rule_text(rule)),
    };
    let acts: Vec<&str> = floor.acts.iter().map(|a| a.name()).collect();
    format!(
        "admission asks {admit}; release {release}; acts {}; at most {} openings an hour; freezes after {} failures",
        acts.join(", "),
        floor.executions_per_hour,
        floor.failures_to_freeze
    )
}

fn change_text(kind: &EventKind) -> String {
    match kind {
        EventKind::KeyActivated { key_id } => format!("give key `{key_id}` authority to sign"),
        EventKind::TransitionAuthorized { key_id } => format!("authorise key `{key_id}`"),
        EventKind::FloorChanged { key_id, floor } => {
            format!("change the floor of key `{key_id}`: {}", floor_text(floor))
        }
        EventKind::KeyRotated { key_id, successor } => {
            format!("end key `{key_id}`; `{successor}` takes over")
        }
        EventKind::PolicyRootAdopted { policy_root } => format!("adopt policy root {policy_root}"),
        EventKind::GovernorsChanged { governors } => {
            let names: Vec<String> =
                governors.members.iter().map(|p| format!("{} {}", p.person, p.key)).collect();
            let own = if governors.proposer_counts { "counts" } else { "does not count" };
            let threshold = governors.threshold;
            format!("{threshold} of these govern, a proposer {own}: {}", names.join(", "))
        }
        EventKind::ApproverSetAdopted { set } => {
            let names: Vec<String> =
                set.members.iter().map(|p| format!("{} {}", p.person, p.key)).collect();
            format!("approver set `{}` is: {}", set.name, names.join(", "))
        }
        // The remaining kinds have only ids, links and passports, which their own form shows whole.
        other => format!("{other:?}"),
    }
}
