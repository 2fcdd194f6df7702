//! What makes a context, and what does not.

use dvm_core::ReasonCode;
use dvm_score::PhaseKind;

use crate::testkit::{header, keys, node, plan};
use crate::{BadContext, Ctx};

fn make(change: impl FnOnce(&mut dvm_score::Plan)) -> Result<Ctx, BadContext> {
    let mut plan = plan(3);
    change(&mut plan);
    Ctx::new(node(0), header(&plan, false), plan, keys(3))
}

#[test]
fn a_context_needs_sorted_participants_with_itself_and_one_key_each() {
    assert!(make(|_| {}).is_ok());
    let whole = plan(3);
    let of = |me, keys| Ctx::new(me, header(&whole, false), whole.clone(), keys).err();
    assert_eq!(of(node(3), keys(3)), Some(BadContext::Participants));
    assert_eq!(of(node(0), keys(2)), Some(BadContext::Keys));
    assert_eq!(of(node(0), keys(4)), Some(BadContext::Keys));
    assert_eq!(make(|p| p.participants.swap(0, 1)).err(), Some(BadContext::Participants));
    let (sixteen, seventeen) = (plan(16), plan(17));
    let mut sixteen = sixteen;
    sixteen.participants.sort();
    assert!(Ctx::new(node(0), header(&sixteen, false), sixteen, keys(16)).is_ok());
    let mut seventeen = seventeen;
    seventeen.participants.sort();
    let refused = Ctx::new(node(0), header(&seventeen, false), seventeen, keys(17)).err();
    assert_eq!(refused, Some(BadContext::Participants));
    assert_eq!(BadContext::Keys.code(), ReasonCode::BindingMismatch);
}

#[test]
fn a_context_takes_only_the_plan_that_its_header_names() {
    let (named, mut other) = (plan(3), plan(3));
    other.backend.push('x');
    let refused = Ctx::new(node(0), header(&named, false), other, keys(3)).err();
    assert_eq!(refused, Some(BadContext::OtherPlan));
    assert_eq!(make(|p| p.vm_version = 2).err(), Some(BadContext::Version(2)));
    assert_eq!(make(|p| p.steps.clear()).err(), Some(BadContext::Size));
    assert!(make(|p| p.steps[6].level = crate::context::LEVELS_MAX).is_ok());
    let beyond = crate::context::LEVELS_MAX + 1;
    assert_eq!(make(|p| p.steps[6].level = beyond).err(), Some(BadContext::Size));
}

#[test]
fn a_plan_that_consumes_before_it_can_rely_is_no_context() {
    // The echo of level 1 may be consumed in level 3, not in level 2.
    assert_eq!(make(|p| p.steps[2].inputs = vec![1]).err(), Some(BadContext::Step(2)));
    assert!(make(|p| p.steps[1].phase.kind = PhaseKind::Bcast).is_ok());
    let plain_in_two = make(|p| {
        p.steps[1].phase.kind = PhaseKind::Bcast;
        p.steps[2].inputs = vec![1];
    });
    assert!(plain_in_two.is_ok());
    // What is said in a level cannot be consumed in it.
    assert!(make(|p| p.steps[4].inputs = vec![2]).is_ok());
    assert_eq!(make(|p| p.steps[1].inputs = vec![0]).err(), Some(BadContext::Step(1)));
    assert_eq!(make(|p| p.steps[2].level = 1).err(), Some(BadContext::Step(2)));
    assert_eq!(make(|p| p.steps[4].inputs = vec![4]).err(), Some(BadContext::Step(4)));
    assert_eq!(make(|p| p.steps[3].inputs = vec![2, 1]).err(), Some(BadContext::Step(3)));
    assert_eq!(make(|p| p.steps[0].level = 0).err(), Some(BadContext::Step(0)));
    assert_eq!(make(|p| p.steps[3].index = 4).err(), Some(BadContext::Step(4)));
}

#[test]
fn an_act_has_a_hard_deadline_and_a_publication_has_none() {
    let of = |publish: bool, hard_deadline_ms| {
        let plan = plan(3);
        let header = dvm_core::run::RunHeader { hard_deadline_ms, ..header(&plan, publish) };
        Ctx::new(node(0), header, plan, keys(3)).err()
    };
    assert_eq!(of(false, 1), None);
    assert_eq!(of(false, 0), Some(BadContext::Deadline));
    assert_eq!(of(true, 0), None);
    assert_eq!(of(true, 1), Some(BadContext::Deadline));
}
