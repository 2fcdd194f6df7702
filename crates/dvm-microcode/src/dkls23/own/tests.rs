//! Claims about the OLE: that it multiplies, with us and with dkls23-core at either end; that whatever is changed on its
//! way is refused; that a random source which repeats itself gives nothing away.

mod honest;
mod hostile;
mod interop;
mod measure;
mod pinned;
mod repeated;
mod setup;

use std::sync::OnceLock;

use k256::Scalar;
use k256::elliptic_curve::Field;

use super::*;
use crate::dkls23::vole::{RECEIVE_BYTES, SEND_BYTES};
use crate::testing::rng;

static_assertions::assert_not_impl_any!(Pair: Clone, Copy, std::fmt::Debug);
static_assertions::assert_not_impl_any!(Offered: Clone, Copy, std::fmt::Debug);
static_assertions::assert_not_impl_any!(Kept: Clone, Copy, std::fmt::Debug);

pub(super) const SID: [u8; 32] = [0x51; 32];

/// A set-up's two ends, the first receiving from the second and the other way round.
pub(super) struct Ends<A: Vole, B: Vole> {
    pub(super) a: Secret<A::Pair>,
    pub(super) b: Secret<B::Pair>,
}

pub(super) fn places(session: &[u8; 32]) -> (PairPlace<'_>, PairPlace<'_>) {
    let place = |me, peer| PairPlace { sid: session, me, peer };
    (place("a", "b"), place("b", "a"))
}

pub(super) fn set_up<A: Vole, B: Vole>(seed: u64) -> Ends<A, B> {
    let session = crate::testing::sid(seed);
    let (at_a, at_b) = places(&session);
    let mut rng = rng(seed);
    let (own_a, from_a) = A::offer(&at_a, &mut rng).unwrap();
    let (own_b, from_b) = B::offer(&at_b, &mut rng).unwrap();
    let a = from_b.expose(|message| A::finish(&at_a, own_a, message));
    let b = from_a.expose(|message| B::finish(&at_b, own_b, message));
    let (Ok(a), Ok(b)) = (a, b) else { panic!("an honest offer was refused") };
    Ends { a, b }
}

/// The one set-up that most tests use.
pub(super) fn ends() -> &'static Ends<OwnVole, OwnVole> {
    static ENDS: OnceLock<Ends<OwnVole, OwnVole>> = OnceLock::new();
    ENDS.get_or_init(|| set_up(1))
}

pub(super) fn input(seed: u64) -> [Scalar; 2] {
    let mut rng = rng(seed);
    [Scalar::random(&mut rng), Scalar::random(&mut rng)]
}

/// What a run of `R` and `S` came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// c + d = χ·a, with this a.
    Product([Scalar; 2]),
    SenderRefused(VoleFault),
    ReceiverRefused(VoleFault),
}

/// Runs it, with a hand on both messages. The product's a is computed from χ, c and d.
pub(super) fn run<R: Vole, S: Vole>(
    (receiver, sender): (&Secret<R::Pair>, &Secret<S::Pair>),
    input: &[Scalar; 2],
    to_sender: impl FnOnce(&mut Vec<u8>),
    to_receiver: impl FnOnce(&mut Vec<u8>),
) -> Outcome {
    let mut rng = rng(99);
    let received = receiver.expose(|pair| R::receive(pair, &SID, &mut rng));
    let (chi, kept, message) = received.unwrap();
    let mut message = message.expose(Vec::clone);
    assert_eq!(message.len(), RECEIVE_BYTES);
    to_sender(&mut message);
    let sent = sender.expose(|pair| S::send(pair, &SID, input, &message, &mut rng));
    let (c, answer) = match sent {
        Ok(sent) => sent,
        Err(fault) => return Outcome::SenderRefused(fault),
    };
    let mut answer = answer.expose(Vec::clone);
    assert_eq!(answer.len(), SEND_BYTES);
    to_receiver(&mut answer);
    match receiver.expose(|pair| R::complete(pair, &SID, kept, &answer)) {
        Ok(d) => {
            let inverse = chi.expose(|chi| chi.invert().unwrap());
            let [c, d] = [c.expose(|c| *c), d.expose(|d| *d)];
            Outcome::Product([(c[0] + d[0]) * inverse, (c[1] + d[1]) * inverse])
        }
        Err(fault) => Outcome::ReceiverRefused(fault),
    }
}

pub(super) fn honest<R: Vole, S: Vole>(
    pairs: (&Secret<R::Pair>, &Secret<S::Pair>),
    input: &[Scalar; 2],
) -> Outcome {
    run::<R, S>(pairs, input, |_| (), |_| ())
}
