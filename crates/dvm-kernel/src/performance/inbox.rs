//! What reached this kernel in a run, and what it said to all itself, as the rounds look for it.
//!
//! Always true: a payload is found under the step of the plan that its sender said it in, and nowhere else. A plan that
//! performs the same rounds for several items, such as a batch, has a step of each round for each item: the rounds of
//! one item see the payloads of that item alone.
//! Not here: who may say what in which level. The kernel checked that before a payload comes here.

use std::collections::{BTreeMap, BTreeSet};

use dvm_blame::{Fault, Rule};
use dvm_core::NodeId;
use dvm_microcode::Secret;
use dvm_score::{MicroOp, Plan, Step};
use zeroize::Zeroizing;

/// Which of the steps that do the same: the rank of a step's site among the sites that have a step of its micro-op.
/// Where the planner put them makes no difference.
pub(crate) type Item = u16;

type BySender = BTreeMap<NodeId, Zeroizing<Vec<u8>>>;

/// Payloads of a run by micro-op, item and sender. Sealed ones are opened.
pub(crate) struct Inbox {
    /// The item of each step, by its index.
    items: Vec<Item>,
    payloads: BTreeMap<(MicroOp, Item), BySender>,
}

/// What an inbox has of one item.
#[derive(Clone, Copy)]
pub(crate) struct Mail<'a> {
    item: Item,
    inbox: &'a Inbox,
}

impl Inbox {
    /// Empty, for the steps of this plan.
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut sites = BTreeMap::<MicroOp, BTreeSet<u16>>::new();
        for step in &plan.steps {
            sites.entry(step.op).or_default().insert(step.site);
        }
        let rank = |step: &Step| {
            let before = sites.get(&step.op).map_or(0, |s| s.range(..step.site).count());
            Item::try_from(before).unwrap_or(Item::MAX)
        };
        Self { items: plan.steps.iter().map(rank).collect(), payloads: BTreeMap::new() }
    }

    fn item(&self, step: &Step) -> Item {
        self.items.get(usize::from(step.index)).copied().unwrap_or(Item::MAX)
    }

    /// Takes what a sender said in a step.
    pub(crate) fn put(&mut self, step: &Step, from: NodeId, bytes: Zeroizing<Vec<u8>>) {
        let place = (step.op, self.item(step));
        self.payloads.entry(place).or_default().insert(from, bytes);
    }

    /// What there is for the item of a step.
    pub(crate) fn mail(&self, step: &Step) -> Mail<'_> {
        self.of_item(self.item(step))
    }

    /// What there is for an item.
    pub(super) fn of_item(&self, item: Item) -> Mail<'_> {
        Mail { item, inbox: self }
    }
}

impl<'a> Mail<'a> {
    /// Refuses any item but the first: one key or one signature is not made with the steps of several.
    pub(crate) fn alone(self) -> Result<Self, Rule> {
        if self.item == 0 { Ok(self) } else { Err(Rule::UnexpectedMessage) }
    }

    /// Which item.
    pub(crate) fn item(self) -> Item {
        self.item
    }

    /// Payloads of a micro-op, by sender.
    pub(crate) fn of(
        self,
        op: MicroOp,
    ) -> impl Iterator<Item = (String, &'a Zeroizing<Vec<u8>>)> + use<'a> {
        let of_op = self.inbox.payloads.get(&(op, self.item)).into_iter().flatten();
        of_op.map(|(from, bytes)| (from.as_str().to_owned(), bytes))
    }

    /// Public payloads of a micro-op.
    pub(crate) fn public(self, op: MicroOp) -> BTreeMap<String, Vec<u8>> {
        self.of(op).map(|(from, bytes)| (from, bytes.to_vec())).collect()
    }

    /// Payloads of a micro-op that are digests.
    pub(crate) fn digests(self, op: MicroOp) -> Result<BTreeMap<String, [u8; 32]>, Fault> {
        let digest = |(from, bytes): (String, &Zeroizing<Vec<u8>>)| {
            let digest = bytes.as_slice().try_into().map_err(|_| Rule::UnexpectedMessage)?;
            Ok((from, digest))
        };
        self.of(op).map(digest).collect()
    }

    /// Secret payloads of a micro-op.
    pub(crate) fn secret(self, op: MicroOp) -> BTreeMap<String, Secret<Vec<u8>>> {
        self.of(op).map(|(from, bytes)| (from, Secret::new(bytes.to_vec()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use dvm_core::B32;
    use dvm_score::{Effect, PhaseKind, PhaseSpec};

    use super::*;

    fn plan(steps: &[(MicroOp, u16, u16)]) -> Plan {
        let step = |(index, (op, site, level)): (usize, &(MicroOp, u16, u16))| Step {
            index: index as u16,
            site: *site,
            op: *op,
            level: *level,
            phase: PhaseSpec { kind: PhaseKind::Bcast, len_max: 32 },
            effect: Effect::Reveal,
            inputs: Vec::new(),
        };
        Plan {
            score_id: B32::default(),
            backend: "none/1".to_owned(),
            vm_version: 1,
            participants: Vec::new(),
            steps: steps.iter().enumerate().map(step).collect(),
        }
    }

    fn bytes(of: u8) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(vec![of; 32])
    }

    #[test]
    fn rounds_of_an_item_see_what_was_said_for_it_and_nothing_of_another_wherever_the_planner_put_it()
     {
        use MicroOp::{BindingFactor, NonceCommit};
        // The second item's first step was moved to a later level, so it stands behind the first item's second.
        let plan = plan(&[
            (NonceCommit, 2, 1),
            (NonceCommit, 8, 1),
            (BindingFactor, 3, 2),
            (NonceCommit, 5, 2),
            (BindingFactor, 6, 3),
            (BindingFactor, 9, 3),
        ]);
        let node: NodeId = "n1".parse().unwrap();
        let mut inbox = Inbox::of(&plan);
        for (index, said) in [(0, 1), (1, 3), (3, 2)] {
            inbox.put(&plan.steps[index], node.clone(), bytes(said));
        }
        for (index, item, said) in [(2, 0, 1), (4, 1, 2), (5, 2, 3)] {
            let mail = inbox.mail(&plan.steps[index]);
            assert_eq!(mail.item, item);
            assert_eq!(mail.digests(NonceCommit).unwrap()["n1"], [said; 32]);
            assert!(mail.public(BindingFactor).is_empty());
        }
    }

    #[test]
    fn payload_that_is_no_digest_is_refused_where_a_digest_is_looked_for() {
        let plan = plan(&[(MicroOp::DkgCommit, 0, 1)]);
        for (length, holds) in [(31, false), (32, true), (33, false)] {
            let mut inbox = Inbox::of(&plan);
            let said = Zeroizing::new(vec![1; length]);
            inbox.put(&plan.steps[0], "n1".parse().unwrap(), said);
            let digests = inbox.mail(&plan.steps[0]).digests(MicroOp::DkgCommit);
            assert_eq!(digests.is_ok(), holds, "{length}");
        }
    }
}
