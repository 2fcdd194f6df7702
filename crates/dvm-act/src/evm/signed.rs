//! A transaction with its signature: the bytes to broadcast, and who Ethereum will say sent it.
//!
//! Source: EIP-155 (v), EIP-2 (low s), EIP-2718; SEC 1, section 4.1.6 (recovery); EIP-55 (checksums).
//!
//! Always true of a [`Signed`]: the sender was recovered from these very bytes' signature and is the one
//! that was asked for. A broken or foreign signature makes none.

use alloy_primitives::{Address, B256, U256, keccak256};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

use super::{EvmError, Transaction};

/// A signed transaction. Made only by [`Transaction::signed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    raw: Vec<u8>,
    hash: B256,
}

impl Signed {
    /// What `eth_sendRawTransaction` takes.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The name it will have on the chain: Keccak-256 of the raw bytes.
    pub fn hash(&self) -> [u8; 32] {
        self.hash.0
    }
}

impl Transaction {
    /// Joins the signature, `r`, `s` and the recovery id in 65 bytes, to the transaction.
    ///
    /// # Errors
    /// [`EvmError::Signature`] for anything but two scalars, a low `s` and a parity;
    /// [`EvmError::Sender`] if it is not `from` who signed this transaction.
    pub fn signed(&self, from: &[u8; 20], signature: &[u8; 65]) -> Result<Signed, EvmError> {
        let [scalars @ .., y_parity] = signature;
        let split = Signature::from_slice(scalars).map_err(|_| EvmError::Signature)?;
        // EIP-2: with the other s, the same transaction would have a second name.
        let high_s = split.normalize_s().is_some();
        if *y_parity > 1 || high_s {
            return Err(EvmError::Signature);
        }
        let recovery = RecoveryId::from_byte(*y_parity).ok_or(EvmError::Signature)?;
        let hash = self.signing_hash();
        // No key fits r: so it is nobody's signature, nor the sender's.
        let key = VerifyingKey::recover_from_prehash(&hash, &split, recovery)
            .map_err(|_| EvmError::Sender)?;
        if address_of_key(&key) != *from {
            return Err(EvmError::Sender);
        }
        let (r, s) = split.split_bytes();
        let word = |bytes: k256::FieldBytes| U256::from_be_bytes::<32>(bytes.into());
        let raw = self.wire.with_signature(*y_parity, word(r), word(s))?;
        let hash = keccak256(&raw);
        Ok(Signed { raw, hash })
    }
}

/// The address of a secp256k1 public key in its compressed form; none if the bytes are no point.
pub fn address_of(public_key: &[u8; 33]) -> Option<[u8; 20]> {
    // The library also reads a form (tag 5) that leaves the parity open.
    let [2 | 3, ..] = public_key else { return None };
    VerifyingKey::from_sec1_bytes(public_key).ok().map(|key| address_of_key(&key))
}

fn address_of_key(key: &VerifyingKey) -> [u8; 20] {
    let point = key.to_encoded_point(false);
    // Without SEC 1's leading byte for "uncompressed".
    let coordinates = point.as_bytes().get(1..).unwrap_or_default();
    Address::from_word(keccak256(coordinates)).into_array()
}

/// An address with its EIP-55 checksum: `0x` and 40 hex digits.
pub fn eip55(address: &[u8; 20]) -> String {
    Address::from(*address).to_checksum(None)
}
