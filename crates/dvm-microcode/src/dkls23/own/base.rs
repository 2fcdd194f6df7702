//! The base OTs of a pair: 256 in each direction, from one message each way.
//!
//! Source: the endemic OT of Zhou et al. (eprint 2022/1525), section 3, as DKLs23 (eprint 2023/765) uses it. The sender's
//! exponent s and its proof serve all 256, and so does the receiver's seed, from which each OT's h is hashed.
//! Always true: the sender has both seeds H(vs) and H((v − h)s) of each OT, the receiver H(zr) of its choice; no proof
//! is left unchecked, and all are bound to the key generation's session and to the direction.
//! Constant time: s, r, the choices and all seeds are secret. Choices enter proofs as one word's bits; points are
//! multiplied in constant time.

use dvm_blame::Bug;
use k256::Scalar;
use rand_core::{CryptoRngCore, RngCore};
use zeroize::{Zeroize, Zeroizing};

use super::choice_proof::{ChoiceProof, Place};
use super::exponent_proof::ExponentProof;
use super::hedge::Hedged;
use super::matrix::{Row, bits};
use super::oracle::{digest, tag};
use super::pair::{Gadget, Pair, Receiving, Seed, Seeds, Sending, zero_seeds};
use super::points::{Encoded, encode, hash};
use super::wire::{Fields, scalar};
use crate::dkls23::vole::{BASE_OTS, OFFER_BYTES, PairPlace, VoleFault};

/// What is kept until the peer's offer is here.
pub struct Offered {
    /// As sender of base OTs, who will receive the OLE: s, and the gadget's nonce.
    s: Scalar,
    nonce: Scalar,
    /// As receiver of base OTs, who will send the OLE: the choices Δ and the exponents r.
    correlation: Row,
    exponents: Box<[Scalar; BASE_OTS]>,
    seed: [u8; 32],
}

impl Zeroize for Offered {
    fn zeroize(&mut self) {
        self.s.zeroize();
        self.correlation.zeroize();
        self.exponents.zeroize();
    }
}

/// Our half of both directions.
pub(super) fn offer(
    at: &PairPlace,
    rng: &mut dyn CryptoRngCore,
) -> Result<(Offered, Vec<u8>), Bug> {
    let (receiving, sending) = (at.receiving(), at.sending());
    let mut rng = Hedged::new(rng, &[b"offer", &receiving, &sending]);
    let mut offered = Offered {
        s: rng.scalar(),
        nonce: rng.scalar(),
        correlation: std::array::from_fn(|_| rng.next_u64()),
        exponents: Box::new([Scalar::ZERO; _]),
        seed: rng.bytes(),
    };
    let mut message = Vec::with_capacity(OFFER_BYTES);
    ExponentProof::prove(&receiving, &offered.s, &mut rng)?.write(&mut message);
    message.extend_from_slice(&offered.nonce.to_bytes());
    message.extend_from_slice(&offered.seed);
    let choices = (0..).zip(bits(&offered.correlation)).zip(offered.exponents.iter_mut());
    for ((i, choice), r) in choices {
        *r = rng.scalar();
        let place = place(i, &sending, &offered.seed)?;
        ChoiceProof::prove(&place, r, choice, &mut rng)?.write(&mut message);
    }
    Ok((offered, message))
}

/// Both directions, with the peer's half.
pub(super) fn finish(at: &PairPlace, own: &Offered, theirs: &[u8]) -> Result<Pair, VoleFault> {
    let theirs = Offer::read(theirs).ok_or(VoleFault::Malformed)?;
    let (receiving, sending) = (at.receiving(), at.sending());
    let sending = Sending {
        correlation: Zeroizing::new(own.correlation),
        seeds: receive_seeds(own, &theirs.exponent, &sending)?,
        gadget: Gadget::new(sending, theirs.nonce),
    };
    let receiving = Receiving {
        seeds: send_seeds(own, &theirs, &receiving)?,
        gadget: Gadget::new(receiving, own.nonce),
    };
    Ok(Pair::new(receiving, sending))
}

/// As receiver of base OTs: the seed H(z·r) of each.
fn receive_seeds(
    own: &Offered,
    exponent: &ExponentProof,
    sid: &[u8; 32],
) -> Result<Seeds, VoleFault> {
    exponent.verify(sid)?;
    let mut seeds = zero_seeds();
    for ((i, seed), r) in (0..).zip(seeds.iter_mut()).zip(own.exponents.iter()) {
        let [point] = encode(&[exponent.point * r]).ok_or(VoleFault::Damaged(Bug::Library))?;
        *seed = seed_of(i, sid, &point);
    }
    Ok(seeds)
}

/// As sender of base OTs: the seeds H(v·s) and H((v − h)·s) of each.
fn send_seeds(own: &Offered, theirs: &Offer, sid: &[u8; 32]) -> Result<[Seeds; 2], VoleFault> {
    let (mut seeds0, mut seeds1) = (zero_seeds(), zero_seeds());
    let seeds = seeds0.iter_mut().zip(seeds1.iter_mut());
    for ((i, (seed0, seed1)), choice) in (0..).zip(seeds).zip(theirs.choices.iter()) {
        let place = place(i, sid, &theirs.seed).map_err(VoleFault::Damaged)?;
        choice.verify(&place)?;
        let [v, _] = choice.statement;
        let vs = v * own.s;
        let [point0, point1] = encode(&[vs, vs - place.h * own.s]).ok_or(VoleFault::Cheated)?;
        *seed0 = seed_of(i, sid, &point0);
        *seed1 = seed_of(i, sid, &point1);
    }
    Ok([seeds0, seeds1])
}

/// The peer's message.
struct Offer {
    exponent: ExponentProof,
    nonce: Scalar,
    seed: [u8; 32],
    choices: Vec<ChoiceProof>,
}

impl Offer {
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != OFFER_BYTES {
            return None;
        }
        let mut fields = Fields(bytes);
        let exponent = ExponentProof::read(&mut fields)?;
        let nonce = scalar(fields.bytes()?)?;
        let seed = *fields.bytes()?;
        let choices =
            (0..BASE_OTS).map(|_| ChoiceProof::read(&mut fields)).collect::<Option<_>>()?;
        fields.end()?;
        Some(Self { exponent, nonce, seed, choices })
    }
}

/// The session id of the base OT of this number.
fn numbered(i: u16, sid: &[u8; 32]) -> [u8; 34] {
    let mut numbered = [0; 34];
    let (number, rest) = numbered.split_at_mut(2);
    number.copy_from_slice(&i.to_be_bytes());
    rest.copy_from_slice(sid);
    numbered
}

fn place(i: u16, sid: &[u8; 32], seed: &[u8; 32]) -> Result<Place, Bug> {
    let sid = numbered(i, sid);
    Ok(Place { h: hash(&[&sid, seed])?, sid })
}

fn seed_of(i: u16, sid: &[u8; 32], point: &Encoded) -> Seed {
    digest(tag::BASE_SEED, &[&numbered(i, sid), point])
}
