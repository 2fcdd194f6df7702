//! The set-up of a key's pairs: what two signers share for as long as the key lives.
//!
//! Source: DKLs23 (eprint 2023/765): the base OTs of Functionality 3.5 in both directions, and the seeds of
//! zero-sharing, Functionality 3.4. Both are made in the key generation, beside its own levels.
//!
//! Levels, each a state that the next round consumes: [`offer`] → [`open`] → [`finish`] → [`agree`]; all messages are
//! sealed, kernel to kernel.
//! Always true: a pair's zero seed is the sum of two that were committed to before either was shown; a [`PairOf`]
//! exists only after both named the same digest of everything that was sent, so that no run starts from two views.
//! Not here: which pairs are banned, and where a set-up is stored.

use std::collections::BTreeMap;

use dvm_blame::layout::{Reader, Writer};
use dvm_blame::{Bug, Fault, FrostSuite, NODE_NAME_BYTES_MAX, Offence, Roster, Rule};
use rand_core::CryptoRngCore;

use super::preimage;
use super::verdicts::Verdicts;
use super::vole::{OFFER_BYTES, PairPlace, Vole};
use crate::secret::{Secret, SecretMessages};
use crate::session::{Session, SessionId};

/// Length of [`offer`]'s message: the OLE's offer ‖ the commitment to a zero seed.
pub const PAIR_OFFER_BYTES: usize = OFFER_BYTES + 32;
/// Length of [`open`]'s message: zero seed ‖ salt.
pub const PAIR_OPEN_BYTES: usize = 64;
/// Length of [`finish`]'s message: the set-up's digest.
pub const PAIR_CONFIRM_BYTES: usize = 32;

const DOMAIN: &str = "dvm/dkls23/pair/v1";
const VOLE_NAME_BYTES_MAX: usize = 64;
/// Longest encoding of both directions of an OLE; dkls23-core's takes 52 kB.
const VOLE_BYTES_MAX: usize = 128 << 10;

/// One pair's set-up, as one of the two holds it.
pub struct PairOf<V: Vole> {
    pub(crate) vole: Secret<V::Pair>,
    pub(crate) zero_seed: Secret<[u8; 32]>,
    pub(crate) setup_digest: [u8; 32],
}

/// The session in which pairs are set up.
struct Place {
    sid: SessionId,
    roster: Roster,
    me: String,
}

impl Place {
    fn to<'a>(&'a self, peer: &'a str) -> PairPlace<'a> {
        PairPlace { sid: &self.sid, me: &self.me, peer }
    }

    fn peers(&self) -> impl Iterator<Item = &str> {
        self.roster.nodes().filter(|node| *node != self.me)
    }

    /// One message of each peer, of this length; who sent another length is named.
    fn check_messages(&self, messages: &SecretMessages, length: usize) -> Result<(), Fault> {
        self.roster.check_senders(messages, self.peers())?;
        let mut verdicts = Verdicts::new(&self.roster);
        for (node, message) in messages {
            verdicts.demand(node, message.expose(Vec::len) == length);
        }
        verdicts.end(Offence::PairSetup)
    }
}

/// What is kept of one pair before its messages came.
struct Offer<V: Vole> {
    vole: Secret<V::Offered>,
    /// zero seed ‖ salt
    opening: Secret<[u8; PAIR_OPEN_BYTES]>,
    /// Our first message.
    sent: Secret<Vec<u8>>,
}

/// What a party keeps after offering.
pub struct Offered<V: Vole> {
    place: Place,
    pairs: BTreeMap<String, Offer<V>>,
}

/// Starts every pair of this node: one message for each peer.
pub fn offer<V: Vole, C: FrostSuite>(
    session: &Session<C>,
    rng: &mut dyn CryptoRngCore,
) -> Result<(Offered<V>, SecretMessages), Fault> {
    let place = Place {
        sid: *session.sid(),
        roster: session.roster().clone(),
        me: session.me().to_owned(),
    };
    let (mut pairs, mut messages) = (BTreeMap::new(), SecretMessages::new());
    for peer in place.peers() {
        let (vole, offer) = V::offer(&place.to(peer), rng)?;
        let mut opening = [0; PAIR_OPEN_BYTES];
        rng.fill_bytes(&mut opening);
        let opening = Secret::new(opening);
        // Functionality 3.4: the two seeds are committed to, so that neither party chooses the sum.
        let commitment = opening
            .expose(|opening| preimage::zero_seed_commitment(&place.sid, &place.me, peer, opening));
        let message = || offer.expose(|offer| Secret::new([&offer[..], &commitment].concat()));
        pairs.insert(peer.to_owned(), Offer { vole, opening, sent: message() });
        messages.insert(peer.to_owned(), message());
    }
    Ok((Offered { place, pairs }, messages))
}

/// What a party keeps after opening its zero seeds.
pub struct Opened<V: Vole> {
    place: Place,
    pairs: BTreeMap<String, Offer<V>>,
    /// The peers' first messages, of the right length and otherwise unread.
    received: SecretMessages,
}

/// Opens this node's zero seeds, once every peer's commitment is here.
pub fn open<V: Vole>(
    offered: Offered<V>,
    received: SecretMessages,
) -> Result<(Opened<V>, SecretMessages), Fault> {
    let Offered { place, pairs } = offered;
    place.check_messages(&received, PAIR_OFFER_BYTES)?;
    let opening = |offer: &Offer<V>| offer.opening.expose(|opening| Secret::new(opening.to_vec()));
    let messages = pairs.iter().map(|(peer, offer)| (peer.clone(), opening(offer))).collect();
    Ok((Opened { place, pairs, received }, messages))
}

/// Set-ups that the two sides have not compared.
pub struct Unconfirmed<V: Vole> {
    place: Place,
    pairs: BTreeMap<String, PairOf<V>>,
}

/// Checks what every peer sent and makes the set-ups: their digests go to the peers.
pub fn finish<V: Vole>(
    opened: Opened<V>,
    openings: &SecretMessages,
) -> Result<(Unconfirmed<V>, SecretMessages), Fault> {
    let Opened { place, pairs: offers, received } = opened;
    place.check_messages(openings, PAIR_OPEN_BYTES)?;
    let mut verdicts = Verdicts::new(&place.roster);
    let (mut pairs, mut digests) = (BTreeMap::new(), SecretMessages::new());
    for (peer, offer) in offers {
        let (Some((node, opening)), Some(theirs)) =
            (openings.get_key_value(&peer), received.get(&peer))
        else {
            return Err(Rule::UnexpectedMessage.into());
        };
        let setup_digest = digest_of::<V>(&place.to(&peer), &offer.sent, theirs);
        let zero_seed = zero_seed(&place.to(&peer), &offer.opening, theirs, opening);
        verdicts.demand(node, zero_seed.is_some());
        let at = place.to(&peer);
        let vole = theirs.expose(|theirs| {
            let theirs = theirs.get(..OFFER_BYTES).unwrap_or_default();
            V::finish(&at, offer.vole, theirs)
        });
        if let (Some(zero_seed), Some(vole)) = (zero_seed, verdicts.take(node, vole)) {
            digests.insert(peer.clone(), Secret::new(setup_digest.to_vec()));
            pairs.insert(peer, PairOf { vole, zero_seed, setup_digest });
        }
    }
    verdicts.end(Offence::PairSetup)?;
    Ok((Unconfirmed { place, pairs }, digests))
}

/// Compares the digests. All that they are of was said by the two, each to the other under its own key and seal: so a
/// peer that names another one lies about it, or about what it sent.
pub fn agree<V: Vole>(
    unconfirmed: Unconfirmed<V>,
    digests: &SecretMessages,
) -> Result<BTreeMap<String, PairOf<V>>, Fault> {
    let Unconfirmed { place, pairs } = unconfirmed;
    place.check_messages(digests, PAIR_CONFIRM_BYTES)?;
    let mut verdicts = Verdicts::new(&place.roster);
    for (peer, digest) in digests {
        let pair = pairs.get(peer).ok_or(Rule::UnexpectedMessage)?;
        verdicts.demand(peer, digest.expose(|digest| digest[..] == pair.setup_digest));
    }
    verdicts.end(Offence::PairSetup)?;
    Ok(pairs)
}

/// The seed that both add up to, if the peer opens what it committed to.
fn zero_seed(
    at: &PairPlace,
    own: &Secret<[u8; PAIR_OPEN_BYTES]>,
    offer: &Secret<Vec<u8>>,
    opening: &Secret<Vec<u8>>,
) -> Option<Secret<[u8; 32]>> {
    opening.expose(|opening| {
        let opening: &[u8; PAIR_OPEN_BYTES] = opening.as_slice().try_into().ok()?;
        let commitment = preimage::zero_seed_commitment(at.sid, at.peer, at.me, opening);
        if !offer.expose(|offer| offer.ends_with(&commitment)) {
            return None;
        }
        let mut seed = Box::new([0; 32]);
        own.expose(|own| {
            for ((sum, ours), theirs) in seed.iter_mut().zip(own).zip(opening) {
                *sum = ours ^ theirs;
            }
        });
        Some(Secret::new(*seed))
    })
}

/// The same at both: the messages in the order of the names.
fn digest_of<V: Vole>(at: &PairPlace, sent: &Secret<Vec<u8>>, got: &Secret<Vec<u8>>) -> [u8; 32] {
    sent.expose(|sent| {
        got.expose(|got| {
            let mut ends = [(at.me, sent.as_slice()), (at.peer, got.as_slice())];
            ends.sort_unstable_by_key(|(name, _)| *name);
            preimage::setup_digest(at.sid, V::NAME, &ends)
        })
    })
}

impl<V: Vole> PairOf<V> {
    /// What both sides agreed on. Every message of a run between them names it first.
    pub fn setup_digest(&self) -> &[u8; 32] {
        &self.setup_digest
    }

    /// The set-up's encoding, for the vault to seal.
    pub fn seal_bytes(&self, at: &PairPlace) -> Result<Secret<Vec<u8>>, Bug> {
        let vole = self.vole.expose(V::seal_bytes)?;
        Ok(vole.expose(|vole| {
            self.zero_seed.expose(|seed| {
                let (me, peer) = (at.me.as_bytes(), at.peer.as_bytes());
                let fields: [&[u8]; 7] =
                    [V::NAME.as_bytes(), at.sid, me, peer, &self.setup_digest, seed, vole];
                Secret::new(Writer::of(DOMAIN, &fields).finish())
            })
        }))
    }

    /// Reads what [`PairOf::seal_bytes`] wrote for the same place: another key's or another pair's set-up in its
    /// stead is refused.
    pub fn unseal(bytes: &[u8], at: &PairPlace) -> Result<Self, Rule> {
        Self::read(bytes, at).ok_or(Rule::MalformedPairSetup)
    }

    fn read(bytes: &[u8], at: &PairPlace) -> Option<Self> {
        let mut reader = Reader::new(bytes, DOMAIN)?;
        let same = reader.text(VOLE_NAME_BYTES_MAX)? == V::NAME
            && reader.field(32)? == at.sid
            && reader.text(NODE_NAME_BYTES_MAX)? == at.me
            && reader.text(NODE_NAME_BYTES_MAX)? == at.peer;
        if !same {
            return None;
        }
        let setup_digest = reader.field(32)?.try_into().ok()?;
        let zero_seed = Secret::new(reader.field(32)?.try_into().ok()?);
        let vole = V::unseal(reader.field(VOLE_BYTES_MAX)?).ok()?;
        reader.end()?;
        Some(Self { vole, zero_seed, setup_digest })
    }
}
