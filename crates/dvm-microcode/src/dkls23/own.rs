//! The OLE, our own.
//!
//! What: Functionality 3.5 of DKLs23 (eprint 2023/765) by base OT, OT extension and DKLs19's multiplication.
//! Source: the papers named in the files; parameters, hashes, tags and messages are those of dkls23-core 0.6.2, with
//! which this talks in both directions. Why there is one of our own, and what is different inside: decision 0013.
//! Always true: randomness is what the generator and the inputs of a step make of each other (`own/hedge.rs`), so a
//! generator that repeats itself gives nothing away; what a peer sends is read whole, or refused, before anything
//! secret is touched.
//! Constant time: each file says what in it is secret and how it is handled.
//! Not here: one-time use of what a run keeps; the caller's types see to that.

mod base;
mod choice_proof;
mod exponent_proof;
mod extension;
mod field;
mod hedge;
mod matrix;
mod multiply;
mod oracle;
mod pair;
mod points;
mod sums;
#[cfg(test)]
mod tests;
mod transfer;
mod wire;

use dvm_blame::{Bug, Rule};
use k256::Scalar;
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use self::hedge::Hedged;
use self::multiply::{Blinds, Choices};
use self::wire::{FromReceiver, FromSender};
use crate::dkls23::vole::{Begun, PairPlace, Received, Sent, Vole, VoleFault};
use crate::secret::{OneTime, Secret};

pub use self::base::Offered;
pub use self::multiply::Kept;
pub use self::pair::Pair;

/// Our own OLE.
pub struct OwnVole;

impl Vole for OwnVole {
    const NAME: &'static str = "dvm-own/1";

    type Offered = Offered;
    type Pair = Pair;
    type Kept = Kept;

    fn offer(at: &PairPlace, rng: &mut dyn CryptoRngCore) -> Result<Begun<Offered>, Bug> {
        let (offered, message) = base::offer(at, rng)?;
        Ok((Secret::new(offered), Secret::new(message)))
    }

    fn finish(
        at: &PairPlace,
        own: Secret<Offered>,
        theirs: &[u8],
    ) -> Result<Secret<Pair>, VoleFault> {
        own.expose(|own| base::finish(at, own, theirs)).map(Secret::new)
    }

    fn seal_bytes(pair: &Pair) -> Result<Secret<Vec<u8>>, Bug> {
        Ok(Secret::new(pair.to_bytes()))
    }

    fn unseal(bytes: &[u8]) -> Result<Secret<Pair>, Rule> {
        Pair::read(bytes).map(Secret::new).ok_or(Rule::MalformedPairSetup)
    }

    fn receive(
        pair: &Pair,
        sid: &[u8; 32],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Received<Kept>, Bug> {
        let step: [&[u8]; 3] = [b"receive", pair.hedge.as_ref(), sid];
        let mut rng = Hedged::new(rng, &step);
        let (kept, message) = multiply::receive(&pair.receiving, sid, Choices::draw(&mut rng));
        Ok((Secret::new(kept.chi()), OneTime::new(kept), Secret::new(message.to_bytes())))
    }

    fn send(
        pair: &Pair,
        sid: &[u8; 32],
        input: &[Scalar; 2],
        received: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Sent, VoleFault> {
        let message = FromReceiver::read(received).ok_or(VoleFault::Malformed)?;
        let received = multiply::digest_of(sid, &message);
        let drawn = Blinds::draw(&mut sending(pair, sid, input, &received, rng));
        let (c, answer, consistent) =
            multiply::send(&pair.sending, sid, (&message, &received), input, drawn);
        let sent = (Secret::new(c), Secret::new(answer.to_bytes()));
        // Looked at when all is done: what a cheating receiver learns of Δ is whether it was caught, and no sooner than
        // its ban is on the way.
        if !bool::from(consistent) {
            return Err(VoleFault::Cheated);
        }
        Ok(sent)
    }

    fn complete(
        pair: &Pair,
        sid: &[u8; 32],
        kept: OneTime<Kept>,
        received: &[u8],
    ) -> Result<Secret<[Scalar; 2]>, VoleFault> {
        let (message, tau) = FromSender::read(received).ok_or(VoleFault::Malformed)?;
        kept.consume(|kept| multiply::complete(&pair.receiving, sid, kept, (&message, tau)))
            .map(Secret::new)
    }
}

/// The sender's stream. The receiver's message names it too: under the same session another one gets other weights.
fn sending(
    pair: &Pair,
    sid: &[u8; 32],
    input: &[Scalar; 2],
    received: &[u8; 32],
    rng: &mut dyn CryptoRngCore,
) -> Hedged {
    let [input0, input1] = input.map(|input| Zeroizing::new(<[u8; 32]>::from(input.to_bytes())));
    let step: [&[u8]; 6] =
        [b"send", pair.hedge.as_ref(), sid, input0.as_ref(), input1.as_ref(), received];
    Hedged::new(rng, &step)
}
