//! Ethereum transactions: parsed from the payload that is hashed, bounded, and shown whole.
//!
//! Source: EIP-155 (legacy with a chain id), EIP-2718 (types), EIP-2930 (type 1), EIP-1559 (type 2),
//! EIP-2681 (nonces). A payload is the type byte and the RLP list of the unsigned fields; a legacy one
//! is the RLP list alone, and ends in the chain id, 0, 0.
//!
//! Always true of a [`Transaction`]: its payload is the one encoding of its fields; it is for one chain;
//! it could be paid by somebody. So what people read, what policies judge and what is signed are one.
//!
//! Not here: types 3 (blobs) and 4 (delegations of an account); whether the sender has the money or the
//! nonce is the next one; who may ask for it.

mod erc20;
mod facts;
mod fields;
mod rlp;
mod signed;
mod text;

use alloy_primitives::{Address, B256, U256, keccak256};
use dvm_core::ReasonCode;

pub use erc20::{Erc20Kind, UNLIMITED_BITS};
pub use facts::Facts;
pub use fields::{AccessFields, FieldError, Fields};
use rlp::{Terms, Wire};
pub use signed::{Signed, address_of, eip55};

/// Bytes of a payload: what Ethereum nodes take into their pools at most.
pub const PAYLOAD_BYTES_MAX: usize = 128 << 10;
/// Addresses in an access list. Each costs gas before anything runs; real lists have a few.
pub const ACCESS_LIST_MAX: usize = 1_024;
/// Largest chain id: beyond it, JSON readers would round it to another chain's.
pub const CHAIN_ID_MAX: u64 = 1 << 53;

/// Why a payload or its signature was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvmError {
    /// More bytes than a payload may have.
    #[error("a transaction has at most {PAYLOAD_BYTES_MAX} bytes, not {len}")]
    TooLong {
        /// Bytes given or named.
        len: u64,
    },
    /// A type that is not signed here, or none at all.
    #[error("type {byte} is not signed here: legacy, 1 (EIP-2930) and 2 (EIP-1559) are")]
    Type {
        /// The payload's first byte.
        byte: u8,
    },
    /// Not the fields of this type, in order, and nothing after them.
    #[error("not an unsigned transaction of its type: {0}")]
    Rlp(alloy_rlp::Error),
    /// The fields have another encoding than this one.
    #[error("the fields are not encoded in the one canonical way")]
    Encoding,
    /// A legacy transaction of before EIP-155.
    #[error("a legacy transaction without a chain id could be repeated on every chain")]
    NoChainId,
    /// It carries a signature already.
    #[error("the transaction is signed already: give the unsigned one")]
    AlreadySigned,
    /// No chain, or one whose id does not survive JSON.
    #[error("a chain id is 1 to 2^53, not {chain_id}")]
    ChainId {
        /// The id given.
        chain_id: u64,
    },
    /// The nonce after which no account can go on.
    #[error("a nonce is below 2^64 - 1")]
    Nonce,
    /// No gas: nothing would run.
    #[error("the gas limit is 0")]
    GasLimit,
    /// The tip is more than the whole fee.
    #[error("the priority fee is above the max fee")]
    PriorityFee,
    /// More addresses than an access list may have.
    #[error("an access list has at most {ACCESS_LIST_MAX} addresses, not {len}")]
    AccessList {
        /// Addresses given.
        len: usize,
    },
    /// Value and fees together are beyond 256 bits: no account can hold that.
    #[error("value and fees together are more than any account can hold")]
    Cost,
    /// Not two scalars with a low s and a parity.
    #[error("the signature is not r, low s and a parity of 0 or 1")]
    Signature,
    /// The signature is somebody else's.
    #[error("the signature does not recover to the sender")]
    Sender,
}

impl EvmError {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::TooLong { .. } | Self::AccessList { .. } => ReasonCode::ResourceLimit,
            Self::Sender => ReasonCode::BindingMismatch,
            _ => ReasonCode::PayloadRejected,
        }
    }
}

/// An unsigned transaction. Made only by [`Transaction::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    wire: Wire,
    signing_hash: B256,
}

impl Transaction {
    /// Parses a payload.
    ///
    /// # Errors
    /// [`EvmError`]: the first rule that does not hold.
    pub fn parse(payload: &[u8]) -> Result<Self, EvmError> {
        check_length(payload.len() as u64)?;
        let wire = Wire::decode(payload)?;
        // The bytes are signed and the fields are shown: with a second encoding of the same fields,
        // one text would stand for two signatures.
        if !wire.is_encoded_as(payload) {
            return Err(EvmError::Encoding);
        }
        check_terms(&wire.terms())?;
        Ok(Self { wire, signing_hash: keccak256(payload) })
    }

    /// The payload, exactly as it was parsed.
    pub fn payload(&self) -> Vec<u8> {
        self.wire.encode()
    }

    /// What the signature is over: Keccak-256 of the payload.
    pub fn signing_hash(&self) -> [u8; 32] {
        self.signing_hash.0
    }

    /// The one chain that it is for.
    pub fn chain_id(&self) -> u64 {
        self.terms().chain_id
    }

    fn terms(&self) -> Terms<'_> {
        self.wire.terms()
    }
}

/// Checks a length before anything is decoded.
pub(crate) fn check_length(len: u64) -> Result<(), EvmError> {
    let fits = usize::try_from(len).is_ok_and(|len| len <= PAYLOAD_BYTES_MAX);
    if fits { Ok(()) } else { Err(EvmError::TooLong { len }) }
}

fn check_terms(terms: &Terms<'_>) -> Result<(), EvmError> {
    let chain_id = terms.chain_id;
    if !(1..=CHAIN_ID_MAX).contains(&chain_id) {
        return Err(EvmError::ChainId { chain_id });
    }
    if terms.nonce == u64::MAX {
        return Err(EvmError::Nonce);
    }
    if terms.gas_limit == 0 {
        return Err(EvmError::GasLimit);
    }
    if terms.priority_fee.is_some_and(|priority| priority > terms.max_fee) {
        return Err(EvmError::PriorityFee);
    }
    let len = terms.access_list.map_or(0, <[_]>::len);
    if len > ACCESS_LIST_MAX {
        return Err(EvmError::AccessList { len });
    }
    terms.cost().map(|_| ()).ok_or(EvmError::Cost)
}

impl Terms<'_> {
    /// The most it can take from the sender: value, and all of the gas at the highest fee.
    fn cost(&self) -> Option<U256> {
        // 64 and 128 bits: the product cannot overflow.
        let fees = U256::from(self.gas_limit) * U256::from(self.max_fee);
        self.value.checked_add(fees)
    }

    /// Where it goes; none if it creates a contract.
    fn to(&self) -> Option<&Address> {
        self.to.to()
    }
}

#[cfg(test)]
mod tests;
