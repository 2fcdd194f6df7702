//! Who signs with whom: the peers that this node's kernel banned from a key, the sets of signers that a kernel would not
//! work in, and the choice of the next set.
//!
//! Source: the design's kernel page, "Evidence of misbehaviour"; vm.md, "t honest ones remain".
//! Always true: a set that a kernel refused is not asked again before governors lift what it holds against it; a peer can
//! only rule out sets with itself in them; what a peer says of another one makes that one the last choice, and
//! rules it out of nothing.
//! Not here: why a kernel refuses, and evidence. All of this is a convenience: kernels refuse by themselves, and a node
//! that forgets it in a crash learns it again.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::ids::{KeyId, NodeId};
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_governance::KeyRecord;

use super::Engine;
use super::drive::Run;

/// Sets remembered of a key: all t of 16.
const SETS_MAX: usize = 16_384;

/// What lifts what kernels hold against signers: another epoch, an unfreezing, the end of a ban.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Terms {
    epoch: u32,
    unfrozen: Option<u64>,
    unbanned: BTreeMap<NodeId, u64>,
}

impl Terms {
    fn of(record: &KeyRecord) -> Self {
        let (unfrozen, unbanned) = (record.unfrozen_seq, record.unbanned.clone());
        Self { epoch: record.epoch, unfrozen, unbanned }
    }
}

/// What is known of one key.
#[derive(Debug, Default)]
pub(super) struct Route {
    terms: Terms,
    banned: BTreeSet<NodeId>,
    refused: BTreeMap<Vec<NodeId>, ReasonCode>,
    /// How often a peer was in a set that a kernel refused: twice for each, once if its own kernel did.
    doubts: BTreeMap<NodeId, u32>,
}

/// What is known of all keys.
#[derive(Debug, Default)]
pub(super) struct Routes {
    keys: BTreeMap<KeyId, Route>,
}

impl Routes {
    /// What is known of a key since its terms last changed.
    fn of(&mut self, key_id: &KeyId, terms: Terms) -> &mut Route {
        let route = self.keys.entry(key_id.clone()).or_default();
        if route.terms != terms {
            *route = Route { terms, ..Route::default() };
        }
        route
    }

    fn known(&self, key_id: &KeyId, terms: &Terms) -> Option<&Route> {
        self.keys.get(key_id).filter(|route| route.terms == *terms)
    }
}

impl Route {
    /// A kernel would not work in this set: the own one, or that of the peer that stopped it.
    fn refuse(
        &mut self,
        (set, me): (&[NodeId], &NodeId),
        stopper: Option<&NodeId>,
        code: ReasonCode,
    ) {
        if self.refused.len() >= SETS_MAX || self.refused.contains_key(set) {
            return;
        }
        self.refused.insert(set.to_vec(), code);
        for node in set.iter().filter(|node| *node != me) {
            let doubt = self.doubts.entry(node.clone()).or_default();
            *doubt = doubt.saturating_add(if stopper == Some(node) { 1 } else { 2 });
        }
    }

    fn doubt(&self, set: &[&NodeId]) -> u32 {
        let of = |node: &&NodeId| self.doubts.get(*node).copied().unwrap_or(0);
        set.iter().map(of).fold(0, u32::saturating_add)
    }

    /// Whether a set may be asked at all.
    fn allows(&self, set: &[&NodeId]) -> bool {
        let clean = set.iter().all(|node| !self.banned.contains(*node));
        let refused = || self.refused.keys().any(|known| known.iter().eq(set.iter().copied()));
        clean && (self.refused.is_empty() || !refused())
    }
}

/// Calls `each` with every set of so many of these nodes, in order, until it says enough.
fn each_set<'a>(
    nodes: &[&'a NodeId],
    size: usize,
    each: &mut impl FnMut(&[&'a NodeId]) -> bool,
) -> bool {
    fn extend<'a>(
        (rest, size): (&[&'a NodeId], usize),
        chosen: &mut Vec<&'a NodeId>,
        each: &mut impl FnMut(&[&'a NodeId]) -> bool,
    ) -> bool {
        if chosen.len() == size {
            return each(chosen);
        }
        let lacking = size - chosen.len();
        for (at, node) in rest.iter().enumerate() {
            if rest.len() - at < lacking {
                break;
            }
            chosen.push(node);
            let after = rest.get(at + 1..).unwrap_or_default();
            let enough = extend((after, size), chosen, each);
            chosen.pop();
            if enough {
                return true;
            }
        }
        false
    }
    extend((nodes, size), &mut Vec::with_capacity(size), each)
}

impl Engine {
    fn route(&self, key_id: &KeyId) -> Option<&Route> {
        self.routes.known(key_id, &Terms::of(self.authority.key(key_id)?))
    }

    /// This node's kernel banned a peer from a key.
    pub(super) fn note_ban(&mut self, key_id: &KeyId, epoch: u32, culprit: &NodeId) {
        let Some(record) = self.authority.key(key_id).filter(|record| record.epoch == epoch) else {
            return;
        };
        self.routes.of(key_id, Terms::of(record)).banned.insert(culprit.clone());
    }

    /// Whether this node's kernel is known to have banned a peer from a key.
    pub(super) fn is_banned(&self, key_id: &KeyId, node: &NodeId) -> bool {
        self.route(key_id).is_some_and(|route| route.banned.contains(node))
    }

    /// The peers that this node's kernel banned from an operation's key, of these.
    pub(super) fn banned_of(&self, intent: &Link, nodes: &[NodeId]) -> Vec<NodeId> {
        let Some(op) = self.operations.get(intent) else { return Vec::new() };
        let key_id = op.intent.act.key_id();
        nodes.iter().filter(|node| self.is_banned(key_id, node)).cloned().collect()
    }

    /// A kernel would not work in the set of this run.
    pub(super) fn note_refused_set(
        &mut self,
        run: &Run,
        stopper: Option<&NodeId>,
        code: ReasonCode,
    ) {
        let Some(op) = self.operations.get(&run.intent) else { return };
        let key_id = op.intent.act.key_id().clone();
        let Some(record) = self.authority.key(&key_id) else { return };
        let set = (run.ctx.participants(), &self.me);
        self.routes.of(&key_id, Terms::of(record)).refuse(set, stopper, code);
    }

    /// Whether a kernel that says this of a run would say it of every run of that set.
    pub(super) fn rules_set_out(code: ReasonCode) -> bool {
        matches!(code, ReasonCode::KeyFrozen | ReasonCode::PartyBanned)
    }

    /// The signers of the next try, out of those that are ready: this node if it holds a share, those that no kernel had
    /// trouble with before others, and of those the ones with material at hand.
    pub(super) fn choose(
        &self,
        intent: &Link,
        ready: &BTreeSet<&NodeId>,
        needed: usize,
    ) -> Option<Vec<NodeId>> {
        let op = self.operations.get(intent)?;
        let act = &op.intent.act;
        let fresh = Route::default();
        let route = self.route(act.key_id()).unwrap_or(&fresh);
        let mine = ready.contains(&self.me);
        let nodes: Vec<&NodeId> = ready.iter().copied().collect();
        let mut best: Option<((u32, bool), Vec<NodeId>)> = None;
        each_set(&nodes, needed, &mut |set| {
            if mine && !set.contains(&&self.me) || !route.allows(set) {
                return false;
            }
            let doubt = route.doubt(set);
            if best.as_ref().is_some_and(|((least, _), _)| *least < doubt) {
                return false;
            }
            let named: Vec<NodeId> = set.iter().map(|node| (*node).clone()).collect();
            let rank = (doubt, !self.has_material(intent, &named));
            if best.as_ref().is_none_or(|(known, _)| rank < *known) {
                best = Some((rank, named));
            }
            rank == (0, false)
        });
        best.map(|(_, set)| set)
    }

    /// Why no set of an operation's holders is left to ask, if none is.
    pub(super) fn no_set_left(&self, intent: &Link) -> Option<ReasonCode> {
        let op = self.operations.get(intent)?;
        let act = &op.intent.act;
        let route = self.route(act.key_id())?;
        let (holders, needed) = self.holders(act);
        let nodes: Vec<&NodeId> = holders.iter().filter(|n| !op.culprits.contains(n)).collect();
        let mine = holders.contains(&self.me);
        let left = each_set(&nodes, needed, &mut |set| {
            (!mine || set.contains(&&self.me)) && route.allows(set)
        });
        let frozen = route.refused.values().any(|code| *code == ReasonCode::KeyFrozen);
        let code = if frozen { ReasonCode::KeyFrozen } else { ReasonCode::PartyBanned };
        (!left).then_some(code)
    }

    /// Whether no kernel is known to refuse this set.
    pub(super) fn may_ask(&self, key_id: &KeyId, set: &[NodeId]) -> bool {
        self.route(key_id).is_none_or(|route| route.allows(&set.iter().collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes<const N: usize>(names: [&str; N]) -> Vec<NodeId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn sets(nodes: &[NodeId], size: usize) -> Vec<String> {
        let (nodes, mut told) = (nodes.iter().collect::<Vec<_>>(), Vec::new());
        each_set(&nodes, size, &mut |set| {
            told.push(set.iter().map(|node| node.as_str()).collect::<String>());
            false
        });
        told
    }

    #[test]
    fn every_set_of_a_size_is_told_once_in_order() {
        let four = nodes(["a", "b", "c", "d"]);
        assert_eq!(sets(&four, 2), ["ab", "ac", "ad", "bc", "bd", "cd"]);
        assert_eq!(sets(&four, 4), ["abcd"]);
        assert_eq!((sets(&four, 5).len(), sets(&four, 0).len()), (0, 1));
    }

    #[test]
    fn set_that_a_kernel_refused_is_not_asked_and_one_that_shares_a_doubted_signer_comes_later() {
        let mut route = Route::default();
        let all = nodes(["n1", "n2", "n3", "n4", "n5"]);
        let [n1, n2, n3, n4, n5] = [&all[0], &all[1], &all[2], &all[3], &all[4]];
        assert!(route.allows(&[n1, n2, n3]));
        let code = ReasonCode::PartyBanned;
        route.refuse((&nodes(["n1", "n2", "n3"]), n1), Some(n3), code);
        assert!(!route.allows(&[n1, n2, n3]) && route.allows(&[n1, n2, n4]));
        let doubt = |set: [&NodeId; 3]| route.doubt(&set);
        assert_eq!(doubt([n1, n4, n5]), 0);
        assert_eq!(doubt([n1, n3, n4]), 1, "whose kernel said so is doubted less");
        assert_eq!(doubt([n1, n2, n4]), 2);
        // The same once more says nothing new.
        route.refuse((&nodes(["n1", "n2", "n3"]), n1), Some(n3), code);
        assert_eq!(route.doubt(&[n1, n2, n4]), 2);
        route.banned.insert(n4.clone());
        assert!(!route.allows(&[n1, n4, n5]) && route.allows(&[n1, n2, n5]));
    }

    #[test]
    fn what_is_held_against_signers_is_forgotten_when_the_keys_terms_change() {
        let terms = Terms { epoch: 1, unfrozen: None, unbanned: BTreeMap::new() };
        let (key, set) = ("k".parse().unwrap(), nodes(["n1", "n2"]));
        let mut routes = Routes::default();
        for changed in [
            Terms { epoch: 2, ..terms.clone() },
            Terms { unfrozen: Some(7), ..terms.clone() },
            Terms { unbanned: [(set[1].clone(), 7)].into(), ..terms.clone() },
        ] {
            let route = routes.of(&key, terms.clone());
            route.refuse((&set, &set[0]), None, ReasonCode::KeyFrozen);
            let pair = [&set[0], &set[1]];
            let allows = |routes: &Routes, terms| {
                routes.known(&key, terms).is_none_or(|route| route.allows(&pair))
            };
            assert!(!allows(&routes, &terms) && allows(&routes, &changed), "{changed:?}");
            assert!(routes.of(&key, changed).allows(&pair), "and it is not kept for later");
        }
    }
}
