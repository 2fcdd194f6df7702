//! Who is who: passports, the cluster's genesis manifest, approver sets, floors, key facts.

use serde::{Deserialize, Serialize};

use crate::bytes::{B32, Bytes};
use crate::codec::Artifact;
use crate::ids::{KeyId, NodeId, PersonId, SetName};
use crate::intent::{ActClass, Backend};
use crate::link::Link;
use crate::sign::PublicKey;

/// A node's identity: four keys, each for one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePassport {
    /// The node.
    pub node: NodeId,
    /// The organisation that runs it.
    pub org: PersonId,
    /// TLS only; proves nothing else.
    pub node_key: PublicKey,
    /// Signs frames, permits, receipts and head cosignatures.
    pub kernel_key: PublicKey,
    /// X25519; receives payloads sealed kernel to kernel.
    pub sealing_key: B32,
    /// Signs the node's own control-plane statements: admissions, traces, events, bundles.
    pub policy_key: PublicKey,
    /// Raised each time the node is bound anew.
    pub generation: u32,
}

/// A member that holds no share and only verifies and cosigns heads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessPassport {
    /// The witness.
    pub node: NodeId,
    /// The organisation that runs it.
    pub org: PersonId,
    /// TLS only.
    pub node_key: PublicKey,
    /// Signs head cosignatures.
    pub cosign_key: PublicKey,
}

/// A person with a signing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Who.
    pub person: PersonId,
    /// Their Ed25519 key.
    pub key: PublicKey,
}

/// A named set of approvers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproverSet {
    /// Its name.
    pub name: SetName,
    /// Its members.
    pub members: Vec<Person>,
}

/// The governors and how many of them decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Governors {
    /// Signatures a decision needs.
    pub threshold: u16,
    /// Who may sign.
    pub members: Vec<Person>,
    /// Whether a proposer's own signature counts toward the threshold.
    pub proposer_counts: bool,
}

/// `k` distinct members of a set must sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRule {
    /// Which approver set.
    pub set: SetName,
    /// How many of it.
    pub k: u16,
}

/// When a held result may leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ReleaseRule {
    /// As soon as policy allows.
    #[serde(rename = "auto")]
    Auto,
    /// After so many release approvals.
    #[serde(rename = "approvals")]
    Approvals(ApprovalRule),
}

/// The minimum that a kernel enforces by itself, whatever the policy engine says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Approvals before an act is admitted; none if absent.
    pub admit: Option<ApprovalRule>,
    /// When a result may leave.
    pub release: ReleaseRule,
    /// The act classes allowed, by name.
    pub acts: Vec<ActClass>,
    /// Openings per rolling hour.
    pub executions_per_hour: u32,
    /// Failed final checks before the key freezes.
    pub failures_to_freeze: u32,
}

/// The genesis of a cluster. Its link is the cluster's id and the only thing an auditor must trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterManifest {
    /// For people.
    pub name: PersonId,
    /// Makes two clusters with the same members different.
    pub nonce: B32,
    /// The nodes, sorted by id.
    pub nodes: Vec<NodePassport>,
    /// The witnesses, sorted by id.
    pub witnesses: Vec<WitnessPassport>,
    /// Equivocating members tolerated.
    pub faults: u16,
    /// The node that orders governance events.
    pub sequencer: NodeId,
    /// Who decides.
    pub governors: Governors,
    /// Who approves.
    pub approvers: Vec<ApproverSet>,
    /// The first policy root.
    pub policy_root: Link,
    /// The floor for `key.generate`.
    pub keygen_floor: Floor,
}

impl Artifact for ClusterManifest {
    const SCHEMA: &'static str = "dvm/cluster-manifest/1";
}

impl ClusterManifest {
    /// Cosignatures that certify a head: `floor((n + f) / 2) + 1` of all members.
    pub fn quorum(&self) -> usize {
        let members = self.nodes.len() + self.witnesses.len();
        (members + usize::from(self.faults)) / 2 + 1
    }

    /// The passport of a node.
    pub fn passport(&self, node: &NodeId) -> Option<&NodePassport> {
        self.nodes.iter().find(|p| p.node == *node)
    }

    /// The key with which a member (node or witness) cosigns heads.
    pub fn cosign_key(&self, member: &NodeId) -> Option<PublicKey> {
        let witness = self.witnesses.iter().find(|w| w.node == *member).map(|w| w.cosign_key);
        self.passport(member).map(|p| p.kernel_key).or(witness)
    }

    /// Ids of all members, sorted.
    pub fn members(&self) -> Vec<NodeId> {
        let witnesses = self.witnesses.iter().map(|w| &w.node);
        let mut all: Vec<NodeId> =
            self.nodes.iter().map(|p| &p.node).chain(witnesses).cloned().collect();
        all.sort();
        all
    }
}

/// The public facts of a key epoch, as every holder's kernel states them after `publish_pubkey`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyReady {
    /// The cluster.
    pub cluster: Link,
    /// The key.
    pub key_id: KeyId,
    /// The epoch that these shares belong to.
    pub key_epoch: u32,
    /// The protocol family.
    pub backend: Backend,
    /// Shares needed.
    pub threshold: u16,
    /// The holders, sorted.
    pub roster: Vec<NodeId>,
    /// What verifiers use: 32 bytes for Ed25519, 32 x-only bytes for BIP-340, 33 compressed bytes for ECDSA.
    pub public_key: Bytes,
    /// The backend's public key package (group key and verifying shares).
    pub package: Bytes,
    /// The `key.generate` intent.
    pub intent: Link,
    /// The key generation's execution.
    pub execution_id: B32,
    /// Digest of the whole DKG transcript.
    pub transcript: B32,
    /// BIP-32 chain code, of ECDSA keys: derived from transcript and public key of the first epoch, the same in
    /// all later ones. With it the facts are an extended public key, and as public.
    pub chain_code: Option<B32>,
}

impl Artifact for KeyReady {
    const SCHEMA: &'static str = "dvm/key-ready/2";
}

/// [`KeyReady`] with the signature of every holder's kernel, in roster order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyReadyCertificate {
    /// The facts.
    pub ready: KeyReady,
    /// COSE_Sign1 by each holder's kernel key, in roster order.
    pub signatures: Vec<Bytes>,
}

impl Artifact for KeyReadyCertificate {
    const SCHEMA: &'static str = "dvm/key-ready-certificate/2";
}

impl KeyReadyCertificate {
    /// Whether each holder signed, under the passports of this manifest.
    pub fn holds(&self, manifest: &ClusterManifest) -> bool {
        let link = crate::codec::link_of(&self.ready);
        let signed = |(node, cose): (&NodeId, &Bytes)| {
            manifest.passport(node).is_some_and(|p| {
                crate::sign::verify_link(cose, p.kernel_key, KeyReady::SCHEMA, &link)
            })
        };
        self.signatures.len() == self.ready.roster.len()
            && self.ready.roster.iter().zip(&self.signatures).all(signed)
    }
}
