//! What nodes say to each other over TLS. The channel only names the sender; whatever matters is
//! signed inside: frames by kernels, verdicts by policy keys, decisions by governors.

use std::collections::BTreeSet;

use dvm_core::admission::{AdmissionReceipt, Approval, Denial};
use dvm_core::authority::KeyReadyCertificate;
use dvm_core::bytes::{B32, Bytes};
use dvm_core::call::Attestation;
use dvm_core::codec::Artifact;
use dvm_core::frame::{Envelope, FrameHeader};
use dvm_core::governance::{
    Cosignature, EventKind, HeadCertificate, HeadRef, LogEntry, SignedDecision,
};
use dvm_core::intent::CanonicalIntent;
use dvm_core::limits;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::run::{Open, Proposal};
use dvm_core::sighting::{FencingRecord, Sighting};
use dvm_core::sign::Signed;
use dvm_evidence::peer::PeerEvidence;
use dvm_policy::Role;
use serde::{Deserialize, Serialize};

/// A message with its place in the longest chain of durable writes so far (a diagnostic: the
/// "serial commits per signature" figure is read off it).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wire {
    /// Serial commits behind this message.
    pub commits: u32,
    /// The message.
    pub message: PeerMessage,
}

impl Artifact for Wire {
    const SCHEMA: &'static str = "dvm/wire/2";
    const BYTES_MAX: usize = limits::CALL_BYTES_MAX + 1024;
}

/// A request to judge an intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consider {
    /// The intent.
    pub intent: CanonicalIntent,
    /// The content of a `sign.message`.
    pub content: Option<Bytes>,
    /// Every approval the coordinator has seen.
    pub approvals: Vec<Signed<Approval>>,
    /// What the requester's token allows at the coordinator: its word, which peers' policies weigh.
    pub roles: BTreeSet<Role>,
    /// The coordinator's try; a peer answers with the same number.
    pub attempt: u32,
}

/// A peer's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Considered {
    /// The intent.
    pub intent: Link,
    /// The try that was asked.
    pub attempt: u32,
    /// The peer's verdict.
    pub admission: Option<Signed<AdmissionReceipt>>,
    /// Its kernel's opening, if it admits.
    pub open: Option<Signed<Open>>,
    /// The run that is already live for this intent.
    pub live: Option<B32>,
    /// Why there is no opening.
    pub code: Option<ReasonCode>,
    /// Whether this node will never open for it, whenever it is asked.
    pub for_good: bool,
}

/// The outcome of an intent, for peers that took no part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The intent.
    pub intent: Link,
    /// The act run that made the result.
    pub act_run: B32,
    /// The publication run.
    pub publish_run: B32,
    /// The signature, or the canonical bytes of the KeyReadyCertificate.
    pub result: Bytes,
}

/// A peer message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum PeerMessage {
    /// First on every connection, and when something about it changes.
    Hello {
        /// The sender's kernel, by its own word. None from a witness.
        attestation: Option<Box<Signed<Attestation>>>,
        /// The sender's certified head.
        head: HeadRef,
    },
    /// Please judge.
    Consider(Box<Consider>),
    /// A judgement.
    Considered(Box<Considered>),
    /// A run to take part in.
    Propose(Box<Proposal>),
    /// A frame.
    Frame(Box<Envelope>),
    /// Please send that frame again: this peer lost it, or waits for it.
    Resend {
        /// The run.
        execution_id: B32,
        /// The level.
        level: u16,
    },
    /// The sender stopped this run.
    Stopped {
        /// The run.
        execution_id: B32,
        /// Why.
        code: ReasonCode,
    },
    /// Headers that the sender holds for one level, asked for after a view mismatch.
    Headers {
        /// The run.
        execution_id: B32,
        /// The level.
        level: u16,
        /// None to ask, some to answer.
        headers: Option<Vec<Signed<FrameHeader>>>,
    },
    /// An approval to be counted.
    Approval(Box<Signed<Approval>>),
    /// A human no.
    Denial(Box<Signed<Denial>>),
    /// What became of an intent.
    Outcome(Box<Outcome>),
    /// Please say what became of this intent, if it has ended.
    FetchOutcome {
        /// The intent.
        intent: Link,
    },
    /// To the sequencer: please order this event.
    Order {
        /// What.
        kind: EventKind,
        /// The decision that authorises it.
        decision: Option<Box<SignedDecision>>,
        /// The key facts it names.
        key_ready: Option<Box<KeyReadyCertificate>>,
    },
    /// From the sequencer: please cosign the log extended by this entry.
    Entry(Box<LogEntry>),
    /// A member's cosignature over the head that an entry leads to.
    Cosigned {
        /// The head.
        head: HeadRef,
        /// The cosignature.
        cosignature: Cosignature,
    },
    /// Certified entries that continue the log from some point.
    Certified {
        /// The entries, from the receiver's head or earlier.
        entries: Vec<LogEntry>,
        /// The certificate.
        certificate: Box<HeadCertificate>,
    },
    /// Please send certified entries from here.
    FetchLog {
        /// The first sequence number wanted.
        from: u64,
    },
    /// Please send what you hold on this intent.
    FetchEvidence {
        /// The intent.
        intent: Link,
    },
    /// What the sender holds on an intent.
    Evidence {
        /// The intent.
        intent: Link,
        /// Its part of the bundle; none if it never saw the intent.
        part: Option<Box<PeerEvidence>>,
    },
    /// What the sender's kernel had seen of the receiver's before its latest greeting.
    Sighting(Box<Signed<Sighting>>),
    /// Evidence that a node's kernel runs twice.
    Fencing(Box<FencingRecord>),
}
