//! Duality: what each peer sends is what the others wait for.
//!
//! Source: the design's checker rule "send/receive duality over every peer's projection". A peer's
//! sends follow from the steps that speak; what it waits for follows from the steps that *read*, and
//! from the last level, whose frames end the run. The two are computed from different fields, so a
//! message that nobody reads, or that nobody sends, shows.

use std::collections::BTreeSet;

use dvm_core::NodeId;

use crate::op::{PhaseKind, Plan};

/// One payload on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Passage {
    /// In which level.
    pub level: u16,
    /// Of which step.
    pub step: u16,
    /// By whom.
    pub from: NodeId,
    /// For whom.
    pub to: NodeId,
    /// Whether it is for that one alone.
    pub private: bool,
}

/// A plan as one peer lives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    /// What it sends.
    pub sends: BTreeSet<Passage>,
    /// What it waits for.
    pub receives: BTreeSet<Passage>,
}

/// A payload that one side knows of and the other does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {} of level {}: {} and {} do not agree on a message", .0.step, .0.level, .0.from, .0.to)]
pub struct Undual(pub Passage);

/// A plan as this peer lives it.
pub fn project(plan: &Plan, me: &NodeId) -> Projection {
    let others = || plan.participants.iter().filter(|node| *node != me);
    let mut projection = Projection { sends: BTreeSet::new(), receives: BTreeSet::new() };
    let last = plan.levels();
    let mut heard: BTreeSet<u16> = plan.steps.iter().flat_map(|s| s.inputs.clone()).collect();
    heard.extend(plan.at_level(last).map(|s| s.index));
    for step in plan.steps.iter().filter(|s| s.phase.kind.speaks()) {
        let private = step.phase.kind == PhaseKind::P2p;
        let passage = |from: &NodeId, to: &NodeId| {
            let (level, step) = (step.level, step.index);
            Passage { level, step, from: from.clone(), to: to.clone(), private }
        };
        projection.sends.extend(others().map(|to| passage(me, to)));
        if heard.contains(&step.index) {
            projection.receives.extend(others().map(|from| passage(from, me)));
        }
    }
    projection
}

/// Checks that the projections fit: all that is sent is waited for, and the other way round.
///
/// # Errors
/// [`Undual`]: the first message on which two peers do not agree.
pub fn check<'a>(projections: impl IntoIterator<Item = &'a Projection>) -> Result<(), Undual> {
    let (mut sends, mut receives) = (BTreeSet::new(), BTreeSet::new());
    for projection in projections {
        sends.extend(&projection.sends);
        receives.extend(&projection.receives);
    }
    match sends.symmetric_difference(&receives).next() {
        None => Ok(()),
        Some(passage) => Err(Undual((*passage).clone())),
    }
}

/// Checks the duality of a plan over all its participants.
///
/// # Errors
/// [`Undual`]: the first message on which two peers do not agree.
pub fn check_plan(plan: &Plan) -> Result<(), Undual> {
    let all: Vec<Projection> = plan.participants.iter().map(|me| project(plan, me)).collect();
    check(&all)
}

#[cfg(test)]
mod tests;
