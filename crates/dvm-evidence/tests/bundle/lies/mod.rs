//! One lie at a time, each under the right signature: every rule of the verifier is the one that refuses it.
//!
//! The liar holds every key of the cluster, the kernels' too: what a rule says is then all that is left. A
//! case names the link and the rule that must refuse; a rule that is skipped lets its case through, or
//! lets another rule speak.

mod agreement;
mod bans;
mod chain;
mod gate;
mod keys;
mod log;
mod material;
mod results;
mod runs;
mod verdicts;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use dvm_core::codec::Artifact;
use dvm_core::intent::Backend;
use dvm_core::trace::TraceEvent;
use dvm_core::{Link, NodeId, Signed};
use dvm_evidence::peer::RunEvidence;
use dvm_evidence::{BundleInput, Refused, verify};
use dvm_vm::Ctx;
use ed25519_dalek::SigningKey;

use crate::rig::{Rig, id, policy_key, write};

/// A published signature of `n1` and `n2` with all that was said about it, and every key of the cluster.
struct World {
    input: BundleInput,
    cluster: Link,
    kernels: BTreeMap<NodeId, SigningKey>,
    /// Per run of `n1`: what replays its trace.
    contexts: Vec<Ctx>,
    /// A later head of the log, at which nothing was said.
    heads: Vec<dvm_core::governance::HeadRef>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let mut rig = Rig::active(Backend::FrostEd25519);
        rig.signature(b"pay bob", "pay-bob", &["n1", "n2"]);
        World::of(rig)
    })
}

/// The generation and publication of a key, the same way.
fn key_world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let mut rig = Rig::formed();
        rig.make_key(Backend::FrostEd25519);
        World::of(rig)
    })
}

impl World {
    fn of(rig: Rig) -> Self {
        let (input, cluster) = (rig.input(), rig.cluster());
        assert!(verify(&write(input.clone()), cluster).is_ok());
        let contexts = rig.peers[0].runs.iter().map(|run| run.ctx.clone()).collect();
        let heads = heads(&input);
        Self { input, cluster, kernels: rig.steal(), contexts, heads }
    }

    /// What the verifier says to the bundle after this change.
    fn lie(&self, change: impl FnOnce(&mut BundleInput)) -> Refused {
        let mut input = self.input.clone();
        change(&mut input);
        verify(&write(input), self.cluster).unwrap_err()
    }

    /// Signs as this node's kernel.
    fn by_kernel<T: Artifact>(&self, node: &str, body: T) -> Signed<T> {
        Signed::new(body, &self.kernels[&id::<NodeId>(node)])
    }

    /// Changes events of a run of `n1`, and signs the root that they lead to.
    fn retell(&self, run: &mut RunEvidence, at: usize, change: impl FnOnce(&mut Vec<TraceEvent>)) {
        change(&mut run.trace.events);
        let root = dvm_vm::replay(&self.contexts[at], &run.trace.events).unwrap();
        run.trace_root = by_policy("n1", root);
    }
}

/// Heads of every prefix of the log.
fn heads(input: &BundleInput) -> Vec<dvm_core::governance::HeadRef> {
    let mut state = dvm_governance::AuthorityState::genesis(&input.manifest).unwrap();
    let mut heads = vec![state.head()];
    for entry in &input.log {
        state = dvm_governance::apply(&state, entry).unwrap();
        heads.push(state.head());
    }
    heads
}

/// Signs as this node's policy engine.
fn by_policy<T: Artifact>(node: &str, body: T) -> Signed<T> {
    Signed::new(body, &policy_key(&id(node)))
}

/// The refusal is at this link, by this rule.
fn assert_refused(refused: &Refused, link: &str, what: &str) {
    assert_eq!((refused.link.as_str(), refused.what), (link, what));
}

/// Applies each change to a fresh copy of a value.
fn each<T: Clone>(value: &T, changes: &[fn(&mut T)]) -> Vec<T> {
    let changed = |change: &fn(&mut T)| {
        let mut value = value.clone();
        change(&mut value);
        value
    };
    changes.iter().map(changed).collect()
}
