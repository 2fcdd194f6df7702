//! Traces: the events one peer's interpreter saw, and the root that it signs.
//!
//! A trace holds names and digests of payloads, never payloads; so it cannot carry a secret, and
//! replay needs none. Wall time, diagnostics and free text are not in it.

use serde::{Deserialize, Serialize};

use crate::bytes::{B32, Bytes};
use crate::codec::Artifact;
use crate::frame::{FrameHeader, Leaf, PayloadRef};
use crate::ids::NodeId;
use crate::link::Link;
use crate::reason::ReasonCode;
use crate::sign::Signed;

/// What a call sends, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendRef {
    /// To whom; none for all.
    pub to: Option<NodeId>,
    /// What.
    pub payload: PayloadRef,
}

/// The outcome of one kernel call, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Outcome {
    /// Done.
    #[serde(rename = "ok")]
    Ok {
        /// The opaque name of the value it made.
        handle: B32,
        /// What it sends in this level, broadcast first, then by recipient.
        sends: Vec<SendRef>,
        /// What it made public.
        public: Option<Bytes>,
    },
    /// Failed.
    #[serde(rename = "fault")]
    Fault {
        /// Why.
        code: ReasonCode,
        /// Who, where the check can name one.
        blame: Option<NodeId>,
    },
}

/// A kernel's answer to one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallResult {
    /// The step it answers.
    pub step: u16,
    /// Link of the CallContext that the kernel bound the permit to.
    pub context: Link,
    /// What came of it.
    pub outcome: Outcome,
}

/// A frame as the interpreter sees it: names only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameFact {
    /// The header, signed by its sender's kernel.
    pub header: Signed<FrameHeader>,
    /// What it says to all. Present also in a peer's own frame.
    pub broadcast: Leaf,
    /// What it says to this peer; none in a peer's own frame.
    pub private: Option<Leaf>,
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TickKind {
    /// Report and re-send.
    #[serde(rename = "soft")]
    Soft,
    /// Abort.
    #[serde(rename = "hard")]
    Hard,
}

/// One event of one peer's run, in the order it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TraceEvent {
    /// The run begins.
    #[serde(rename = "start")]
    Start,
    /// A frame, its own or a peer's.
    #[serde(rename = "frame")]
    Frame(FrameFact),
    /// Other peers' signed headers, asked for after a view mismatch.
    #[serde(rename = "headers")]
    Headers(Vec<Signed<FrameHeader>>),
    /// A call's answer.
    #[serde(rename = "result")]
    Result(CallResult),
    /// A deadline passed: this peer's own statement.
    #[serde(rename = "tick")]
    Tick {
        /// Which.
        kind: TickKind,
        /// Of which level.
        level: u16,
    },
    /// Stopped from outside.
    #[serde(rename = "cancel")]
    Cancel(ReasonCode),
}

/// The recorded events of one peer's run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// The run.
    pub execution_id: B32,
    /// Whose events.
    pub self_peer: NodeId,
    /// In the order taken.
    pub events: Vec<TraceEvent>,
}

impl Artifact for Trace {
    const SCHEMA: &'static str = "dvm/trace/1";
}

/// How a run ended for one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Terminal {
    /// Every level complete.
    #[serde(rename = "done")]
    Done,
    /// Stopped; nobody is accused.
    #[serde(rename = "aborted")]
    Benign(ReasonCode),
    /// Stopped, with somebody to blame.
    #[serde(rename = "blamed")]
    Blamed {
        /// Why.
        code: ReasonCode,
        /// Who.
        culprit: NodeId,
    },
}

/// The root that one peer signs for one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceRoot {
    /// The cluster.
    pub cluster: Link,
    /// Whose.
    pub self_peer: NodeId,
    /// The run.
    pub execution_id: B32,
    /// Its header.
    pub header: Link,
    /// The L1 score.
    pub score_id: B32,
    /// The L0 plan.
    pub plan_id: B32,
    /// The interpreter's version.
    pub vm_version: u16,
    /// Merkle root over the trace events, in order.
    pub facts_root: B32,
    /// How many.
    pub facts: u32,
    /// Merkle root over the call results, in order.
    pub results_root: B32,
    /// Levels confirmed by every peer's `prev_view`.
    pub confirmed_level: u16,
    /// ViewRoot over them.
    pub view_root: B32,
    /// How it ended; none while it runs.
    pub terminal: Option<Terminal>,
}

impl Artifact for TraceRoot {
    const SCHEMA: &'static str = "dvm/trace-root/1";
}
