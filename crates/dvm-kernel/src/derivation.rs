//! The key that an act signs under: the one that is held, or one below it.
//!
//! Source: BIP-32, in `dvm_blame::bip32`.
//! Always true: a key is derived from the facts that governance activated, never from what a caller says it is.

use dvm_blame::bip32::{self, Derived};
use dvm_blame::{Fault, Rule};
use dvm_core::B32;
use dvm_core::authority::KeyReady;
use dvm_core::intent::{Backend, Scheme};

/// The chain code of a key that was just made, where keys can be derived from it.
pub(crate) fn first_chain_code(backend: Backend, transcript: &B32, key: &[u8]) -> Option<B32> {
    match backend.scheme() {
        Scheme::Schnorr => None,
        Scheme::Ecdsa => Some(B32(bip32::first_chain_code(&transcript.0, key.try_into().ok()?))),
    }
}

/// The key at a path below this one; the empty path is the key itself.
pub(crate) fn derived(ready: &KeyReady, path: &[u32]) -> Result<Derived, Fault> {
    let code = ready.chain_code.as_ref().ok_or(Rule::OtherScheme)?;
    bip32::derive(&ready.public_key, &code.0, path)
}
