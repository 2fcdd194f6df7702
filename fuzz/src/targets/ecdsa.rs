//! Payloads of an ECDSA signature, as a hostile signer may write them, and paths below a key.
//!
//! The second of two signers says what the input says. What is unforgeable is asserted as such: only what it committed
//! to is its opening, no share of it changes the signature, and there is one signature.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use dvm_blame::ecdsa::{
    NonceCommitment, Nonces, POINT_BYTES, SIGNATURE_BYTES, SignatureTerms, digest_scalar, opening,
    point_bytes, point_from_bytes,
};
use dvm_blame::{Fault, Roster, Suite, bip32, verify_signature};
use dvm_core::digest::sha256;
use k256::{ProjectivePoint, Scalar};

use crate::{Seen, memory};

const RUN: [u8; 32] = [5; 32];
const NODES: [&str; 2] = ["n1", "n2"];

/// A genuine signature with everything that was said for it.
struct World {
    signers: Roster,
    public_key: [u8; POINT_BYTES],
    digest: [u8; 32],
    commitments: BTreeMap<String, [u8; 32]>,
    openings: BTreeMap<String, Vec<u8>>,
    shares: BTreeMap<String, Vec<u8>>,
    signature: [u8; SIGNATURE_BYTES],
}

fn scalar(text: &str) -> Scalar {
    digest_scalar(&sha256(text.as_bytes()).0)
}

fn point(scalar: &Scalar) -> [u8; POINT_BYTES] {
    point_bytes(&(ProjectivePoint::GENERATOR * scalar)).unwrap()
}

impl World {
    fn get() -> &'static Self {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(Self::make)
    }

    fn make() -> Self {
        let (k, x) = (scalar("r n1") + scalar("r n2"), scalar("x n1") + scalar("x n2"));
        let mut world = Self {
            signers: Roster::new(NODES).unwrap(),
            public_key: point(&x),
            digest: sha256(b"pay bob").0,
            commitments: BTreeMap::new(),
            openings: BTreeMap::new(),
            shares: BTreeMap::new(),
            signature: [0; SIGNATURE_BYTES],
        };
        for node in NODES {
            let nonce = point(&scalar(&format!("r {node}")));
            let (key, salt) = (point(&scalar(&format!("x {node}"))), sha256(node.as_bytes()).0);
            let com = NonceCommitment { run_sid: &RUN, item: 0, node, nonce: &nonce, salt: &salt };
            world.commitments.insert(node.to_owned(), com.hash());
            world.openings.insert(node.to_owned(), opening(&nonce, &key, &salt).to_vec());
        }
        let nonces = world.nonces();
        let opened = nonces.open(&world.commitments, &world.openings).unwrap();
        let r = *nonces.sum(&opened, None).unwrap().r();
        // Σu = kφ and Σw = φ(m + rx), with u and w of the first signer arbitrary.
        let (phi, u, w) = (scalar("phi"), scalar("u"), scalar("w"));
        let sum = phi * (digest_scalar(&world.digest) + r * x);
        let share = |u: Scalar, w: Scalar| [u.to_bytes(), w.to_bytes()].concat();
        world.shares.insert("n1".to_owned(), share(u, w));
        world.shares.insert("n2".to_owned(), share(k * phi - u, sum - w));
        world.signature = world.combine(&world.shares).unwrap();
        world
    }

    fn nonces(&self) -> Nonces<'_> {
        let (signers, public_key) = (&self.signers, &self.public_key);
        Nonces { run_sid: &RUN, item: 0, signers, public_key }
    }

    fn combine(&self, shares: &BTreeMap<String, Vec<u8>>) -> Result<[u8; SIGNATURE_BYTES], Fault> {
        let opened = self.nonces().open(&self.commitments, &self.openings)?;
        let nonce = &self.nonces().sum(&opened, Some("n1"))?;
        let (signers, public_key, digest) = (&self.signers, &self.public_key, &self.digest);
        SignatureTerms { signers, public_key, nonce, digest }.combine(shares)
    }
}

/// A fault that the second signer alone can have caused.
fn told(fault: &Fault) -> Seen {
    if let Fault::Blame { culprits, .. } = fault {
        assert!(culprits.iter().map(|party| party.node.as_str()).eq(["n2"]));
    }
    Seen::refused(fault)
}

/// An opening: what was committed to, with the signer's own key point; anything else names it.
pub(super) fn nonce_opening(data: &[u8]) -> Seen {
    let world = World::get();
    let mut openings = world.openings.clone();
    openings.insert("n2".to_owned(), data.to_vec());
    let judged = memory::bounded(data.len(), || {
        let opened = world.nonces().open(&world.commitments, &openings)?;
        world.nonces().sum(&opened, Some("n1"))
    });
    match judged {
        Ok(_) => {
            assert_eq!(world.openings["n2"], data, "another opening than was committed to");
            Seen::of("opened")
        }
        Err(fault) => {
            assert!(matches!(fault, Fault::Blame { .. }), "one of two is always named: {fault}");
            told(&fault)
        }
    }
}

/// A share: it makes the signature, or none.
pub(super) fn share(data: &[u8]) -> Seen {
    let world = World::get();
    let mut shares = world.shares.clone();
    shares.insert("n2".to_owned(), data.to_vec());
    match memory::bounded(data.len(), || world.combine(&shares)) {
        Ok(signature) => {
            assert_eq!(signature, world.signature, "a second signature");
            Seen::of("combined")
        }
        Err(fault) => told(&fault),
    }
}

/// A finished signature: nobody makes a second one of a digest without the key.
pub(super) fn signature(data: &[u8]) -> Seen {
    let world = World::get();
    let verify = |key: &[u8], signature: &[u8]| {
        verify_signature(Suite::EcdsaSecp256k1, key, &world.digest, signature)
    };
    let verdict = verify(&world.public_key, data);
    assert_eq!(verdict.is_ok(), world.signature == data, "a second signature");
    // As a key it is nobody's: no signature of ours holds under it.
    assert!(verify(data, &world.signature).is_err() || world.public_key == data);
    Seen::of((verdict.err().map(|bad| bad.to_string()), data.len()))
}

/// A chain code and a path: the derived key is the parent and the tweak, and the path has no hardened index.
pub(super) fn derivation(data: &[u8]) -> Seen {
    let Some((chain_code, rest)) = data.split_first_chunk::<32>() else {
        return Seen::of("short");
    };
    let path: Vec<u32> =
        rest.chunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
    let parent = World::get().public_key;
    match memory::bounded(data.len(), || bip32::derive(&parent, chain_code, &path)) {
        Ok(derived) => {
            assert!(path.len() <= bip32::PATH_INDICES_MAX);
            assert!(path.iter().all(|index| *index < 1 << 31));
            let moved = ProjectivePoint::GENERATOR * derived.tweak();
            let sum = point_from_bytes(&parent).unwrap() + moved;
            assert_eq!(point_bytes(&sum).unwrap(), *derived.public_key());
            Seen::of(("derived", path.len()))
        }
        Err(fault) => {
            assert!(path.len() > bip32::PATH_INDICES_MAX || path.iter().any(|i| i >> 31 == 1));
            Seen::refused(&fault)
        }
    }
}

/// Genuine inputs of every target here, for the corpus: target and bytes.
pub(super) fn genuine() -> Vec<(&'static str, Vec<u8>)> {
    let world = World::get();
    let path = [44u32, 60, 0].map(u32::to_be_bytes).concat();
    vec![
        ("ecdsa_nonce_opening", world.openings["n2"].clone()),
        ("ecdsa_share", world.shares["n2"].clone()),
        ("ecdsa_signature", world.signature.to_vec()),
        ("ecdsa_derivation", [&[7; 32][..], &path].concat()),
    ]
}
