//! From correlated rows to scalars: z of the sender and z' of the receiver with z + z' = x_j·ã for each OT j.
//!
//! Source: DKLs18 (eprint 2018/499), Protocol 9, Transfer; four payloads share the receiver's choices, as DKLs23
//! (eprint 2023/765) has it for a sender with two inputs.
//! Always true: a pad is the oracle of session, salt, OT, payload and row, so no two pads of anybody are of one
//! question, and a repeated salt under another session gives other pads.
//! Constant time: rows, pads, choices and the sender's scalars are secret. All are hashed, added and selected by
//! mask; both pads of an OT are made, whichever is the receiver's.

use k256::Scalar;
use k256::elliptic_curve::subtle::ConditionallySelectable;
use zeroize::Zeroizing;

use super::matrix::{Column, Row, Rows, bits, xor};
use super::oracle::Pads;
use super::wire::FromSender;
use crate::dkls23::vole::{EXTENDED_OTS, PAYLOADS};

/// A scalar for each payload and OT, where they are wiped and not moved.
pub(super) type Payloads = Box<Zeroizing<[[Scalar; EXTENDED_OTS]; PAYLOADS]>>;

/// Zeros.
pub(super) fn payloads() -> Payloads {
    Box::new(Zeroizing::new([[Scalar::ZERO; _]; _]))
}

/// Step 1, sender: z = H(q_j); τ = H(q_j ⊕ Δ) − H(q_j) + the payload's scalar goes into the message.
pub(super) fn send(
    mut pads: Pads,
    (rows, correlation): (&Rows, &Row),
    scalars: &[Scalar; PAYLOADS],
    message: &mut FromSender,
) -> Payloads {
    let mut z = payloads();
    let payloads = (0..).zip(scalars).zip(z.iter_mut().zip(message.tau.iter_mut()));
    for ((payload, scalar), (z, tau)) in payloads {
        for (((j, row), z), tau) in (0..).zip(rows.iter()).zip(z).zip(tau) {
            pads.at(j, payload);
            *z = pads.pad(row);
            *tau = (pads.pad(&xor(row, correlation)) - *z + scalar).to_bytes().into();
        }
    }
    z
}

/// Step 2, receiver: z' = x_j·τ − H(t_j).
pub(super) fn receive(mut pads: Pads, rows: &Rows, choice: &Column, mut tau: Payloads) -> Payloads {
    for (payload, tau) in (0..).zip(tau.iter_mut()) {
        for (((j, row), bit), z) in (0..).zip(rows.iter()).zip(bits(choice)).zip(tau) {
            pads.at(j, payload);
            *z = Scalar::conditional_select(&Scalar::ZERO, z, bit) - pads.pad(row);
        }
    }
    tau
}
