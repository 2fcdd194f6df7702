//! Sealing of secret payloads from kernel to kernel: HPKE (RFC 9180), base mode.
//!
//! Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305. One message per context (the single-shot form of
//! RFC 9180 section 6.1), so no sequence number is kept. `info` is the caller's: it binds cluster, epoch, execution,
//! level, sender and receiver.
//! Always true: a message opens only under the same `info` and `aad`; the secret key never leaves [`SealingKey`] except
//! towards the vault.
//! Not here: who sent it. Base mode authenticates nobody; the signed frame header around it does.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

/// Bytes of a public or a secret sealing key.
pub const SEALING_KEY_BYTES: usize = 32;

/// What sealing adds to the plaintext: the encapsulated key (32) and the tag (16).
pub const SEAL_OVERHEAD_BYTES: usize = 48;

const ENCAPPED_BYTES: usize = 32;

/// A sealed message did not open: another receiver, another `info` or `aad`, or altered bytes. On purpose no more detail.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed message does not open")]
pub struct NotOpened;

/// The receiver's public key is not a usable X25519 point.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the receiver's sealing key is not usable")]
pub struct BadReceiver;

/// This kernel's HPKE secret key. hpke's private key wipes itself on drop.
pub struct SealingKey {
    secret: <X25519HkdfSha256 as Kem>::PrivateKey,
    public: [u8; SEALING_KEY_BYTES],
}

impl SealingKey {
    /// Draws a new key.
    pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let (secret, public) = X25519HkdfSha256::gen_keypair(rng);
        Self { secret, public: public.to_bytes().into() }
    }

    /// The key kept in a vault record.
    pub fn from_vault(bytes: &[u8; SEALING_KEY_BYTES]) -> Result<Self, NotOpened> {
        let secret =
            <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(bytes).map_err(|_| NotOpened)?;
        let public = X25519HkdfSha256::sk_to_pk(&secret).to_bytes().into();
        Ok(Self { secret, public })
    }

    /// The bytes to put into a vault record, and nowhere else.
    pub fn to_vault(&self) -> Zeroizing<[u8; SEALING_KEY_BYTES]> {
        Zeroizing::new(self.secret.to_bytes().into())
    }

    /// The public key, to be put into the manifest.
    pub fn public(&self) -> [u8; SEALING_KEY_BYTES] {
        self.public
    }

    /// Opens a message sealed to this key under the same `info` and `aad`.
    pub fn open(
        &self,
        info: &[u8],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, NotOpened> {
        let (encapped, ciphertext) = sealed.split_at_checked(ENCAPPED_BYTES).ok_or(NotOpened)?;
        let encapped =
            <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapped).map_err(|_| NotOpened)?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.secret,
            &encapped,
            info,
            ciphertext,
            aad,
        )
        .map(Zeroizing::new)
        .map_err(|_| NotOpened)
    }
}

/// Seals `plaintext` to `receiver`: the encapsulated key, then the ciphertext with its tag.
pub fn seal(
    receiver: &[u8; SEALING_KEY_BYTES],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Vec<u8>, BadReceiver> {
    let receiver =
        <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(receiver).map_err(|_| BadReceiver)?;
    let (encapped, ciphertext) = hpke::single_shot_seal::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
        _,
    >(&OpModeS::Base, &receiver, info, plaintext, aad, rng)
    .map_err(|_| BadReceiver)?;
    let mut sealed = Vec::with_capacity(plaintext.len().saturating_add(SEAL_OVERHEAD_BYTES));
    sealed.extend_from_slice(&encapped.to_bytes());
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    static_assertions::assert_not_impl_any!(SealingKey: Clone, Copy, std::fmt::Debug, std::fmt::Display, serde::Serialize, PartialEq);

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(7)
    }

    #[test]
    fn message_opens_for_its_receiver_under_the_same_info_and_aad() {
        let key = SealingKey::generate(&mut rng());
        let sealed = seal(&key.public(), b"info", b"aad", b"share", &mut rng()).unwrap();
        assert_eq!(sealed.len(), 5 + SEAL_OVERHEAD_BYTES);
        assert_eq!(key.open(b"info", b"aad", &sealed).unwrap().as_slice(), b"share");
    }

    #[test]
    fn message_is_refused_under_another_key_info_or_aad() {
        let mut rng = rng();
        let key = SealingKey::generate(&mut rng);
        let other = SealingKey::generate(&mut rng);
        let sealed = seal(&key.public(), b"info", b"aad", b"share", &mut rng).unwrap();
        assert!(other.open(b"info", b"aad", &sealed).is_err());
        assert!(key.open(b"inf0", b"aad", &sealed).is_err());
        assert!(key.open(b"info", b"aae", &sealed).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let key = SealingKey::generate(&mut rng());
        let sealed = seal(&key.public(), b"", b"", b"x", &mut rng()).unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(key.open(b"", b"", &altered).is_err(), "byte {at}");
            assert!(key.open(b"", b"", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn receiver_key_of_low_order_is_refused() {
        assert_eq!(seal(&[0; 32], b"", b"", b"x", &mut rng()), Err(BadReceiver));
    }

    #[test]
    fn key_read_back_from_the_vault_opens_what_was_sealed_before() {
        let key = SealingKey::generate(&mut rng());
        let sealed = seal(&key.public(), b"", b"", b"x", &mut rng()).unwrap();
        let again = SealingKey::from_vault(&key.to_vault()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(again.open(b"", b"", &sealed).unwrap().as_slice(), b"x");
    }
}
