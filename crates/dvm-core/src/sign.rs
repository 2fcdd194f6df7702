//! Signatures: COSE_Sign1 (RFC 9052), EdDSA, detached, over the artifact's CID bytes.
//!
//! The external data is the artifact's schema, so a signature over one kind of thing is never one
//! over another. There is exactly one byte string per (key, artifact, signature): a verifier
//! rebuilds the structure around the 64 signature bytes and compares, so nothing in it is malleable.

mod held;

use std::fmt;

use coset::{CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::bytes::{B32, Bytes};
use crate::codec::{self, Artifact};
use crate::link::Link;

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(pub B32);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl PublicKey {
    /// Verifies a bare Ed25519 signature, strictly (no small-order keys, no malleability).
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        held::holds(&self.0.0, message, signature, || {
            let Ok(key) = VerifyingKey::from_bytes(&self.0.0) else { return false };
            key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
        })
    }
}

/// Something that can sign with one Ed25519 key. The key itself never shows.
pub trait Signer {
    /// The public half.
    fn public_key(&self) -> PublicKey;
    /// Signs these bytes.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

impl Signer for ed25519_dalek::SigningKey {
    fn public_key(&self) -> PublicKey {
        PublicKey(B32(self.verifying_key().to_bytes()))
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        ed25519_dalek::Signer::sign(self, message).to_bytes()
    }
}

/// The signature is not by this key over this artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature over this `{schema}` does not verify under the expected key")]
pub struct BadSignature {
    /// What kind of artifact it was.
    pub schema: &'static str,
}

fn assemble(key: PublicKey, signature: &[u8]) -> coset::CoseSign1 {
    let protected =
        HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).key_id(key.0.0.to_vec()).build();
    CoseSign1Builder::new().protected(protected).signature(signature.to_vec()).build()
}

fn to_be_signed(cose: &coset::CoseSign1, schema: &str, link: &Link) -> Vec<u8> {
    cose.tbs_detached_data(&link.to_bytes(), schema.as_bytes())
}

/// Signs an artifact's link: the COSE_Sign1 bytes.
pub fn sign_link(signer: &impl Signer, schema: &str, link: &Link) -> Bytes {
    let key = signer.public_key();
    let unsigned = assemble(key, &[]);
    let signature = signer.sign(&to_be_signed(&unsigned, schema, link));
    Bytes(assemble(key, &signature).to_tagged_vec().unwrap_or_default())
}

/// Whether `cose` is the signature by `key` over the artifact `link` of kind `schema`.
pub fn verify_link(cose: &[u8], key: PublicKey, schema: &str, link: &Link) -> bool {
    let Some(tail) = cose.len().checked_sub(64).and_then(|at| cose.get(at..)) else { return false };
    let Ok(signature): Result<[u8; 64], _> = tail.try_into() else { return false };
    let rebuilt = assemble(key, &signature);
    let message = to_be_signed(&rebuilt, schema, link);
    let same_bytes = rebuilt.to_tagged_vec().is_ok_and(|bytes| bytes == cose);
    same_bytes && key.verify(&message, &signature)
}

/// An artifact with one signature over its link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "T: Artifact")]
pub struct Signed<T> {
    /// The artifact. Unverified until [`Signed::verify`] says so.
    pub body: T,
    /// COSE_Sign1 bytes, detached payload.
    pub cose: Bytes,
}

// The signature's external data names `T`'s schema, so one schema for all signed forms is enough.
impl<T: Artifact> Artifact for Signed<T> {
    const SCHEMA: &'static str = "dvm/signed/1";
}

impl<T: Artifact> Signed<T> {
    /// Signs an artifact.
    pub fn new(body: T, signer: &impl Signer) -> Self {
        let cose = sign_link(signer, T::SCHEMA, &codec::link_of(&body));
        Self { body, cose }
    }

    /// The artifact's link (without the signature).
    pub fn link(&self) -> Link {
        codec::link_of(&self.body)
    }

    /// The body, once the signature by `key` holds.
    ///
    /// # Errors
    /// [`BadSignature`] if it does not.
    pub fn verify(&self, key: PublicKey) -> Result<&T, BadSignature> {
        self.verified_link(key).map(|_| &self.body)
    }

    /// The artifact's link, once the signature by `key` over it holds.
    ///
    /// # Errors
    /// [`BadSignature`] if it does not.
    pub fn verified_link(&self, key: PublicKey) -> Result<Link, BadSignature> {
        let link = self.link();
        let holds = verify_link(&self.cose, key, T::SCHEMA, &link);
        holds.then_some(link).ok_or(BadSignature { schema: T::SCHEMA })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Note(u64);
    impl Artifact for Note {
        const SCHEMA: &'static str = "dvm/note/1";
    }

    #[test]
    fn a_signature_holds_for_its_key_its_body_and_its_bytes_only() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signed = Signed::new(Note(1), &key);
        assert_eq!(signed.verify(key.public_key()), Ok(&Note(1)));
        let other = SigningKey::from_bytes(&[8; 32]);
        assert!(signed.verify(other.public_key()).is_err());
        let forged = Signed { body: Note(2), cose: signed.cose.clone() };
        assert!(forged.verify(key.public_key()).is_err());
        for at in 0..signed.cose.len() {
            let mut cose = signed.cose.0.clone();
            cose[at] ^= 1;
            let mutated = Signed { body: Note(1), cose: cose.into() };
            assert!(mutated.verify(key.public_key()).is_err(), "byte {at}");
        }
    }
}
