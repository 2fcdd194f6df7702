//! Signers that follow the protocol with false values, and callers that break its rules.

use k256::{ProjectivePoint, Scalar};

use super::harness::{Cluster, Dealt, Hooks, Hop, Plan, for_every_vole, honest};
use crate::dkls23::commit::Committed;
use crate::dkls23::{Terms, check, commit, multiply};
use crate::testing::{name, party, rng};
use crate::{Fault, Offence, Roster, Rule, Secret, SecretMessages, Unattributed};

for_every_vole!(
    a_nonce_other_than_the_one_multiplied_with_is_named,
    a_key_part_other_than_the_one_multiplied_with_is_named,
    a_false_key_part_used_throughout_is_named_by_one_and_by_nobody_of_more,
    all_cheaters_of_a_round_are_named_at_once,
    nobody_answers_before_every_message_is_there_and_its_own_unchanged,
    a_state_does_not_go_on_under_other_terms,
    a_pair_without_a_set_up_does_not_sign,
    zero_shares_add_up_to_zero_and_differ_per_item_and_run,
);

fn named(indices: &[u16]) -> Fault {
    let culprits = indices.iter().map(|index| party(*index)).collect();
    Fault::Blame { culprits, what: Offence::Multiplication }
}

/// A run in which node-1 changes what it multiplies with after it committed to its points.
fn with_other_inputs<V: Dealt>(change: fn(&mut [Scalar; 2])) -> Option<Fault> {
    let cluster = Cluster::<V>::new(2, 3);
    let lie = |state: &mut Committed<V>, me: &str| {
        if me == name(1) {
            state.change_own(|own| change(&mut own.input));
        }
    };
    let hooks = Hooks { tamper: &|_, _, _, _| (), lie: &lie };
    let ends = cluster.checked(&Plan::of(&[1, 2]), &hooks, 1).err()?;
    ends[&name(2)].clone().err()
}

fn a_nonce_other_than_the_one_multiplied_with_is_named<V: Dealt>() {
    assert_eq!(with_other_inputs::<V>(|_| ()), None);
    assert_eq!(with_other_inputs::<V>(|input| input[0] += Scalar::ONE), Some(named(&[1])));
}

fn a_key_part_other_than_the_one_multiplied_with_is_named<V: Dealt>() {
    assert_eq!(with_other_inputs::<V>(|input| input[1] += Scalar::ONE), Some(named(&[1])));
}

fn a_false_key_part_used_throughout_is_named_by_one_and_by_nobody_of_more<V: Dealt>() {
    let lie = |state: &mut Committed<V>, me: &str| {
        if me == name(1) {
            state.change_own(|own| own.input[1] += Scalar::ONE);
            let key = dvm_blame::ecdsa::point_from_bytes(&state.opening[33..66]).unwrap();
            let key = key + ProjectivePoint::GENERATOR;
            let key = dvm_blame::ecdsa::point_bytes(&key).unwrap();
            state.opening[33..66].copy_from_slice(&key);
        }
    };
    let hooks = Hooks { tamper: &|_, _, _, _| (), lie: &lie };
    let two = Cluster::<V>::new(2, 3).checked(&Plan::of(&[1, 2]), &hooks, 1).err().unwrap();
    let what = Offence::WrongKeyPoint;
    assert_eq!(two[&name(2)], Err(Fault::Blame { culprits: vec![party(1)], what }));
    let three = Cluster::<V>::new(3, 3).checked(&Plan::of(&[1, 2, 3]), &hooks, 1).err().unwrap();
    for node in [2, 3] {
        assert_eq!(three[&name(node)], Err(Unattributed::KeyPoints.into()));
    }
}

fn all_cheaters_of_a_round_are_named_at_once<V: Dealt>() {
    let cluster = Cluster::<V>::new(4, 4);
    let plan = Plan::of(&[1, 2, 3, 4]);
    // Places where the two rounds check: the extension's x in level 1, the multiplication's u in level 2.
    for (hop, place) in
        [(Hop::CommitMessage, 64 + 32 + 256 * 78), (Hop::MultiplyMessage, 53_570 - 70)]
    {
        let tamper = |at: Hop, from: &str, _: &str, bytes: &mut Vec<u8>| {
            if at == hop && (from == name(2) || from == name(4)) {
                bytes[place] ^= 1;
            }
        };
        let hooks = Hooks { tamper: &tamper, lie: &|_, _| () };
        let ends = cluster.checked(&plan, &hooks, 1).err().unwrap();
        assert_eq!(ends[&name(1)], Err(named(&[2, 4])), "{hop:?}");
        assert_eq!(ends[&name(3)], Err(named(&[2, 4])), "{hop:?}");
        assert_eq!(ends[&name(2)], Err(named(&[4])), "{hop:?}");
    }
}

type Coms = std::collections::BTreeMap<String, [u8; 32]>;

/// Level 1 of both signers: terms, states, commitments, and what each received.
#[expect(clippy::type_complexity, reason = "a test's bundle, taken apart where it is made")]
fn level_one<V: Dealt>(
    cluster: &Cluster<V>,
) -> (Vec<(Terms, Committed<V>)>, Coms, Vec<SecretMessages>) {
    let plan = Plan::of(&[1, 2]);
    let (mut states, mut coms, mut inboxes) = (Vec::new(), Coms::new(), Vec::new());
    for index in [1, 2] {
        let terms = cluster.terms(&plan, index);
        let pairs = cluster.pairs_of(&name(index));
        let (state, com, mut sent) =
            commit::<V>(&terms, 0, &pairs, &mut rng(u64::from(index))).ok().unwrap();
        states.push((terms, state));
        coms.insert(name(index), com);
        let message = sent.remove(&name(3 - index)).unwrap();
        inboxes.insert(0, SecretMessages::from([(name(index), message)]));
    }
    (states, coms, inboxes)
}

fn nobody_answers_before_every_message_is_there_and_its_own_unchanged<V: Dealt>() {
    let cluster = Cluster::<V>::new(2, 3);
    let pairs = cluster.pairs_of(&name(1));
    let answer = |change: &dyn Fn(&mut Coms, &mut SecretMessages)| {
        let (mut states, mut coms, mut inboxes) = level_one(&cluster);
        let (terms, state) = states.remove(0);
        change(&mut coms, &mut inboxes[0]);
        multiply(&terms, state, &pairs, (coms, &inboxes[0]), &mut rng(3)).err()
    };
    assert_eq!(answer(&|_, _| ()), None);
    assert_eq!(
        answer(&|coms, _| {
            coms.remove(&name(2));
        }),
        Some(Rule::MissingMessage(party(2)).into())
    );
    assert_eq!(
        answer(&|_, inbox| drop(inbox.remove(&name(2)))),
        Some(Rule::MissingMessage(party(2)).into())
    );
    assert_eq!(
        answer(&|coms, _| {
            coms.insert(name(3), [0; 32]);
        }),
        Some(Rule::UnexpectedMessage.into())
    );
    assert_eq!(
        answer(&|_, inbox| drop(inbox.insert(name(3), Secret::new(Vec::new())))),
        Some(Rule::UnexpectedMessage.into())
    );
    assert_eq!(
        answer(&|coms, _| {
            coms.insert(name(1), [0; 32]);
        }),
        Some(Rule::OwnMessageChanged.into())
    );
}

fn a_state_does_not_go_on_under_other_terms<V: Dealt>() {
    let cluster = Cluster::<V>::new(2, 3);
    let pairs = cluster.pairs_of(&name(1));
    let other = Plan { run_sid: [8; 32], ..Plan::of(&[1, 2]) };
    let other = cluster.terms(&other, 1);
    let (mut states, coms, inboxes) = level_one(&cluster);
    let (terms, state) = states.remove(0);
    let refused = multiply(&other, state, &pairs, (coms.clone(), &inboxes[0]), &mut rng(3));
    assert_eq!(refused.err(), Some(Rule::OtherSession.into()));

    let (mut states, ..) = level_one(&cluster);
    let (_, state) = states.remove(0);
    let answered = multiply(&terms, state, &pairs, (coms, &inboxes[0]), &mut rng(3));
    let (state, ..) = answered.ok().unwrap();
    let refused = check(&other, state, &pairs, (&Default::default(), &SecretMessages::new()));
    assert_eq!(refused.err(), Some(Rule::OtherSession.into()));
}

fn a_pair_without_a_set_up_does_not_sign<V: Dealt>() {
    let cluster = Cluster::<V>::new(2, 3);
    let terms = cluster.terms(&Plan::of(&[1, 2]), 1);
    let mut pairs = cluster.pairs_of(&name(1));
    pairs.remove(&name(3));
    assert!(commit::<V>(&terms, 0, &pairs, &mut rng(1)).is_ok());
    pairs.remove(&name(2));
    let refused = commit::<V>(&terms, 0, &pairs, &mut rng(1)).err();
    assert_eq!(refused, Some(Rule::NoPairSetup(party(2)).into()));

    // Signers that are not exactly t members of the key have no terms.
    let key = &cluster.keys[0];
    let derived = cluster.derived(&[]);
    let terms = |nodes: &[u16]| {
        let roster = Roster::new(nodes.iter().map(|index| name(*index))).unwrap();
        Terms::new([9; 32], key, roster, &derived).err()
    };
    assert_eq!(terms(&[1, 3]), None);
    assert_eq!(terms(&[1, 2, 3]), Some(Rule::SignerCount));
    assert_eq!(terms(&[2, 3]), Some(Rule::NotAMember));

    // Nor has a key derived from another one's point, though its own chain code leads there.
    let point = *cluster.derived(&[7]).public_key();
    let roster = Plan::of(&[1, 3]).roster();
    for (parent, refused) in
        [(&key.group().public_key()[..], None), (&point[..], Some(Rule::OtherSession))]
    {
        let derived = dvm_blame::bip32::derive(parent, &[5; 32], &[7]).unwrap();
        assert_eq!(Terms::new([9; 32], key, roster.clone(), &derived).err(), refused);
    }
}

fn zero_shares_add_up_to_zero_and_differ_per_item_and_run<V: Dealt>() {
    let cluster = Cluster::<V>::new(3, 5);
    let share = |run: u8, item: u16, index: u16| {
        let plan = Plan { run_sid: [run; 32], ..Plan::of(&[1, 2, 4]) };
        let terms = cluster.terms(&plan, index);
        let pairs = cluster.pairs_of(&name(index));
        crate::dkls23::zero_share::zero_share(&terms, item, &pairs).unwrap().expose(|zeta| *zeta)
    };
    let sum: Scalar = [1, 2, 4].into_iter().map(|index| share(9, 0, index)).sum();
    assert_eq!(sum, Scalar::ZERO);
    assert_ne!(share(9, 0, 1), Scalar::ZERO);
    assert_ne!(share(9, 0, 1), share(9, 1, 1));
    assert_ne!(share(9, 0, 1), share(8, 0, 1));
    assert!(cluster.checked(&Plan::of(&[1, 2, 4]), &honest(), 1).is_ok());
}
