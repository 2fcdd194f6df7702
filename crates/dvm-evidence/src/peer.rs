//! One peer's part of a bundle: what it signed, received and recorded about one intent.

use dvm_core::admission::{AdmissionReceipt, Approval, Denial};
use dvm_core::bytes::Bytes;
use dvm_core::codec::Artifact;
use dvm_core::ids::NodeId;
use dvm_core::limits;
use dvm_core::receipt::{
    BanRecord, ChainEntry, PermitEvent, PermitReceipt, PublicationReceipt, PublishedResult,
};
use dvm_core::run::Proposal;
use dvm_core::sign::Signed;
use dvm_core::trace::{Trace, TraceRoot};
use serde::{Deserialize, Serialize};

/// One run as one peer took part in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunEvidence {
    /// The proposal; for a publication its `opens` are empty.
    pub proposal: Proposal,
    /// The recorded events.
    pub trace: Trace,
    /// The root over them, signed by the peer's policy key.
    pub trace_root: Signed<TraceRoot>,
    /// The permits its kernel consumed, in order.
    pub permits: Vec<PermitEvent>,
    /// Its kernel's receipt, for an act run that closed.
    pub permit_receipt: Option<Signed<PermitReceipt>>,
    /// Its kernel's words at the gate, in order: refusals, the grant, a destruction.
    pub publications: Vec<Signed<PublicationReceipt>>,
    /// Its kernel's verified result.
    pub published: Option<Signed<PublishedResult>>,
    /// The peers that its kernel banned for what they said in this run.
    pub bans: Vec<Signed<BanRecord>>,
    /// Bytes of the broadcast payloads that its own frames carried, in frame order.
    pub broadcasts: Vec<Bytes>,
}

/// What one peer holds about one intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerEvidence {
    /// The peer.
    pub node: NodeId,
    /// Its verdicts, admission and release, in the order given.
    pub admissions: Vec<Signed<AdmissionReceipt>>,
    /// Approvals it has seen.
    pub approvals: Vec<Signed<Approval>>,
    /// Denials it has seen.
    pub denials: Vec<Signed<Denial>>,
    /// Runs it took part in, in order.
    pub runs: Vec<RunEvidence>,
    /// The entries of its receipt chain that are on this intent, from the first.
    pub chain: Vec<Signed<ChainEntry>>,
}

impl Artifact for PeerEvidence {
    const SCHEMA: &'static str = "dvm/peer-evidence/2";
    const BYTES_MAX: usize = limits::CALL_BYTES_MAX;
}
