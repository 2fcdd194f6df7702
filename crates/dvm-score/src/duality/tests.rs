use super::*;
use crate::compile::{Run, compile};
use dvm_core::intent::{Act, Backend, Scope};
use proptest::prelude::*;

fn plan(parties: u16, publish: bool) -> Plan {
    let act = Act::KeyGenerate {
        key_id: "k".parse().unwrap(),
        backend: Backend::FrostEd25519,
        threshold: parties,
        roster: (0..parties).map(|i| format!("n{i:02}").parse().unwrap()).collect(),
    };
    let Act::KeyGenerate { roster, .. } = &act else { unreachable!() };
    let run = if publish { Run::Publish(Scope::Public) } else { Run::Act(None) };
    compile(&act, run, Backend::FrostEd25519, roster).unwrap().into_plan()
}

#[test]
fn a_message_that_nobody_reads_is_found() {
    let mut plan = plan(3, false);
    let open = plan.steps.iter().find(|s| s.op == crate::op::MicroOp::DkgOpen).unwrap().index;
    assert_eq!(check_plan(&plan), Ok(()));
    for step in &mut plan.steps {
        step.inputs.retain(|input| *input != open);
    }
    assert_eq!(check_plan(&plan).unwrap_err().0.step, open);
}

#[test]
fn a_peer_that_has_another_plan_is_found() {
    let plan = plan(3, false);
    let mut other = plan.clone();
    other.steps[1].phase.kind = PhaseKind::Bcast;
    let mut all: Vec<Projection> = plan.participants.iter().map(|me| project(&plan, me)).collect();
    assert_eq!(check(&all), Ok(()));
    all[1] = project(&other, &plan.participants[1]);
    assert!(check(&all).is_err());
}

proptest! {
    #[test]
    fn projections_with_one_message_lost_or_invented_are_refused(
        parties in 2..=16_u16, publish: bool, who: u16, which: u16, sends: bool,
    ) {
        let plan = plan(parties, publish);
        let mut all: Vec<Projection> =
            plan.participants.iter().map(|me| project(&plan, me)).collect();
        prop_assert_eq!(check(&all), Ok(()));
        let peer = &mut all[usize::from(who % parties)];
        let side = if sends { &mut peer.sends } else { &mut peer.receives };
        let nth = usize::from(which) % side.len();
        let passage = side.iter().nth(nth).unwrap().clone();
        side.remove(&passage);
        prop_assert_eq!(check(&all), Err(Undual(passage.clone())));
        let moved = Passage { level: passage.level + 1, ..passage };
        let peer = &mut all[usize::from(who % parties)];
        let side = if sends { &mut peer.sends } else { &mut peer.receives };
        side.insert(moved);
        prop_assert!(check(&all).is_err());
    }
}
