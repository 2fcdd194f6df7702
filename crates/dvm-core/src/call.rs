//! The kernel's calls and replies: the only way in and out of the secret process.
//!
//! The kernel believes nothing in a call that it can derive or verify. A reply carries no secret.

use serde::{Deserialize, Serialize};

use crate::admission::{AdmissionReceipt, Approval, Denial};
use crate::authority::{ClusterManifest, KeyReady};
use crate::bytes::{B32, Bytes};
use crate::codec::Artifact;
use crate::frame::{Envelope, FrameHeader};
use crate::governance::{Cosignature, HeadCertificate, HeadRef, LogEntry};
use crate::ids::{KeyId, NodeId};
use crate::intent::{Backend, CanonicalIntent};
use crate::limits;
use crate::link::Link;
use crate::reason::ReasonCode;
use crate::receipt::{BanRecord, PermitEvent, PermitReceipt, PublicationReceipt, PublishedResult};
use crate::run::{Boot, Open, Proposal};
use crate::sighting::{FencingRecord, Sighting};
use crate::sign::{PublicKey, Signed};
use crate::trace::CallResult;

/// What a probe tries, inside the sandbox, to show that it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeKind {
    /// Open a file outside the vault.
    OpenElsewhere,
    /// Make a socket.
    Socket,
    /// Execute a program.
    Exec,
    /// Fork.
    Fork,
    /// Trace another process.
    Ptrace,
    /// Set up io_uring.
    IoUring,
    /// Write its own memory through `/proc`.
    ProcMem,
}

/// Which isolation layers hold. Self-reported; no hardware stands behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layers {
    /// The kernel dies with its node.
    pub dies_with_parent: bool,
    /// No core dumps.
    pub no_core_dumps: bool,
    /// Not traceable by peers of the same user.
    pub non_dumpable: bool,
    /// Memory does not go to swap.
    pub memory_locked: bool,
    /// An empty network namespace of its own.
    pub network_namespace: bool,
    /// No new privileges.
    pub no_new_privs: bool,
    /// Landlock ABI in force; 0 for none.
    pub landlock_abi: u8,
    /// Seccomp filter in force.
    pub seccomp: bool,
}

/// What a kernel says of itself, signed by its own key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// Its signing key.
    pub kernel_key: PublicKey,
    /// Its sealing key (X25519).
    pub sealing_key: B32,
    /// Which run of it.
    pub boot: Boot,
    /// The highest statement so far.
    pub vault_seq: u64,
    /// sha2-256 of its binary.
    pub binary: B32,
    /// Its version.
    pub version: String,
    /// Isolation.
    pub layers: Layers,
    /// The authority it works under, once pinned.
    pub head: Option<HeadRef>,
    /// Why it will never sign or open anything again, if that is so.
    pub stopped: Option<ReasonCode>,
}

impl Artifact for Attestation {
    const SCHEMA: &'static str = "dvm/attestation/1";
}

/// One step of a level, as the runtime asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepCall {
    /// The step's index in the plan.
    pub step: u16,
    /// The permit that the kernel minted for it.
    pub step_permit: B32,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum KernelCall {
    /// Who are you, and what holds you?
    Attest,
    /// Pins the cluster, once for ever, and names this node and its policy key in it.
    Pin {
        /// The genesis manifest.
        manifest: Box<ClusterManifest>,
        /// This node.
        node: NodeId,
    },
    /// Asks for a head cosignature over the log extended by one entry. Once per sequence number.
    Cosign {
        /// The next entry.
        entry: Box<LogEntry>,
        /// Claimed time, bounded by the kernel's own clock.
        time_s: u64,
    },
    /// Adopts certified entries that continue the pinned log.
    Adopt {
        /// The entries after the pinned head.
        entries: Vec<LogEntry>,
        /// The certificate over the head they lead to.
        certificate: Box<HeadCertificate>,
    },
    /// Empty → Admitted: judges the intent by itself and gives a fresh opening.
    Open {
        /// The intent.
        intent: Box<CanonicalIntent>,
        /// The content that the act names, where it names one.
        content: Option<Bytes>,
        /// This node's own admission.
        admission: Box<Signed<AdmissionReceipt>>,
        /// Approvals with purpose admit.
        approvals: Vec<Signed<Approval>>,
    },
    /// Admitted → Running (act), or Held → asks for the gate (publication): binds the proposal.
    Start {
        /// The proposal.
        proposal: Box<Proposal>,
        /// For a publication: every other participant's frame of the act run's last level.
        frames: Vec<Envelope>,
    },
    /// Performs one level of an act run.
    Step {
        /// The run.
        execution_id: B32,
        /// The level.
        level: u16,
        /// Every step of that level.
        calls: Vec<StepCall>,
        /// Every other participant's frame of the level before.
        frames: Vec<Envelope>,
    },
    /// Held → Granted: level 1 of a publication run.
    Grant {
        /// The publication run.
        execution_id: B32,
        /// The step with its permit.
        calls: Vec<StepCall>,
        /// This node's release judgement.
        judgement: Box<Signed<AdmissionReceipt>>,
        /// Approvals with purpose release.
        approvals: Vec<Signed<Approval>>,
    },
    /// Granted → Opening → Closed: levels 2 and 3 of a publication run.
    OpenResult {
        /// The publication run.
        execution_id: B32,
        /// The level.
        level: u16,
        /// Every step of that level.
        calls: Vec<StepCall>,
        /// Every other participant's frame of the level before.
        frames: Vec<Envelope>,
    },
    /// Ends a run; a held share is destroyed. Refused from Opening on.
    Abort {
        /// The run.
        execution_id: B32,
        /// Why.
        code: ReasonCode,
    },
    /// A human no: tombstones the intent and destroys what it holds.
    Deny {
        /// The denial.
        denial: Box<Signed<Denial>>,
    },
    /// Every run that survived a restart, with what is needed to go on.
    Status,
    /// A peer's kernel shows itself: what was seen of it before?
    Sight {
        /// Whose kernel.
        node: NodeId,
        /// Its word on itself.
        attestation: Box<Signed<Attestation>>,
    },
    /// What a peer's kernel saw of this one before.
    Show {
        /// The sighting.
        sighting: Box<Signed<Sighting>>,
    },
    /// Evidence that a node's kernel, perhaps this one, runs twice; without any, asks for what is known.
    Fence {
        /// The evidence.
        record: Option<Box<FencingRecord>>,
    },
    /// Tries something forbidden.
    Probe(ProbeKind),
}

impl Artifact for KernelCall {
    const SCHEMA: &'static str = "dvm/kernel-call/2";
    const BYTES_MAX: usize = limits::CALL_BYTES_MAX;
}

/// What a level gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelReply {
    /// One result per call, in plan order.
    pub results: Vec<CallResult>,
    /// The permits consumed, in the same order.
    pub permits: Vec<PermitEvent>,
    /// The signed header of this level; none if a call failed.
    pub header: Option<Signed<FrameHeader>>,
    /// The frames to send, one per other participant.
    pub frames: Vec<Envelope>,
    /// Permits for the next level.
    pub next: Vec<StepCall>,
    /// The PermitReceipt, when an act run reached Held or ended.
    pub receipt: Option<Signed<PermitReceipt>>,
    /// The grant, in level 1 of a publication.
    pub publication: Option<Signed<PublicationReceipt>>,
    /// The verified result, in the last level of a publication.
    pub published: Option<Signed<PublishedResult>>,
    /// For a published key: its facts and this kernel's signature over them.
    pub key_ready: Option<Signed<KeyReady>>,
    /// The batch, when a presign run's material was stashed.
    pub stashed: Option<Stashed>,
    /// Peers that this level made this kernel ban, by name.
    pub bans: Vec<Signed<BanRecord>>,
}

/// A batch that one level put into the kernel's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stashed {
    /// Its public name.
    pub batch: B32,
    /// How many pieces it has.
    pub count: u32,
}

/// What is left of a batch in the kernel's memory: everything about it but the material.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StashedBatch {
    /// Its public name.
    pub batch: B32,
    /// The key.
    pub key_id: KeyId,
    /// Its epoch.
    pub key_epoch: u32,
    /// The path.
    pub path: Vec<u32>,
    /// The protocol that made it.
    pub backend: Backend,
    /// The signers, sorted.
    pub signers: Vec<NodeId>,
    /// Places not taken yet, ascending.
    pub free: Vec<u32>,
    /// When it was made, by the kernel's clock.
    pub made_ms: u64,
}

/// A run that a restarted kernel still holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldRun {
    /// The act run.
    pub execution_id: B32,
    /// Its intent.
    pub intent: Link,
    /// Its result.
    pub result_ref: B32,
    /// `Held`, `Granted` or `Opening`.
    pub phase: String,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum KernelReply {
    /// To `Attest`.
    Attested(Box<Signed<Attestation>>),
    /// To `Pin` and `Adopt`: the pinned head.
    Head(HeadRef),
    /// To `Cosign`.
    Cosigned(Cosignature),
    /// To `Open`.
    Opened(Box<Signed<Open>>),
    /// To `Start`: permits for level 1.
    Started {
        /// The run.
        execution_id: B32,
        /// Permits for level 1.
        permits: Vec<StepCall>,
    },
    /// To `Step`, `Grant` and `OpenResult`.
    Level(Box<LevelReply>),
    /// To `Abort` of an act run: its receipt.
    Aborted(Option<Box<Signed<PermitReceipt>>>),
    /// To `Deny`, and to `Abort` of a held result: a receipt for each result destroyed.
    Denied(Vec<Signed<PublicationReceipt>>),
    /// To `Status`.
    Status {
        /// Runs that outlived a restart.
        held: Vec<HeldRun>,
        /// One-time material at hand; none after a restart.
        stash: Vec<StashedBatch>,
    },
    /// To `Sight`.
    Sighted {
        /// For the peer's kernel.
        sighting: Box<Signed<Sighting>>,
        /// Why this kernel does no work with that boot, if it does not.
        refused: Option<ReasonCode>,
    },
    /// To `Show`: nothing in it is news to this kernel.
    Shown,
    /// To `Fence`: every record that this kernel keeps.
    Fences(Vec<FencingRecord>),
    /// To `Probe`, if the kernel is still there: what the attempt gave.
    Probed {
        /// True if it was refused without killing the process.
        refused: bool,
    },
    /// Refused; nothing changed but what evidence did: a receipt of the gate, a ban or a fencing record.
    Refused {
        /// Why.
        code: ReasonCode,
        /// The rule that refused, for people.
        rule: String,
        /// The signed refusal, at the gate.
        publication: Option<Box<Signed<PublicationReceipt>>>,
    },
}

impl Artifact for KernelReply {
    const SCHEMA: &'static str = "dvm/kernel-reply/2";
    const BYTES_MAX: usize = limits::CALL_BYTES_MAX;
}
