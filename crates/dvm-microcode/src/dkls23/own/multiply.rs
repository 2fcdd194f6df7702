//! The multiplication: a random χ of the receiver times two scalars of the sender, shared between them.
//!
//! Source: DKLs19 (eprint 2019/523), Protocol 1, with γ_B = 0 and ℓ = 1, once for each of the two inputs over the same OTs
//! (DKLs23, eprint 2023/765, sections 3 and 5.1: of the check's r only a hash is sent). Its step numbers are below.
//! Always true: c_k + d_k = χ·a_k for the inputs a that γ stands for, or somebody refused. The sender may say another γ,
//! which is to have another input; that it is the input it announced elsewhere is checked there, in the exponent.
//! Constant time: choices, χ, pads ã, check values â, inputs and outputs are secret: added, multiplied and selected by
//! k256's scalars, in constant time. The one comparison is of two hashes, whole.

use k256::Scalar;
use k256::elliptic_curve::subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use rand_core::RngCore;
use zeroize::{Zeroize, Zeroizing};

use super::extension;
use super::hedge::Hedged;
use super::matrix::{self, Column, Rows, bits, transpose};
use super::oracle::{self, Pads, digest, tag};
use super::pair::{Gadget, Receiving, Sending};
use super::sums::sum_of_products;
use super::transfer::{self, Payloads};
use super::wire::{FromReceiver, FromSender};
use crate::dkls23::vole::{COLUMN_BYTES, EXTENDED_OTS, PAYLOADS, VoleFault};

/// What the receiver draws.
pub(super) struct Choices {
    pub(super) nonce: [u8; 32],
    /// A bit for each OT, and 208 that blind the consistency check.
    pub(super) choice: Zeroizing<Column>,
}

impl Choices {
    pub(super) fn draw(rng: &mut Hedged) -> Self {
        let nonce = rng.bytes();
        let mut choice = Zeroizing::new([0; COLUMN_BYTES]);
        rng.fill_bytes(choice.as_mut());
        Self { nonce, choice: Zeroizing::new(matrix::from_bytes(&choice)) }
    }
}

/// What the sender draws.
pub(super) struct Blinds {
    pub(super) salt: [u8; 32],
    /// ã_0, ã_1, â_0, â_1.
    pub(super) scalars: Zeroizing<[Scalar; PAYLOADS]>,
}

impl Blinds {
    pub(super) fn draw(rng: &mut Hedged) -> Self {
        let salt = rng.bytes();
        Self { salt, scalars: Zeroizing::new(std::array::from_fn(|_| rng.scalar())) }
    }
}

/// What the receiver keeps between its two steps.
pub struct Kept {
    choice: Zeroizing<Column>,
    chi: Scalar,
    rows: Rows,
    /// The extension's session.
    session: [u8; 32],
    /// The digest of our message.
    pub(super) received: [u8; 32],
}

impl Kept {
    /// χ.
    pub(super) fn chi(&self) -> Scalar {
        self.chi
    }
}

impl Zeroize for Kept {
    fn zeroize(&mut self) {
        self.choice.zeroize();
        self.chi.zeroize();
        self.rows.zeroize();
    }
}

/// Steps 1 to 3, receiver.
pub(super) fn receive(setup: &Receiving, sid: &[u8; 32], drawn: Choices) -> (Kept, FromReceiver) {
    let Choices { nonce, choice } = drawn;
    // Step 1: χ = Σ x_j g_j.
    let mut chi = Scalar::ZERO;
    for (bit, g) in bits(choice.as_ref()).zip(setup.gadget.scalars.iter()) {
        chi += times(bit, g);
    }
    // Step 3, first half: the extension's message.
    let session = extension::session(sid, &nonce);
    let mut message = FromReceiver::new(nonce);
    let t = extension::extend(&session, &setup.seeds, &choice, &mut message);
    extension::prove(&session, &choice, &t, &mut message);
    let received = digest_of(sid, &message);
    (Kept { choice, chi, rows: transpose(&t), session, received }, message)
}

/// Steps 2 to 8, sender: c, the answer, and whether the receiver's message was consistent. If it was not, neither may be
/// used; they are made all the same, so that it takes the same time.
pub(super) fn send(
    setup: &Sending,
    sid: &[u8; 32],
    (message, received): (&FromReceiver, &[u8; 32]),
    input: &[Scalar; 2],
    drawn: Blinds,
) -> ([Scalar; 2], FromSender, Choice) {
    // Step 3: the OTs, each with the payloads ã_0, ã_1, â_0, â_1.
    let session = extension::session(sid, &message.nonce);
    let (rows, consistent) =
        extension::correlate(&session, &setup.correlation, &setup.seeds, message);
    let pads = Pads::new(&session, &drawn.salt);
    let mut answer = FromSender::new(drawn.salt);
    let z = transfer::send(pads, (&rows, &setup.correlation), &drawn.scalars, &mut answer);
    // Step 4: the weights, of all that was said until here.
    let weights = Weights::of(sid, received, &answer);
    // Step 5: r = χ̃ z̃ + χ̂ ẑ and u = χ̃ ã + χ̂ â.
    answer.u = weights.weigh(&drawn.scalars);
    answer.check = check(sid, &weights.weigh_all(&z));
    // Step 7: γ = a − ã.
    let [pad0, pad1, ..] = *drawn.scalars;
    let [input0, input1] = input;
    answer.gamma = [input0 - &pad0, input1 - &pad1];
    // Step 8: c = Σ g_j z̃_j.
    (products(&setup.gadget, &z), answer, consistent)
}

/// Steps 3 to 8, receiver.
pub(super) fn complete(
    setup: &Receiving,
    sid: &[u8; 32],
    kept: &Kept,
    (message, tau): (&FromSender, Payloads),
) -> Result<[Scalar; 2], VoleFault> {
    // Step 3, second half.
    let pads = Pads::new(&kept.session, &message.salt);
    let z = transfer::receive(pads, &kept.rows, &kept.choice, tau);
    // Step 4.
    let weights = Weights::of(sid, &kept.received, message);
    // Step 6: the sender's r is x_j u − χ̃ z̃' − χ̂ ẑ'.
    let mut r = weights.weigh_all(&z);
    for (r, u) in r.iter_mut().zip(&message.u) {
        for (r, bit) in r.iter_mut().zip(bits(kept.choice.as_ref())) {
            *r = times(bit, u) - *r;
        }
    }
    if !bool::from(check(sid, &r).ct_eq(&message.check)) {
        return Err(VoleFault::Cheated);
    }
    // Step 8: d = χ γ + Σ g_j z̃'_j.
    let [sum0, sum1] = products(&setup.gadget, &z);
    let [gamma0, gamma1] = message.gamma;
    Ok([kept.chi * gamma0 + sum0, kept.chi * gamma1 + sum1])
}

/// The digest of the receiver's message, which the weights hash.
pub(super) fn digest_of(sid: &[u8; 32], message: &FromReceiver) -> [u8; 32] {
    let FromReceiver { nonce, u, x, t } = message;
    digest(tag::RECEIVED, &[sid, nonce, u.as_flattened(), x, t.as_flattened()])
}

/// Step 4: χ̃ and χ̂, of each input.
pub(super) struct Weights {
    pub(super) of_pads: [Scalar; 2],
    pub(super) of_checks: [Scalar; 2],
}

/// The check's r, by input and OT.
type CheckValues = Box<Zeroizing<[[Scalar; EXTENDED_OTS]; 2]>>;

impl Weights {
    pub(super) fn of(sid: &[u8; 32], received: &[u8; 32], answer: &FromSender) -> Self {
        let [tau0, tau1, tau2, tau3] = answer.tau.each_ref().map(|tau| tau.as_flattened());
        let transcript =
            digest(tag::TRANSCRIPT, &[sid, received, &answer.salt, tau0, tau1, tau2, tau3]);
        let weights =
            |tag| [[0], [1]].map(|input| oracle::scalar(tag, &[sid, &input, &transcript]));
        Self { of_pads: weights(tag::WEIGHT_OF_PADS), of_checks: weights(tag::WEIGHT_OF_CHECKS) }
    }

    /// Of each input's pad and check value, the weighted sum.
    fn weigh(&self, [pad0, pad1, check0, check1]: &[Scalar; PAYLOADS]) -> [Scalar; 2] {
        let ([of_pad0, of_pad1], [of_check0, of_check1]) = (self.of_pads, self.of_checks);
        [of_pad0 * pad0 + of_check0 * check0, of_pad1 * pad1 + of_check1 * check1]
    }

    /// The same for every OT.
    fn weigh_all(&self, z: &Payloads) -> CheckValues {
        let mut r: CheckValues = Box::new(Zeroizing::new([[Scalar::ZERO; _]; _]));
        let (pads, checks) = z.split_at(2);
        let weights = self.of_pads.iter().zip(&self.of_checks);
        for ((r, (of_pad, of_check)), (pads, checks)) in
            r.iter_mut().zip(weights).zip(pads.iter().zip(checks))
        {
            for (r, (pad, check)) in r.iter_mut().zip(pads.iter().zip(checks)) {
                *r = of_pad * pad + of_check * check;
            }
        }
        r
    }
}

/// Step 5: what is sent of r.
fn check(sid: &[u8; 32], r: &CheckValues) -> [u8; 32] {
    oracle::digest_of_scalars(tag::CHECK, sid, r.as_flattened())
}

/// Step 8: Σ g_j z_j, of each input's pad.
fn products(gadget: &Gadget, z: &Payloads) -> [Scalar; 2] {
    let [z0, z1, ..] = &***z;
    [z0, z1].map(|z| sum_of_products(gadget.scalars.iter().zip(z)))
}

/// The scalar if the bit is 1, zero if it is 0.
fn times(bit: Choice, scalar: &Scalar) -> Scalar {
    Scalar::conditional_select(&Scalar::ZERO, scalar, bit)
}
