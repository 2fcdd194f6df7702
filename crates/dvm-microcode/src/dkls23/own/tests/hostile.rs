//! Messages that were changed, and peers that deviate: refused by the right side, or without effect on the product.

use k256::elliptic_curve::PrimeField;
use zeroize::Zeroizing;

use super::*;
use crate::dkls23::own::matrix::{Column, bits};
use crate::dkls23::own::{extension, wire};
use crate::dkls23::vole::{BASE_OTS, COLUMN_BYTES, EXTENDED_OTS, PAYLOADS};

fn with(to_sender: impl FnOnce(&mut Vec<u8>), to_receiver: impl FnOnce(&mut Vec<u8>)) -> Outcome {
    let Ends { a, b } = ends();
    run::<OwnVole, OwnVole>((a, b), &input(1), to_sender, to_receiver)
}

#[test]
fn every_part_of_the_receivers_message_is_checked_by_the_sender() {
    let parts = [
        ("nonce", 0),
        ("first of u", 32),
        ("last of u", 32 + BASE_OTS * COLUMN_BYTES - 1),
        ("x", 32 + BASE_OTS * COLUMN_BYTES),
        ("first of t", 32 + BASE_OTS * COLUMN_BYTES + 26),
        ("last of t", RECEIVE_BYTES - 1),
    ];
    for (part, at) in parts {
        let outcome = with(|message| message[at] ^= 0x80, |_| ());
        assert_eq!(outcome, Outcome::SenderRefused(VoleFault::Cheated), "{part}");
    }
    for length in [0, 31, RECEIVE_BYTES - 1, RECEIVE_BYTES + 1] {
        let outcome = with(|message| message.resize(length, 0), |_| ());
        assert_eq!(outcome, Outcome::SenderRefused(VoleFault::Malformed), "{length} bytes");
    }
}

/// Where the parts of the sender's message begin.
const SALT: usize = PAYLOADS * EXTENDED_OTS * 32;
const CHECK: usize = SALT + 32;
const U: usize = CHECK + 32;
const GAMMA: usize = U + 64;

#[test]
fn every_part_of_the_senders_message_but_gamma_is_checked_by_the_receiver() {
    // Enough OTs that some of each payload have the choice 0, whose τ the receiver does not add.
    let taus = (0..PAYLOADS).flat_map(|payload| {
        (0..16).map(move |j| ("tau", (payload * EXTENDED_OTS + j * 26) * 32 + 31))
    });
    let rest = [("salt", SALT), ("check", CHECK + 7), ("u_0", U + 31), ("u_1", U + 63)];
    for (part, at) in taus.chain(rest) {
        let outcome = with(|_| (), |message| message[at] ^= 1);
        assert_eq!(outcome, Outcome::ReceiverRefused(VoleFault::Cheated), "{part} at {at}");
    }
    for length in [0, 31, SEND_BYTES - 1, SEND_BYTES + 1] {
        let outcome = with(|_| (), |message| message.resize(length, 0));
        assert_eq!(outcome, Outcome::ReceiverRefused(VoleFault::Malformed), "{length} bytes");
    }
}

#[test]
fn another_gamma_is_another_input_and_nothing_else() {
    for (k, at) in [GAMMA, GAMMA + 32].into_iter().enumerate() {
        let outcome = with(
            |_| (),
            |message| {
                let said: [u8; 32] = message[at..at + 32].try_into().unwrap();
                let more = wire::scalar(&said).unwrap() + Scalar::from(7u32);
                message[at..at + 32].copy_from_slice(&more.to_bytes());
            },
        );
        let mut shifted = input(1);
        shifted[k] += Scalar::from(7u32);
        assert_eq!(outcome, Outcome::Product(shifted));
    }
}

#[test]
fn a_scalar_that_is_not_below_the_order_is_malformed_wherever_it_is() {
    let minus_one = (-Scalar::ONE).to_repr();
    let mut order = minus_one;
    order[31] += 1;
    let last_tau = SALT - 32;
    for at in [0, 17 * 32, last_tau, U, U + 32, GAMMA, GAMMA + 32] {
        let place = |bytes: [u8; 32]| {
            with(|_| (), move |message| message[at..at + 32].copy_from_slice(&bytes))
        };
        let outcome = place(order.into());
        assert_eq!(outcome, Outcome::ReceiverRefused(VoleFault::Malformed), "at {at}");
        let outcome = place(minus_one.into());
        assert_ne!(outcome, Outcome::ReceiverRefused(VoleFault::Malformed), "at {at}");
    }
}

#[test]
fn messages_of_another_session_are_refused() {
    let Ends { a, b } = ends();
    let other = [0x52; 32];
    let mut rng = rng(5);
    let (_, kept, message) = a.expose(|pair| OwnVole::receive(pair, &SID, &mut rng)).unwrap();
    let message = message.expose(Vec::clone);
    let mut send = |sid| b.expose(|pair| OwnVole::send(pair, sid, &input(1), &message, &mut rng));
    assert_eq!(send(&other).err(), Some(VoleFault::Cheated));
    let (_, answer) = send(&SID).unwrap();
    let complete = |sid, kept| {
        answer.expose(|answer| a.expose(|pair| OwnVole::complete(pair, sid, kept, answer)))
    };
    assert_eq!(complete(&other, kept).err(), Some(VoleFault::Cheated));
    // The same random source gives the same message, and so a second state to try the true session with.
    let again = a.expose(|pair| OwnVole::receive(pair, &SID, &mut crate::testing::rng(5))).unwrap();
    assert!(complete(&SID, again.1).is_ok());
}

#[test]
fn an_answer_to_one_message_does_not_complete_another() {
    let Ends { a, b } = ends();
    let mut rng = rng(6);
    let mut receive = || a.expose(|pair| OwnVole::receive(pair, &SID, &mut rng)).unwrap();
    let ((_, _, first), (_, kept, _)) = (receive(), receive());
    let sent = first.expose(|first| {
        b.expose(|pair| OwnVole::send(pair, &SID, &input(1), first, &mut crate::testing::rng(7)))
    });
    let answer = sent.unwrap().1;
    let outcome =
        answer.expose(|answer| a.expose(|pair| OwnVole::complete(pair, &SID, kept, answer)));
    assert_eq!(outcome.err(), Some(VoleFault::Cheated));
}

/// A receiver that uses another choice in one column, and computes all the rest as it should.
fn with_another_choice_in(column: usize) -> Outcome {
    let Ends { a, b } = ends();
    let mut rng = rng(8);
    let input = input(1);
    let drawn = Choices::draw(&mut Hedged::new(&mut rng, &[b"test"]));
    let choice: Zeroizing<Column> = Zeroizing::new(*drawn.choice);
    let (mut kept, mut message) = a.expose(|pair| multiply::receive(&pair.receiving, &SID, drawn));
    message.u[column][3] ^= 0x10;
    let session = extension::session(&SID, &message.nonce);
    // The weights are those of the message that is sent, so only the sender's Δ can tell.
    let t = a.expose(|pair| {
        let mut unchanged = wire::FromReceiver::new(message.nonce);
        extension::extend(&session, &pair.receiving.seeds, &choice, &mut unchanged)
    });
    extension::prove(&session, &choice, &t, &mut message);
    kept.received = multiply::digest_of(&SID, &message);
    let bytes = message.to_bytes();
    let sent = b.expose(|pair| OwnVole::send(pair, &SID, &input, &bytes, &mut rng));
    let (c, answer) = match sent {
        Ok(sent) => sent,
        Err(fault) => return Outcome::SenderRefused(fault),
    };
    let chi = kept.chi();
    let completed = answer.expose(|answer| {
        a.expose(|pair| OwnVole::complete(pair, &SID, OneTime::new(kept), answer))
    });
    match completed {
        Ok(d) => {
            let inverse = chi.invert().unwrap();
            let [c, d] = [c.expose(|c| *c), d.expose(|d| *d)];
            Outcome::Product([(c[0] + d[0]) * inverse, (c[1] + d[1]) * inverse])
        }
        Err(fault) => Outcome::ReceiverRefused(fault),
    }
}

#[test]
fn a_selective_failure_is_caught_where_delta_is_1_and_changes_nothing_where_it_is_0() {
    let delta: Vec<u8> = ends().b.expose(|pair| {
        bits(pair.sending.correlation.as_ref()).map(|bit| bit.unwrap_u8()).collect()
    });
    let mut seen = [0; 2];
    for column in (0..BASE_OTS).step_by(16) {
        let expected = match delta[column] {
            0 => Outcome::Product(input(1)),
            _ => Outcome::SenderRefused(VoleFault::Cheated),
        };
        seen[usize::from(delta[column])] += 1;
        assert_eq!(with_another_choice_in(column), expected, "column {column}");
    }
    assert!(seen[0] > 0 && seen[1] > 0, "both were tried: {seen:?}");
}
