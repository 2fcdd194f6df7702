//! What the rounds need of a random vector OLE: set-up of a pair once, then one product per run.
//!
//! Source: DKLs23 (eprint 2023/765), Functionality 3.5 with ℓ = 2: the receiver gets a random χ, the sender puts in two
//! scalars a, and they get c and d with c_k + d_k = χ·a_k. One instance serves one direction of a pair; a set-up serves
//! both directions.
//! Always true: no implementation draws randomness but from the generator it is given, except where its own file
//! says so; a [`Vole::Kept`] is used by at most one [`Vole::complete`]; a message has one length and one encoding,
//! and what is not that encoding is refused before any other work; our own damaged state is told apart from a
//! peer's cheating, because only the second may cost the peer anything.
//! The messages below are the wire's: implementations that differ in nothing but speed talk to each other.
//! Not here: who the peer is (the caller authenticated it), and what the product is for.

use dvm_blame::{Bug, Rule};
use k256::Scalar;
use rand_core::CryptoRngCore;
use zeroize::Zeroize;

use crate::dkls23::preimage;
use crate::secret::{OneTime, Secret};
use crate::session::SessionId;

/// κ: base OTs of one direction.
pub const BASE_OTS: usize = 256;
/// ξ = κ + 2s: OTs of one extension, and length of the gadget.
pub const EXTENDED_OTS: usize = 416;
/// Bytes of one extended column: ξ + 208 bits, the last 208 for the consistency check.
pub const COLUMN_BYTES: usize = 78;
/// Bytes of an element of the consistency check's field GF(2^208).
pub const FIELD_BYTES: usize = 26;
/// Payloads of one OT: per sender's input a pad ã and a check value â. In `tau`: ã_0, ã_1, â_0, â_1.
pub const PAYLOADS: usize = 4;
/// Repetitions in the proof that the base OT's sender knows its exponent.
pub const FISCHLIN_REPETITIONS: usize = 64;
/// Bytes of one challenge of that proof.
pub const FISCHLIN_CHALLENGE_BYTES: usize = 4;

/// nonce 32 ‖ u: 256 columns ‖ x ‖ t: 256 field elements.
pub const RECEIVE_BYTES: usize =
    32 + BASE_OTS * COLUMN_BYTES + FIELD_BYTES + BASE_OTS * FIELD_BYTES;

/// tau: 4 rows of 416 scalars ‖ salt 32 ‖ hash of r 32 ‖ u: 2 scalars ‖ γ: 2 scalars.
pub const SEND_BYTES: usize = PAYLOADS * EXTENDED_OTS * 32 + 32 + 32 + 2 * 32 + 2 * 32;

/// One proof that a base OT's choice was made: the points v and u (seed-derived h: v = rG + bh, u = rh), the
/// commitments (G then h) of the proof for b = 0 and of the one for b = 1, their responses, their challenges.
pub const CHOICE_PROOF_BYTES: usize = 2 * 33 + 4 * 33 + 2 * 32 + 2 * 32;

/// As the receiver of the OLE, who is the sender of the base OTs: z = sG ‖ 64 commitments ‖ 64 (challenge ‖
/// response) ‖ the gadget's nonce. As the sender of the OLE, who receives base OTs: seed ‖ 256 proofs.
pub const OFFER_BYTES: usize = 33
    + FISCHLIN_REPETITIONS * (33 + FISCHLIN_CHALLENGE_BYTES + 32)
    + 32
    + 32
    + BASE_OTS * CHOICE_PROOF_BYTES;

/// Where a pair's set-up takes place.
#[derive(Clone, Copy)]
pub struct PairPlace<'a> {
    /// The key generation's session.
    pub sid: &'a SessionId,
    /// This node.
    pub me: &'a str,
    /// The other node.
    pub peer: &'a str,
}

impl PairPlace<'_> {
    /// Session id of the direction in which we are the OLE's receiver.
    pub fn receiving(&self) -> [u8; 32] {
        preimage::direction(self.sid, self.me, self.peer)
    }

    /// Session id of the direction in which we are the OLE's sender. It is the peer's [`PairPlace::receiving`].
    pub fn sending(&self) -> [u8; 32] {
        preimage::direction(self.sid, self.peer, self.me)
    }
}

/// Why a step of the peer's, or ours, gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoleFault {
    /// Bytes that no honest peer sends: wrong length, a scalar or point not in its only encoding.
    Malformed,
    /// A proof, the extension's consistency check or the multiplication check failed.
    Cheated,
    /// Our own state does not hold together. The peer has done nothing wrong.
    Damaged(Bug),
}

/// What is kept of an offer, and the offer.
pub type Begun<K> = (Secret<K>, Secret<Vec<u8>>);

/// A scalar and what the receiver keeps and sends.
pub type Received<K> = (Secret<Scalar>, OneTime<K>, Secret<Vec<u8>>);

/// The sender's outputs and message.
pub type Sent = (Secret<[Scalar; 2]>, Secret<Vec<u8>>);

/// Random vector OLE between two parties, both directions, two sender's inputs per receiver's choice.
pub trait Vole: Sized {
    /// What made a set-up; part of its record and of its digest, so that the set-ups of two implementations never
    /// meet by accident.
    const NAME: &'static str;

    /// Kept between offer and finish.
    type Offered: Zeroize;
    /// Both directions' long-lived set-up.
    type Pair: Zeroize;
    /// A receiver's state of one run.
    type Kept: Zeroize;

    /// Starts the set-up of both directions; the bytes, [`OFFER_BYTES`], go to the peer.
    fn offer(at: &PairPlace, rng: &mut dyn CryptoRngCore) -> Result<Begun<Self::Offered>, Bug>;

    /// Ends it with the peer's offer.
    fn finish(
        at: &PairPlace,
        own: Secret<Self::Offered>,
        theirs: &[u8],
    ) -> Result<Secret<Self::Pair>, VoleFault>;

    /// The set-up's encoding, for the vault to seal.
    fn seal_bytes(pair: &Self::Pair) -> Result<Secret<Vec<u8>>, Bug>;

    /// Reads what [`Vole::seal_bytes`] wrote.
    fn unseal(bytes: &[u8]) -> Result<Secret<Self::Pair>, Rule>;

    /// The receiver's first message, [`RECEIVE_BYTES`], and its random χ.
    fn receive(
        pair: &Self::Pair,
        sid: &[u8; 32],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Received<Self::Kept>, Bug>;

    /// The sender's answer, [`SEND_BYTES`], and its share c of the products.
    fn send(
        pair: &Self::Pair,
        sid: &[u8; 32],
        input: &[Scalar; 2],
        received: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Sent, VoleFault>;

    /// The receiver's share d of the products.
    fn complete(
        pair: &Self::Pair,
        sid: &[u8; 32],
        kept: OneTime<Self::Kept>,
        received: &[u8],
    ) -> Result<Secret<[Scalar; 2]>, VoleFault>;
}
