//! Governance data: events, decisions, heads. The rules that judge them are in `dvm-governance`.

use serde::{Deserialize, Serialize};

use crate::authority::{
    ApproverSet, Floor, Governors, KeyReadyCertificate, NodePassport, WitnessPassport,
};
use crate::bytes::{B32, Bytes};
use crate::codec::Artifact;
use crate::ids::{KeyId, NodeId, PersonId};
use crate::link::Link;
use crate::sign::Signed;

/// A certified point of the log: its size and the RFC 6962 root over the event links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRef {
    /// Events in the log.
    pub size: u64,
    /// Merkle root over their links.
    pub root: B32,
}

/// What may happen in a cluster's life. Closed: a PolicyReceipt has no variant here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the variants are the design's own event names; fields are typed")]
pub enum EventKind {
    ClusterFormed { manifest: Link },
    NodeEnrolled { passport: NodePassport },
    PassportIssued { passport: NodePassport },
    NodeFenced { node: NodeId, boot_gen: u64 },
    NodeRebound { passport: NodePassport },
    NodeRemoved { node: NodeId },
    WitnessAdded { passport: WitnessPassport },
    WitnessRemoved { node: NodeId },
    PolicyRootAdopted { policy_root: Link },
    ApproverSetAdopted { set: ApproverSet },
    GovernorsChanged { governors: Governors },
    KeyObjectPublished { key_id: KeyId, key_ready_cid: Link },
    TransitionAuthorized { key_id: KeyId },
    KeyActivated { key_id: KeyId },
    FloorChanged { key_id: KeyId, floor: Floor },
    KeySuspended { key_id: KeyId },
    KeyResumed { key_id: KeyId },
    KeyEpochPrepared { key_id: KeyId, key_ready_cid: Link },
    KeyEpochActivated { key_id: KeyId },
    KeyEpochCancelled { key_id: KeyId },
    KeyRotated { key_id: KeyId, successor: KeyId },
    KeyUnfrozen { key_id: KeyId },
    PairUnbanned { key_id: KeyId, node: NodeId },
    KeyDeactivated { key_id: KeyId },
    KeyCompromised { key_id: KeyId },
    KeyDestroyed { key_id: KeyId },
    EmergencyHold,
    EmergencyLift,
    ClusterDegraded,
    ClusterNormal,
    ClusterDisputed { evidence: Link },
    DisputeCleared,
    ClusterRetired,
}

/// One entry of the hash-linked log, signed by its author's policy key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The cluster.
    pub cluster: Link,
    /// Position, from 0.
    pub seq: u64,
    /// The event before; none for the first.
    pub prev_event_cid: Option<Link>,
    /// The epoch of the key it is about; 0 for none.
    pub key_epoch: u32,
    /// What happened.
    pub kind: EventKind,
    /// The threshold-signed decision that authorises it, where one is needed.
    pub decision_cid: Option<Link>,
    /// What it rests on. `KeyActivated` names its `key_ready_cid` here.
    pub artifact_refs: Vec<Link>,
    /// The node that ordered it.
    pub author: NodeId,
}

impl Artifact for Event {
    const SCHEMA: &'static str = "dvm/event/1";
}

/// What a quorum of governors decides. Binds to a head, so an old one cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GovernanceDecision {
    /// The cluster.
    pub cluster: Link,
    /// The exact change that is authorised.
    pub transition: EventKind,
    /// The epoch of the key it is about; 0 for none.
    pub key_epoch: u32,
    /// For an activation: the key facts that are given authority.
    pub key_ready_cid: Option<Link>,
    /// For an activation: the floor that kernels will enforce.
    pub floor: Option<Floor>,
    /// The head it was made at.
    pub prev_head: HeadRef,
    /// Not before this time.
    pub not_before_ms: u64,
    /// Not after this time.
    pub expires_ms: u64,
    /// Makes two equal decisions different.
    pub nonce: B32,
    /// Who proposed it.
    pub proposer: PersonId,
}

impl Artifact for GovernanceDecision {
    const SCHEMA: &'static str = "dvm/decision/1";
}

/// One governor's signature over a decision's link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GovernorSignature {
    /// Who.
    pub governor: PersonId,
    /// COSE_Sign1 over the decision.
    pub cose: Bytes,
}

/// A decision with the signatures that make it one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedDecision {
    /// The decision.
    pub decision: GovernanceDecision,
    /// Signatures, sorted by governor.
    pub signatures: Vec<GovernorSignature>,
}

impl Artifact for SignedDecision {
    const SCHEMA: &'static str = "dvm/signed-decision/1";
}

/// An event with everything that is needed to judge it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// The event, signed by its author's policy key.
    pub event: Signed<Event>,
    /// The decision it names.
    pub decision: Option<SignedDecision>,
    /// The key facts it names.
    pub key_ready: Option<KeyReadyCertificate>,
}

impl Artifact for LogEntry {
    const SCHEMA: &'static str = "dvm/log-entry/2";
}

/// One member's cosignature over a head: C2SP `cosignature/v1` over the checkpoint text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cosignature {
    /// Who.
    pub member: NodeId,
    /// When, in seconds since the epoch.
    pub time_s: u64,
    /// 64 bytes of Ed25519.
    pub signature: Bytes,
}

/// `q` cosignatures over one head: from here on its events are effective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadCertificate {
    /// The cluster.
    pub cluster: Link,
    /// The head.
    pub head: HeadRef,
    /// Cosignatures, sorted by member.
    pub cosignatures: Vec<Cosignature>,
}

impl Artifact for HeadCertificate {
    const SCHEMA: &'static str = "dvm/head-certificate/1";
}
