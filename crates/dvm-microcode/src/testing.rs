//! The one test body's hands: whole runs of the rounds, for any suite, all parties in one place.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::dkg::{self, Agreed, Committed, Opened, Unconfirmed, VerifiedOpening};
use crate::{
    Fault, FrostSuite, KeyShare, Offence, Party, Roster, SchnorrSuite, Secret, SecretMessages,
    Session, SessionId, sign,
};

pub(crate) type Commitments = BTreeMap<String, Vec<u8>>;
pub(crate) type Shares = SecretMessages;

/// Runs a generic test body once per suite.
macro_rules! for_every_suite {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn frost_ed25519() {
                super::bodies::$name::<crate::Ed25519>();
            }
            #[test]
            fn frost_secp256k1_tr() {
                super::bodies::$name::<crate::Secp256k1Tr>();
            }
            #[test]
            fn ecdsa_secp256k1() {
                super::bodies::$name::<crate::Secp256k1>();
            }
        }
    )*};
}
pub(crate) use for_every_suite;

/// Runs a generic test body once per suite whose keys sign by FROST.
macro_rules! for_schnorr_suites {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn frost_ed25519() {
                super::bodies::$name::<crate::Ed25519>();
            }
            #[test]
            fn frost_secp256k1_tr() {
                super::bodies::$name::<crate::Secp256k1Tr>();
            }
        }
    )*};
}
pub(crate) use for_schnorr_suites;

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn sid(seed: u64) -> SessionId {
    let mut sid = [0; 32];
    sid[..8].copy_from_slice(&seed.to_be_bytes());
    sid
}

/// In base 36, so that names of sixteen sort as their indices do.
pub(crate) fn name(index: u16) -> String {
    format!("node-{}", char::from_digit(index.into(), 36).unwrap())
}

pub(crate) fn party(index: u16) -> Party {
    Party { index, node: name(index) }
}

pub(crate) fn blame(indices: &[u16], what: Offence) -> Fault {
    Fault::Blame { culprits: indices.iter().map(|index| party(*index)).collect(), what }
}

pub(crate) fn session<C: FrostSuite>(t: u16, n: u16, seed: u64, me: &str) -> Session<C> {
    let roster = Roster::new((1..=n).map(name)).unwrap();
    Session::new(sid(seed), roster, t, me).unwrap()
}

/// Everybody after `open`, with everybody's opening bytes.
pub(crate) struct AllOpened<C: FrostSuite> {
    pub(crate) opened: BTreeMap<String, Opened<C>>,
    pub(crate) openings: BTreeMap<String, Vec<u8>>,
}

pub(crate) fn run_to_committed<C: FrostSuite>(
    t: u16,
    n: u16,
    seed: u64,
) -> (BTreeMap<String, Committed<C>>, BTreeMap<String, [u8; 32]>) {
    let mut rng = rng(seed);
    let mut states = BTreeMap::new();
    let mut hashes = BTreeMap::new();
    for node in (1..=n).map(name) {
        let (state, h) = dkg::commit(session::<C>(t, n, seed, &node), &mut rng).unwrap();
        states.insert(node.clone(), state);
        hashes.insert(node, h);
    }
    (states, hashes)
}

pub(crate) fn run_to_opened<C: FrostSuite>(t: u16, n: u16, seed: u64) -> AllOpened<C> {
    let (committed, hashes) = run_to_committed::<C>(t, n, seed);
    let mut opened = BTreeMap::new();
    let mut openings = BTreeMap::new();
    for (node, state) in committed {
        let (state, opening) = dkg::open(state, hashes.clone()).unwrap();
        opened.insert(node.clone(), state);
        openings.insert(node, opening.expose(Vec::clone));
    }
    AllOpened { opened, openings }
}

/// Every peer's opening as `me` accepts it.
pub(crate) fn accept_all<C: FrostSuite>(
    me: &str,
    opened: &Opened<C>,
    openings: &BTreeMap<String, Vec<u8>>,
) -> Vec<VerifiedOpening<C>> {
    let peers = openings.iter().filter(|(node, _)| *node != me);
    peers.map(|(node, bytes)| dkg::receive_opening(opened, node, bytes).unwrap()).collect()
}

/// Runs up to the last level; `tamper(from, to, share)` may change a share on its way.
pub(crate) fn run_to_finished<C: FrostSuite>(
    (t, n, seed): (u16, u16, u64),
    tamper: impl Fn(&str, &str, &mut Vec<u8>),
) -> BTreeMap<String, Result<Unconfirmed<C>, Fault>> {
    let AllOpened { opened, openings } = run_to_opened::<C>(t, n, seed);
    let mut states = BTreeMap::new();
    let mut inboxes: BTreeMap<String, Shares> = BTreeMap::new();
    for (me, state) in opened {
        let verified = accept_all(&me, &state, &openings);
        let (state, shares) = dkg::share(state, verified).unwrap();
        for (to, share) in shares {
            let mut bytes = share.expose(Vec::clone);
            tamper(&me, &to, &mut bytes);
            inboxes.entry(to).or_default().insert(me.clone(), Secret::new(bytes));
        }
        states.insert(me, state);
    }
    let finish = |(me, state)| {
        let result = dkg::finish(state, &inboxes[&me]);
        (me, result)
    };
    states.into_iter().map(finish).collect()
}

pub(crate) fn run_to_agreed<C: FrostSuite>(t: u16, n: u16, seed: u64) -> Vec<Agreed<C>> {
    let finished: Vec<Unconfirmed<C>> = run_to_finished((t, n, seed), |_, _, _| ())
        .into_values()
        .map(|result| result.ok().unwrap())
        .collect();
    let transcripts: BTreeMap<String, [u8; 32]> =
        (1..=n).map(name).zip(finished.iter().map(|state| *state.transcript())).collect();
    finished.into_iter().map(|state| dkg::agree(state, &transcripts).ok().unwrap()).collect()
}

/// The probe by the first t nodes: commitments and shares.
pub(crate) fn run_probe<C: FrostSuite>(agreed: &[Agreed<C>], t: u16) -> (Commitments, Shares) {
    let mut rng = rng(99);
    let mut nonces = Vec::new();
    let mut commitments = BTreeMap::new();
    for (index, state) in (1..=t).zip(agreed) {
        let (own, bytes) = sign::draw(&state.key, &mut rng).unwrap();
        nonces.push(own);
        commitments.insert(name(index), bytes);
    }
    let shares = (1..=t)
        .zip(agreed)
        .zip(nonces)
        .map(|((index, state), own)| {
            (name(index), dkg::probe_partial(state, own, &commitments).unwrap())
        })
        .collect();
    (commitments, shares)
}

/// A whole key generation: every node's key share, in roster order.
pub(crate) fn generate<C: FrostSuite>(t: u16, n: u16, seed: u64) -> Vec<KeyShare<C>> {
    let agreed = run_to_agreed::<C>(t, n, seed);
    let (commitments, shares) = run_probe(&agreed, t);
    let confirm = |state| dkg::probe_confirm(state, &commitments, &shares).ok().unwrap();
    agreed.into_iter().map(confirm).collect()
}

/// Every subset of `t` of the key shares.
pub(crate) fn subsets<C: FrostSuite>(keys: &[KeyShare<C>], t: u16) -> Vec<Vec<&KeyShare<C>>> {
    (0u32..1 << keys.len())
        .filter(|set| set.count_ones() == u32::from(t))
        .map(|set| {
            let chosen = keys.iter().enumerate().filter(|(place, _)| set >> place & 1 == 1);
            chosen.map(|(_, key)| key).collect()
        })
        .collect()
}

/// Both signing rounds by these signers: the binding and everybody's share.
pub(crate) fn run_signing<C: SchnorrSuite>(
    signers: &[&KeyShare<C>],
    message: &[u8],
    seed: u64,
) -> (crate::Binding<C>, Shares) {
    let mut rng = rng(seed);
    let mut nonces = Vec::new();
    let mut commitments = BTreeMap::new();
    for key in signers {
        let (own, bytes) = sign::nonce_commit(key, &mut rng).unwrap();
        nonces.push(own);
        commitments.insert(key.node().to_owned(), bytes);
    }
    let binding = sign::bind(signers[0].group(), &commitments, message).unwrap();
    let shares = signers
        .iter()
        .zip(nonces)
        .map(|(key, own)| (key.node().to_owned(), sign::partial_sig(key, own, &binding).unwrap()))
        .collect();
    (binding, shares)
}

/// Changes one secret message in place of its sender.
pub(crate) fn change(shares: &mut Shares, node: &str, with: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = shares[node].expose(Vec::clone);
    with(&mut bytes);
    shares.insert(node.to_owned(), Secret::new(bytes));
}
