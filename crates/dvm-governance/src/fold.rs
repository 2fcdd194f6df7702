//! The fold: one entry after another becomes authority, or is refused with the rule it broke.
//!
//! Source: the design's event list and its life of a key. Held by the design's invariants:
//! no `TransitionAuthorized` without a threshold-signed decision whose link is in the event; no
//! `KeyActivated` without an earlier `KeyObjectPublished` named in its `artifact_refs`.
//!
//! Always true: a refused entry changes nothing. Not here: what a `KeyDestroyed` rests on beyond its
//! decision, because destruction receipts are not artifacts yet.

use dvm_core::authority::{Floor, KeyReadyCertificate, NodePassport};
use dvm_core::codec::link_of;
use dvm_core::governance::{Event, EventKind, HeadCertificate, LogEntry};
use dvm_core::{KeyId, Link, NodeId};

use crate::decision;
use crate::draft::key_epoch_of;
use crate::guard::{GuardRefused, Rule, check_common, check_key_ready, ensure};
use crate::head::{self, CertificateRefused};
use crate::roster;
use crate::state::{AuthorityState, ClusterState, KeyRecord, KeyState, Prepared};

type Outcome = Result<(), GuardRefused>;

/// The name under which events and decisions know a key's facts: the link of the `KeyReady`.
pub fn key_ready_cid(certificate: &KeyReadyCertificate) -> Link {
    link_of(&certificate.ready)
}

/// The state after this entry.
///
/// # Errors
/// [`GuardRefused`] with the first rule that the entry breaks.
pub fn apply(state: &AuthorityState, entry: &LogEntry) -> Result<AuthorityState, GuardRefused> {
    check_common(state, entry)?;
    check_condition(state, &entry.event.body.kind)?;
    let event = &entry.event.body;
    ensure(event.key_epoch == key_epoch_of(state, &event.kind), Rule::Epoch)?;
    decision::check_entry(state, entry)?;
    check_key_ready(state, entry)?;
    let mut next = state.clone();
    next.perform(event, entry)?;
    let link = link_of(event);
    next.log.push(&link.to_bytes());
    next.last_event = Some(link);
    Ok(next)
}

/// Adopts certified entries: folds them, and checks the certificate over the head they lead to,
/// under the membership before them and under every membership that they make.
///
/// # Errors
/// [`CertificateRefused`]: a guard's refusal, another head, or too few cosignatures.
pub fn adopt(
    state: &AuthorityState,
    entries: &[LogEntry],
    certificate: &HeadCertificate,
) -> Result<AuthorityState, CertificateRefused> {
    let mut path = vec![state.clone()];
    let mut current = state.clone();
    for entry in entries {
        let next = apply(&current, entry)?;
        if !head::same_members(&current, &next) {
            path.push(next.clone());
        }
        current = next;
    }
    head::check_certificate(&path, &current.head(), certificate)?;
    Ok(current)
}

/// Under a hold or a dispute nothing may gain authority; everything else may go on, or nobody
/// could repair what led to it.
fn check_condition(state: &AuthorityState, kind: &EventKind) -> Outcome {
    let gives_authority = matches!(
        kind,
        EventKind::TransitionAuthorized { .. }
            | EventKind::KeyActivated { .. }
            | EventKind::KeyResumed { .. }
            | EventKind::KeyEpochActivated { .. }
            | EventKind::KeyRotated { .. }
            | EventKind::KeyUnfrozen { .. }
            | EventKind::PairUnbanned { .. }
    );
    let stopped = matches!(state.cluster_state(), ClusterState::Held | ClusterState::Disputed);
    ensure(!(gives_authority && stopped), Rule::ClusterCondition)
}

impl AuthorityState {
    fn perform(&mut self, event: &Event, entry: &LogEntry) -> Outcome {
        match &event.kind {
            EventKind::ClusterFormed { manifest } => {
                ensure(*manifest == self.cluster, Rule::ClusterLife)
            }
            EventKind::NodeEnrolled { .. }
            | EventKind::PassportIssued { .. }
            | EventKind::NodeFenced { .. }
            | EventKind::NodeRebound { .. }
            | EventKind::NodeRemoved { .. }
            | EventKind::WitnessAdded { .. }
            | EventKind::WitnessRemoved { .. } => self.change_members(&event.kind),
            EventKind::PolicyRootAdopted { .. }
            | EventKind::ApproverSetAdopted { .. }
            | EventKind::GovernorsChanged { .. } => self.change_rules(&event.kind),
            EventKind::KeyObjectPublished { key_id, .. } => self.publish_key(key_id, entry),
            EventKind::TransitionAuthorized { key_id } => self.authorize_key(key_id, entry),
            EventKind::KeyActivated { key_id } => self.activate_key(key_id, event),
            EventKind::FloorChanged { key_id, floor } => self.change_floor(key_id, floor),
            EventKind::KeySuspended { .. }
            | EventKind::KeyResumed { .. }
            | EventKind::KeyDeactivated { .. }
            | EventKind::KeyCompromised { .. }
            | EventKind::KeyDestroyed { .. }
            | EventKind::KeyRotated { .. } => self.move_key(&event.kind),
            EventKind::KeyUnfrozen { key_id } => self.unfreeze(key_id, event.seq),
            EventKind::PairUnbanned { key_id, node } => self.unban(key_id, node, event.seq),
            EventKind::KeyEpochPrepared { key_id, .. } => self.prepare_epoch(key_id, entry),
            EventKind::KeyEpochActivated { key_id } => self.activate_epoch(key_id, event),
            EventKind::KeyEpochCancelled { key_id } => {
                let record = self.record(key_id)?;
                record.prepared.take().map(drop).ok_or_else(|| Rule::KeyState.into())
            }
            EventKind::EmergencyHold
            | EventKind::EmergencyLift
            | EventKind::ClusterDegraded
            | EventKind::ClusterNormal
            | EventKind::ClusterDisputed { .. }
            | EventKind::DisputeCleared
            | EventKind::ClusterRetired => self.change_condition(&event.kind),
        }
    }

    fn record(&mut self, key_id: &KeyId) -> Result<&mut KeyRecord, GuardRefused> {
        self.keys.get_mut(key_id).ok_or_else(|| Rule::KeyState.into())
    }

    // ---- keys ------------------------------------------------------------------------------

    /// Governance records the fact. The key can sign nothing yet.
    fn publish_key(&mut self, key_id: &KeyId, entry: &LogEntry) -> Outcome {
        let ready = &entry.key_ready.as_ref().ok_or(Rule::KeyReady)?.ready;
        roster::check_ready(self, ready)?;
        ensure(ready.key_id == *key_id && ready.key_epoch == 1, Rule::KeyFacts)?;
        let taken = |k: &KeyRecord| k.ready.public_key == ready.public_key;
        let new = !self.keys.contains_key(key_id) && !self.keys.values().any(taken);
        ensure(new, Rule::KeyIsNew)?;
        let record = KeyRecord {
            state: KeyState::PreActivation,
            epoch: 1,
            key_ready_cid: link_of(ready),
            ready: ready.clone(),
            floor: None,
            decision: None,
            prepared: None,
            successor: None,
            unfrozen_seq: None,
            unbanned: std::collections::BTreeMap::new(),
        };
        self.keys.insert(key_id.clone(), record);
        Ok(())
    }

    fn authorize_key(&mut self, key_id: &KeyId, entry: &LogEntry) -> Outcome {
        let signed = entry.decision.as_ref().ok_or(Rule::DecisionPresent)?;
        let floor = signed.decision.floor.clone().ok_or(Rule::DecisionTerms)?;
        roster::check_floor(&floor, |name| self.sets.get(name))?;
        let link = link_of(&signed.decision);
        let record = self.record(key_id)?;
        ensure(record.state == KeyState::PreActivation, Rule::KeyState)?;
        let facts = signed.decision.key_ready_cid == Some(record.key_ready_cid);
        ensure(facts, Rule::DecisionTerms)?;
        record.state = KeyState::Authorized;
        record.floor = Some(floor);
        record.decision = Some(link);
        Ok(())
    }

    fn activate_key(&mut self, key_id: &KeyId, event: &Event) -> Outcome {
        let record = self.keys.get_mut(key_id).ok_or(Rule::PublishedBefore)?;
        let named = event.artifact_refs.contains(&record.key_ready_cid);
        ensure(named, Rule::PublishedBefore)?;
        let authorized = record.state == KeyState::Authorized && record.decision.is_some();
        ensure(authorized && record.decision == event.decision_cid, Rule::AuthorizedBefore)?;
        record.state = KeyState::Active;
        roster::check_floors(self)
    }

    fn change_floor(&mut self, key_id: &KeyId, floor: &Floor) -> Outcome {
        roster::check_floor(floor, |name| self.sets.get(name))?;
        let record = self.record(key_id)?;
        let fits = matches!(record.state, KeyState::Active | KeyState::Suspended);
        ensure(fits, Rule::KeyState)?;
        record.floor = Some(floor.clone());
        Ok(())
    }

    fn move_key(&mut self, kind: &EventKind) -> Outcome {
        use KeyState::{
            Active, Authorized, Compromised, Deactivated, Destroyed, PreActivation, Suspended,
        };
        let (key_id, from, to): (&KeyId, &[KeyState], KeyState) = match kind {
            EventKind::KeySuspended { key_id } => (key_id, &[Active], Suspended),
            EventKind::KeyResumed { key_id } => (key_id, &[Suspended], Active),
            EventKind::KeyRotated { key_id, successor } => {
                let active = self.keys.get(successor).is_some_and(|k| k.state == Active);
                ensure(active && successor != key_id, Rule::Successor)?;
                self.record(key_id)?.successor = Some(successor.clone());
                (key_id, &[Active, Suspended], Deactivated)
            }
            EventKind::KeyDeactivated { key_id } => {
                (key_id, &[PreActivation, Authorized, Active, Suspended], Deactivated)
            }
            EventKind::KeyCompromised { key_id } => {
                (key_id, &[PreActivation, Authorized, Active, Suspended, Deactivated], Compromised)
            }
            EventKind::KeyDestroyed { key_id } => {
                (key_id, &[PreActivation, Deactivated, Compromised], Destroyed)
            }
            _ => return Err(Rule::KeyState.into()),
        };
        let record = self.record(key_id)?;
        ensure(from.contains(&record.state), Rule::KeyState)?;
        record.state = to;
        if !to.is_live() {
            record.prepared = None;
        }
        Ok(())
    }

    fn unfreeze(&mut self, key_id: &KeyId, seq: u64) -> Outcome {
        let record = self.record(key_id)?;
        let fits = matches!(record.state, KeyState::Active | KeyState::Suspended);
        ensure(fits, Rule::KeyState)?;
        record.unfrozen_seq = Some(seq);
        Ok(())
    }

    fn unban(&mut self, key_id: &KeyId, node: &NodeId, seq: u64) -> Outcome {
        let record = self.record(key_id)?;
        let holds = record.state.is_live() && record.ready.roster.contains(node);
        ensure(holds, Rule::KeyState)?;
        record.unbanned.insert(node.clone(), seq);
        Ok(())
    }

    // ---- epochs ----------------------------------------------------------------------------

    fn prepare_epoch(&mut self, key_id: &KeyId, entry: &LogEntry) -> Outcome {
        let ready = &entry.key_ready.as_ref().ok_or(Rule::KeyReady)?.ready;
        roster::check_ready(self, ready)?;
        let cid = link_of(ready);
        let record = self.record(key_id)?;
        let fits = matches!(record.state, KeyState::Active | KeyState::Suspended);
        ensure(fits && record.prepared.is_none(), Rule::KeyState)?;
        let old = &record.ready;
        let continues = ready.key_id == old.key_id
            && ready.public_key == old.public_key
            && ready.chain_code == old.chain_code
            && ready.backend == old.backend
            && Some(ready.key_epoch) == record.epoch.checked_add(1);
        ensure(continues, Rule::KeyFacts)?;
        record.prepared = Some(Prepared { ready: ready.clone(), key_ready_cid: cid });
        Ok(())
    }

    fn activate_epoch(&mut self, key_id: &KeyId, event: &Event) -> Outcome {
        let record = self.record(key_id)?;
        let fits = matches!(record.state, KeyState::Active | KeyState::Suspended);
        ensure(fits, Rule::KeyState)?;
        let prepared = record.prepared.take().ok_or(Rule::KeyState)?;
        let named = event.artifact_refs.contains(&prepared.key_ready_cid);
        ensure(named, Rule::PublishedBefore)?;
        record.epoch = prepared.ready.key_epoch;
        record.ready = prepared.ready;
        record.key_ready_cid = prepared.key_ready_cid;
        Ok(())
    }

    // ---- members ---------------------------------------------------------------------------

    fn change_members(&mut self, kind: &EventKind) -> Outcome {
        match kind {
            EventKind::NodeEnrolled { passport } => {
                let node = &passport.node;
                let known = self.passport(node).is_some() || self.former.contains(node);
                ensure(!known && passport.generation == 1, Rule::Passport)?;
                self.manifest.nodes.push(passport.clone());
                self.manifest.nodes.sort_by(|a, b| a.node.cmp(&b.node));
            }
            EventKind::PassportIssued { passport } => {
                ensure(!self.fences.contains_key(&passport.node), Rule::Fence)?;
                self.replace_passport(passport)?;
            }
            EventKind::NodeRebound { passport } => {
                ensure(self.fences.remove(&passport.node).is_some(), Rule::Fence)?;
                self.replace_passport(passport)?;
            }
            EventKind::NodeFenced { node, boot_gen } => {
                let rises = self.fences.get(node).is_none_or(|fence| boot_gen > fence);
                ensure(self.passport(node).is_some() && rises, Rule::Fence)?;
                self.fences.insert(node.clone(), *boot_gen);
            }
            EventKind::NodeRemoved { node } => self.remove_node(node)?,
            EventKind::WitnessAdded { passport } => {
                ensure(!self.former.contains(&passport.node), Rule::Passport)?;
                self.manifest.witnesses.push(passport.clone());
                self.manifest.witnesses.sort_by(|a, b| a.node.cmp(&b.node));
            }
            EventKind::WitnessRemoved { node } => {
                let before = self.manifest.witnesses.len();
                self.manifest.witnesses.retain(|w| w.node != *node);
                ensure(self.manifest.witnesses.len() < before, Rule::Membership)?;
                self.former.insert(node.clone());
            }
            _ => return Err(Rule::Membership.into()),
        }
        roster::check_members(&self.manifest)
    }

    fn replace_passport(&mut self, passport: &NodePassport) -> Outcome {
        let slot = self.manifest.nodes.iter_mut().find(|p| p.node == passport.node);
        let slot = slot.ok_or(Rule::Passport)?;
        let next = slot.generation.checked_add(1) == Some(passport.generation);
        ensure(next && slot.org == passport.org, Rule::Passport)?;
        // A kernel draws both at once. One with another's sealing key opens nothing that is sealed to it, and takes
        // those who sealed it for cheaters.
        let same_kernel = slot.kernel_key == passport.kernel_key;
        ensure(same_kernel == (slot.sealing_key == passport.sealing_key), Rule::Passport)?;
        *slot = passport.clone();
        Ok(())
    }

    /// A holder of a live key cannot leave: its share would leave with it. Reshare first.
    fn remove_node(&mut self, node: &NodeId) -> Outcome {
        let holds = |k: &KeyRecord| k.state.is_live() && k.ready.roster.contains(node);
        let known = self.passport(node).is_some();
        ensure(known && !self.keys.values().any(holds), Rule::Membership)?;
        self.manifest.nodes.retain(|p| p.node != *node);
        self.fences.remove(node);
        self.former.insert(node.clone());
        Ok(())
    }

    // ---- rules and conditions ---------------------------------------------------------------

    fn change_rules(&mut self, kind: &EventKind) -> Outcome {
        match kind {
            EventKind::PolicyRootAdopted { policy_root } => {
                ensure(*policy_root != self.manifest.policy_root, Rule::PolicyRoot)?;
                self.manifest.policy_root = *policy_root;
            }
            EventKind::ApproverSetAdopted { set } => {
                roster::check_set(set)?;
                self.sets.insert(set.name.clone(), set.clone());
                self.manifest.approvers = self.sets.values().cloned().collect();
                roster::check_floors(self)?;
            }
            EventKind::GovernorsChanged { governors } => {
                roster::check_governors(governors)?;
                self.manifest.governors = governors.clone();
            }
            _ => return Err(Rule::Persons.into()),
        }
        Ok(())
    }

    fn change_condition(&mut self, kind: &EventKind) -> Outcome {
        let active = self.keys.values().any(|k| k.state == KeyState::Active);
        let now = &mut self.conditions;
        let (flag, value) = match kind {
            EventKind::EmergencyHold => (&mut now.held, true),
            EventKind::EmergencyLift => (&mut now.held, false),
            EventKind::ClusterDegraded => (&mut now.degraded, true),
            EventKind::ClusterNormal => (&mut now.degraded, false),
            EventKind::ClusterDisputed { .. } => (&mut now.disputed, true),
            EventKind::DisputeCleared => (&mut now.disputed, false),
            EventKind::ClusterRetired => {
                ensure(!active, Rule::ClusterCondition)?;
                (&mut now.retired, true)
            }
            _ => return Err(Rule::ClusterCondition.into()),
        };
        // An event that changes nothing is a mistake or noise, and it would use up a decision.
        ensure(*flag != value, Rule::ClusterCondition)?;
        *flag = value;
        Ok(())
    }
}
