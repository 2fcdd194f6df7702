//! The OLE alone: what it gives, and who is told of what.

use std::ops::Range;

use k256::Scalar;

use super::harness::{Dealt, for_every_vole};
use crate::Secret;
use crate::dkls23::vole::{RECEIVE_BYTES, SEND_BYTES, VoleFault};
use crate::testing::rng;

for_every_vole!(
    products_are_shared_in_both_directions_and_for_every_input,
    every_changed_field_is_seen_by_its_reader,
    other_lengths_and_second_encodings_are_malformed,
    another_session_id_is_cheating,
    a_sealed_pair_comes_back_and_one_with_other_bytes_behind_it_does_not,
);

const SID: [u8; 32] = [6; 32];

/// χ, c, d.
type Shared = (Scalar, [Scalar; 2], [Scalar; 2]);

/// One run from one pair's halves, with a change of each message on its way: χ and what both ended with.
fn run<V: Dealt>(
    (receiver, sender): (&Secret<V::Pair>, &Secret<V::Pair>),
    input: &[Scalar; 2],
    change_received: impl FnOnce(&mut Vec<u8>),
    change_sent: impl FnOnce(&mut Vec<u8>),
) -> Result<Shared, (&'static str, VoleFault)> {
    let mut rng = rng(5);
    let (chi, kept, message) =
        receiver.expose(|pair| V::receive(pair, &SID, &mut rng)).ok().unwrap();
    let mut message = message.expose(Vec::clone);
    assert_eq!(message.len(), RECEIVE_BYTES);
    change_received(&mut message);
    let sent = sender.expose(|pair| V::send(pair, &SID, input, &message, &mut rng));
    let (c, message) = sent.map_err(|fault| ("sender", fault))?;
    let mut message = message.expose(Vec::clone);
    assert_eq!(message.len(), SEND_BYTES);
    change_sent(&mut message);
    let d = receiver.expose(|pair| V::complete(pair, &SID, kept, &message));
    let d = d.map_err(|fault| ("receiver", fault))?;
    Ok((chi.expose(|chi| *chi), c.expose(|c| *c), d.expose(|d| *d)))
}

fn inputs() -> [Scalar; 2] {
    [Scalar::from(5u64), -Scalar::from(7u64)]
}

fn products_are_shared_in_both_directions_and_for_every_input<V: Dealt>() {
    let (one, other) = V::ends(&mut rng(1));
    let edges = [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(3u64)];
    for (receiver, sender) in [(&one, &other), (&other, &one)] {
        for first in edges {
            for second in edges {
                let input = [first, second];
                let (chi, c, d) = run::<V>((receiver, sender), &input, |_| (), |_| ()).unwrap();
                assert_eq!([c[0] + d[0], c[1] + d[1]], [chi * first, chi * second]);
                assert_ne!(chi, Scalar::ZERO);
            }
        }
    }
}

/// Both messages' fields: nonce, u, x, t; tau's four rows, salt, hash of r, u, γ.
fn fields(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut at = 0;
    let mut range = |length: &usize| {
        at += length;
        at - length..at
    };
    lengths.iter().map(&mut range).collect()
}

fn every_changed_field_is_seen_by_its_reader<V: Dealt>() {
    let (one, other) = V::ends(&mut rng(1));
    let ends = (&one, &other);
    let change = |zero: bool, range: Range<usize>| {
        move |bytes: &mut Vec<u8>| {
            let field = &mut bytes[range];
            if zero { field.fill(0) } else { *field.last_mut().unwrap() ^= 1 }
        }
    };
    for zero in [false, true] {
        for (place, range) in fields(&[32, 256 * 78, 26, 256 * 26]).into_iter().enumerate() {
            let end = run::<V>(ends, &inputs(), change(zero, range), |_| ());
            match (place, zero, end) {
                // One bit of one column of u: the sender does not read it when its own choice bit there is 0; then
                // both hash other transcripts, and the receiver's check fails.
                (_, _, Err(("sender", VoleFault::Cheated))) => (),
                (1, false, Err(("receiver", VoleFault::Cheated))) => (),
                (_, _, end) => panic!("field {place}: {end:?}"),
            }
        }
        let lengths = [416 * 32, 416 * 32, 416 * 32, 416 * 32, 32, 32, 32, 32];
        for (place, range) in fields(&lengths).into_iter().enumerate() {
            let end = run::<V>(ends, &inputs(), |_| (), change(zero, range));
            assert_eq!(end, Err(("receiver", VoleFault::Cheated)), "field {place}");
        }
    }
}

fn other_lengths_and_second_encodings_are_malformed<V: Dealt>() {
    let (one, other) = V::ends(&mut rng(1));
    let ends = (&one, &other);
    let shorter = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1);
    let longer = |bytes: &mut Vec<u8>| bytes.push(0);
    let nothing = |bytes: &mut Vec<u8>| bytes.clear();
    for change in [shorter, longer, nothing] {
        let end = run::<V>(ends, &inputs(), change, |_| ());
        assert_eq!(end, Err(("sender", VoleFault::Malformed)));
        let end = run::<V>(ends, &inputs(), |_| (), change);
        assert_eq!(end, Err(("receiver", VoleFault::Malformed)));
    }
    // A scalar that is not below the order: the first of tau, the last of gamma.
    for place in [0, SEND_BYTES - 32] {
        let end = run::<V>(ends, &inputs(), |_| (), |bytes| bytes[place..place + 32].fill(0xff));
        assert_eq!(end, Err(("receiver", VoleFault::Malformed)));
    }
}

fn another_session_id_is_cheating<V: Dealt>() {
    let (one, other) = V::ends(&mut rng(1));
    let mut rng = rng(5);
    let begun = one.expose(|one| V::receive(one, &SID, &mut rng));
    let (_, kept, message) = begun.ok().unwrap();
    let message = message.expose(Vec::clone);
    let mut send = |sid| other.expose(|other| V::send(other, sid, &inputs(), &message, &mut rng));
    assert_eq!(send(&[7; 32]).err(), Some(VoleFault::Cheated));
    let (_, answer) = send(&SID).ok().unwrap();
    let answer = answer.expose(Vec::clone);
    let elsewhere = one.expose(|one| V::complete(one, &[7; 32], kept, &answer));
    assert_eq!(elsewhere.err(), Some(VoleFault::Cheated));
}

fn a_sealed_pair_comes_back_and_one_with_other_bytes_behind_it_does_not<V: Dealt>() {
    let (one, other) = V::ends(&mut rng(1));
    let sealed = one.expose(V::seal_bytes).ok().unwrap().expose(Vec::clone);
    let one = V::unseal(&sealed).ok().unwrap();
    assert!(run::<V>((&one, &other), &inputs(), |_| (), |_| ()).is_ok());
    for bytes in [&sealed[..sealed.len() - 1], &[&sealed[..], &[0]].concat(), &[]] {
        assert!(V::unseal(bytes).is_err());
    }
}
