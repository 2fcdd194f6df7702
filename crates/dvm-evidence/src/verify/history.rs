//! The governance log of a bundle: folded from the genesis, certified, and kept at every head that
//! a statement in the bundle names.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::codec::{Artifact, link_of};
use dvm_core::governance::HeadRef;
use dvm_core::reason::ReasonCode;
use dvm_core::sign::Signed;
use dvm_core::{Link, NodeId, PersonId, PublicKey};
use dvm_governance::{AuthorityState, adopt, apply};

use crate::bundle::BundleInput;
use crate::verify::{Case, Refused, ensure};

/// Heads at which one intent was judged: an intent that waits long is judged anew at each.
const HEADS_MAX: usize = 1_024;

/// The certified log, as states. Made only by [`History::fold`].
pub(crate) struct History {
    states: BTreeMap<u64, AuthorityState>,
    last: AuthorityState,
    people: BTreeSet<(PersonId, PublicKey)>,
    nodes: BTreeSet<NodeId>,
}

impl History {
    /// Folds the log and checks the certificate over its head.
    pub(crate) fn fold(parts: &BundleInput) -> Result<Self, Refused> {
        let needed = heads(parts);
        if needed.len() > HEADS_MAX {
            let what = "statements at more heads than a bundle may have";
            return Err(Refused::code("peers", ReasonCode::ResourceLimit, what));
        }
        let genesis = AuthorityState::genesis(&parts.manifest).map_err(|e| {
            Refused::code("cluster", e.code, "the genesis manifest is not well formed")
        })?;
        let mut history = Self {
            states: BTreeMap::new(),
            last: genesis.clone(),
            people: BTreeSet::new(),
            nodes: BTreeSet::new(),
        };
        history.learn(&needed);
        for (i, entry) in parts.log.iter().enumerate() {
            let next = apply(&history.last, entry).map_err(|e| {
                Refused::code(format!("log/{i}"), e.code, "the entry breaks a rule of the log")
            })?;
            history.last = next;
            history.learn(&needed);
        }
        match &parts.certificate {
            None => {
                ensure(parts.log.is_empty(), "certificate", "the log's head has no certificate")?
            }
            Some(certificate) => {
                adopt(&genesis, &parts.log, certificate).map_err(|e| {
                    let what = "the certificate does not hold over the log's head";
                    Refused::code("certificate", e.code(), what)
                })?;
            }
        }
        Ok(history)
    }

    fn learn(&mut self, needed: &BTreeSet<u64>) {
        let state = &self.last;
        let people = state.sets().values().flat_map(|set| &set.members);
        self.people.extend(people.map(|p| (p.person.clone(), p.key)));
        self.nodes.extend(state.manifest().nodes.iter().map(|p| p.node.clone()));
        let size = state.head().size;
        if needed.contains(&size) {
            self.states.insert(size, state.clone());
        }
    }

    /// The trusted cluster.
    pub(crate) fn cluster(&self) -> Link {
        self.last.cluster()
    }

    /// The state at the certified head.
    pub(crate) fn last(&self) -> &AuthorityState {
        &self.last
    }

    /// Whether this was ever a node of the cluster.
    pub(crate) fn knows(&self, node: &NodeId) -> bool {
        self.nodes.contains(node)
    }

    /// The state at a head that a statement names.
    pub(crate) fn at(&self, head: &HeadRef, path: &str) -> Result<&AuthorityState, Refused> {
        let state = self.states.get(&head.size).filter(|state| state.head() == *head);
        state.ok_or_else(|| Refused::at(path, "the head it names is no head of the certified log"))
    }

    /// Whether a statement is signed by a person under a key that was ever in an approver set.
    pub(crate) fn person_signed<T: Artifact>(&self, person: &PersonId, said: &Signed<T>) -> bool {
        let keys = self.people.iter().filter(|(who, _)| who == person);
        keys.into_iter().any(|(_, key)| said.verify(*key).is_ok())
    }
}

/// Sizes of the heads that statements in the bundle name.
fn heads(parts: &BundleInput) -> BTreeSet<u64> {
    let mut sizes = BTreeSet::new();
    for part in &parts.parts {
        sizes.extend(part.admissions.iter().map(|a| a.body.head.size));
        for run in &part.runs {
            sizes.extend(run.proposal.opens.iter().map(|o| o.body.head.size));
            sizes.extend(run.publications.iter().map(|p| p.body.head.size));
        }
    }
    sizes
}

/// The policy files are the ones that were in force, at the head or at a verdict in the bundle.
pub(crate) fn check_policy(case: &Case<'_>) -> Result<(), Refused> {
    let link = link_of(&case.parts.policy);
    let mut in_force = case.history.states.values().chain([case.history.last()]);
    let was = in_force.any(|state| state.policy_root() == link);
    ensure(was, "policy", "the policy files are not those of a policy root in force")
}
