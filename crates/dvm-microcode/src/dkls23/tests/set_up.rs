//! The set-up of pairs, honest and attacked.

use std::collections::BTreeMap;

use super::harness::{Cluster, Dealt, Plan, for_every_vole};
use crate::dkls23::pair::{
    self, Offered, PAIR_CONFIRM_BYTES, PAIR_OFFER_BYTES, PAIR_OPEN_BYTES, PairOf,
};
use crate::dkls23::vole::{CHOICE_PROOF_BYTES, OFFER_BYTES, PairPlace, Vole};
use crate::testing::{name, party, rng, session, sid};
use crate::{Fault, Offence, Rule, Secp256k1, Secret, SecretMessages};

for_every_vole!(
    pairs_that_were_set_up_sign,
    every_changed_field_of_a_set_up_names_its_sender,
    messages_of_another_length_name_their_sender,
    digest_of_another_set_up_names_its_sender,
    a_sealed_set_up_comes_back_in_its_own_place_only,
);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Offer,
    Open,
    Confirm,
}

type Made<V> = BTreeMap<String, Result<BTreeMap<String, PairOf<V>>, Fault>>;
type Tamper<'a> = &'a dyn Fn(Step, &str, &str, &mut Vec<u8>);

fn deliver(
    step: Step,
    sent: Vec<(String, SecretMessages)>,
    tamper: Tamper,
) -> BTreeMap<String, SecretMessages> {
    let mut inboxes = BTreeMap::<String, SecretMessages>::new();
    for (from, messages) in sent {
        for (to, message) in messages {
            let mut bytes = message.expose(Vec::clone);
            tamper(step, &from, &to, &mut bytes);
            inboxes.entry(to).or_default().insert(from.clone(), Secret::new(bytes));
        }
    }
    inboxes
}

/// The whole set-up of n parties; the first level at which somebody fails is the last.
fn set_up<V: Vole>(n: u16, tamper: Tamper) -> Made<V> {
    let mut rng = rng(2);
    let (mut states, mut sent) = (Vec::new(), Vec::new());
    for node in (1..=n).map(name) {
        let session = session::<Secp256k1>(n, n, 1, &node);
        let (state, messages): (Offered<V>, _) = pair::offer(&session, &mut rng).ok().unwrap();
        states.push((node.clone(), state));
        sent.push((node, messages));
    }
    let mut inboxes = deliver(Step::Offer, sent, tamper);
    let (mut made, mut opened, mut sent) = (Made::<V>::new(), Vec::new(), Vec::new());
    for (node, state) in states {
        match pair::open(state, inboxes.remove(&node).unwrap()) {
            Ok((state, messages)) => {
                opened.push((node.clone(), state));
                sent.push((node, messages));
            }
            Err(fault) => drop(made.insert(node, Err(fault))),
        }
    }
    if !made.is_empty() {
        return made;
    }
    let inboxes = deliver(Step::Open, sent, tamper);
    let (mut finished, mut sent) = (Vec::new(), Vec::new());
    for (node, state) in opened {
        match pair::finish(state, &inboxes[&node]) {
            Ok((state, messages)) => {
                finished.push((node.clone(), state));
                sent.push((node, messages));
            }
            Err(fault) => drop(made.insert(node, Err(fault))),
        }
    }
    if !made.is_empty() {
        return made;
    }
    let inboxes = deliver(Step::Confirm, sent, tamper);
    let agree = |(node, state)| {
        let agreed = pair::agree(state, &inboxes[&node]);
        (node, agreed)
    };
    finished.into_iter().map(agree).collect()
}

fn pairs_that_were_set_up_sign<V: Dealt>() {
    let made = set_up::<V>(3, &|_, _, _, _| ());
    let pairs: BTreeMap<_, _> =
        made.into_iter().map(|(node, pairs)| (node, pairs.ok().unwrap())).collect();
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        let (left, right) = (&pairs[&name(one)][&name(other)], &pairs[&name(other)][&name(one)]);
        assert_eq!(left.setup_digest(), right.setup_digest());
    }
    let digests: std::collections::BTreeSet<_> =
        pairs.values().flat_map(BTreeMap::values).map(|pair| *pair.setup_digest()).collect();
    assert_eq!(digests.len(), 3);
    let cluster = Cluster::<V> { pairs, ..Cluster::new(3, 3) };
    cluster.sign_honestly(&Plan::of(&[1, 2, 3]), &[4; 32], 1);
}

fn every_changed_field_of_a_set_up_names_its_sender<V: Dealt>() {
    let z = 0;
    let (commitment, challenge) = (33, 33 + 64 * 33);
    let gadget_nonce = challenge + 64 * 36;
    let seed = gadget_nonce + 32;
    let proof = seed + 32 + 200 * CHOICE_PROOF_BYTES;
    let offer = [
        ("z", z + 32),
        ("a commitment of its proof", commitment + 33 * 5 + 32),
        ("a challenge of its proof", challenge + 36 * 5),
        ("a response of its proof", challenge + 36 * 5 + 35),
        ("seed", seed),
        ("v", proof + 32),
        ("u", proof + 33 + 32),
        ("a commitment for 0", proof + 2 * 33 + 32),
        ("a commitment for 1", proof + 5 * 33 + 32),
        ("the response for 0", proof + 6 * 33 + 31),
        ("the response for 1", proof + 6 * 33 + 63),
        ("the challenge for 0", proof + 6 * 33 + 95),
        ("the challenge for 1", proof + 6 * 33 + 127),
        ("the commitment to the zero seed", OFFER_BYTES),
    ];
    let places = offer.map(|(what, place)| (Step::Offer, what, place));
    let open = [(Step::Open, "zero seed", 0), (Step::Open, "its salt", 32)];
    let named = Fault::Blame { culprits: vec![party(1)], what: Offence::PairSetup };
    for (step, what, place) in places.into_iter().chain(open) {
        let made = set_up::<V>(2, &|at, from, _, bytes| {
            if at == step && from == name(1) {
                bytes[place] ^= 1;
            }
        });
        assert_eq!(made[&name(2)].as_ref().err(), Some(&named), "{what}");
    }
    // The gadget's nonce is the sender's to choose and proves nothing: what both hold differs, and that is seen.
    let made = set_up::<V>(2, &|at, from, _, bytes| {
        if at == Step::Offer && from == name(1) {
            bytes[gadget_nonce + 31] ^= 1;
        }
    });
    for (node, other) in [(1, 2), (2, 1)] {
        let fault = made[&name(node)].as_ref().err().cloned();
        let named = Fault::Blame { culprits: vec![party(other)], what: Offence::PairSetup };
        assert_eq!(fault, Some(named));
    }
}

fn messages_of_another_length_name_their_sender<V: Dealt>() {
    let named = Fault::Blame { culprits: vec![party(1)], what: Offence::PairSetup };
    let lengths = [
        (Step::Offer, PAIR_OFFER_BYTES),
        (Step::Open, PAIR_OPEN_BYTES),
        (Step::Confirm, PAIR_CONFIRM_BYTES),
    ];
    for (step, length) in lengths {
        for other in [0, length - 1, length + 1] {
            let made = set_up::<V>(2, &|at, from, _, bytes| {
                if at == step && from == name(1) {
                    assert_eq!(bytes.len(), length);
                    bytes.resize(other, 0);
                }
            });
            assert_eq!(made[&name(2)].as_ref().err(), Some(&named), "{step:?}: {other}");
        }
    }
}

fn digest_of_another_set_up_names_its_sender<V: Dealt>() {
    let made = set_up::<V>(3, &|at, from, to, bytes| {
        if at == Step::Confirm && from == name(1) && to == name(2) {
            bytes[0] ^= 1;
        }
    });
    let end = |node| made[&name(node)].as_ref().err().cloned();
    let named = Fault::Blame { culprits: vec![party(1)], what: Offence::PairSetup };
    assert_eq!(end(2), Some(named));
    assert_eq!((end(1), end(3)), (None, None));
}

fn a_sealed_set_up_comes_back_in_its_own_place_only<V: Dealt>() {
    let cluster = Cluster::<V>::new(2, 2);
    let pair = &cluster.pairs[&name(1)][&name(2)];
    let (one, two, three, here, there) = (name(1), name(2), name(3), sid(1), sid(2));
    let at = PairPlace { sid: &here, me: &one, peer: &two };
    let sealed = pair.seal_bytes(&at).ok().unwrap().expose(Vec::clone);
    let in_place = pair.seal_bytes(&at).ok().unwrap();
    assert!(in_place.expose(|bytes| bytes.capacity() == bytes.len()), "one buffer, which is wiped");
    let again = PairOf::<V>::unseal(&sealed, &at).ok().unwrap();
    assert_eq!(again.setup_digest(), pair.setup_digest());

    let elsewhere = [
        PairPlace { sid: &there, ..at },
        PairPlace { me: &three, ..at },
        PairPlace { peer: &three, ..at },
        PairPlace { me: &two, peer: &one, ..at },
    ];
    for place in elsewhere {
        let refused = PairOf::<V>::unseal(&sealed, &place).err();
        assert_eq!(refused, Some(Rule::MalformedPairSetup));
    }
    for bytes in [&sealed[..sealed.len() - 1], &[&sealed[..], &[0]].concat(), &[]] {
        assert!(PairOf::<V>::unseal(bytes, &at).is_err());
    }
    let cluster = Cluster::<V> {
        keys: cluster.keys,
        pairs: cluster.pairs.into_iter().map(|(me, pairs)| (me, resealed(pairs, &here))).collect(),
    };
    cluster.sign_honestly(&Plan::of(&[1, 2]), &[4; 32], 1);
}

/// Every pair once through its sealed form.
fn resealed<V: Vole>(
    pairs: BTreeMap<String, PairOf<V>>,
    sid: &[u8; 32],
) -> BTreeMap<String, PairOf<V>> {
    let through = |(peer, pair): (String, PairOf<V>)| {
        let at = PairPlace { sid, me: "me", peer: &peer };
        let sealed = pair.seal_bytes(&at).ok().unwrap();
        let pair = sealed.expose(|bytes| PairOf::unseal(bytes, &at)).ok().unwrap();
        (peer, pair)
    };
    pairs.into_iter().map(through).collect()
}
