//! The liar's part in the set-up of pairs, beside the key generation that it plays: the words that a kernel would say.

use std::collections::BTreeMap;

use dvm_microcode::dkls23::own::OwnVole as Shipped;
use dvm_microcode::dkls23::pair::{self, Offered, Opened};
use dvm_microcode::{FrostSuite, Secret, SecretMessages, Session};
use dvm_score::MicroOp;
use rand_chacha::ChaCha20Rng;

use crate::harness::id;
use crate::liar::Word;

/// Where it is.
pub(crate) enum Provision {
    /// A key without pairs, too: then nothing is ever asked of it.
    Fresh,
    Offered(Offered<Shipped>),
    Opened(Opened<Shipped>),
    /// It keeps no set-up.
    Done,
}

/// What is said to each peer in one step.
fn each(op: MicroOp, messages: SecretMessages) -> Vec<Word> {
    let word = |(to, said): (String, Secret<Vec<u8>>)| Word {
        op,
        to: Some(id(&to)),
        bytes: said.expose(Vec::clone),
    };
    messages.into_iter().map(word).collect()
}

fn secret(heard: BTreeMap<String, Vec<u8>>) -> SecretMessages {
    heard.into_iter().map(|(from, said)| (from, Secret::new(said))).collect()
}

impl Provision {
    /// The words of one step, after what the others said in the step before.
    pub(crate) fn words<C: FrostSuite>(
        self,
        op: MicroOp,
        session: &Session<C>,
        heard: impl Fn(MicroOp) -> BTreeMap<String, Vec<u8>>,
        rng: &mut ChaCha20Rng,
    ) -> (Self, Vec<Word>) {
        match (op, self) {
            (MicroOp::PairOffer, Self::Fresh) => {
                let (offered, offers) = pair::offer(session, rng).unwrap();
                (Self::Offered(offered), each(op, offers))
            }
            (MicroOp::PairOpen, Self::Offered(offered)) => {
                let (opened, seeds) =
                    pair::open(offered, secret(heard(MicroOp::PairOffer))).unwrap();
                (Self::Opened(opened), each(op, seeds))
            }
            (MicroOp::PairConfirm, Self::Opened(opened)) => {
                let (_, digests) = pair::finish(opened, &secret(heard(MicroOp::PairOpen))).unwrap();
                (Self::Done, each(op, digests))
            }
            (_, state) => (state, Vec::new()),
        }
    }
}
