//! From the facts of a key, as governance certified them, to the key that a signature is judged by.
//!
//! Source: `dvm_core::authority::KeyReady`; BIP-32, in [`crate::bip32`].
//! Always true: nodes, kernels, policies and offline verifiers ask here, so they name one suite and one key; a key is
//! derived from its facts, never from what a caller says it is.
//! Not here: whether the facts are certified, and whether the key may sign.

use dvm_core::B32;
use dvm_core::authority::KeyReady;
use dvm_core::intent::{Backend, Scheme};

use crate::bip32::{self, Derived};
use crate::fault::{Fault, Rule};
use crate::suite::Suite;

impl From<Backend> for Suite {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::FrostEd25519 => Self::FrostEd25519,
            Backend::FrostSecp256k1Tr => Self::FrostSecp256k1Tr,
            Backend::Dkls23Secp256k1 => Self::EcdsaSecp256k1,
        }
    }
}

/// The chain code of a key that was just made, where keys can be derived from it: a function of what every party of its
/// key generation has confirmed.
pub fn first_chain_code(backend: Backend, transcript: &B32, public_key: &[u8]) -> Option<B32> {
    match backend.scheme() {
        Scheme::Schnorr => None,
        Scheme::Ecdsa => {
            Some(B32(bip32::first_chain_code(&transcript.0, public_key.try_into().ok()?)))
        }
    }
}

/// The key at `path` below this one, with what its signers add to the secret. The empty path is the key itself.
///
/// # Errors
/// [`Rule::OtherScheme`] for a key that has nothing below it; a path that BIP-32 or our bounds refuse.
pub fn key_below(ready: &KeyReady, path: &[u32]) -> Result<Derived, Fault> {
    let code = ready.chain_code.as_ref().ok_or(Rule::OtherScheme)?;
    bip32::derive(&ready.public_key, &code.0, path)
}

/// The public key that a signature at `path` is under. Of a key with nothing below it, only the empty path is one.
///
/// # Errors
/// As [`key_below`].
pub fn signing_key(ready: &KeyReady, path: &[u32]) -> Result<Vec<u8>, Fault> {
    if path.is_empty() {
        return Ok(ready.public_key.to_vec());
    }
    key_below(ready, path).map(|derived| derived.public_key().to_vec())
}

#[cfg(test)]
mod tests {
    use dvm_core::Bytes;

    use super::*;

    const GENERATOR: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    fn ready(backend: Backend, chain_code: Option<B32>) -> KeyReady {
        KeyReady {
            cluster: dvm_core::Link::of_raw(b"cluster"),
            key_id: "k".parse().unwrap(),
            key_epoch: 1,
            backend,
            threshold: 2,
            roster: Vec::new(),
            public_key: Bytes(hex::decode(GENERATOR).unwrap()),
            package: Bytes(Vec::new()),
            intent: dvm_core::Link::of_raw(b"intent"),
            execution_id: B32::default(),
            transcript: B32::default(),
            chain_code,
        }
    }

    #[test]
    fn every_backend_is_judged_by_a_suite_of_its_own_with_keys_of_its_length() {
        let suites = Backend::ALL.map(Suite::from);
        assert_eq!(suites, Suite::ALL);
        for backend in Backend::ALL {
            assert_eq!(Suite::from(backend).public_key_bytes(), backend.public_key_bytes());
        }
    }

    #[test]
    fn key_with_a_chain_code_has_keys_below_it_and_one_without_has_itself_alone() {
        let ecdsa = ready(Backend::Dkls23Secp256k1, Some(B32([7; 32])));
        let below = bip32::derive(&ecdsa.public_key, &[7; 32], &[0, 9]).unwrap();
        assert_eq!(key_below(&ecdsa, &[0, 9]).unwrap(), below);
        assert_eq!(signing_key(&ecdsa, &[0, 9]).unwrap(), below.public_key());
        assert_eq!(key_below(&ecdsa, &[]).unwrap().public_key().as_slice(), &ecdsa.public_key.0);

        let schnorr = ready(Backend::FrostEd25519, None);
        for key in [&ecdsa, &schnorr] {
            assert_eq!(signing_key(key, &[]).unwrap(), key.public_key.0);
        }
        for refused in [signing_key(&schnorr, &[0]), signing_key(&ecdsa, &[1 << 31])] {
            assert!(refused.is_err());
        }
        assert_eq!(key_below(&schnorr, &[]).unwrap_err(), Rule::OtherScheme.into());
    }
}
