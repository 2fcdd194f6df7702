use super::*;
use crate::op::{PhaseSpec, VM_VERSION};
use dvm_core::B32;
use proptest::prelude::*;

fn node(site: u16, kind: PhaseKind, len_max: u32, needs: &[usize]) -> Node {
    Node {
        site,
        position: 0,
        op: MicroOp::NonceCommit,
        phase: PhaseSpec { kind, len_max },
        effect: Effect::Reveal,
        exclusive: None,
        needs: needs.to_vec(),
    }
}

fn plan_of(nodes: &[Node], levels: &[u16]) -> Plan {
    Plan {
        score_id: B32::default(),
        backend: "test/1".into(),
        vm_version: VM_VERSION,
        participants: vec!["a".parse().unwrap(), "b".parse().unwrap()],
        steps: lay_out(nodes, levels),
    }
}

use PhaseKind::{Bcast, EchoBcast, Local, P2p};

#[test]
fn latency_is_two_after_an_echo_one_after_a_message_and_none_after_local_work() {
    for (kind, next) in [(Local, 1), (P2p, 2), (Bcast, 2), (EchoBcast, 3)] {
        let nodes = [node(0, kind, 1, &[]), node(1, Bcast, 1, &[0])];
        assert_eq!(levels(&nodes, 10).unwrap(), [1, next]);
    }
}

#[test]
fn a_frame_over_its_cap_moves_its_highest_steps_and_what_reads_them() {
    let nodes = [
        node(0, Bcast, 40, &[]),
        node(2, P2p, 40, &[]),
        node(1, Bcast, 20, &[]),
        node(3, Bcast, 10, &[1]),
    ];
    assert_eq!(levels(&nodes, 100).unwrap(), [1, 1, 1, 2]);
    assert_eq!(levels(&nodes, 99).unwrap(), [1, 2, 1, 3]);
    assert_eq!(levels(&nodes, 40).unwrap(), [1, 3, 2, 4]);
    assert_eq!(levels(&nodes, 39), Err(PlanError::StepTooLarge));
}

#[test]
fn an_exclusive_resource_serves_one_step_a_level() {
    let mut nodes = [node(0, Bcast, 1, &[]), node(1, Bcast, 1, &[]), node(2, Bcast, 1, &[])];
    assert_eq!(levels(&nodes, 10).unwrap(), [1, 1, 1]);
    for held in &mut nodes {
        held.exclusive = Some(Exclusive::Gate);
    }
    assert_eq!(levels(&nodes, 10).unwrap(), [1, 2, 3]);
}

#[test]
fn what_consumes_waits_until_it_is_read_and_never_adds_a_level() {
    let mut nodes = [
        node(0, Bcast, 1, &[]),
        node(1, Bcast, 1, &[0]),
        node(2, Bcast, 1, &[1]),
        node(3, Bcast, 1, &[]),
        node(4, Bcast, 1, &[2, 3]),
    ];
    assert_eq!(levels(&nodes, 10).unwrap(), [1, 2, 3, 1, 4]);
    nodes[3].effect = Effect::Consume;
    assert_eq!(levels(&nodes, 10).unwrap(), [1, 2, 3, 3, 4]);
    // The cap leaves room for it one level earlier only.
    nodes[2].phase.len_max = 10;
    assert_eq!(levels(&nodes, 10).unwrap(), [1, 2, 3, 2, 4]);
}

#[test]
fn a_circle_and_a_need_that_does_not_exist_are_refused() {
    let circle = [node(0, Bcast, 1, &[1]), node(1, Bcast, 1, &[0])];
    assert_eq!(levels(&circle, 10), Err(PlanError::Cycle));
    assert_eq!(levels(&[node(0, Bcast, 1, &[1])], 10), Err(PlanError::Cycle));
    assert_eq!(levels(&[], 10), Err(PlanError::Steps));
}

#[test]
fn a_plan_has_64_levels_at_most() {
    let chain = |n: u16| -> Vec<Node> {
        let needs = |i: u16| if i == 0 { vec![] } else { vec![usize::from(i) - 1] };
        (0..n).map(|i| node(i, Bcast, 1, &needs(i))).collect()
    };
    assert_eq!(levels(&chain(LEVELS_MAX), 10).unwrap().last(), Some(&LEVELS_MAX));
    assert_eq!(levels(&chain(LEVELS_MAX + 1), 10), Err(PlanError::Levels));
}

#[test]
fn participants_are_2_to_16_sorted_and_distinct() {
    let named =
        |names: &[&str]| -> Vec<NodeId> { names.iter().map(|n| n.parse().unwrap()).collect() };
    assert_eq!(check_participants(&named(&["a", "b"])), Ok(()));
    for bad in [&["a"][..], &["b", "a"], &["a", "a"], &[]] {
        assert_eq!(check_participants(&named(bad)), Err(PlanError::Participants));
    }
    let many: Vec<NodeId> = (10..27).map(|i| format!("n{i}").parse().unwrap()).collect();
    assert_eq!(check_participants(&many[1..]), Ok(()));
    assert_eq!(check_participants(&many), Err(PlanError::Participants));
}

#[test]
fn a_plan_that_opens_without_grants_is_refused() {
    let mut nodes = [node(0, Bcast, 1, &[]), node(1, Bcast, 1, &[0])];
    nodes[1].op = MicroOp::OpenShare;
    let plan = plan_of(&nodes, &[1, 2]);
    assert_eq!(verify(&plan, 10), Err(PlanError::Ungranted { step: 1 }));
    nodes[0].op = MicroOp::GateGrant;
    assert_eq!(verify(&plan_of(&nodes, &[1, 2]), 10), Ok(()));
    assert!(matches!(verify(&plan_of(&nodes, &[1, 1]), 10), Err(PlanError::TooEarly { .. })));
}

#[test]
fn consuming_before_an_echo_broadcast_is_confirmed_is_refused() {
    // The echo at level 1 is not confirmed before level 3, however it is reached.
    let echo = node(0, EchoBcast, 1, &[]);
    let mut late = node(1, Bcast, 1, &[0]);
    late.effect = Effect::Consume;
    let plan = |level| plan_of(&[echo.clone(), late.clone()], &[1, level]);
    assert_eq!(verify(&plan(3), 10), Ok(()));
    assert!(verify(&plan(2), 10).is_err());
}

#[test]
fn a_frame_over_its_cap_is_refused_in_a_plan_made_elsewhere() {
    let plan = plan_of(&[node(0, Bcast, 5, &[]), node(1, P2p, 6, &[])], &[1, 1]);
    assert_eq!(verify(&plan, 11), Ok(()));
    assert_eq!(verify(&plan, 10), Err(PlanError::FrameTooLarge { level: 1 }));
}

fn arbitrary_nodes() -> impl Strategy<Value = Vec<Node>> {
    let one = (0..4_u8, 0..5_u8, 1..50_u32, any::<bool>(), any::<u64>(), 0..20_u8);
    proptest::collection::vec(one, 1..24).prop_map(|all| {
        let nodes = (0..).zip(all).map(|(i, (kind, effect, len, gate, needs, _))| {
            let kind = [Local, P2p, Bcast, EchoBcast][usize::from(kind)];
            // At most three needs, all before it.
            let needs: std::collections::BTreeSet<usize> = (0..3)
                .filter(|k| i > 0 && needs >> k & 1 == 1)
                .map(|k| (needs >> (8 * (k + 1))) as usize % usize::from(i))
                .collect();
            let mut node = node(i, kind, len, &needs.into_iter().collect::<Vec<_>>());
            node.effect =
                [Effect::Pure, Effect::Sample, Effect::Consume, Effect::Reveal, Effect::Publish]
                    [usize::from(effect)];
            node.exclusive = gate.then_some(Exclusive::Gate);
            node
        });
        nodes.collect()
    })
}

proptest! {
    #[test]
    fn a_random_graph_gets_a_plan_that_holds(nodes in arbitrary_nodes(), cap in 50..200_u32) {
        // Two dozen steps, one a level at worst with latency 2 each, fit the bound on levels.
        let levels = levels(&nodes, cap).unwrap();
        let plan = plan_of(&nodes, &levels);
        prop_assert_eq!(verify(&plan, cap), Ok(()));
        for (i, a) in nodes.iter().enumerate() {
            for (j, b) in nodes.iter().enumerate().skip(i + 1) {
                let both = a.exclusive.is_some() && b.exclusive.is_some();
                prop_assert!(!both || levels[i] != levels[j]);
            }
        }
    }

    #[test]
    fn without_caps_no_graph_has_a_shorter_plan(nodes in arbitrary_nodes()) {
        let free: Vec<Node> =
            nodes.into_iter().map(|n| Node { exclusive: None, ..n }).collect();
        // The longest path, computed another way.
        let mut path: Vec<u16> = Vec::new();
        for node in &free {
            let arrived =
                node.needs.iter().map(|i| path[*i] + free[*i].phase.kind.latency()).max();
            path.push(arrived.unwrap_or(1));
        }
        let found = levels(&free, u32::MAX).unwrap();
        prop_assert_eq!(found.iter().max(), path.iter().max());
    }

    #[test]
    fn a_random_plan_with_one_step_moved_down_is_refused(
        nodes in arbitrary_nodes(), at: u16,
    ) {
        // Only a step that nothing holds back may go lower.
        let hasty = |n| Node { exclusive: None, effect: Effect::Reveal, ..n };
        let nodes: Vec<Node> = nodes.into_iter().map(hasty).collect();
        let levels = levels(&nodes, 2_000).unwrap();
        let mut plan = plan_of(&nodes, &levels);
        let reading: Vec<usize> =
            (0..plan.steps.len()).filter(|i| !plan.steps[*i].inputs.is_empty()).collect();
        prop_assume!(!reading.is_empty());
        let at = reading[usize::from(at) % reading.len()];
        plan.steps[at].level -= 1;
        prop_assert!(verify(&plan, 2_000).is_err());
    }
}
