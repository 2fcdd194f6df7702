//! What a judge is told.

use dvm_core::admission::Purpose;
use dvm_core::run::Material;
use dvm_core::trace::TraceRoot;
use dvm_core::{B32, KeyId, Link, NodeId, ReasonCode};

/// A run, as a kernel was asked to start it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFacts {
    /// Its id.
    pub execution: B32,
    /// Its intent.
    pub intent: Link,
    /// Who takes part.
    pub participants: Vec<NodeId>,
    /// For a publication: the act run and the result's name.
    pub publishes: Option<(B32, B32)>,
    /// The key that it signs with; none where it is about a new key.
    pub signs_with: Option<KeyId>,
    /// Whether its signers multiply in pairs, so that every altered word of it shows in the rounds themselves.
    pub multiplies: bool,
    /// The one-time material that it takes.
    pub material: Option<Material>,
}

impl RunFacts {
    /// Whether it is about a new key.
    pub fn makes_key(&self) -> bool {
        self.signs_with.is_none()
    }
}

/// What one signed level says to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The run.
    pub execution: B32,
    /// The level.
    pub level: u16,
    /// The root that the kernel signed.
    pub root: B32,
    /// The broadcast payloads, one after the other.
    pub broadcast: Vec<u8>,
}

/// How an operation stands at its coordinator at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Where.
    pub node: NodeId,
    /// Which.
    pub intent: String,
    /// Its state.
    pub state: String,
    /// The reasons that apply.
    pub codes: Vec<String>,
    /// Whether a fault of this seed lasts (a liar, a clock far off, a directory rolled back), or
    /// another node waits for people over it, so that it may stand still as long as it says why.
    pub excused: bool,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A kernel was asked to start this run.
    Run(RunFacts),
    /// A frame of this node's kernel went onto a wire.
    Said {
        /// Whose.
        node: NodeId,
        /// The statement's number.
        vault_seq: u64,
        /// What it says.
        words: Words,
    },
    /// A kernel consumed a permit.
    Permit {
        /// Whose.
        node: NodeId,
        /// Which.
        permit: B32,
        /// For what.
        context: Link,
    },
    /// A kernel started a run.
    Started {
        /// Whose.
        node: NodeId,
        /// Which.
        execution: B32,
    },
    /// A kernel performed a level.
    Performed {
        /// Whose.
        node: NodeId,
        /// Of which run.
        execution: B32,
        /// Which.
        level: u16,
    },
    /// A kernel banned a signer from a key.
    Banned {
        /// Whose.
        node: NodeId,
        /// Whom.
        culprit: NodeId,
        /// From what.
        key: KeyId,
    },
    /// The last check of a publication failed at a kernel and names nobody.
    FailedUnnamed {
        /// Whose.
        node: NodeId,
        /// The publication run.
        execution: B32,
    },
    /// A kernel said yes at the gate.
    Granted {
        /// Whose.
        node: NodeId,
        /// The publication run.
        publication: B32,
    },
    /// A kernel gave an opening.
    Opened {
        /// Whose.
        node: NodeId,
        /// For what.
        intent: Link,
    },
    /// A kernel took a denial.
    Tombstoned {
        /// Whose.
        node: NodeId,
        /// Of what.
        intent: Link,
    },
    /// A person signed.
    Approved {
        /// Who.
        person: String,
        /// What.
        intent: Link,
        /// For what.
        purpose: Purpose,
    },
    /// A kernel refused a call without a receipt.
    KernelRefused {
        /// Whose.
        node: NodeId,
        /// The code.
        code: ReasonCode,
        /// The rule.
        rule: String,
        /// Commits that the call made.
        commits: u64,
    },
    /// A kernel met a broken invariant, and no fault of the disk explains it.
    KernelInternal {
        /// Whose.
        node: NodeId,
        /// The rule.
        rule: String,
    },
    /// An engine refused an input.
    EngineRefused {
        /// Whose.
        node: NodeId,
        /// Its word for it.
        event: String,
        /// Whether it wrote, sent or called in the same turn.
        acts: bool,
    },
    /// An engine signed the root of a run that ended.
    Root {
        /// Whose.
        node: NodeId,
        /// What.
        root: Box<TraceRoot>,
    },
    /// A kernel names a culprit, for what another kernel signed.
    Blamed {
        /// Who.
        by: NodeId,
        /// Whom.
        culprit: NodeId,
        /// For what.
        what: String,
    },
    /// A result became known.
    Result {
        /// Where.
        node: NodeId,
        /// Of what.
        intent: Link,
        /// The bytes.
        result: Vec<u8>,
        /// The publication run that gave them; none if only a node says so.
        publication: Option<B32>,
        /// Whether they verify under the key.
        verifies: bool,
    },
    /// A kernel started.
    Booted {
        /// Whose.
        node: NodeId,
        /// The highest statement that it knows of itself.
        vault_seq: u64,
    },
    /// The end of an operation.
    Ended(Ended),
    /// A request that got no answer in good time.
    Unanswered {
        /// Where.
        node: NodeId,
        /// What was asked.
        what: String,
        /// For how long.
        waited_ms: u64,
    },
    /// The verdict on an evidence bundle of a finished operation.
    Bundle {
        /// Where it was exported.
        node: NodeId,
        /// Of what.
        intent: String,
        /// Why it was refused, if it was.
        refused: Option<String>,
    },
}
