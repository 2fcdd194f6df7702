//! What two nodes set up once: the base OTs' outcome in both directions, and the gadgets.
//!
//! Source: DKLs19 (eprint 2019/523), Protocol 1: the gadget is public and expanded from a nonce.
//! Always true: a set-up has the right dimensions, because its types have no others; its encoding has one length
//! and is the only one. What can be computed again is not in the encoding.
//! Constant time: seeds, correlation and hedge are secret. They are copied and hashed, nothing else; the gadgets
//! and what names them are public.

use k256::Scalar;
use zeroize::{Zeroize, Zeroizing};

use super::matrix::Row;
use super::oracle::{self, digest, tag};
use super::wire;
use crate::dkls23::vole::{BASE_OTS, EXTENDED_OTS};

/// A base OT's outcome.
pub(super) type Seed = [u8; 32];
/// Those of a direction.
pub(super) type Seeds = Box<Zeroizing<[Seed; BASE_OTS]>>;

const SEEDS_BYTES: usize = BASE_OTS * 32;
/// Session and nonce of the gadget and both seeds of each base OT; session and nonce, correlation and one seed.
const PAIR_BYTES: usize = 64 + 2 * SEEDS_BYTES + 64 + 32 + SEEDS_BYTES;

/// Both directions' set-up.
pub struct Pair {
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    /// Goes into every stream of one-time values.
    pub(super) hedge: Zeroizing<[u8; 32]>,
}

/// As receiver of the OLE, who was the sender of the base OTs: both seeds of each.
pub(super) struct Receiving {
    pub(super) seeds: [Seeds; 2],
    pub(super) gadget: Gadget,
}

/// As sender of the OLE: the choices Δ in the base OTs, and the seeds chosen.
pub(super) struct Sending {
    pub(super) correlation: Zeroizing<Row>,
    pub(super) seeds: Seeds,
    pub(super) gadget: Gadget,
}

/// The public scalars g_j of which the receiver's χ is a random subset's sum.
pub(super) struct Gadget {
    session: [u8; 32],
    nonce: Scalar,
    pub(super) scalars: Box<[Scalar; EXTENDED_OTS]>,
}

impl Gadget {
    /// DKLs19, Protocol 1's public vector: g_j = H(session, nonce + j) for j from 1 on.
    pub(super) fn new(session: [u8; 32], nonce: Scalar) -> Self {
        let mut counter = nonce;
        let mut scalars = Box::new([Scalar::ZERO; EXTENDED_OTS]);
        for scalar in scalars.iter_mut() {
            counter += Scalar::ONE;
            *scalar = oracle::scalar(tag::GADGET, &[&session, &counter.to_bytes()]);
        }
        Self { session, nonce, scalars }
    }

    fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.session);
        into.extend_from_slice(&self.nonce.to_bytes());
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (session, rest) = bytes.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        Some((Self::new(*session, wire::scalar(nonce)?), rest))
    }
}

impl Pair {
    /// Binds the two directions.
    pub(super) fn new(receiving: Receiving, sending: Sending) -> Self {
        let [seeds0, seeds1] = &receiving.seeds;
        let correlation = correlation_bytes(&sending.correlation);
        let hedge = digest(
            tag::PAIR,
            &[
                seeds0.as_flattened(),
                seeds1.as_flattened(),
                correlation.as_ref(),
                sending.seeds.as_flattened(),
            ],
        );
        Self { receiving, sending, hedge: Zeroizing::new(hedge) }
    }

    /// The encoding.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PAIR_BYTES);
        self.receiving.gadget.write(&mut bytes);
        for seeds in &self.receiving.seeds {
            bytes.extend_from_slice(seeds.as_flattened());
        }
        self.sending.gadget.write(&mut bytes);
        bytes.extend_from_slice(correlation_bytes(&self.sending.correlation).as_ref());
        bytes.extend_from_slice(self.sending.seeds.as_flattened());
        bytes
    }

    /// Reads an encoding.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (gadget, rest) = Gadget::read(bytes)?;
        let (seeds0, rest) = seeds(rest)?;
        let (seeds1, rest) = seeds(rest)?;
        let receiving = Receiving { seeds: [seeds0, seeds1], gadget };
        let (gadget, rest) = Gadget::read(rest)?;
        let (correlation, rest) = rest.split_first_chunk()?;
        let (seeds, rest) = seeds(rest)?;
        let sending = Sending { correlation: correlation_words(correlation), seeds, gadget };
        rest.is_empty().then(|| Self::new(receiving, sending))
    }
}

impl Zeroize for Pair {
    fn zeroize(&mut self) {
        for seeds in &mut self.receiving.seeds {
            seeds.zeroize();
        }
        self.sending.correlation.zeroize();
        self.sending.seeds.zeroize();
        self.hedge.zeroize();
    }
}

/// Seeds of zeros, to be filled.
pub(super) fn zero_seeds() -> Seeds {
    Box::new(Zeroizing::new([[0; _]; _]))
}

fn seeds(bytes: &[u8]) -> Option<(Seeds, &[u8])> {
    let (own, rest) = bytes.split_first_chunk::<SEEDS_BYTES>()?;
    let mut seeds = zero_seeds();
    seeds.as_flattened_mut().copy_from_slice(own);
    Some((seeds, rest))
}

/// Bit i of the correlation is bit i mod 8 of byte i / 8.
fn correlation_bytes(words: &Row) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    for (to, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *to = word.to_le_bytes();
    }
    bytes
}

fn correlation_words(bytes: &[u8; 32]) -> Zeroizing<Row> {
    let mut words = Zeroizing::new(Row::default());
    for (to, word) in words.iter_mut().zip(bytes.as_chunks().0) {
        *to = u64::from_le_bytes(*word);
    }
    words
}
