//! L0 protocols as pure round functions over secret types.
//!
//! What: key generation ([`dkg`]) and FROST's signing ([`sign`]), generic over the suite; ECDSA's signing ([`dkls23`]);
//! the types that hold secrets ([`Secret`], [`OneTime`]).
//! Source: RFC 9591; Komlo and Goldberg, "FROST: Flexible Round-Optimized Schnorr Threshold Signatures" (eprint
//! 2020/852), figure 1, for the key generation; frost-core 3.0.0 for the arithmetic.
//! Always true: one function and one file per round; a round consumes the state it starts from and returns the
//! next one, so no round can be run twice or out of order; randomness is an argument; every message that another
//! kernel may read but a runtime may not is a [`Secret`].
//! Not here: frames, sealing, echo broadcast, permits, storage. The caller authenticates every sender.

pub mod dkg;
pub mod dkls23;
mod ecdsa_share;
mod key_share;
mod preimage;
mod secret;
mod session;
pub mod sign;
#[cfg(test)]
mod testing;

pub use dvm_blame::{
    Binding, Bug, Ed25519, Fault, FrostSuite, GroupKey, Offence, Party, Roster, Rule, SchnorrSuite,
    Secp256k1, Secp256k1Tr, Suite, Unattributed,
};
pub use ecdsa_share::EcdsaShare;
pub use key_share::KeyShare;
pub use secret::{OneTime, Secret, SecretMessages};
pub use session::{Session, SessionId};
