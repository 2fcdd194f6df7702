//! OT extension: 256 base OTs become 416 correlated rows, and the sender checks that one choice was used throughout.
//!
//! Source: Keller, Orsini, Scholl (eprint 2015/546, corrected version), figure 10, made non-interactive as DKLs23
//! (eprint 2023/765) tells: the check's weights are a hash of u. κ = 256, 416 OTs in two blocks of 208, 208 more to
//! blind the check.
//! Always true: afterwards row_j of the sender is row_j of the receiver ⊕ x_j·Δ, for each OT j and choice x_j, or the
//! sender refuses. A receiver that used another choice in column i passes if Δ_i = 0 and is caught if it is 1: it
//! learns that bit, unless it is caught.
//! Constant time: seeds, columns, choices and Δ are secret. Choices and Δ enter as masks; the check compares all of
//! its 256 × 208 bits before its one-bit outcome is looked at.

use k256::elliptic_curve::subtle::{Choice, ConstantTimeEq};

use super::field::{self, Element, from_digest, weigh};
use super::matrix::{self, Column, Columns, Row, Rows, bits, columns, times, transpose, xor};
use super::oracle::{Expansion, digest, tag};
use super::pair::Seeds;
use super::wire::FromReceiver;
use crate::dkls23::vole::{BASE_OTS, COLUMN_BYTES};

/// What a session id of the multiplication becomes one of the extension by, in dkls23-core's words.
const SESSION_PREFIX: &[u8] = b"OT Extension protocol";

/// The session id of one extension: the caller's, and the receiver's nonce.
pub(super) fn session(sid: &[u8; 32], nonce: &[u8; 32]) -> [u8; 32] {
    digest(tag::EXTENSION_SESSION, &[&[SESSION_PREFIX, sid].concat(), nonce])
}

/// The check's weights χ_1 and χ_2.
fn weights(session: &[u8; 32], u: &[[u8; COLUMN_BYTES]; BASE_OTS]) -> [Element; 2] {
    [b"chi1", b"chi2"]
        .map(|name| from_digest(&digest(tag::CONSISTENCY, &[session, name, u.as_flattened()])))
}

/// Figure 10, Extend, receiver: t_i = G(k_i^0) is kept, u_i = t_i ⊕ G(k_i^1) ⊕ x goes into the message.
pub(super) fn extend(
    session: &[u8; 32],
    seeds: &[Seeds; 2],
    choice: &Column,
    message: &mut FromReceiver,
) -> Columns {
    let mut expansion = Expansion::new(session);
    let mut t = columns();
    let [seeds0, seeds1] = seeds;
    let seeds = (0..).zip(seeds0.iter().zip(seeds1.iter()));
    for ((t, u), (i, (seed0, seed1))) in t.iter_mut().zip(message.u.iter_mut()).zip(seeds) {
        *t = expansion.column(i, seed0);
        *u = matrix::to_bytes(&xor(&xor(t, &expansion.column(i, seed1)), choice));
    }
    t
}

/// Figure 10, Check correlation, receiver: Σ χ x and Σ χ t_i go into the message.
pub(super) fn prove(
    session: &[u8; 32],
    choice: &Column,
    t: &[Column; BASE_OTS],
    message: &mut FromReceiver,
) {
    let weights = weights(session, &message.u);
    message.x = field::to_bytes(&weigh(choice, &weights));
    for (to, t) in message.t.iter_mut().zip(t) {
        *to = field::to_bytes(&weigh(t, &weights));
    }
}

/// Figure 10, sender: q_i = G(k_i^Δ) ⊕ Δ_i u_i, checked against Σ χ q_i = t_i ⊕ Δ_i x; then the rows of q, and whether the
/// check holds. It is for the caller to look at last: a sender that stops at it tells by its time that it did.
pub(super) fn correlate(
    session: &[u8; 32],
    correlation: &Row,
    seeds: &Seeds,
    message: &FromReceiver,
) -> (Rows, Choice) {
    let weights = weights(session, &message.u);
    let x = field::from_bytes(&message.x);
    let mut expansion = Expansion::new(session);
    let mut q = columns();
    let mut consistent = Choice::from(1);
    let said = message.u.iter().zip(message.t.iter());
    let own = (0..).zip(bits(correlation)).zip(seeds.iter());
    for ((q, (u, t)), ((i, bit), seed)) in q.iter_mut().zip(said).zip(own) {
        *q = xor(&expansion.column(i, seed), &times(bit, &matrix::from_bytes(u)));
        let expected = xor(&field::from_bytes(t), &times(bit, &x));
        consistent &= weigh(q, &weights).ct_eq(&expected);
    }
    (transpose(&q), consistent)
}
