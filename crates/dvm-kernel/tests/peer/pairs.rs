//! The set-up of pairs beside a key with a liar in it: every word of every step.

use std::collections::BTreeMap;

use dvm_core::{NodeId, ReasonCode};
use dvm_microcode::Secp256k1;
use dvm_score::MicroOp;

use crate::harness::id;
use crate::liar::{Generation, Heard, LIAR, Word};

/// Parts of an offer: the proof of the base OT's sender, and the proofs of its receiver.
const SENDERS_PROOF: usize = 33 + 64 * 33;
const RECEIVERS_PROOFS: usize = 33 + 64 * (33 + 4 + 32) + 32 + 32;

fn liar_named() -> Heard {
    Heard::Failed(ReasonCode::PayloadRejected, Some(id(LIAR)))
}

fn each(n1: Heard, n3: Heard) -> BTreeMap<NodeId, Heard> {
    BTreeMap::from([(id("n1"), n1), (id("n3"), n3)])
}

fn run(lie: impl FnMut(&mut Word)) -> (u16, BTreeMap<NodeId, Heard>) {
    Generation::<Secp256k1>::started().run(lie)
}

/// The same lie to n1 alone.
fn to_n1(op: MicroOp, change: impl Fn(&mut Vec<u8>)) -> impl FnMut(&mut Word) {
    move |word| {
        if word.op == op && word.to == Some(id("n1")) {
            change(&mut word.bytes);
        }
    }
}

#[test]
fn liar_that_tells_no_lie_is_taken_for_a_kernel_that_makes_an_ecdsa_key() {
    assert_eq!(run(|_| ()), (8, each(Heard::On, Heard::On)));
}

#[test]
fn false_offer_names_its_sender_at_its_victim_and_nobody_elsewhere() {
    for at in [SENDERS_PROOF, RECEIVERS_PROOFS + 4 * 33, RECEIVERS_PROOFS - 1] {
        let end = run(to_n1(MicroOp::PairOffer, |offer| offer[at] ^= 1));
        assert_eq!(end, (3, each(liar_named(), Heard::On)), "byte {at}");
    }
}

#[test]
fn zero_seed_that_was_not_committed_to_names_its_sender() {
    for at in [0, 32] {
        let end = run(to_n1(MicroOp::PairOpen, |seed| seed[at] ^= 1));
        assert_eq!(end, (3, each(liar_named(), Heard::On)), "byte {at}");
    }
}

#[test]
fn word_of_a_pair_of_another_length_names_its_sender() {
    for (op, level) in [(MicroOp::PairOffer, 2), (MicroOp::PairOpen, 3), (MicroOp::PairConfirm, 4)]
    {
        for change in [|said: &mut Vec<u8>| said.truncate(said.len() - 1), Vec::clear] {
            assert_eq!(run(to_n1(op, change)), (level, each(liar_named(), Heard::On)), "{op:?}");
        }
    }
}

#[test]
fn digest_of_another_set_up_names_its_sender_and_freezes_no_key_generation() {
    let mut generation = Generation::<Secp256k1>::started();
    let before = generation.counted_by("n1");
    let end = generation.run_on(to_n1(MicroOp::PairConfirm, |digest| digest[0] ^= 1));
    assert_eq!(end, (4, each(liar_named(), Heard::On)));
    // What counts towards a freeze of key generation, nothing lifts: a failure that names nobody does.
    assert_eq!(generation.counted_by("n1"), before);
    let mut generation = Generation::<Secp256k1>::started();
    let lie = |word: &mut Word| {
        if word.op == MicroOp::DkgConfirm {
            word.bytes[0] ^= 1;
        }
    };
    generation.run_on(lie);
    assert_ne!(generation.counted_by("n1"), before);
}
