//! Who takes part: three nodes, a witness, governors and approvers, under fixed names and keys.
//!
//! Always true: every key here comes from its name, so that a seed means the same on every machine.

use std::str::FromStr;

use dvm_core::admission::{Approval, Denial, Purpose};
use dvm_core::authority::{
    ApprovalRule, ApproverSet, ClusterManifest, Floor, Governors, NodePassport, Person,
    ReleaseRule, WitnessPassport,
};
use dvm_core::call::Layers;
use dvm_core::intent::{ActClass, Backend, Scheme};
use dvm_core::{B32, Link, NodeId, Signed, Signer, codec, digest};
use dvm_policy::PolicySet;
use ed25519_dalek::SigningKey;
use serde_json::Value;

use crate::SimError;

/// The nodes, by index.
pub const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// The witness.
pub(crate) const WITNESS: &str = "w1";
/// The approvers of the one set.
pub(crate) const APPROVERS: [&str; 3] = ["a1", "a2", "a3"];
/// Where virtual time begins.
pub(crate) const START_MS: u64 = 1_800_000_000_000;
const YEAR_MS: u64 = 365 * 86_400_000;

/// The key of this name.
pub(crate) fn key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&digest::sha256(name.as_bytes()).0)
}

/// An id from one of the fixed names of this crate.
#[expect(
    clippy::expect_used,
    reason = "the names are constants of this crate; every run uses them"
)]
pub(crate) fn id<T: FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    name.parse().expect("a fixed name is an id")
}

/// A node by its index.
pub(crate) fn node(index: usize) -> NodeId {
    id(NODES.get(index).copied().unwrap_or("n1"))
}

/// The index of a node.
pub(crate) fn index_of(node: &NodeId) -> Option<usize> {
    NODES.iter().position(|name| *name == node.as_str())
}

fn person(name: &str) -> Person {
    Person { person: id(name), key: key(name).public_key() }
}

/// A key under a floor: what a prepared cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variant {
    /// The protocol of its key.
    pub backend: Backend,
    /// Approvals to admit; 0 for none.
    pub admit: u16,
    /// Approvals to release; 0 for automatic release.
    pub release: u16,
}

impl Variant {
    /// The variants that seeds draw from, the commonest first.
    pub const ALL: [Self; 8] = [
        Self { backend: Backend::FrostEd25519, admit: 0, release: 0 },
        Self { backend: Backend::FrostEd25519, admit: 0, release: 1 },
        Self { backend: Backend::FrostEd25519, admit: 1, release: 0 },
        Self { backend: Backend::FrostEd25519, admit: 1, release: 2 },
        Self { backend: Backend::FrostSecp256k1Tr, admit: 0, release: 0 },
        Self { backend: Backend::FrostSecp256k1Tr, admit: 0, release: 1 },
        Self { backend: Backend::Dkls23Secp256k1, admit: 0, release: 0 },
        Self { backend: Backend::Dkls23Secp256k1, admit: 0, release: 1 },
    ];

    /// Its floor.
    pub(crate) fn floor(self) -> Floor {
        let rule = |k| ApprovalRule { set: id("treasury"), k };
        Floor {
            admit: (self.admit > 0).then(|| rule(self.admit)),
            release: if self.release > 0 {
                ReleaseRule::Approvals(rule(self.release))
            } else {
                ReleaseRule::Auto
            },
            acts: match self.backend.scheme() {
                Scheme::Schnorr => vec![ActClass::SignMessage],
                Scheme::Ecdsa => vec![ActClass::SignEvmTransaction, ActClass::PresignBatch],
            },
            executions_per_hour: 1000,
            failures_to_freeze: 3,
        }
    }
}

/// The cluster's constitution.
pub(crate) fn manifest(nodes: Vec<NodePassport>, policy: &PolicySet) -> ClusterManifest {
    ClusterManifest {
        name: id("sim"),
        nonce: B32([1; 32]),
        nodes,
        witnesses: vec![WitnessPassport {
            node: id(WITNESS),
            org: id("org"),
            node_key: key("w1/node").public_key(),
            cosign_key: key("w1/cosign").public_key(),
        }],
        faults: 1,
        sequencer: id("n1"),
        governors: Governors {
            threshold: 2,
            members: ["g1", "g2", "g3"].map(person).to_vec(),
            proposer_counts: false,
        },
        approvers: vec![ApproverSet {
            name: id("treasury"),
            members: APPROVERS.map(person).to_vec(),
        }],
        policy_root: policy.policy_root(),
        keygen_floor: Floor {
            admit: None,
            release: ReleaseRule::Auto,
            acts: vec![ActClass::KeyGenerate],
            executions_per_hour: 1000,
            failures_to_freeze: 3,
        },
    }
}

/// The passport of a node whose kernel showed these keys.
pub(crate) fn passport(name: &str, attested: &dvm_core::call::Attestation) -> NodePassport {
    NodePassport {
        node: id(name),
        org: id(name),
        node_key: key(&format!("{name}/node")).public_key(),
        kernel_key: attested.kernel_key,
        sealing_key: attested.sealing_key,
        policy_key: key(&format!("{name}/policy")).public_key(),
        generation: 1,
    }
}

/// No isolation: the kernels live in this process.
pub(crate) fn layers() -> Layers {
    Layers {
        dies_with_parent: false,
        no_core_dumps: false,
        non_dumpable: false,
        memory_locked: false,
        network_namespace: false,
        no_new_privs: false,
        landlock_abi: 0,
        seccomp: false,
    }
}

fn text<'a>(view: &'a Value, field: &str) -> Result<&'a str, SimError> {
    view.get(field).and_then(Value::as_str).ok_or(SimError::Shape("a view lacks a field"))
}

/// What a person reads off a view before they sign.
pub(crate) struct Shown {
    intent: Link,
    display_hash: B32,
    key_id: String,
    release: Option<(B32, B32)>,
}

impl Shown {
    /// Reads a view.
    pub(crate) fn of(view: &Value) -> Result<Self, SimError> {
        let hex = |field: &str| view.get(field).and_then(Value::as_str).and_then(B32::from_hex);
        let intent = text(view, "intent")?.parse().map_err(|_| SimError::Shape("not a link"))?;
        let display_hash = hex("display_hash").ok_or(SimError::Shape("no display hash"))?;
        let key_id = text(view, "key_id")?.to_owned();
        let release = hex("execution_id").zip(hex("result_ref"));
        Ok(Self { intent, display_hash, key_id, release })
    }

    /// The purpose to release what is shown, if a result is.
    pub(crate) fn release(&self) -> Option<Purpose> {
        let (execution_id, result_ref) = self.release?;
        Some(Purpose::Release { execution_id, result_ref })
    }

    /// A person's yes.
    pub(crate) fn approval(
        &self,
        manifest: &ClusterManifest,
        person: &str,
        purpose: Purpose,
    ) -> Signed<Approval> {
        let approval = Approval {
            cluster: codec::link_of(manifest),
            approver: id(person),
            purpose,
            intent: self.intent,
            display_hash: self.display_hash,
            key_id: id(&self.key_id),
            key_epoch: 1,
            policy_root: manifest.policy_root,
            expires_ms: START_MS + YEAR_MS,
        };
        Signed::new(approval, &key(person))
    }

    /// A person's no.
    pub(crate) fn denial(&self, manifest: &ClusterManifest, person: &str) -> Signed<Denial> {
        let denial = Denial {
            cluster: codec::link_of(manifest),
            approver: id(person),
            intent: self.intent,
            display_hash: self.display_hash,
            key_id: id(&self.key_id),
            key_epoch: 1,
        };
        Signed::new(denial, &key(person))
    }
}
