//! Public verification of signatures and signature shares, for the kernel and for offline verifiers. Pure.
//!
//! What: who is in a group ([`Roster`], [`GroupKey`]), what t signers committed to ([`Binding`] for FROST, [`ecdsa`]),
//! whether a share or a signature is right, and if not, who is to blame ([`Fault`]); the keys below a key ([`bip32`],
//! [`key_below`], [`signing_key`]).
//! Source: RFC 9591 (FROST), BIP-340 and BIP-341, RFC 8032 and RFC 8410 (Ed25519), SEC 1 (ECDSA), BIP-32.
//! Always true: only public data comes in. A finished signature is judged by libraries that FROST's arithmetic
//! does not use, and never by the code that made it.
//! Not here: secrets, randomness, clocks, storage.

mod binding;
pub mod bip32;
mod by_suite;
pub mod ecdsa;
mod fault;
mod group_key;
mod key_facts;
pub mod layout;
mod roster;
mod signature;
mod suite;

pub use binding::{Binding, MESSAGE_BYTES_MAX, check_commitments};
pub use by_suite::{SuiteGroupKey, aggregate, group_commitment, verify_share};
pub use fault::{Bug, Fault, Offence, Rule, Unattributed};
pub use group_key::{GROUP_KEY_BYTES_MAX, GroupKey};
pub use key_facts::{first_chain_code, key_below, signing_key};
pub use roster::{NODE_NAME_BYTES_MAX, PARTIES_MAX, Party, Roster};
pub use signature::{BadSignature, SCHNORR_SIGNATURE_BYTES, public_key_pem, verify_signature};
pub use suite::{
    Ed25519, FrostSuite, SchnorrSuite, Secp256k1, Secp256k1Tr, Suite, element_from_bytes,
};
