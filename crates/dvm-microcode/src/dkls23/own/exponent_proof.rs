//! The base OT sender's proof that it knows s of z = sG, once for all 256 base OTs.
//!
//! Source: Schnorr's proof under a randomised Fischlin transform: Kondi and shelat (eprint 2022/393), figure 9, as Zhou
//! et al. (eprint 2022/1525), figure 27, use it. 64 repetitions in 32 pairs; the two of a pair must hash to the
//! same byte, for which the prover searches 256 challenges on average; 8 · 32 = 256 bits.
//! Always true: every commitment is another; no answer is accepted from a pair whose bytes differ.
//! Constant time: s and the nonces are secret and only multiplied and subtracted. How long the search takes depends on
//! hashes of answers that are never sent, each blinded by its nonce.

use std::collections::BTreeSet;

use dvm_blame::Bug;
use k256::elliptic_curve::ops::LinearCombination;
use k256::{ProjectivePoint, Scalar};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::hedge::Hedged;
use super::oracle::{self, tag};
use super::points::{Encoded, decode, encode, generator, times_generator};
use super::wire::{Fields, scalar};
use crate::dkls23::vole::{FISCHLIN_CHALLENGE_BYTES, FISCHLIN_REPETITIONS, VoleFault};

const PAIRS: usize = FISCHLIN_REPETITIONS / 2;
/// Challenges tried for one pair. That none of them fits has a probability below 2^-360.
const TRIES: usize = 1 << 16;

type Challenge = [u8; FISCHLIN_CHALLENGE_BYTES];

/// A challenge and the answer to it.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) challenge: Challenge,
    pub(super) response: Scalar,
}

impl Answer {
    /// Schnorr's, with the sign that the wire has: k − es.
    fn new(nonce: &Scalar, challenge: Challenge, s: &Scalar) -> Self {
        Self { challenge, response: nonce - &(number(challenge) * s) }
    }
}

/// The proof.
pub(super) struct ExponentProof {
    /// z, encoded and decoded.
    pub(super) encoded: Encoded,
    pub(super) point: ProjectivePoint,
    pub(super) commitments: [Encoded; FISCHLIN_REPETITIONS],
    pub(super) answers: [Answer; FISCHLIN_REPETITIONS],
}

impl ExponentProof {
    /// Proves knowledge of s.
    pub(super) fn prove(sid: &[u8; 32], s: &Scalar, rng: &mut Hedged) -> Result<Self, Bug> {
        let nonces = Zeroizing::new(std::array::from_fn(|_| rng.scalar()));
        Self::with_nonces(&nonces, sid, s, rng)
    }

    fn with_nonces(
        nonces: &[Scalar; FISCHLIN_REPETITIONS],
        sid: &[u8; 32],
        s: &Scalar,
        rng: &mut Hedged,
    ) -> Result<Self, Bug> {
        let commitments = encode(&nonces.each_ref().map(times_generator)).ok_or(Bug::Library)?;
        let oracle = Oracle::new(sid, &commitments);
        let mut answers = [Answer { challenge: [0; _], response: Scalar::ZERO }; _];
        let (firsts, seconds) = answers.split_at_mut(PAIRS);
        let (first_nonces, second_nonces) = nonces.split_at(PAIRS);
        let pairs = firsts.iter_mut().zip(first_nonces).zip(seconds.iter_mut().zip(second_nonces));
        for ((i, j), ((first, first_nonce), (second, second_nonce))) in numbers().zip(pairs) {
            let [challenge, ..] = challenges(rng);
            *first = Answer::new(first_nonce, challenge, s);
            let wanted = oracle.byte(i, first);
            *second = (0..TRIES / 8)
                .flat_map(|_| challenges(rng))
                .map(|challenge| Answer::new(second_nonce, challenge, s))
                .find(|answer| oracle.byte(j, answer) == wanted)
                .ok_or(Bug::Library)?;
        }
        let point = times_generator(s);
        let [encoded] = encode(&[point]).ok_or(Bug::Library)?;
        Ok(Self { encoded, point, commitments, answers })
    }

    /// Checks it; then z is a point whose exponent the prover knows.
    pub(super) fn verify(&self, sid: &[u8; 32]) -> Result<(), VoleFault> {
        let distinct: BTreeSet<&Encoded> = self.commitments.iter().collect();
        let oracle = Oracle::new(sid, &self.commitments);
        let (firsts, seconds) = self.answers.split_at(PAIRS);
        let paired = numbers()
            .zip(firsts.iter().zip(seconds))
            .all(|((i, j), (first, second))| oracle.byte(i, first) == oracle.byte(j, second));
        let committed = self.answers.map(|answer| {
            let (g, e) = (ProjectivePoint::GENERATOR, number(answer.challenge));
            ProjectivePoint::lincomb(&g, &answer.response, &self.point, &e)
        });
        let holds = distinct.len() == FISCHLIN_REPETITIONS
            && paired
            && encode(&committed) == Some(self.commitments);
        if holds { Ok(()) } else { Err(VoleFault::Cheated) }
    }

    pub(super) fn read(fields: &mut Fields) -> Option<Self> {
        let encoded = *fields.bytes()?;
        let point = decode(&encoded)?;
        let mut commitments = [[0; _]; _];
        for commitment in &mut commitments {
            *commitment = *fields.bytes()?;
        }
        let mut answers = [Answer { challenge: [0; _], response: Scalar::ZERO }; _];
        for answer in &mut answers {
            *answer = Answer { challenge: *fields.bytes()?, response: scalar(fields.bytes()?)? };
        }
        Some(Self { encoded, point, commitments, answers })
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.encoded);
        into.extend_from_slice(self.commitments.as_flattened());
        for answer in &self.answers {
            into.extend_from_slice(&answer.challenge);
            into.extend_from_slice(&answer.response.to_bytes());
        }
    }
}

/// The repetitions of each pair.
fn numbers() -> impl Iterator<Item = (u16, u16)> {
    (0..).zip(PAIRS as u16..)
}

/// Eight challenges.
fn challenges(rng: &mut Hedged) -> [Challenge; 8] {
    let mut challenges = [[0; _]; _];
    challenges.as_flattened_mut().copy_from_slice(&rng.bytes());
    challenges
}

fn number(challenge: Challenge) -> Scalar {
    Scalar::from(u32::from_be_bytes(challenge))
}

/// The transform's oracle after what all of a proof's questions begin with.
struct Oracle(Sha256);

impl Oracle {
    fn new(sid: &[u8; 32], commitments: &[Encoded; FISCHLIN_REPETITIONS]) -> Self {
        let generator = generator();
        let message =
            generator.len() + commitments.as_flattened().len() + 2 + size_of::<Challenge>() + 32;
        let mut hash = oracle::begin(tag::EXPONENT_PROOF, &[sid]);
        hash.update((message as u64).to_be_bytes());
        hash.update(generator);
        hash.update(commitments.as_flattened());
        Self(hash)
    }

    fn byte(&self, repetition: u16, answer: &Answer) -> u8 {
        let [byte, ..]: [u8; 32] = self
            .0
            .clone()
            .chain_update(repetition.to_be_bytes())
            .chain_update(answer.challenge)
            .chain_update(answer.response.to_bytes())
            .finalize()
            .into();
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    const SID: [u8; 32] = [1; 32];

    fn proof() -> (Scalar, ExponentProof) {
        let mut rng = Hedged::new(&mut rng(1), &[b"test"]);
        let s = rng.scalar();
        (s, ExponentProof::prove(&SID, &s, &mut rng).unwrap())
    }

    #[test]
    fn proof_holds_in_its_session_for_its_point() {
        let (_, mut proof) = proof();
        assert_eq!(proof.verify(&SID), Ok(()));
        assert_eq!(proof.verify(&[2; 32]), Err(VoleFault::Cheated));
        proof.point += ProjectivePoint::GENERATOR;
        assert_eq!(proof.verify(&SID), Err(VoleFault::Cheated));
    }

    #[test]
    fn true_answers_of_a_pair_that_hash_to_different_bytes_are_refused() {
        let (s, mut proof) = proof();
        let answer = proof.answers[PAIRS];
        let nonce = answer.response + number(answer.challenge) * s;
        let oracle = Oracle::new(&SID, &proof.commitments);
        let wanted = oracle.byte(PAIRS as u16, &answer);
        let other = (0u32..)
            .map(|number| Answer::new(&nonce, number.to_be_bytes(), &s))
            .find(|answer| oracle.byte(PAIRS as u16, answer) != wanted);
        proof.answers[PAIRS] = other.unwrap();
        assert_eq!(proof.verify(&SID), Err(VoleFault::Cheated));
    }

    #[test]
    fn one_commitment_twice_is_refused() {
        let mut rng = Hedged::new(&mut rng(2), &[b"test"]);
        let s = rng.scalar();
        let mut nonces: [Scalar; FISCHLIN_REPETITIONS] = std::array::from_fn(|_| rng.scalar());
        let verified = |nonces: &[Scalar; FISCHLIN_REPETITIONS], rng: &mut Hedged| {
            ExponentProof::with_nonces(nonces, &SID, &s, rng).unwrap().verify(&SID)
        };
        assert_eq!(verified(&nonces, &mut rng), Ok(()));
        nonces[1] = nonces[0];
        assert_eq!(verified(&nonces, &mut rng), Err(VoleFault::Cheated));
    }
}
