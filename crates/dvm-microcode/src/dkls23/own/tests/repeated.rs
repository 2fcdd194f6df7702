//! A random source that repeats itself: one state in two runs, as on a machine that was copied.

use k256::elliptic_curve::Field;
use rand_core::RngCore;
use zeroize::Zeroizing;

use super::*;
use crate::dkls23::own::multiply::Weights;

const OTHER: [u8; 32] = [0x52; 32];

/// As a library draws that takes its pads as they come from its generator.
fn unhedged() -> Blinds {
    let mut rng = rng(70);
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    Blinds { salt, scalars: Zeroizing::new(std::array::from_fn(|_| Scalar::random(&mut rng))) }
}

/// What the receiver saw of one run: weights, u and γ of the first input.
struct Seen {
    weights: [Scalar; 2],
    u: Scalar,
    gamma: Scalar,
}

fn answered(sid: &[u8; 32], draw: impl FnOnce(&Pair, &[u8; 32]) -> Blinds) -> Seen {
    let Ends { a, b } = ends();
    let (_, _, message) = a.expose(|pair| OwnVole::receive(pair, sid, &mut rng(71))).unwrap();
    let message = message.expose(|message| FromReceiver::read(message)).unwrap();
    let received = multiply::digest_of(sid, &message);
    let (_, answer, consistent) = b.expose(|pair| {
        let drawn = draw(pair, &received);
        multiply::send(&pair.sending, sid, (&message, &received), &input(1), drawn)
    });
    assert!(bool::from(consistent));
    let weights = Weights::of(sid, &received, &answer);
    let [of_pad, _] = weights.of_pads;
    let [of_check, _] = weights.of_checks;
    Seen { weights: [of_pad, of_check], u: answer.u[0], gamma: answer.gamma[0] }
}

/// Solves u = χ̃ã + χ̂â of two runs for ã, as if both had one ã and one â.
fn guess(first: &Seen, second: &Seen) -> Scalar {
    let [[p, q], [r, s]] = [first.weights, second.weights];
    let determinant = p * s - q * r;
    let pad = (first.u * s - second.u * q) * determinant.invert().unwrap();
    first.gamma + pad
}

#[test]
fn two_answers_under_one_random_source_do_not_give_the_input_away() {
    let hedged = |sid: &'static [u8; 32]| {
        answered(sid, move |pair, received| {
            Blinds::draw(&mut sending(pair, sid, &input(1), received, &mut rng(70)))
        })
    };
    let [secret, _] = input(1);
    assert_ne!(guess(&hedged(&SID), &hedged(&OTHER)), secret);
    // The control: with pads that the source alone determines, the same two equations give it away.
    assert_eq!(
        guess(&answered(&SID, |_, _| unhedged()), &answered(&OTHER, |_, _| unhedged())),
        secret
    );
}

#[test]
fn the_senders_values_differ_with_session_input_and_message_and_with_nothing_else() {
    let Ends { a, b } = ends();
    let drawn = |sid: &[u8; 32], message: u64, input: &[Scalar; 2]| {
        let received = a.expose(|pair| OwnVole::receive(pair, sid, &mut rng(message))).unwrap().2;
        let sent = received.expose(|received| {
            b.expose(|pair| OwnVole::send(pair, sid, input, received, &mut rng(72)))
        });
        sent.unwrap().1.expose(Vec::clone)
    };
    let shared = |one: &[u8], other: &[u8]| {
        one.as_chunks::<32>()
            .0
            .iter()
            .zip(other.as_chunks::<32>().0)
            .filter(|(a, b)| a == b)
            .count()
    };
    let base = drawn(&SID, 1, &input(1));
    assert_eq!(drawn(&SID, 1, &input(1)), base);
    for other in [drawn(&OTHER, 1, &input(1)), drawn(&SID, 2, &input(1)), drawn(&SID, 1, &input(2))]
    {
        assert_eq!(shared(&base, &other), 0, "a τ, the salt, the check, u or γ repeats");
    }
}

#[test]
fn the_receivers_values_differ_with_the_session_and_with_nothing_else() {
    let Ends { a, .. } = ends();
    let drawn = |sid| {
        let (chi, _, message) = a.expose(|pair| OwnVole::receive(pair, sid, &mut rng(73))).unwrap();
        (chi.expose(|chi| *chi), message.expose(|bytes| FromReceiver::read(bytes)).unwrap())
    };
    let ((chi, message), (other_chi, other)) = (drawn(&SID), drawn(&OTHER));
    assert_ne!(chi, other_chi);
    assert_ne!(message.nonce, other.nonce);
    assert!(message.u.iter().zip(other.u.iter()).all(|(one, other)| one != other));
    let (again_chi, again) = drawn(&SID);
    assert_eq!((again_chi, again.to_bytes()), (chi, message.to_bytes()));
}

#[test]
fn a_source_that_others_know_does_not_determine_the_values() {
    let pairs = [ends(), &set_up::<OwnVole, OwnVole>(2)];
    let [first, second] = pairs.map(|ends| {
        ends.a
            .expose(|pair| OwnVole::receive(pair, &SID, &mut rng(74)))
            .unwrap()
            .2
            .expose(|message| FromReceiver::read(message).unwrap().nonce)
    });
    assert_ne!(first, second, "two set-ups, one source, one session");
}
