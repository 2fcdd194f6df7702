//! What must hold within the rounds of a signature: cheats show, bans hold, material serves once.

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::{B32, KeyId, NodeId};

use super::{Judge, RunFacts, Seen, ensure};

/// The last level of a signature whose signers multiply in pairs: all checks are made before it is said.
const CHECKED: u16 = 3;

/// What was seen of rounds.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Who banned whom from which key.
    banned: BTreeSet<(NodeId, NodeId, KeyId)>,
    /// Whose kernel let which signers of a key fail together without a name.
    apart: BTreeSet<(NodeId, Vec<NodeId>, KeyId)>,
    /// Who heard an altered word, in which act run, and in which level first.
    lied_to: BTreeMap<(NodeId, B32), u16>,
    /// The run that a kernel took a piece of material for: by node, batch and place.
    material: BTreeMap<(NodeId, B32, u32), B32>,
}

impl Judge {
    /// A word of this level is another than its protocol has it, to this node, and stays so.
    pub fn lied_to(&mut self, node: NodeId, execution: B32, level: u16) {
        let first = self.rounds.lied_to.entry((node, execution)).or_insert(level);
        *first = level.min(*first);
    }

    /// A signature's act run, as far as it is known.
    fn act_run(&self, execution: &B32) -> Option<(&RunFacts, &KeyId)> {
        let run = self.runs.get(execution).filter(|run| run.publishes.is_none())?;
        Some((run, run.signs_with.as_ref()?))
    }

    /// A kernel's ban is for good: no governor lifts one here. Whoever has an older directory may have forgotten it.
    fn with_banned(&self, node: &NodeId, execution: &B32) -> Seen {
        let Some((run, key)) = self.act_run(execution) else { return Ok(()) };
        let banned = |other: &&NodeId| {
            self.rounds.banned.contains(&(node.clone(), (*other).clone(), key.clone()))
        };
        let with = run.participants.iter().find(banned);
        ensure(with.is_none() || self.kernel_lies(node), "bans-hold", || {
            format!("{node}'s kernel goes on in {execution} with {with:?}, whom it had banned")
        })
    }

    pub(super) fn on_started(&mut self, node: &NodeId, execution: &B32) -> Seen {
        self.with_banned(node, execution)?;
        let Some((run, key)) = self.act_run(execution) else { return Ok(()) };
        let set = (node.clone(), run.participants.clone(), key.clone());
        let apart = self.rounds.apart.contains(&set) && !self.kernel_lies(node);
        ensure(!apart, "bans-hold", || {
            format!("{node}'s kernel starts {execution} with signers that had failed together")
        })
    }

    pub(super) fn on_performed(&mut self, node: &NodeId, execution: &B32, level: u16) -> Seen {
        self.with_banned(node, execution)?;
        let checked = self.act_run(execution).is_some_and(|(run, _)| run.multiplies);
        let lied = self.unseen_lie(node, execution).is_some_and(|lied| lied < CHECKED);
        ensure(!(checked && lied && level >= CHECKED), "cheats-show", || {
            format!("{node}'s kernel finished {execution}, in which it was lied to")
        })
    }

    /// The first level of a run in which somebody lied to an honest kernel.
    fn unseen_lie(&self, node: &NodeId, execution: &B32) -> Option<u16> {
        let lied = self.rounds.lied_to.get(&(node.clone(), *execution)).copied();
        lied.filter(|_| !self.liars.contains(node))
    }

    /// The result of a run in which a kernel was lied to has no name that its signers agree on.
    pub(super) fn granted_a_lie(&self, node: &NodeId, act: &B32) -> Seen {
        ensure(self.unseen_lie(node, act).is_none(), "cheats-show", || {
            format!("{node}'s kernel granted what {act} gave, in which it was lied to")
        })
    }

    /// A kernel names another for what that one signed, so an honest kernel is never named by one, whatever runtime it
    /// has, and whichever directory.
    pub(super) fn on_named(&self, by: &NodeId, culprit: &NodeId, what: &str) -> Seen {
        let right = self.liars.contains(culprit) || self.liars.contains(by);
        ensure(right, "honest-never-blamed", || format!("{by}'s kernel names {culprit}: {what}"))
    }

    pub(super) fn on_banned(&mut self, node: NodeId, culprit: NodeId, key: KeyId) -> Seen {
        self.bans = self.bans.saturating_add(1);
        self.on_named(&node, &culprit, "a ban")?;
        self.rounds.banned.insert((node, culprit, key));
        Ok(())
    }

    pub(super) fn on_unnamed(&mut self, node: NodeId, execution: &B32) {
        let Some(run) = self.runs.get(execution) else { return };
        let Some(key) = &run.signs_with else { return };
        self.rounds.apart.insert((node, run.participants.clone(), key.clone()));
    }

    /// A piece of material serves one run of a kernel: it lives in memory, so no older directory brings it back.
    pub(super) fn on_material(&mut self, node: &NodeId, run: &RunFacts) -> Seen {
        let Some(material) = run.material.filter(|_| !self.liars.contains(node)) else {
            return Ok(());
        };
        let slot = (node.clone(), material.batch, material.index);
        let first = *self.rounds.material.entry(slot).or_insert(run.execution);
        ensure(first == run.execution, "one-time-ids", || {
            let (batch, index) = (material.batch, material.index);
            format!("{node} takes place {index} of batch {batch} in {first} and {}", run.execution)
        })
    }
}
