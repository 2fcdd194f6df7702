//! An operation: one intent, from proposal to its end, as this node sees it.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::admission::{AdmissionReceipt, Approval, Denial};
use dvm_core::bytes::{B32, Bytes};
use dvm_core::codec::Artifact;
use dvm_core::ids::NodeId;
use dvm_core::intent::CanonicalIntent;
use dvm_core::limits;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::run::Open;
use dvm_core::sign::Signed;
use dvm_policy::Role;
use serde::{Deserialize, Serialize};

use super::Token;
use crate::wire::{Considered, Outcome};

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Parsed, not judged.
    Proposed,
    /// Policy waits for approvals.
    AwaitingApproval,
    /// Admitted here; t openings are being gathered.
    Admitted,
    /// The act run is on.
    Running,
    /// The act run, or the gathering of openings, waits for a peer past its soft deadline; or what was
    /// opened here for a peer has not been taken up.
    PendingRemote,
    /// The result is held.
    Executed,
    /// This node's share is on its way out.
    Opening,
    /// The result is out.
    Published,
    /// What was made lies in the signers' kernels, for later acts: there is nothing to publish.
    Stashed,
    /// Refused at admission.
    Denied,
    /// The held result was destroyed.
    Discarded,
    /// The run stopped and no further try is due here.
    Aborted,
    /// One-time material is in doubt.
    Poisoned,
    /// Past its expiry.
    Expired,
}

impl State {
    /// Whether anything more can happen.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Published
                | Self::Stashed
                | Self::Denied
                | Self::Discarded
                | Self::Poisoned
                | Self::Expired
        )
    }

    /// The state's name, as the API and the log show it.
    pub fn event(self) -> &'static str {
        match self {
            Self::Proposed => "Proposed",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Admitted => "Admitted",
            Self::Running => "Running",
            Self::PendingRemote => "PendingRemote",
            Self::Executed => "Executed",
            Self::Opening => "Opening",
            Self::Published => "Published",
            Self::Stashed => "Stashed",
            Self::Denied => "Denied",
            Self::Discarded => "Discarded",
            Self::Aborted => "Aborted",
            Self::Poisoned => "Poisoned",
            Self::Expired => "Expired",
        }
    }
}

/// The durable part of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// The intent.
    pub intent: CanonicalIntent,
    /// The content of a `sign.message`.
    pub content: Option<Bytes>,
    /// What the requester's token allowed at the coordinator.
    pub roles: BTreeSet<Role>,
    /// The text shown to approvers.
    pub display: String,
    /// Whether this node gathers the signers.
    pub coordinator: bool,
    /// Count of tries.
    pub attempt: u32,
    /// Where it is.
    pub state: State,
    /// Reasons that apply now.
    pub codes: Vec<ReasonCode>,
    /// Peers it waits for.
    pub missing: Vec<NodeId>,
    /// Peers that a check named, over what their kernels signed.
    pub culprits: Vec<NodeId>,
    /// Peers that a try went on without: they were silent, or stopped too often.
    pub left_out: Vec<NodeId>,
    /// Approvals seen.
    pub approvals: Vec<Signed<Approval>>,
    /// Denials seen.
    pub denials: Vec<Signed<Denial>>,
    /// This node's verdicts, in order.
    pub admissions: Vec<Signed<AdmissionReceipt>>,
    /// Places of this node's receipts on it in its chain.
    pub receipts: Vec<u64>,
    /// Runs this node took part in, in order.
    pub runs: Vec<B32>,
    /// The current act run.
    pub act_run: Option<B32>,
    /// The current publication run.
    pub publish_run: Option<B32>,
    /// The held result's public name.
    pub result_ref: Option<B32>,
    /// The published result.
    pub result: Option<Bytes>,
    /// Whether it went on after a crash.
    pub recovered: bool,
    /// Longest chain of durable writes behind its state.
    pub commits: u32,
}

impl Artifact for Operation {
    const SCHEMA: &'static str = "dvm/operation/1";
    const BYTES_MAX: usize = limits::CALL_BYTES_MAX + limits::ARTIFACT_BYTES_MAX;
}

/// What a coordinator gathers, and what a peer has offered. Gone at restart: a new try asks again.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// When this try began.
    pub since_ms: u64,
    /// When peers were last asked.
    pub asked_ms: u64,
    /// When peers were last asked how it ended, of what was opened here for another node's try.
    pub fetched_ms: u64,
    /// Peers' answers to this try.
    pub answers: BTreeMap<NodeId, Considered>,
    /// This node's own opening, and when it came.
    pub open: Option<(Signed<Open>, u64)>,
    /// Peers that will never open for it, with their reasons.
    pub refused: BTreeMap<NodeId, ReasonCode>,
    /// Whom to answer once the kernel has opened.
    pub asked_by: Option<(NodeId, u32)>,
    /// Peers that let an earlier try down.
    pub excluded: BTreeSet<NodeId>,
    /// How often a peer stopped a try.
    pub stops: BTreeMap<NodeId, u32>,
    /// Whether a kernel did not have the material of an earlier try: the next ones go without.
    pub plain: bool,
    /// The last question to the kernel, while it is open: only what that one gives is the kernel's last opening.
    pub opening: Option<Token>,
    /// Serial commits behind that question.
    pub commits_before: u32,
}

impl Gathering {
    /// Whether this coordinator has asked for this try, or a later one, before.
    pub fn asked_before(&self, from: &NodeId, attempt: u32) -> bool {
        self.asked_by.as_ref().is_some_and(|(who, last)| who == from && attempt <= *last)
    }
}

impl Operation {
    /// A fresh operation.
    pub fn new(
        intent: CanonicalIntent,
        content: Option<Bytes>,
        roles: BTreeSet<Role>,
        display: String,
    ) -> Self {
        Self {
            intent,
            content,
            roles,
            display,
            coordinator: false,
            attempt: 0,
            state: State::Proposed,
            codes: Vec::new(),
            missing: Vec::new(),
            culprits: Vec::new(),
            left_out: Vec::new(),
            approvals: Vec::new(),
            denials: Vec::new(),
            admissions: Vec::new(),
            receipts: Vec::new(),
            runs: Vec::new(),
            act_run: None,
            publish_run: None,
            result_ref: None,
            result: None,
            recovered: false,
            commits: 0,
        }
    }

    /// The intent's link.
    pub fn link(&self) -> Link {
        dvm_core::codec::link_of(&self.intent)
    }

    /// Adds what is new of these approvals, within the bound.
    pub fn add_approvals(&mut self, approvals: &[Signed<Approval>]) -> bool {
        let before = self.approvals.len();
        for approval in approvals {
            let known = self.approvals.iter().any(|a| a == approval);
            if !known && self.approvals.len() < limits::APPROVALS_MAX {
                self.approvals.push(approval.clone());
            }
        }
        self.approvals.len() > before
    }

    /// Whether this node will never open for it, in whichever try: refused, or its share may be out.
    pub fn opens_no_more(&self) -> bool {
        let out = self.state == State::Aborted
            && self.codes.first() == Some(&ReasonCode::ReplayOrConflict);
        self.state.is_final() || out
    }

    /// How it ended, for a node that does not know, if its result is out.
    pub fn outcome(&self) -> Option<Outcome> {
        let (act_run, publish_run) = (self.act_run?, self.publish_run?);
        let result = self.result.clone().filter(|_| self.state == State::Published)?;
        Some(Outcome { intent: self.link(), act_run, publish_run, result })
    }

    /// The newest verdict of this node, if it is an admission that allows.
    pub fn admission(&self) -> Option<&Signed<AdmissionReceipt>> {
        self.admissions.iter().rev().find(|a| a.body.purpose == dvm_core::admission::Purpose::Admit)
    }
}
