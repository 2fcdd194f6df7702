//! Payloads of key generation and signing, as a hostile peer may write them. Every body runs for both
//! suites; the first byte of an input chooses.
//!
//! What is unforgeable here is asserted as such: only the genuine opening, share or signature passes.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use dvm_blame::{
    Binding, Fault, GroupKey, SCHNORR_SIGNATURE_BYTES, SchnorrSuite, SuiteGroupKey, aggregate,
    public_key_pem, verify_signature,
};
use dvm_core::digest::sha256;
use dvm_microcode::dkg::{self, Opened, Shared};
use dvm_microcode::{
    Ed25519, KeyShare, Roster, Secp256k1Tr, Secret, SecretMessages, Session, sign,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::{Seen, memory};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const SID: [u8; 32] = [5; 32];
const MESSAGE: &[u8] = b"pay bob";

/// One suite's genuine key generation and signature of the first two nodes.
struct World<C: SchnorrSuite> {
    openings: BTreeMap<String, Vec<u8>>,
    /// Shares of the polynomial, for the first node.
    shares: BTreeMap<String, Vec<u8>>,
    keys: Vec<KeyShare<C>>,
    group: Vec<u8>,
    commitments: BTreeMap<String, Vec<u8>>,
    partials: BTreeMap<String, Vec<u8>>,
    signature: [u8; SCHNORR_SIGNATURE_BYTES],
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(3)
}

/// Every node after the opening, by name; and the openings they sent.
type AllOpened<C> = (BTreeMap<&'static str, Opened<C>>, BTreeMap<String, Vec<u8>>);

fn opened<C: SchnorrSuite>() -> AllOpened<C> {
    let mut rng = rng();
    let (mut states, mut hashes) = (Vec::new(), BTreeMap::new());
    for node in NODES {
        let session = Session::<C>::new(SID, Roster::new(NODES).unwrap(), 2, node).unwrap();
        let (state, h) = dkg::commit(session, &mut rng).unwrap();
        states.push((node, state));
        hashes.insert(node.to_owned(), h);
    }
    let (mut opened, mut openings) = (BTreeMap::new(), BTreeMap::new());
    for (node, state) in states {
        let (state, opening) = dkg::open(state, hashes.clone()).unwrap();
        opened.insert(node, state);
        openings.insert(node.to_owned(), opening.expose(Vec::clone));
    }
    (opened, openings)
}

type Dealt<C> = (BTreeMap<&'static str, Shared<C>>, BTreeMap<String, BTreeMap<String, Vec<u8>>>);

fn dealt<C: SchnorrSuite>() -> Dealt<C> {
    let (opened, openings) = opened::<C>();
    let (mut shared, mut inboxes) = (BTreeMap::new(), BTreeMap::<_, BTreeMap<_, _>>::new());
    for (me, state) in opened {
        let peers = openings.iter().filter(|(node, _)| *node != me);
        let verified = peers.map(|(n, bytes)| dkg::receive_opening(&state, n, bytes).unwrap());
        let verified = verified.collect();
        let (state, shares) = dkg::share(state, verified).unwrap();
        shared.insert(me, state);
        for (to, share) in shares {
            inboxes.entry(to).or_default().insert(me.to_owned(), share.expose(Vec::clone));
        }
    }
    (shared, inboxes)
}

fn secret(shares: &BTreeMap<String, Vec<u8>>) -> SecretMessages {
    shares.iter().map(|(node, share)| (node.clone(), Secret::new(share.clone()))).collect()
}

impl<C: SchnorrSuite> World<C> {
    fn make() -> Self {
        let mut rng = rng();
        let (shared, inboxes) = dealt::<C>();
        let unconfirmed: Vec<_> = shared
            .into_iter()
            .map(|(me, state)| dkg::finish(state, &secret(&inboxes[me])).unwrap())
            .collect();
        let transcripts: BTreeMap<String, [u8; 32]> = NODES
            .iter()
            .zip(&unconfirmed)
            .map(|(node, state)| ((*node).to_owned(), *state.transcript()))
            .collect();
        let (mut nonces, mut probe) = (Vec::new(), BTreeMap::new());
        for (node, state) in NODES.iter().zip(&unconfirmed).take(2) {
            let (nonce, commitment) = state.probe_commit(&mut rng).unwrap();
            nonces.push(nonce);
            probe.insert((*node).to_owned(), commitment);
        }
        let agreed: Vec<_> =
            unconfirmed.into_iter().map(|state| dkg::agree(state, &transcripts).unwrap()).collect();
        let mut partials = BTreeMap::new();
        for ((node, state), nonce) in NODES.iter().zip(&agreed).zip(nonces) {
            let share = dkg::probe_partial(state, nonce, &probe).unwrap();
            partials.insert((*node).to_owned(), share.expose(Vec::clone));
        }
        let partials = secret(&partials);
        let confirm = |state| dkg::probe_confirm(state, &probe, &partials).unwrap();
        let keys: Vec<KeyShare<C>> = agreed.into_iter().map(confirm).collect();
        Self::sign(keys, inboxes["n1"].clone())
    }

    fn sign(keys: Vec<KeyShare<C>>, shares: BTreeMap<String, Vec<u8>>) -> Self {
        let mut rng = rng();
        let (mut nonces, mut commitments) = (Vec::new(), BTreeMap::new());
        for key in &keys[..2] {
            let (nonce, commitment) = sign::nonce_commit(key, &mut rng).unwrap();
            nonces.push(nonce);
            commitments.insert(key.node().to_owned(), commitment);
        }
        let binding = sign::bind(keys[0].group(), &commitments, MESSAGE).unwrap();
        let mut partials = BTreeMap::new();
        for (key, nonce) in keys.iter().zip(nonces) {
            let share = sign::partial_sig(key, nonce, &binding).unwrap();
            partials.insert(key.node().to_owned(), share.expose(Vec::clone));
        }
        let signature = binding.aggregate(&partials).unwrap();
        let group = keys[0].group().encode().unwrap();
        let (_, openings) = opened::<C>();
        Self { openings, shares, keys, group, commitments, partials, signature }
    }
}

/// Each suite's world, made once; `body` runs in the one that the first byte chooses.
macro_rules! in_suite {
    ($data:expr, $body:ident) => {{
        static ED25519: OnceLock<World<Ed25519>> = OnceLock::new();
        static SECP256K1: OnceLock<World<Secp256k1Tr>> = OnceLock::new();
        match $data.split_first() {
            None => Seen::of("empty"),
            Some((first, rest)) if first % 2 == 0 => $body(ED25519.get_or_init(World::make), rest),
            Some((_, rest)) => $body(SECP256K1.get_or_init(World::make), rest),
        }
    }};
}

fn told(fault: &Fault) -> Seen {
    Seen::refused(fault)
}

/// Public packages: one encoding; what decodes has a public key that verifiers take.
pub(super) fn group_key(data: &[u8]) -> Seen {
    fn body<C: SchnorrSuite>(_: &World<C>, data: &[u8]) -> Seen {
        match memory::bounded(data.len(), || GroupKey::<C>::decode(data)) {
            Ok(key) => {
                assert_eq!(key.encode().unwrap(), data, "a second encoding of one group key");
                assert!(usize::from(key.threshold()) <= key.roster().nodes().count());
                assert!(SuiteGroupKey::decode(C::SUITE, data).is_ok());
                assert!(public_key_pem(C::SUITE, key.public_key()).is_ok());
                Seen::of(("group key", key.threshold()))
            }
            Err(rule) => Seen::refused(&rule),
        }
    }
    in_suite!(data, body)
}

/// Sealed shares: one encoding, and only a share that fits its verifying share.
pub(super) fn key_share(data: &[u8]) -> Seen {
    fn body<C: SchnorrSuite>(world: &World<C>, data: &[u8]) -> Seen {
        match memory::bounded(data.len(), || KeyShare::<C>::unseal(data)) {
            Ok(share) => {
                let again = share.seal_bytes().unwrap().expose(Vec::clone);
                assert_eq!(again, data, "a second encoding of one share");
                let whose = world.keys.iter().find(|key| key.node() == share.node());
                Seen::of(("share", whose.is_some()))
            }
            Err(rule) => Seen::refused(&rule),
        }
    }
    in_suite!(data, body)
}

/// Openings: only the bytes that the peer committed to; anything else blames it, by name.
pub(super) fn dkg_opening(data: &[u8]) -> Seen {
    fn body<C: SchnorrSuite>(world: &World<C>, data: &[u8]) -> Seen {
        let (states, _) = opened::<C>();
        let judged =
            memory::bounded(data.len(), || dkg::receive_opening(&states["n1"], "n2", data));
        match judged {
            Ok(_) => {
                assert_eq!(world.openings["n2"], data, "another opening than was committed to");
                Seen::of("opened")
            }
            Err(Fault::Blame { culprits, what }) => {
                assert!(culprits.iter().map(|party| party.node.as_str()).eq(["n2"]));
                Seen::of(format!("{what:?}"))
            }
            Err(other) => panic!("an opening is right or blamed: {other}"),
        }
    }
    in_suite!(data, body)
}

/// Secret shares: only the one that fits the sender's commitments; anything else blames it, by name.
pub(super) fn dkg_share(data: &[u8]) -> Seen {
    fn body<C: SchnorrSuite>(world: &World<C>, data: &[u8]) -> Seen {
        let (mut states, _) = dealt::<C>();
        let mut shares = world.shares.clone();
        shares.insert("n2".to_owned(), data.to_vec());
        match dkg::finish(states.remove("n1").unwrap(), &secret(&shares)) {
            Ok(_) => {
                assert_eq!(world.shares["n2"], data, "another share than was dealt");
                Seen::of("shared")
            }
            Err(Fault::Blame { culprits, what }) => {
                assert!(culprits.iter().map(|party| party.node.as_str()).eq(["n2"]));
                Seen::of(format!("{what:?}"))
            }
            Err(other) => panic!("a share is right or blamed: {other}"),
        }
    }
    in_suite!(data, body)
}

/// Nonce commitments of the second signer: bound, or blamed on it. Never another's fault.
pub(super) fn nonce_commitments(data: &[u8]) -> Seen {
    fn body<C: SchnorrSuite>(world: &World<C>, data: &[u8]) -> Seen {
        let mut commitments = world.commitments.clone();
        commitments.insert("n2".to_owned(), data.to_vec());
        match Binding::new(world.keys[0].group(), &commitments, MESSAGE) {
            Ok(binding) => {
                assert_eq!(binding.signers().collect::<Vec<_>>(), ["n1", "n2"]);
                let genuine = world.commitments["n2"] == data;
                // The first signer's share was for the genuine commitments alone.
                let fits = binding.verify_share("n1", &world.partials["n1"]).is_ok();
                assert_eq!(fits, genuine, "a share that fits other commitments");
                Seen::of(("bound", genuine))
            }
            Err(fault) => {
                if let Fault::Blame { culprits, .. } = &fault {
                    assert!(culprits.iter().map(|party| party.node.as_str()).eq(["n2"]));
                }
                told(&fault)
            }
        }
    }
    in_suite!(data, body)
}

/// A signature share: only the genuine one verifies and adds up; anything else blames its signer alone.
pub(super) fn signature_share(data: &[u8]) -> Seen {
    fn body<C: SchnorrSuite>(world: &World<C>, data: &[u8]) -> Seen {
        let key = SuiteGroupKey::decode(C::SUITE, &world.group).unwrap();
        let mut shares = world.partials.clone();
        shares.insert("n2".to_owned(), data.to_vec());
        let genuine = world.partials["n2"] == data;
        let binding = sign::bind(world.keys[0].group(), &world.commitments, MESSAGE).unwrap();
        assert_eq!(binding.verify_share("n2", data).is_ok(), genuine, "another share verifies");
        match aggregate(&key, &world.commitments, MESSAGE, &shares) {
            Ok(signature) => {
                assert!(genuine && signature == world.signature);
                Seen::of("added up")
            }
            Err(fault) => {
                let Fault::Blame { culprits, .. } = &fault else { panic!("not blamed: {fault}") };
                assert!(culprits.iter().map(|party| party.node.as_str()).eq(["n2"]));
                told(&fault)
            }
        }
    }
    in_suite!(data, body)
}

/// A finished signature: nobody makes a second one of a message without the key.
pub(super) fn signature(data: &[u8]) -> Seen {
    fn body<C: SchnorrSuite>(world: &World<C>, data: &[u8]) -> Seen {
        let key = world.keys[0].group().public_key();
        let holds = verify_signature(C::SUITE, key, MESSAGE, data).is_ok();
        assert_eq!(holds, world.signature.as_slice() == data, "a second signature");
        // As a key it is nobody's: no signature of ours holds under it.
        assert!(
            verify_signature(C::SUITE, data, MESSAGE, &world.signature).is_err() || data == key
        );
        Seen::of((holds, data.len(), sha256(data).0[0] < 8))
    }
    in_suite!(data, body)
}

/// Genuine inputs of every target here, for the corpus: target and bytes.
pub(super) fn genuine() -> Vec<(&'static str, Vec<u8>)> {
    fn of<C: SchnorrSuite>(suite: u8) -> Vec<(&'static str, Vec<u8>)> {
        let world = World::<C>::make();
        let share = world.keys[1].seal_bytes().unwrap().expose(Vec::clone);
        let all = [
            ("group_key", world.group.clone()),
            ("key_share", share),
            ("dkg_opening", world.openings["n2"].clone()),
            ("dkg_share", world.shares["n2"].clone()),
            ("nonce_commitments", world.commitments["n2"].clone()),
            ("signature_share", world.partials["n2"].clone()),
            ("signature", world.signature.to_vec()),
        ];
        all.map(|(name, bytes)| (name, [vec![suite], bytes].concat())).to_vec()
    }
    [of::<Ed25519>(0), of::<Secp256k1Tr>(1)].concat()
}
