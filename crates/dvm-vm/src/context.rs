//! What a run is measured against: header, plan and keys, checked once.
//!
//! Source: the design's `RunHeader` and the planner's latency rule.
//!
//! Always true: in a [`Ctx`] the plan is the one that the header names, its participants are the
//! header's and have one kernel key each, its steps are in level order, and no step consumes a
//! payload before the level in which it can be relied on.
//!
//! Not here: whether the plan is the right one for the intent; every participant compiles its own.

use std::collections::BTreeMap;

use dvm_core::codec;
use dvm_core::limits::PARTIES_MAX;
use dvm_core::reason::ReasonCode;
use dvm_core::run::{RunHeader, RunKind};
use dvm_core::sign::PublicKey;
use dvm_core::{B32, Link, NodeId};
use dvm_score::{PhaseKind, Plan, Step};

use crate::VM_VERSION;

/// Levels of one plan: the longest of ours (key generation) has 8.
pub const LEVELS_MAX: u16 = 64;
/// Steps of one plan: a batch of 100 presignatures has some 1,500.
pub const STEPS_MAX: usize = 4096;

/// Why header, plan and keys do not make a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadContext {
    /// The participants are not 2 to 16 distinct sorted nodes with this one among them.
    #[error("the participants are not 2 to {PARTIES_MAX} sorted nodes that include this one")]
    Participants,
    /// Not exactly one kernel key per participant.
    #[error("there is not exactly one kernel key for each participant")]
    Keys,
    /// The plan is not the one that the header names.
    #[error("the plan is not the one that the header names")]
    OtherPlan,
    /// The plan is for another version of the interpreter.
    #[error("the plan is for interpreter version `{0}`, this is `{VM_VERSION}`")]
    Version(u16),
    /// A step is out of order, or consumes a payload before it can be relied on.
    #[error("step `{0}` of the plan is out of order or consumes a payload too early")]
    Step(u16),
    /// The plan is empty or larger than its bounds.
    #[error("the plan has no steps, or more than {STEPS_MAX} steps or {LEVELS_MAX} levels")]
    Size,
    /// An act without a hard deadline, or a publication with one.
    #[error("an act has a hard deadline and a publication has none")]
    Deadline,
}

impl BadContext {
    /// The reason code under which a run is refused for this.
    pub fn code(self) -> ReasonCode {
        match self {
            Self::Size => ReasonCode::ResourceLimit,
            Self::Participants | Self::Keys | Self::OtherPlan => ReasonCode::BindingMismatch,
            Self::Version(_) | Self::Step(_) | Self::Deadline => ReasonCode::PayloadRejected,
        }
    }
}

/// One peer's fixed view of one run. Made only by [`Ctx::new`].
#[derive(Clone, Debug)]
pub struct Ctx {
    self_peer: NodeId,
    self_index: u16,
    header: RunHeader,
    header_link: Link,
    execution_id: B32,
    plan: Plan,
    levels: u16,
    keys: BTreeMap<NodeId, PublicKey>,
    /// By producer's level: the last level that consumes something said in it; 0 if none does.
    last_use: BTreeMap<u16, u16>,
}

impl Ctx {
    /// Checks header, plan and kernel keys against each other.
    ///
    /// # Errors
    /// [`BadContext`] names the first thing that does not fit.
    pub fn new(
        self_peer: NodeId,
        header: RunHeader,
        plan: Plan,
        keys: BTreeMap<NodeId, PublicKey>,
    ) -> Result<Self, BadContext> {
        let people = &header.participants;
        let sorted = people.is_sorted_by(|a, b| a < b);
        if !sorted || !(2..=PARTIES_MAX).contains(&people.len()) {
            return Err(BadContext::Participants);
        }
        let self_index = people.binary_search(&self_peer).map_err(|_| BadContext::Participants)?;
        let self_index = u16::try_from(self_index).map_err(|_| BadContext::Participants)?;
        if !keys.keys().eq(people) {
            return Err(BadContext::Keys);
        }
        let levels = plan.levels();
        if plan.steps.is_empty() || plan.steps.len() > STEPS_MAX || levels > LEVELS_MAX {
            return Err(BadContext::Size);
        }
        if plan.vm_version != VM_VERSION {
            return Err(BadContext::Version(plan.vm_version));
        }
        if plan.participants != *people || plan.id() != header.plan_id {
            return Err(BadContext::OtherPlan);
        }
        // A publication waits for people; an act that waits for ever would hold its material hostage.
        if matches!(header.kind, RunKind::Publish { .. }) != (header.hard_deadline_ms == 0) {
            return Err(BadContext::Deadline);
        }
        let last_use = last_uses(&plan)?;
        let execution_id = header.execution_id();
        let header_link = codec::link_of(&header);
        Ok(Self {
            self_peer,
            self_index,
            header,
            header_link,
            execution_id,
            plan,
            levels,
            keys,
            last_use,
        })
    }

    /// Whose run this is.
    pub fn self_peer(&self) -> &NodeId {
        &self.self_peer
    }

    /// The header.
    pub fn header(&self) -> &RunHeader {
        &self.header
    }

    /// The header's link.
    pub fn header_link(&self) -> Link {
        self.header_link
    }

    /// The run.
    pub fn execution_id(&self) -> B32 {
        self.execution_id
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan's last level.
    pub fn levels(&self) -> u16 {
        self.levels
    }

    /// Everybody, sorted.
    pub fn participants(&self) -> &[NodeId] {
        &self.header.participants
    }

    /// Everybody else, sorted.
    pub fn others(&self) -> impl Iterator<Item = &NodeId> {
        self.participants().iter().filter(|node| **node != self.self_peer)
    }

    /// A participant's kernel key.
    pub fn key(&self, node: &NodeId) -> Option<PublicKey> {
        self.keys.get(node).copied()
    }

    /// Whether this run publishes.
    pub fn publishes(&self) -> bool {
        matches!(self.header.kind, RunKind::Publish { .. })
    }

    pub(crate) fn self_index(&self) -> u16 {
        self.self_index
    }

    pub(crate) fn index_of(&self, node: &NodeId) -> Option<u16> {
        self.participants().binary_search(node).ok().and_then(|i| u16::try_from(i).ok())
    }

    pub(crate) fn node_at(&self, index: u16) -> Option<&NodeId> {
        self.participants().get(usize::from(index))
    }

    /// (index, node) of everybody.
    pub(crate) fn seats(&self) -> impl Iterator<Item = (u16, &NodeId)> {
        (0_u16..).zip(self.participants())
    }

    pub(crate) fn last_use(&self, level: u16) -> u16 {
        self.last_use.get(&level).copied().unwrap_or(0)
    }
}

/// Checks order and latency of every step; gives the last consumer's level by producer's level.
fn last_uses(plan: &Plan) -> Result<BTreeMap<u16, u16>, BadContext> {
    let mut last = BTreeMap::new();
    let mut floor = 1;
    for (position, step) in plan.steps.iter().enumerate() {
        let bad = BadContext::Step(step.index);
        if usize::from(step.index) != position || step.level < floor {
            return Err(bad);
        }
        floor = step.level;
        if !step.inputs.is_sorted_by(|a, b| a < b) || step.inputs.iter().any(|i| *i >= step.index) {
            return Err(bad);
        }
        for input in &step.inputs {
            let producer = plan.steps.get(usize::from(*input)).ok_or(bad)?;
            if producer.level + latency(producer) > step.level {
                return Err(bad);
            }
            if producer.phase.kind != PhaseKind::Local {
                let seen = last.entry(producer.level).or_insert(0);
                *seen = step.level.max(*seen);
            }
        }
    }
    Ok(last)
}

/// Levels until what a step says can be relied on: an echo is sure only once the next level's
/// frames have all confirmed the view.
fn latency(step: &Step) -> u16 {
    match step.phase.kind {
        PhaseKind::Local => 0,
        PhaseKind::P2p | PhaseKind::Bcast => 1,
        PhaseKind::EchoBcast => 2,
    }
}
