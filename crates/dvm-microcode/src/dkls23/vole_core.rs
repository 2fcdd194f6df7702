//! [`Vole`] on dkls23-core's multiplication: the oracle that our own is compared with.
//!
//! Source: dkls23-core 0.6.2, `utilities::multiplication`.
//! Always true: the crate's values cross this file as bytes, in the layouts of [`super::vole`]; lengths are checked
//! before anything is decoded, and every scalar and point has one encoding.
//! Not true here: the trait's rule about randomness. The crate draws from its thread's generator, which nothing can
//! seed and which a copied machine repeats: two runs with the same pads under two session ids give a sender's
//! inputs, and with them its key share, away. So this does not ship.

use dkls23_core::utilities::hashes::tagged_hash_as_point;
use dkls23_core::utilities::multiplication::{
    MulDataToKeepReceiver, MulDataToReceiver, MulReceiver, MulSender,
};
use dkls23_core::utilities::oracle_tags::TAG_OT_BASE_H;
use dkls23_core::utilities::ot::base::{OTReceiver, OTSender};
use dkls23_core::utilities::ot::extension::OTEDataToSender;
use dkls23_core::utilities::proofs::{
    CPProof, DLogProof, EncProof, InteractiveDLogProof, RandomCommitments,
};
use dvm_blame::layout::{Reader, Writer};
use dvm_blame::{Bug, Rule};
use k256::Scalar;
use k256::elliptic_curve::PrimeField;
use k256_14::elliptic_curve::PrimeField as _;
use k256_14::elliptic_curve::group::{Group, GroupEncoding};
use k256_14::{AffinePoint, ProjectivePoint, Secp256k1};
use rand_core::CryptoRngCore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize, Zeroizing};

use super::vole::{
    BASE_OTS, Begun, EXTENDED_OTS, FISCHLIN_REPETITIONS, OFFER_BYTES, PAYLOADS, PairPlace,
    RECEIVE_BYTES, Received, SEND_BYTES, Sent, Vole, VoleFault,
};
use crate::secret::{OneTime, Secret};

/// The crate's scalar: the same curve, another generation of the library.
type CoreScalar = k256_14::Scalar;

pub(crate) const DOMAIN: &str = "dvm/dkls23/core-pair/v1";

/// Longest encoding of one direction's state; the longer one takes about 30 kB.
const DIRECTION_BYTES_MAX: usize = 64 << 10;

/// The implementation.
pub struct CoreVole;

/// What the two base OTs keep until the peer's offer is here.
pub struct CoreOffered {
    base_sender: OTSender<Secp256k1>,
    gadget_nonce: CoreScalar,
    base_receiver: OTReceiver,
    choices: Vec<bool>,
    exponents: Vec<CoreScalar>,
}

impl Zeroize for CoreOffered {
    fn zeroize(&mut self) {
        self.base_sender.s.zeroize();
        self.gadget_nonce.zeroize();
        self.base_receiver.seed.zeroize();
        self.choices.zeroize();
        self.exponents.zeroize();
    }
}

/// Both directions.
pub struct CorePair {
    sender: MulSender<Secp256k1>,
    receiver: MulReceiver<Secp256k1>,
}

impl Zeroize for CorePair {
    fn zeroize(&mut self) {
        self.sender.zeroize();
        self.receiver.zeroize();
    }
}

impl CorePair {
    fn check(&self) -> Result<(), VoleFault> {
        let whole = self.sender.check_state().is_ok() && self.receiver.check_state(None).is_ok();
        whole.then_some(()).ok_or(VoleFault::Damaged(Bug::Library))
    }
}

impl Vole for CoreVole {
    const NAME: &'static str = "dkls23-core/0.6.2";

    type Offered = CoreOffered;
    type Pair = CorePair;
    type Kept = MulDataToKeepReceiver<Secp256k1>;

    fn offer(at: &PairPlace, _: &mut dyn CryptoRngCore) -> Result<Begun<CoreOffered>, Bug> {
        let (base_sender, proof, gadget_nonce) = MulReceiver::init_phase1(&at.receiving());
        let (base_receiver, choices, exponents, proofs) =
            MulSender::<Secp256k1>::init_phase1(&at.sending());
        let mut message = Vec::with_capacity(OFFER_BYTES);
        write_dlog(&mut message, &proof);
        message.extend_from_slice(&gadget_nonce.to_repr());
        message.extend_from_slice(&base_receiver.seed);
        proofs.iter().for_each(|proof| write_choice(&mut message, proof));
        let message = exactly(message, OFFER_BYTES)?;
        let kept = CoreOffered { base_sender, gadget_nonce, base_receiver, choices, exponents };
        Ok((Secret::new(kept), message))
    }

    fn finish(
        at: &PairPlace,
        own: Secret<CoreOffered>,
        theirs: &[u8],
    ) -> Result<Secret<CorePair>, VoleFault> {
        if theirs.len() != OFFER_BYTES {
            return Err(VoleFault::Malformed);
        }
        let offer = read_offer(theirs, &at.receiving()).ok_or(VoleFault::Malformed)?;
        own.expose(|own| {
            let sender = MulSender::init_phase2(
                &own.base_receiver,
                &at.sending(),
                own.choices.clone(),
                &own.exponents,
                &offer.proof,
                &offer.gadget_nonce,
            );
            let receiver = MulReceiver::init_phase2(
                &own.base_sender,
                &at.receiving(),
                &offer.seed,
                &offer.choices,
                &own.gadget_nonce,
            );
            match (sender, receiver) {
                (Ok(sender), Ok(receiver)) => Ok(Secret::new(CorePair { sender, receiver })),
                _ => Err(VoleFault::Cheated),
            }
        })
    }

    fn seal_bytes(pair: &CorePair) -> Result<Secret<Vec<u8>>, Bug> {
        let sender = stored(&pair.sender)?;
        let receiver = stored(&pair.receiver)?;
        Ok(Secret::new(Writer::new(DOMAIN).field(&sender).field(&receiver).finish()))
    }

    fn unseal(bytes: &[u8]) -> Result<Secret<CorePair>, Rule> {
        let read = || {
            let mut reader = Reader::new(bytes, DOMAIN)?;
            let sender = restored(reader.field(DIRECTION_BYTES_MAX)?)?;
            let receiver = restored(reader.field(DIRECTION_BYTES_MAX)?)?;
            reader.end()?;
            let pair = CorePair { sender, receiver };
            pair.check().ok()?;
            Some(Secret::new(pair))
        };
        read().ok_or(Rule::MalformedPairSetup)
    }

    fn receive(
        pair: &CorePair,
        sid: &[u8; 32],
        _: &mut dyn CryptoRngCore,
    ) -> Result<Received<Self::Kept>, Bug> {
        let (chi, kept, data) = pair.receiver.run_phase1(sid).map_err(|_| Bug::Library)?;
        let chi = Secret::new(ours(&chi)?);
        let mut message = Vec::with_capacity(RECEIVE_BYTES);
        message.extend_from_slice(&data.nonce);
        data.u.iter().for_each(|column| message.extend_from_slice(column));
        message.extend_from_slice(&data.verify_x);
        data.verify_t.iter().for_each(|element| message.extend_from_slice(element));
        Ok((chi, OneTime::new(kept), exactly(message, RECEIVE_BYTES)?))
    }

    fn send(
        pair: &CorePair,
        sid: &[u8; 32],
        input: &[Scalar; 2],
        received: &[u8],
        _: &mut dyn CryptoRngCore,
    ) -> Result<Sent, VoleFault> {
        if received.len() != RECEIVE_BYTES {
            return Err(VoleFault::Malformed);
        }
        let data = read_receive(received).ok_or(VoleFault::Malformed)?;
        pair.check()?;
        let input = Zeroizing::new([theirs(&input[0])?, theirs(&input[1])?]);
        let (output, answer) =
            pair.sender.run(sid, input.as_slice(), &data).map_err(|_| VoleFault::Cheated)?;
        let output = pair_of(Zeroizing::new(output))?;
        let mut message = Vec::with_capacity(SEND_BYTES);
        write_scalars(&mut message, answer.vector_of_tau.iter().flatten());
        message.extend_from_slice(&answer.ote_salt);
        message.extend_from_slice(&answer.verify_r);
        write_scalars(&mut message, &answer.verify_u);
        write_scalars(&mut message, &answer.gamma_sender);
        Ok((output, exactly(message, SEND_BYTES).map_err(VoleFault::Damaged)?))
    }

    fn complete(
        pair: &CorePair,
        sid: &[u8; 32],
        kept: OneTime<Self::Kept>,
        received: &[u8],
    ) -> Result<Secret<[Scalar; 2]>, VoleFault> {
        if received.len() != SEND_BYTES {
            return Err(VoleFault::Malformed);
        }
        let answer = read_send(received).ok_or(VoleFault::Malformed)?;
        kept.consume(|kept| {
            pair.receiver.check_state(Some(kept)).map_err(|_| VoleFault::Damaged(Bug::Library))?;
            let output =
                pair.receiver.run_phase2(sid, kept, &answer).map_err(|_| VoleFault::Cheated)?;
            pair_of(Zeroizing::new(output))
        })
    }
}

/// A message that has the length that both sides count on.
fn exactly(message: Vec<u8>, length: usize) -> Result<Secret<Vec<u8>>, Bug> {
    if message.len() != length {
        return Err(Bug::Library);
    }
    Ok(Secret::new(message))
}

// ---- scalars, by bytes -------------------------------------------------------------------------

fn ours(scalar: &CoreScalar) -> Result<Scalar, Bug> {
    let bytes: [u8; 32] = scalar.to_repr().into();
    Option::from(Scalar::from_repr(bytes.into())).ok_or(Bug::Encoding)
}

fn theirs(scalar: &Scalar) -> Result<CoreScalar, VoleFault> {
    let bytes: [u8; 32] = scalar.to_repr().into();
    let scalar: Option<CoreScalar> = CoreScalar::from_repr(bytes.into()).into();
    scalar.ok_or(VoleFault::Damaged(Bug::Encoding))
}

fn pair_of(output: Zeroizing<Vec<CoreScalar>>) -> Result<Secret<[Scalar; 2]>, VoleFault> {
    let [first, second] = output.as_slice() else {
        return Err(VoleFault::Damaged(Bug::Library));
    };
    let both = ours(first).and_then(|first| Ok([first, ours(second)?]));
    both.map(Secret::new).map_err(VoleFault::Damaged)
}

fn write_scalars<'a>(message: &mut Vec<u8>, scalars: impl IntoIterator<Item = &'a CoreScalar>) {
    scalars.into_iter().for_each(|scalar| message.extend_from_slice(&scalar.to_repr()));
}

// ---- reading: fixed places, one encoding -------------------------------------------------------

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn scalar(&mut self) -> Option<CoreScalar> {
        CoreScalar::from_repr(self.bytes::<32>()?.into()).into()
    }

    fn point(&mut self) -> Option<AffinePoint> {
        let bytes = self.bytes::<33>()?;
        let point: AffinePoint = Option::from(AffinePoint::from_bytes(&bytes.into()))?;
        let again: [u8; 33] = point.to_bytes().into();
        (again == bytes && point != AffinePoint::IDENTITY).then_some(point)
    }

    fn many<T>(&mut self, count: usize, one: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..count).map(|_| one(self)).collect()
    }

    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

fn read_receive(bytes: &[u8]) -> Option<OTEDataToSender> {
    let mut fields = Fields(bytes);
    let data = OTEDataToSender {
        nonce: fields.bytes()?,
        u: fields.many(BASE_OTS, Fields::bytes)?,
        verify_x: fields.bytes()?,
        verify_t: fields.many(BASE_OTS, Fields::bytes)?,
    };
    fields.end()?;
    Some(data)
}

fn read_send(bytes: &[u8]) -> Option<MulDataToReceiver<Secp256k1>> {
    let mut fields = Fields(bytes);
    let answer = MulDataToReceiver {
        vector_of_tau: fields.many(PAYLOADS, |fields| fields.many(EXTENDED_OTS, Fields::scalar))?,
        ote_salt: fields.bytes()?,
        verify_r: fields.bytes()?,
        verify_u: fields.many(2, Fields::scalar)?,
        gamma_sender: fields.many(2, Fields::scalar)?,
    };
    fields.end()?;
    Some(answer)
}

struct Offer {
    proof: DLogProof<Secp256k1>,
    gadget_nonce: CoreScalar,
    seed: [u8; 32],
    choices: Vec<EncProof<Secp256k1>>,
}

/// Reads the peer's offer; its choice proofs were made in the direction in which we receive.
fn read_offer(bytes: &[u8], receiving: &[u8; 32]) -> Option<Offer> {
    let mut fields = Fields(bytes);
    let proof = read_dlog(&mut fields)?;
    let gadget_nonce = fields.scalar()?;
    let seed: [u8; 32] = fields.bytes()?;
    let choices = (0u16..)
        .take(BASE_OTS)
        .map(|index| {
            let sid = [&index.to_be_bytes()[..], receiving].concat();
            let h = tagged_hash_as_point::<Secp256k1>(TAG_OT_BASE_H, &[&sid, &seed]);
            read_choice(&mut fields, h)
        })
        .collect::<Option<Vec<_>>>()?;
    fields.end()?;
    Some(Offer { proof, gadget_nonce, seed, choices })
}

// ---- proofs ------------------------------------------------------------------------------------

fn write_dlog(message: &mut Vec<u8>, proof: &DLogProof<Secp256k1>) {
    message.extend_from_slice(&proof.point.to_bytes());
    for commitment in &proof.rand_commitments {
        message.extend_from_slice(&commitment.to_bytes());
    }
    for one in &proof.proofs {
        message.extend_from_slice(&one.challenge);
        message.extend_from_slice(&one.challenge_response.to_repr());
    }
}

fn read_dlog(fields: &mut Fields) -> Option<DLogProof<Secp256k1>> {
    let point = fields.point()?;
    let rand_commitments = fields.many(FISCHLIN_REPETITIONS, Fields::point)?;
    let proofs = fields.many(FISCHLIN_REPETITIONS, |fields| {
        let challenge = fields.bytes::<4>()?.to_vec();
        let response = fields.scalar()?;
        // The type has a private marker field; its own decoder is the one way to make it.
        let encoded = postcard::to_allocvec(&(challenge, response)).ok()?;
        postcard::from_bytes::<InteractiveDLogProof<Secp256k1>>(&encoded).ok()
    })?;
    Some(DLogProof { point, rand_commitments, proofs })
}

fn write_choice(message: &mut Vec<u8>, proof: &EncProof<Secp256k1>) {
    let (first, second) = (&proof.commitments0, &proof.commitments1);
    let points = [
        proof.proof0.point_u,
        proof.proof0.point_v,
        first.rc_g,
        first.rc_h,
        second.rc_g,
        second.rc_h,
    ];
    points.iter().for_each(|point| message.extend_from_slice(&point.to_bytes()));
    let responses = [&proof.proof0.challenge_response, &proof.proof1.challenge_response];
    write_scalars(message, responses);
    write_scalars(message, [&proof.challenge0, &proof.challenge1]);
}

/// G, h and v − h are not on the wire: both sides know the first two.
fn read_choice(fields: &mut Fields, h: AffinePoint) -> Option<EncProof<Secp256k1>> {
    let (v, u) = (fields.point()?, fields.point()?);
    let commitments0 = RandomCommitments { rc_g: fields.point()?, rc_h: fields.point()? };
    let commitments1 = RandomCommitments { rc_g: fields.point()?, rc_h: fields.point()? };
    let (response0, response1) = (fields.scalar()?, fields.scalar()?);
    let (challenge0, challenge1) = (fields.scalar()?, fields.scalar()?);
    let base_g = ProjectivePoint::generator().to_affine();
    let v_less_h = (ProjectivePoint::from(v) - ProjectivePoint::from(h)).to_affine();
    let proof = |point_u, challenge_response| CPProof {
        base_g,
        base_h: h,
        point_u,
        point_v: u,
        challenge_response,
    };
    Some(EncProof {
        proof0: proof(v, response0),
        proof1: proof(v_less_h, response1),
        commitments0,
        commitments1,
        challenge0,
        challenge1,
    })
}

// ---- the vault's form --------------------------------------------------------------------------

fn stored<T: Serialize>(state: &T) -> Result<Zeroizing<Vec<u8>>, Bug> {
    postcard::to_allocvec(state).map(Zeroizing::new).map_err(|_| Bug::Encoding)
}

/// Takes the one encoding: what does not encode back to the same bytes is refused.
fn restored<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let state: T = postcard::from_bytes(bytes).ok()?;
    (*stored(&state).ok()? == bytes).then_some(state)
}
