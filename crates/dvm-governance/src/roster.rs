//! Well-formedness of who is who: members, governors, approver sets, floors, key rosters.
//!
//! Always true for a manifest that passed: no key serves two purposes or two members, any two
//! quorums share more members than may equivocate, and every threshold is within reach.

use std::collections::BTreeSet;

use dvm_core::NodeId;
use dvm_core::authority::{
    ApprovalRule, ApproverSet, ClusterManifest, Floor, Governors, KeyReady, Person, ReleaseRule,
};
use dvm_core::ids::SetName;
use dvm_core::intent::{ActClass, Scheme};
use dvm_core::limits::{MEMBERS_MAX, PARTIES_MAX};

use crate::guard::{GuardRefused, Rule, ensure};
use crate::state::AuthorityState;

/// Persons in one set, and sets in one cluster: more would not be read by anyone.
const PERSONS_MAX: usize = 64;

fn sorted_distinct<T: Ord>(items: &[T]) -> bool {
    items.is_sorted_by(|a, b| a < b)
}

fn all_distinct<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.into_iter().all(|item| seen.insert(item))
}

/// The genesis manifest as a whole.
pub(crate) fn check_manifest(manifest: &ClusterManifest) -> Result<(), GuardRefused> {
    check_members(manifest)?;
    check_governors(&manifest.governors)?;
    let names = manifest.approvers.iter().map(|s| &s.name);
    ensure(manifest.approvers.len() <= PERSONS_MAX && all_distinct(names), Rule::Persons)?;
    manifest.approvers.iter().try_for_each(check_set)?;
    let find = |name: &SetName| manifest.approvers.iter().find(|s| s.name == *name);
    check_floor(&manifest.keygen_floor, find)?;
    ensure(manifest.keygen_floor.acts == [ActClass::KeyGenerate], Rule::Floor)
}

/// Nodes and witnesses: sorted, few enough, no key twice, able to certify.
pub(crate) fn check_members(manifest: &ClusterManifest) -> Result<(), GuardRefused> {
    let (nodes, witnesses) = (&manifest.nodes, &manifest.witnesses);
    let members = nodes.len() + witnesses.len();
    ensure(!nodes.is_empty() && members <= MEMBERS_MAX, Rule::Membership)?;
    let node_ids: Vec<&NodeId> = nodes.iter().map(|p| &p.node).collect();
    let witness_ids: Vec<&NodeId> = witnesses.iter().map(|w| &w.node).collect();
    let sorted = sorted_distinct(&node_ids) && sorted_distinct(&witness_ids);
    ensure(sorted && all_distinct(node_ids.iter().chain(&witness_ids)), Rule::Membership)?;
    // A key in two places would let one holder speak as two members, or one statement pass as another.
    let of_node =
        nodes.iter().flat_map(|p| [p.node_key.0, p.kernel_key.0, p.sealing_key, p.policy_key.0]);
    let of_witness = witnesses.iter().flat_map(|w| [w.node_key.0, w.cosign_key.0]);
    ensure(all_distinct(of_node.chain(of_witness)), Rule::Passport)?;
    ensure(manifest.quorum() <= members, Rule::Membership)?;
    ensure(manifest.passport(&manifest.sequencer).is_some(), Rule::Membership)
}

fn check_persons(persons: &[Person]) -> Result<(), GuardRefused> {
    ensure((1..=PERSONS_MAX).contains(&persons.len()), Rule::Persons)?;
    // Two names for one key would be one human who counts twice.
    let names = all_distinct(persons.iter().map(|p| &p.person));
    ensure(names && all_distinct(persons.iter().map(|p| p.key)), Rule::Persons)
}

/// Governors: distinct, threshold within reach.
pub(crate) fn check_governors(governors: &Governors) -> Result<(), GuardRefused> {
    check_persons(&governors.members)?;
    let reach = 1..=governors.members.len();
    ensure(reach.contains(&usize::from(governors.threshold)), Rule::Persons)
}

/// One approver set: distinct persons.
pub(crate) fn check_set(set: &ApproverSet) -> Result<(), GuardRefused> {
    check_persons(&set.members)
}

fn reachable<'a>(
    rule: &ApprovalRule,
    find: &impl Fn(&SetName) -> Option<&'a ApproverSet>,
) -> Result<(), GuardRefused> {
    let members = find(&rule.set).map_or(0, |set| set.members.len());
    ensure((1..=members).contains(&usize::from(rule.k)), Rule::Floor)
}

/// A floor whose rules the existing sets can meet.
pub(crate) fn check_floor<'a>(
    floor: &Floor,
    find: impl Fn(&SetName) -> Option<&'a ApproverSet>,
) -> Result<(), GuardRefused> {
    if let Some(rule) = &floor.admit {
        reachable(rule, &find)?;
    }
    if let ReleaseRule::Approvals(rule) = &floor.release {
        reachable(rule, &find)?;
    }
    let acts = !floor.acts.is_empty() && all_distinct(floor.acts.iter());
    ensure(acts && floor.executions_per_hour > 0 && floor.failures_to_freeze > 0, Rule::Floor)
}

/// Every floor in force, against the sets as they are now.
pub(crate) fn check_floors(state: &AuthorityState) -> Result<(), GuardRefused> {
    let live = state.keys.values().filter(|k| k.state.is_live()).filter_map(|k| k.floor.as_ref());
    let mut all = live.chain([&state.manifest.keygen_floor]);
    all.try_for_each(|floor| check_floor(floor, |name| state.sets.get(name)))
}

/// Whether these nodes may hold a key of this threshold here: sorted current nodes, `2t > n` (so two
/// disjoint sets cannot both sign), and `t - 1 <= f` (the log outlasts as many as the key does).
pub(crate) fn holders_fit(state: &AuthorityState, roster: &[NodeId], threshold: u16) -> bool {
    let (t, n) = (usize::from(threshold), roster.len());
    let known = roster.iter().all(|node| state.passport(node).is_some());
    let threshold_fits =
        t >= 2 && t <= n && 2 * t > n && t <= usize::from(state.manifest.faults) + 1;
    n <= PARTIES_MAX && sorted_distinct(roster) && known && threshold_fits
}

/// The facts of a key epoch, as far as governance can judge them.
pub(crate) fn check_ready(state: &AuthorityState, ready: &KeyReady) -> Result<(), GuardRefused> {
    let bound = ready.cluster == state.cluster && ready.key_epoch > 0;
    let backend = ready.backend;
    let sized = ready.public_key.len() == backend.public_key_bytes() && !ready.package.is_empty();
    let derives = ready.chain_code.is_some() == (backend.scheme() == Scheme::Ecdsa);
    ensure(bound && sized && derives, Rule::KeyFacts)?;
    ensure(holders_fit(state, &ready.roster, ready.threshold), Rule::KeyFacts)
}
