//! The state of one peer's run, and what it waits for.
//!
//! Always true: its size is bounded by participants × levels of the plan. Payload names are kept
//! only while a later step still consumes them; everything else is in the trace.
//!
//! Not here: transitions; see `step`.

use std::collections::BTreeMap;

use dvm_core::frame::{self, PartRef};
use dvm_core::reason::ReasonCode;
use dvm_core::trace::Terminal;
use dvm_core::{B32, Link, NodeId};
use dvm_score::MicroOp;

use crate::context::Ctx;
use crate::slot::Slot;

/// What is still needed of a frame that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) out_root: B32,
    pub(crate) prev_view: B32,
    /// Payload names that steps of this peer may consume, by step.
    pub(crate) parts: Vec<PartRef>,
}

/// Where one peer's run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The open level; 0 before the start.
    pub(crate) level: u16,
    /// Calls of the open level without an answer: step → link of its context.
    pub(crate) open: BTreeMap<u16, Link>,
    /// What this level's answers send to all, in plan order: its own frame must say the same.
    pub(crate) own: Vec<PartRef>,
    /// (level, seat) → signed headers seen.
    pub(crate) slots: BTreeMap<(u16, u16), Slot>,
    /// (level, seat) → what is still needed of the frame.
    pub(crate) said: BTreeMap<(u16, u16), Said>,
    /// Views of the complete levels, from level 0.
    pub(crate) views: Vec<B32>,
    /// Highest level whose view every peer's next frame carried.
    pub(crate) confirmed: u16,
    /// Step → digest of what it made public.
    pub(crate) publics: BTreeMap<u16, B32>,
    /// The open level's soft deadline has passed.
    pub(crate) overdue: bool,
    pub(crate) terminal: Option<Terminal>,
}

/// Why a run cannot go on by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockedOn {
    /// The gate: this step's call waits for the node's and the people's release.
    Gate {
        /// The step.
        step: u16,
    },
    /// A peer's frame carries another view: its headers of this level are asked for.
    Headers {
        /// Whose frame.
        peer: NodeId,
        /// Level of the headers.
        level: u16,
    },
}

/// What a run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    /// The open level; 0 before the start.
    pub level: u16,
    /// Other participants whose frame of this level is missing, sorted.
    pub missing_peers: Vec<NodeId>,
    /// Steps of this level whose call has no answer yet, ascending.
    pub open_calls: Vec<u16>,
    /// What it cannot pass by itself.
    pub blocked_on: Option<BlockedOn>,
    /// Highest level whose view all peers confirmed.
    pub confirmed_level: u16,
    /// `REMOTE_TIMEOUT` once a deadline of this level has passed.
    pub overdue: Option<ReasonCode>,
}

impl State {
    /// Before the start.
    pub fn new(ctx: &Ctx) -> Self {
        Self {
            level: 0,
            open: BTreeMap::new(),
            own: Vec::new(),
            slots: BTreeMap::new(),
            said: BTreeMap::new(),
            views: vec![frame::view(&ctx.execution_id(), 0, &BTreeMap::new())],
            confirmed: 0,
            publics: BTreeMap::new(),
            overdue: false,
            terminal: None,
        }
    }

    /// The open level; 0 before the start.
    pub fn level(&self) -> u16 {
        self.level
    }

    /// Highest level whose view all peers confirmed.
    pub fn confirmed_level(&self) -> u16 {
        self.confirmed
    }

    /// The view of a complete level.
    pub fn view(&self, level: u16) -> Option<B32> {
        self.views.get(usize::from(level)).copied()
    }

    /// How the run ended; none while it runs.
    pub fn terminal(&self) -> Option<&Terminal> {
        self.terminal.as_ref()
    }

    /// What is known of a participant's statement in a level.
    pub fn slot(&self, ctx: &Ctx, level: u16, node: &NodeId) -> Slot {
        let seat = ctx.index_of(node);
        seat.and_then(|seat| self.slots.get(&(level, seat)).copied()).unwrap_or_default()
    }

    /// What the run waits for.
    pub fn frontier(&self, ctx: &Ctx) -> Frontier {
        let missing = |(seat, _): &(u16, &NodeId)| {
            *seat != ctx.self_index() && !self.said.contains_key(&(self.level, *seat))
        };
        Frontier {
            level: self.level,
            missing_peers: ctx.seats().filter(missing).map(|(_, node)| node.clone()).collect(),
            open_calls: self.open.keys().copied().collect(),
            blocked_on: self.blocked_on(ctx),
            confirmed_level: self.confirmed,
            overdue: self.overdue.then_some(ReasonCode::RemoteTimeout),
        }
    }

    fn blocked_on(&self, ctx: &Ctx) -> Option<BlockedOn> {
        if let Some((peer, level)) = self.doubt(ctx) {
            return Some(BlockedOn::Headers { peer, level });
        }
        let is_gate = |step: &&u16| {
            let op = ctx.plan().steps.get(usize::from(**step)).map(|s| s.op);
            op == Some(MicroOp::GateGrant)
        };
        self.open.keys().find(is_gate).map(|step| BlockedOn::Gate { step: *step })
    }

    /// The first frame that carries another view than this peer's: (sender, level of that view).
    pub(crate) fn doubt(&self, ctx: &Ctx) -> Option<(NodeId, u16)> {
        // Earlier levels are complete, hence without doubt; nothing further ahead is taken.
        let window = (self.level, 0)..=(self.level.saturating_add(1), u16::MAX);
        let odd = self.said.range(window).find(|((level, _), said)| {
            level.checked_sub(1).and_then(|l| self.view(l)).is_some_and(|v| v != said.prev_view)
        });
        let ((level, seat), _) = odd?;
        Some((ctx.node_at(*seat)?.clone(), level.saturating_sub(1)))
    }

    /// The roots of a level, if every participant's frame is in.
    pub(crate) fn roots(&self, ctx: &Ctx, level: u16) -> Option<BTreeMap<NodeId, B32>> {
        let root = |(seat, node): (u16, &NodeId)| {
            self.said.get(&(level, seat)).map(|said| (node.clone(), said.out_root))
        };
        ctx.seats().map(root).collect()
    }
}
