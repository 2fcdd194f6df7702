//! The base OT receiver's proof of one choice: that v = rG + bh and u = rh for some r and a bit b.
//!
//! Source: Zhou et al. (eprint 2022/1525), page 17 and appendix B: two Chaum-Pedersen proofs, (G, h, v, u) for b = 0 and
//! (G, h, v − h, u) for b = 1, composed by OR under Fiat-Shamir; the challenges of the two add up to the hash, as
//! scalars.
//! Always true: of the two, the prover can simulate one; the other is a proof.
//! Constant time: b and r are secret. Both proofs are made whatever b is, and put in their places by selection; the
//! same multiplications are done in the same order for either b.

use dvm_blame::Bug;
use k256::elliptic_curve::ops::LinearCombination;
use k256::elliptic_curve::subtle::{Choice, ConditionallySelectable};
use k256::{ProjectivePoint, Scalar};
use zeroize::Zeroizing;

use super::hedge::Hedged;
use super::oracle::{self, tag};
use super::points::{Encoded, decode, encode, generator, times_generator};
use super::wire::{Fields, scalar};
use crate::dkls23::vole::VoleFault;

/// One base OT: its session id (its number, then the direction's) and its point h.
pub(super) struct Place {
    pub(super) sid: [u8; 34],
    pub(super) h: ProjectivePoint,
}

/// The proof, of b = 0 before b = 1.
pub(super) struct ChoiceProof {
    /// v and u.
    pub(super) statement: [ProjectivePoint; 2],
    /// Their encodings, then the commitments of both proofs, the one to G before the one to h.
    points: [Encoded; 6],
    responses: [Scalar; 2],
    challenges: [Scalar; 2],
}

impl ChoiceProof {
    /// Proves the choice b with exponent r.
    pub(super) fn prove(
        place: &Place,
        r: &Scalar,
        b: Choice,
        rng: &mut Hedged,
    ) -> Result<Self, Bug> {
        let h = &place.h;
        let (rg, u) = (times_generator(r), h * r);
        let v = select(&rg, &(rg + h), b);
        // The true proof's commitments: kG and kh.
        let k = Zeroizing::new(rng.scalar());
        let (true_g, true_h) = (times_generator(&k), h * &*k);
        // The other is simulated: challenge e and response y come first, the commitments are yG + e(rG ± h) and
        // yh + erh. With a = y + er those are aG ± eh and ah.
        let (e, a) = (Zeroizing::new(rng.scalar()), Zeroizing::new(rng.scalar()));
        let y = Zeroizing::new(*a - *e * r);
        let (ag, eh) = (times_generator(&a), h * &*e);
        let (false_g, false_h) = (select(&(ag - eh), &(ag + eh), b), h * &*a);
        let first = [select(&true_g, &false_g, b), select(&true_h, &false_h, b)];
        let second = [select(&false_g, &true_g, b), select(&false_h, &true_h, b)];
        let [first_g, first_h] = first;
        let [second_g, second_h] = second;
        let [h, points @ ..] =
            encode(&[*h, v, u, first_g, first_h, second_g, second_h]).ok_or(Bug::Library)?;
        let challenge = Zeroizing::new(challenge(place, &h, &points) - *e);
        let response = Zeroizing::new(*k - *challenge * r);
        Ok(Self {
            statement: [v, u],
            points,
            responses: [select(&response, &y, b), select(&y, &response, b)],
            challenges: [select(&challenge, &e, b), select(&e, &challenge, b)],
        })
    }

    /// Checks it; then it was made with one choice.
    pub(super) fn verify(&self, place: &Place) -> Result<(), VoleFault> {
        let [v, u] = &self.statement;
        let [(response0, challenge0), (response1, challenge1)] = self.answers();
        let (g, h) = (&ProjectivePoint::GENERATOR, &place.h);
        let committed = [
            ProjectivePoint::lincomb(g, response0, v, challenge0),
            ProjectivePoint::lincomb(h, response0, u, challenge0),
            ProjectivePoint::lincomb(g, response1, &(v - h), challenge1),
            ProjectivePoint::lincomb(h, response1, u, challenge1),
        ];
        let [g0, h0, g1, h1] = committed;
        // Nobody can have committed to the identity: it is no point that is read.
        let [h, committed @ ..] = encode(&[*h, g0, h0, g1, h1]).ok_or(VoleFault::Cheated)?;
        let [_, _, said @ ..] = &self.points;
        let holds =
            committed == *said && challenge0 + challenge1 == challenge(place, &h, &self.points);
        if holds { Ok(()) } else { Err(VoleFault::Cheated) }
    }

    fn answers(&self) -> [(&Scalar, &Scalar); 2] {
        let ([response0, response1], [challenge0, challenge1]) =
            (&self.responses, &self.challenges);
        [(response0, challenge0), (response1, challenge1)]
    }

    pub(super) fn read(fields: &mut Fields) -> Option<Self> {
        let mut points = [[0; 33]; 6];
        for point in &mut points {
            *point = *fields.bytes()?;
        }
        let [v, u, ..] = &points;
        let statement = [decode(v)?, decode(u)?];
        let responses = [scalar(fields.bytes()?)?, scalar(fields.bytes()?)?];
        let challenges = [scalar(fields.bytes()?)?, scalar(fields.bytes()?)?];
        Some(Self { statement, points, responses, challenges })
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.points.as_flattened());
        for scalar in self.responses.iter().chain(&self.challenges) {
            into.extend_from_slice(&scalar.to_bytes());
        }
    }
}

/// What both challenges add up to: the hash of G, h, u, v and the commitments.
fn challenge(place: &Place, h: &Encoded, points: &[Encoded; 6]) -> Scalar {
    let [v, u, commitments @ ..] = points;
    let message = [&generator(), h, u, v].map(|point| point.as_slice()).concat();
    oracle::scalar(
        tag::CHOICE_PROOF,
        &[&place.sid, &[message.as_slice(), commitments.as_flattened()].concat()],
    )
}

/// `zero` if the bit is 0, `one` if it is 1.
fn select<T: ConditionallySelectable>(zero: &T, one: &T, bit: Choice) -> T {
    T::conditional_select(zero, one, bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    fn stream() -> Hedged {
        Hedged::new(&mut rng(1), &[b"test"])
    }

    fn place(number: u32) -> Place {
        Place { sid: [7; 34], h: times_generator(&Scalar::from(number)) }
    }

    #[test]
    fn proof_of_either_choice_holds_at_its_place_and_at_no_other() {
        let mut rng = stream();
        for bit in [0, 1] {
            let r = rng.scalar();
            let proof = ChoiceProof::prove(&place(5), &r, Choice::from(bit), &mut rng).unwrap();
            let v = times_generator(&r) + place(5).h * Scalar::from(u32::from(bit));
            assert_eq!(proof.statement, [v, place(5).h * r]);
            assert_eq!(proof.verify(&place(5)), Ok(()), "choice {bit}");
            assert_eq!(proof.verify(&place(6)), Err(VoleFault::Cheated), "another h");
            let elsewhere = Place { sid: [8; 34], ..place(5) };
            assert_eq!(proof.verify(&elsewhere), Err(VoleFault::Cheated), "another session");
        }
    }

    #[test]
    fn neither_choice_cannot_be_proved_by_simulating_both() {
        let mut rng = stream();
        let Place { h, .. } = place(5);
        // v = rG + 2h is of no choice.
        let r = rng.scalar();
        let (v, u) = (times_generator(&r) + h + h, h * r);
        let [y0, y1, e0, e1]: [Scalar; 4] = std::array::from_fn(|_| rng.scalar());
        let commitments = [
            times_generator(&y0) + v * e0,
            h * y0 + u * e0,
            times_generator(&y1) + (v - h) * e1,
            h * y1 + u * e1,
        ];
        let [g0, h0, g1, h1] = commitments;
        let points = encode(&[v, u, g0, h0, g1, h1]).unwrap();
        let statement = [v, u];
        let mut proof =
            ChoiceProof { statement, points, responses: [y0, y1], challenges: [e0, e1] };
        assert_eq!(proof.verify(&place(5)), Err(VoleFault::Cheated), "challenges of its own");
        let [encoded_h] = encode(&[h]).unwrap();
        proof.challenges[1] = challenge(&place(5), &encoded_h, &proof.points) - e0;
        assert_eq!(proof.verify(&place(5)), Err(VoleFault::Cheated), "the hash's challenges");
    }
}
