//! The node: engine and drivers for stores, transport, governance replication, the gate and the
//! HTTP API.
//!
//! Source: the design's control plane. The engine decides and performs nothing; the drivers perform
//! and decide nothing.
//!
//! Always true: nothing here can name a secret type; the kernel is met only through
//! `dvm_core::call`, over a pipe.

pub mod api;
pub mod capture;
pub mod config;
pub mod driver;
pub mod engine;
pub mod journal;
pub mod kernel_link;
pub mod node;
pub mod observe;
pub mod setup;
pub mod tokens;
pub mod transport;
pub mod views;
pub mod wire;
pub mod witness;

use dvm_blame::Suite;
use dvm_core::authority::KeyReady;
use dvm_core::intent::{Act, Backend};

/// The verification suite of a backend's keys.
pub fn suite(backend: Backend) -> Suite {
    match backend {
        Backend::FrostEd25519 => Suite::FrostEd25519,
        Backend::FrostSecp256k1Tr => Suite::FrostSecp256k1Tr,
        Backend::Dkls23Secp256k1 => Suite::EcdsaSecp256k1,
    }
}

/// The key that a signature of this act is under: the one of the facts, or the one at the act's path below it.
pub(crate) fn signing_key(act: &Act, ready: &KeyReady) -> Option<Vec<u8>> {
    let chain_code = ready.chain_code.as_ref().map(|code| &code.0);
    dvm_blame::bip32::key_at(&ready.public_key, chain_code, act.path()).ok()
}
