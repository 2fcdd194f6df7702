//! Key generation with a liar in it: every word of every round.

use std::collections::BTreeMap;

use dvm_core::frame::Outgoing;
use dvm_core::{Bytes, NodeId, ReasonCode};
use dvm_microcode::Ed25519;
use dvm_score::MicroOp;

use crate::harness::id;
use crate::liar::{self, Heard, LIAR, Word};

type Generation = liar::Generation<Ed25519>;

/// The bytes in front of a package's coefficients: a version, the suite, and how many follow.
const HEAD: usize = 6;
/// The point (0, 1), and y = p + 1, a second way to write it.
const IDENTITY: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
};
const IDENTITY_AGAIN: [u8; 32] = {
    let mut bytes = [0xff; 32];
    bytes[0] = 0xee;
    bytes[31] = 0x7f;
    bytes
};

fn both(heard: fn() -> Heard) -> BTreeMap<NodeId, Heard> {
    BTreeMap::from([(id("n1"), heard()), (id("n3"), heard())])
}

fn liar_named() -> Heard {
    Heard::Failed(ReasonCode::PayloadRejected, Some(id(LIAR)))
}

fn on(op: MicroOp, change: impl Fn(&mut Vec<u8>)) -> impl FnMut(&mut Word) {
    move |word| {
        if word.op == op {
            change(&mut word.bytes);
        }
    }
}

/// What becomes of a generation in which the liar commits to this package, and opens it.
fn committed_to(make: impl Fn(&Generation) -> Vec<u8>) -> (u16, BTreeMap<NodeId, Heard>) {
    let mut generation = Generation::started();
    let package = make(&generation);
    let h = generation.commit_to(&package);
    let opening = generation.opening.clone();
    generation.run(|word| match word.op {
        MicroOp::DkgCommit => word.bytes = h.to_vec(),
        MicroOp::DkgOpen => word.bytes.clone_from(&opening),
        _ => (),
    })
}

#[test]
fn liar_that_tells_no_lie_is_taken_for_a_kernel() {
    assert_eq!(Generation::started().run(|_| ()), (8, both(|| Heard::On)));
    // Its package is taken under another blinding, too; the transcript is another one then.
    let end = (7, both(|| Heard::Failed(ReasonCode::PayloadRejected, None)));
    assert_eq!(committed_to(|g| g.package(2)), end);
}

#[test]
fn commitment_vectors_of_any_length_but_t_name_their_sender() {
    let cut = |package: &mut Vec<u8>, kept: usize| {
        package.drain(HEAD + 32 * kept..HEAD + 64);
        package[HEAD - 1] = kept as u8;
    };
    let of_length = |length: usize| {
        committed_to(|g| match length {
            0 | 1 => {
                let mut package = g.package(2);
                cut(&mut package, length);
                package
            }
            _ => g.package(3),
        })
    };
    for length in [0, 1, 3] {
        assert_eq!(of_length(length), (4, both(liar_named)), "{length} coefficients");
    }
}

#[test]
fn identity_and_second_encodings_in_a_package_name_their_sender() {
    let with_point = |point: [u8; 32], at: usize| {
        committed_to(|g| {
            let mut package = g.package(2);
            package[HEAD + 32 * at..HEAD + 32 * (at + 1)].copy_from_slice(&point);
            package
        })
    };
    for at in [0, 1] {
        assert_eq!(with_point(IDENTITY, at), (4, both(liar_named)));
        assert_eq!(with_point(IDENTITY_AGAIN, at), (4, both(liar_named)));
    }
    let trailing = committed_to(|g| [g.package(2), vec![0]].concat());
    assert_eq!(trailing, (4, both(liar_named)));
    let truncated = committed_to(|g| g.package(2)[1..].to_vec());
    assert_eq!(truncated, (4, both(liar_named)));
}

#[test]
fn package_of_an_earlier_generation_names_its_sender() {
    let earlier = Generation::started();
    let old = earlier.package(2);
    let mut generation = earlier.again();
    let h = generation.commit_to(&old);
    let opening = generation.opening.clone();
    let end = generation.run(|word| match word.op {
        MicroOp::DkgCommit => word.bytes = h.to_vec(),
        MicroOp::DkgOpen => word.bytes.clone_from(&opening),
        _ => (),
    });
    assert_eq!(end, (4, both(liar_named)));
}

#[test]
fn opening_of_something_else_than_was_committed_names_its_sender() {
    // A rushing party would open what suits it once it knows what the others say.
    let generation = Generation::started();
    let late = [vec![5; 32], generation.package(2)].concat();
    let end = generation.run(on(MicroOp::DkgOpen, |bytes| bytes.clone_from(&late)));
    assert_eq!(end, (4, both(liar_named)));
}

#[test]
fn mirrored_commitment_names_the_mirror() {
    // The liar waits for n1's commitment and repeats it, then for n1's opening: its part would be n1's once more.
    let mut generation = Generation::started();
    let seen = generation.first_word();
    let h = seen.frames[0].broadcast.payloads[0].to_vec();
    let repeat = |bytes: Vec<u8>, op| on(op, move |said| said.clone_from(&bytes));
    let heard = generation.rushed(Some(seen), &mut repeat(h, MicroOp::DkgCommit));
    assert_eq!(heard, both(|| Heard::On));
    generation.round(&mut |_| ());
    let seen = generation.first_word();
    let to_liar = seen.frames.iter().find(|f| f.to == id(LIAR)).unwrap();
    let opening = generation.unsealed_from(to_liar, MicroOp::DkgOpen);
    let heard = generation.rushed(Some(seen), &mut repeat(opening, MicroOp::DkgOpen));
    assert_eq!(heard, both(|| Heard::On));
    assert_eq!(generation.round_without_words(), both(liar_named));
}

#[test]
fn bad_share_names_its_sender_at_its_victim_and_nobody_elsewhere() {
    let cases: [fn(&mut Vec<u8>); 4] = [
        |share| share[16] ^= 1,
        |share| share.fill(0),
        |share| share.fill(0xff),
        |share| share.truncate(31),
    ];
    for change in cases {
        let end = Generation::started().run(|word| {
            if word.op == MicroOp::DkgShare && word.to == Some(id("n1")) {
                change(&mut word.bytes);
            }
        });
        let heard = BTreeMap::from([(id("n1"), liar_named()), (id("n3"), Heard::On)]);
        assert_eq!(end, (5, heard));
    }
}

#[test]
fn ciphertext_redirected_or_replaced_names_its_sender() {
    for redirected in [true, false] {
        let mut generation = Generation::started();
        while generation.course.level < 3 {
            generation.round(&mut |_| ());
        }
        // What was sealed to n3 goes to n1, under the liar's own signature.
        let for_n3 = generation.sealed(MicroOp::DkgShare, "n3", &[1; 32]);
        let said = if redirected { for_n3 } else { Bytes(vec![1; 80]) };
        let genuine = generation.genuine();
        let step = genuine[0].private.leaf.parts[0].step;
        let private = BTreeMap::from([
            (id("n1"), vec![(step, said)]),
            (id("n3"), vec![(step, genuine[1].private.payloads[0].clone())]),
        ]);
        let outgoing = Outgoing { broadcast: Vec::new(), private };
        let told = generation.instead(&genuine[0], outgoing);
        assert_eq!(generation.told(None, told), both(|| Heard::On));
        let expected = BTreeMap::from([(id("n1"), liar_named()), (id("n3"), Heard::On)]);
        assert_eq!(generation.round_without_words(), expected);
    }
}

#[test]
fn other_transcript_told_to_all_stops_everybody_and_names_nobody() {
    let end = Generation::started().run(on(MicroOp::DkgConfirm, |bytes| bytes[0] ^= 1));
    assert_eq!(end, (7, both(|| Heard::Failed(ReasonCode::PayloadRejected, None))));
}

#[test]
fn bad_probe_commitment_or_probe_share_names_its_sender() {
    for point in [IDENTITY, IDENTITY_AGAIN, [0xff; 32]] {
        let (level, heard) = Generation::started().run(on(MicroOp::ProbeCommit, |bytes| {
            bytes[..32].copy_from_slice(&point);
        }));
        // n3 does not probe: it would meet the commitment one level later.
        let expected = BTreeMap::from([(id("n1"), liar_named()), (id("n3"), Heard::On)]);
        assert_eq!((level, heard), (7, expected));
    }
    let changes: [fn(&mut Vec<u8>); 3] =
        [|share| share[8] ^= 1, |share| share.fill(0xff), |share| share.truncate(1)];
    for change in changes {
        let end = Generation::started().run(on(MicroOp::ProbeSign, change));
        assert_eq!(end, (8, both(liar_named)));
    }
}

/// Two stories in one level: n1 hears the first, n3 the second. In which level each of them refuses to go on.
fn told_twice(level: u16, op: Option<MicroOp>) -> (u16, BTreeMap<NodeId, Heard>) {
    let mut generation = Generation::started();
    while generation.course.level + 1 < level {
        assert!(generation.round(&mut |_| ()).values().all(|h| *h == Heard::On));
    }
    let first = generation.genuine();
    let private = first.iter().map(|f| (f.to.clone(), f.private.leaf.parts.clone()));
    let private = private.zip(&first).map(|((to, parts), frame)| {
        let said = parts.iter().map(|p| p.step).zip(frame.private.payloads.clone());
        (to, said.collect())
    });
    let index = generation.course.plan.steps.iter().find(|s| Some(s.op) == op).map(|s| s.index);
    let broadcast = &first[0].broadcast;
    let said =
        broadcast.leaf.parts.iter().zip(broadcast.payloads.clone()).map(|(part, mut bytes)| {
            if Some(part.step) == index {
                bytes.0[0] ^= 1;
            }
            (part.step, bytes)
        });
    let outgoing = Outgoing { broadcast: said.collect(), private: private.collect() };
    let second = generation.instead(&first[0], outgoing);
    generation.own_story(&first[0]);
    generation.told(None, vec![first[0].clone(), second[1].clone()]);
    loop {
        let heard = generation.round_without_words();
        if heard.values().any(|h| *h != Heard::On) {
            return (generation.course.level, heard);
        }
    }
}

#[test]
fn two_stories_in_any_level_of_a_generation_stop_it_before_the_next_but_one() {
    let ops = [(1, Some(MicroOp::DkgCommit)), (2, None), (3, None), (4, None)].into_iter().chain([
        (5, Some(MicroOp::DkgConfirm)),
        (5, Some(MicroOp::ProbeCommit)),
        (6, None),
    ]);
    for (level, op) in ops {
        let end = told_twice(level, op);
        // The level after carries the odd view; the level after that hears it.
        assert_eq!(end, (level + 2, both(|| Heard::Refused(ReasonCode::Equivocation))), "{op:?}");
    }
}
