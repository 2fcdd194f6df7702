//! RFC 9591, appendix E.1: FROST(Ed25519, SHA-512), byte for byte through our rounds.

use std::collections::BTreeMap;

use dvm_blame::verify_signature;
use frost_core::keys::{PublicKeyPackage, SigningShare, VerifyingShare};
use frost_core::{Identifier, VerifyingKey};
use rand_core::{CryptoRng, RngCore};
use serde_json::Value;

use crate::testing::{blame, name};
use crate::{Ed25519, FrostSuite, GroupKey, KeyShare, Offence, Secret, sign};

const VECTORS: &str = include_str!("../../../../../vectors/rfc9591/frost-ed25519.json");

/// Gives out the vector's randomness and nothing else.
struct Script(Vec<u8>);

impl RngCore for Script {
    fn next_u32(&mut self) -> u32 {
        unreachable!("nonces are drawn as bytes")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("nonces are drawn as bytes")
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        let given: Vec<u8> = self.0.drain(..out.len()).collect();
        out.copy_from_slice(&given);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Script {}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn index(value: &Value) -> u16 {
    u16::try_from(value["identifier"].as_u64().unwrap()).unwrap()
}

/// The vector's key, dealt to node-1, node-2 and node-3 under the RFC's identifiers 1, 2 and 3.
fn keys(vectors: &Value) -> BTreeMap<u16, KeyShare<Ed25519>> {
    let inputs = &vectors["inputs"];
    let mut identifiers = BTreeMap::new();
    let mut shares = BTreeMap::new();
    for entry in inputs["participant_shares"].as_array().unwrap() {
        let share = SigningShare::<Ed25519>::deserialize(&bytes(&entry["participant_share"]));
        let identifier = Identifier::try_from(index(entry)).unwrap();
        identifiers.insert(name(index(entry)), identifier);
        shares.insert(index(entry), share.unwrap());
    }
    let verifying = |(index, share): (&u16, &SigningShare<Ed25519>)| {
        (identifiers[&name(*index)], VerifyingShare::from(*share))
    };
    let verifying = shares.iter().map(verifying).collect();
    let key = VerifyingKey::deserialize(&bytes(&inputs["verifying_key_key"])).unwrap();
    let package = PublicKeyPackage::new(verifying, key, Some(2));
    let group = GroupKey::new(identifiers, package, key).ok().unwrap();
    let share = |(index, share): (u16, SigningShare<Ed25519>)| {
        (index, KeyShare::new(&name(index), group.clone(), [0; 32], share).unwrap())
    };
    shares.into_iter().map(share).collect()
}

#[test]
fn commitments_shares_and_signature_are_the_rfcs() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let keys = keys(&vectors);
    let message = bytes(&vectors["inputs"]["message"]);

    let mut nonces = BTreeMap::new();
    let mut commitments = BTreeMap::new();
    for entry in vectors["round_one_outputs"]["outputs"].as_array().unwrap() {
        let randomness = ["hiding_nonce_randomness", "binding_nonce_randomness"];
        let mut script = Script(randomness.map(|field| bytes(&entry[field])).concat());
        let (own, sent) = sign::nonce_commit(&keys[&index(entry)], &mut script).unwrap();
        let expected = ["hiding_nonce_commitment", "binding_nonce_commitment"];
        assert_eq!(sent, expected.map(|field| bytes(&entry[field])).concat());
        nonces.insert(index(entry), own);
        commitments.insert(name(index(entry)), sent);
    }
    let binding = sign::bind(keys[&1].group(), &commitments, &message).unwrap();
    let expected = bytes(&vectors["final_output"]["sig"]);
    assert_eq!(binding.r()[..], expected[..32]);

    let mut shares = BTreeMap::new();
    for entry in vectors["round_two_outputs"]["outputs"].as_array().unwrap() {
        let own = nonces.remove(&index(entry)).unwrap();
        let share = sign::partial_sig(&keys[&index(entry)], own, &binding).unwrap();
        assert_eq!(share.expose(Vec::clone), bytes(&entry["sig_share"]));
        shares.insert(name(index(entry)), share);
    }
    let signature = sign::aggregate(&binding, &shares).unwrap().expose(Vec::clone);
    assert_eq!(signature, expected);
    let public_key = keys[&1].group().public_key();
    assert_eq!(verify_signature(Ed25519::SUITE, public_key, &message, &signature), Ok(()));

    // The failing case: one bit of one of the RFC's shares.
    let mut wrong = bytes(&vectors["round_two_outputs"]["outputs"][1]["sig_share"]);
    wrong[0] ^= 1;
    shares.insert(name(3), Secret::new(wrong));
    let fault = sign::aggregate(&binding, &shares).map(drop);
    assert_eq!(fault, Err(blame(&[3], Offence::WrongSignatureShare)));
}
