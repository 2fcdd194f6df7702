//! The planner: levels for a graph of micro-ops, and what must hold of every plan.
//!
//! Source: the design's "The plan: fusing rounds". `level = max over inputs (level + latency)`, at
//! least 1; latency 2 after an echo broadcast, 1 after other messages, 0 after local work. All steps
//! of a level travel in one frame per ordered pair of peers.
//!
//! Always true: the same graph gives the same levels; everything happens as early as it can, except
//! what consumes or publishes, which happens as late as it can without adding a level.

use dvm_core::{NodeId, limits};

use crate::op::{Effect, MicroOp, PhaseKind, Plan, Step};
use crate::rewrite::{Exclusive, Node};

/// Levels of one plan: key generation has 8; a reshare with setup about 20.
pub const LEVELS_MAX: u16 = 64;
/// Steps of one plan: a batch of 32 presignatures of 16 micro-ops.
pub const STEPS_MAX: usize = 1024;
/// Payload bytes of one frame, however few take part: a peer's message of 6 MiB holds a frame twice over.
const FRAME_BYTES_MAX: u32 = 2 << 20;
/// Payload bytes of the frames that one kernel call carries; with their leaves they fit its 6 MiB.
const FRAMES_BYTES_MAX: u32 = 5 << 20;

/// Payload bytes of one frame in a run of so many: one kernel call carries the frames of all others.
pub const fn frame_bytes_max(parties: usize) -> u32 {
    let others = if parties > 1 { parties as u32 - 1 } else { 1 };
    let fair = FRAMES_BYTES_MAX / others;
    if fair < FRAME_BYTES_MAX { fair } else { FRAME_BYTES_MAX }
}

/// Why there is no plan, or why a plan does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The micro-ops wait for each other, or for one that does not exist.
    #[error("micro-ops wait for each other in a circle")]
    Cycle,
    /// No steps, or more than a plan may have.
    #[error("a plan has 1 to {STEPS_MAX} steps")]
    Steps,
    /// More levels than a plan may have.
    #[error("a plan has at most {LEVELS_MAX} levels")]
    Levels,
    /// One step says more than a frame holds.
    #[error("a step says more than one frame holds")]
    StepTooLarge,
    /// Participants unsorted, repeated, or not 2 to 16.
    #[error("participants are 2 to 16, sorted and distinct")]
    Participants,
    /// Steps out of order, or an input that is not below its step.
    #[error("step {step} is out of order or reads a step that is not before it")]
    Order {
        /// Which.
        step: u16,
    },
    /// A step before what it needs has arrived.
    #[error("step {step} comes before its input {input} has arrived")]
    TooEarly {
        /// Which.
        step: u16,
        /// What it needs.
        input: u16,
    },
    /// Consume or publish before an echo broadcast that it rests on is confirmed.
    #[error("step {step} consumes or publishes before broadcast {broadcast} is confirmed")]
    Unconfirmed {
        /// Which.
        step: u16,
        /// The broadcast.
        broadcast: u16,
    },
    /// An opening of a result without the grants for it.
    #[error("step {step} opens a result without the grants")]
    Ungranted {
        /// Which.
        step: u16,
    },
    /// A level whose frame is over its cap.
    #[error("level {level} says more than one frame holds")]
    FrameTooLarge {
        /// Which.
        level: u16,
    },
}

/// Levels of a graph, one per node.
///
/// # Errors
/// [`PlanError`] for a circle, a step over the cap, or too many levels.
pub fn levels(nodes: &[Node], frame_bytes_max: u32) -> Result<Vec<u16>, PlanError> {
    if nodes.is_empty() || nodes.len() > STEPS_MAX {
        return Err(PlanError::Steps);
    }
    if nodes.iter().any(|n| n.phase.kind.speaks() && n.phase.len_max > frame_bytes_max) {
        return Err(PlanError::StepTooLarge);
    }
    let order = topological(nodes)?;
    let mut floors = vec![1; nodes.len()];
    // Each turn raises one floor by at least one level, and levels are bounded.
    loop {
        let found = as_soon_as_possible(nodes, &order, &floors)?;
        let Some(over) = first_too_many(nodes, &found, frame_bytes_max) else {
            return Ok(postpone(nodes, &order, found, frame_bytes_max));
        };
        if let (Some(floor), Some(level)) = (floors.get_mut(over), found.get(over)) {
            *floor = level + 1;
        }
    }
}

/// Nodes in an order in which needs come first.
fn topological(nodes: &[Node]) -> Result<Vec<usize>, PlanError> {
    let mut order: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut done = vec![false; nodes.len()];
    while order.len() < nodes.len() {
        let before = order.len();
        for (i, node) in nodes.iter().enumerate() {
            let is_done = |n: usize| done.get(n).copied().unwrap_or(false);
            if !is_done(i) && node.needs.iter().all(|need| is_done(*need)) {
                order.push(i);
                if let Some(flag) = done.get_mut(i) {
                    *flag = true;
                }
            }
        }
        if order.len() == before {
            return Err(PlanError::Cycle);
        }
    }
    Ok(order)
}

fn at(levels: &[u16], node: usize) -> u16 {
    levels.get(node).copied().unwrap_or(0)
}

fn as_soon_as_possible(
    nodes: &[Node],
    order: &[usize],
    floors: &[u16],
) -> Result<Vec<u16>, PlanError> {
    let mut levels = vec![0; nodes.len()];
    for i in order {
        let Some(node) = nodes.get(*i) else { continue };
        let arrived = node
            .needs
            .iter()
            .filter_map(|need| Some(at(&levels, *need) + nodes.get(*need)?.phase.kind.latency()));
        let level = arrived.max().unwrap_or(1).max(at(floors, *i));
        if level > LEVELS_MAX {
            return Err(PlanError::Levels);
        }
        if let Some(slot) = levels.get_mut(*i) {
            *slot = level;
        }
    }
    Ok(levels)
}

/// The node that must leave the first level which is over the cap or uses a resource twice: the
/// highest one, by (site, position), of those that make it too many.
fn first_too_many(nodes: &[Node], levels: &[u16], frame_bytes_max: u32) -> Option<usize> {
    let last = levels.iter().copied().max().unwrap_or(0);
    (1..=last).find_map(|level| {
        let mut here: Vec<usize> = (0..nodes.len()).filter(|i| at(levels, *i) == level).collect();
        here.sort_by_key(|i| nodes.get(*i).map(|n| (n.site, n.position)));
        let of = |i: &usize| nodes.get(*i);
        let bytes: u64 = here.iter().filter_map(of).map(|n| u64::from(said(n))).sum();
        let speaking = here.iter().rev().find(|i| of(i).is_some_and(|n| said(n) > 0));
        if bytes > u64::from(frame_bytes_max) {
            return speaking.copied();
        }
        let holds = |i: &usize| of(i).and_then(|n| n.exclusive);
        let taken_below =
            |place: usize, held: Exclusive| here.iter().take(place).any(|i| holds(i) == Some(held));
        let twice = |(place, i): &(usize, &usize)| holds(i).is_some_and(|h| taken_below(*place, h));
        here.iter().enumerate().filter(twice).map(|(_, i)| *i).next_back()
    })
}

fn said(node: &Node) -> u32 {
    if node.phase.kind.speaks() { node.phase.len_max } else { 0 }
}

/// Moves what consumes or publishes as late as its readers, the last level and the caps allow.
fn postpone(
    nodes: &[Node],
    order: &[usize],
    mut levels: Vec<u16>,
    frame_bytes_max: u32,
) -> Vec<u16> {
    let last = levels.iter().copied().max().unwrap_or(0);
    for i in order.iter().rev() {
        let Some(node) = nodes.get(*i) else { continue };
        if !matches!(node.effect, Effect::Consume | Effect::Publish) {
            continue;
        }
        let readers = nodes.iter().enumerate().filter(|(_, n)| n.needs.contains(i));
        let latest = readers
            .map(|(reader, _)| at(&levels, reader).saturating_sub(node.phase.kind.latency()))
            .min()
            .unwrap_or(last);
        for level in (at(&levels, *i) + 1..=latest).rev() {
            let mut moved = levels.clone();
            if let Some(slot) = moved.get_mut(*i) {
                *slot = level;
            }
            if first_too_many(nodes, &moved, frame_bytes_max).is_none() {
                levels = moved;
                break;
            }
        }
    }
    levels
}

/// The steps of a levelled graph, sorted by (level, site, position), with inputs renamed.
pub fn lay_out(nodes: &[Node], levels: &[u16]) -> Vec<Step> {
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|i| (at(levels, *i), nodes.get(*i).map(|n| (n.site, n.position))));
    let mut index_of = vec![0_u16; nodes.len()];
    for (index, node) in (0..).zip(&order) {
        if let Some(slot) = index_of.get_mut(*node) {
            *slot = index;
        }
    }
    let step = |(index, i): (u16, &usize)| {
        let node = nodes.get(*i)?;
        let mut inputs: Vec<u16> =
            node.needs.iter().filter_map(|need| index_of.get(*need).copied()).collect();
        inputs.sort_unstable();
        let Node { site, op, phase, effect, .. } = *node;
        Some(Step { index, site, op, level: at(levels, *i), phase, effect, inputs })
    };
    (0..).zip(&order).filter_map(step).collect()
}

/// Checks a plan without regard to how it was made.
///
/// # Errors
/// [`PlanError`]: the first rule that does not hold.
pub fn verify(plan: &Plan, frame_bytes_max: u32) -> Result<(), PlanError> {
    check_participants(&plan.participants)?;
    if plan.steps.is_empty() || plan.steps.len() > STEPS_MAX {
        return Err(PlanError::Steps);
    }
    if plan.levels() > LEVELS_MAX {
        return Err(PlanError::Levels);
    }
    let mut before: Option<&Step> = None;
    for (index, step) in (0..).zip(&plan.steps) {
        let floor = before.map_or((1, 0), |b| (b.level, b.site));
        if step.index != index || (step.level, step.site) < floor {
            return Err(PlanError::Order { step: index });
        }
        check_step(plan, step)?;
        before = Some(step);
    }
    for level in 1..=plan.levels() {
        let bytes: u64 = plan.at_level(level).map(|s| u64::from(s.said())).sum();
        if bytes > u64::from(frame_bytes_max) {
            return Err(PlanError::FrameTooLarge { level });
        }
    }
    Ok(())
}

/// Checks that participants are 2 to 16, sorted and distinct.
///
/// # Errors
/// [`PlanError::Participants`] if not.
pub fn check_participants(participants: &[NodeId]) -> Result<(), PlanError> {
    let ascending = participants.iter().zip(participants.iter().skip(1)).all(|(a, b)| a < b);
    let size_ok = (2..=limits::PARTIES_MAX).contains(&participants.len());
    if ascending && size_ok { Ok(()) } else { Err(PlanError::Participants) }
}

fn check_step(plan: &Plan, step: &Step) -> Result<(), PlanError> {
    let index = step.index;
    let ascending = step.inputs.iter().zip(step.inputs.iter().skip(1)).all(|(a, b)| a < b);
    if !ascending || step.inputs.last().is_some_and(|last| *last >= index) {
        return Err(PlanError::Order { step: index });
    }
    let inputs: Vec<&Step> =
        step.inputs.iter().filter_map(|i| plan.steps.get(usize::from(*i))).collect();
    for input in &inputs {
        if step.level < input.level.saturating_add(input.phase.kind.latency()) {
            return Err(PlanError::TooEarly { step: index, input: input.index });
        }
    }
    if matches!(step.effect, Effect::Consume | Effect::Publish) {
        check_confirmed(plan, step)?;
    }
    let opens = matches!(step.op, MicroOp::OpenShare | MicroOp::OpenKey);
    if opens && !inputs.iter().any(|input| input.op == MicroOp::GateGrant) {
        return Err(PlanError::Ungranted { step: index });
    }
    Ok(())
}

/// Every echo broadcast that the step rests on, however far back, is confirmed when it runs.
fn check_confirmed(plan: &Plan, step: &Step) -> Result<(), PlanError> {
    let mut open = step.inputs.clone();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(index) = open.pop() {
        let Some(ancestor) = plan.steps.get(usize::from(index)) else { continue };
        if !seen.insert(index) {
            continue;
        }
        let kind = ancestor.phase.kind;
        let confirmed_at = ancestor.level.saturating_add(kind.latency());
        if kind == PhaseKind::EchoBcast && step.level < confirmed_at {
            return Err(PlanError::Unconfirmed { step: step.index, broadcast: index });
        }
        // Inputs are below their step, so the walk ends even in a plan that is not yet checked.
        open.extend(ancestor.inputs.iter().filter(|i| **i < index));
    }
    Ok(())
}

impl Step {
    /// Payload bytes that this step adds to a frame at most.
    pub fn said(&self) -> u32 {
        if self.phase.kind.speaks() { self.phase.len_max } else { 0 }
    }
}

#[cfg(test)]
mod tests;
