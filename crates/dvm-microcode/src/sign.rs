//! Signing: FROST's two rounds as the micro-ops of the plan.
//!
//! Source: RFC 9591 §5. [`nonce_commit`] is round one; [`bind`] computes binding factors, R and the challenge;
//! [`partial_sig`] is round two; [`verify_share`] and [`aggregate`] finish.
//! Always true: nonces are used up by value; exactly t signers; a finished signature is verified under the key by a
//! library that FROST does not use, and is a [`crate::Secret`] until the gate publishes it. Every function asks for a
//! [`crate::SchnorrSuite`]: with an ECDSA key there is nothing here to call.

mod aggregate;
mod binding;
mod nonce_commit;
mod partial_sig;
#[cfg(test)]
mod tests;
mod verify_share;

pub use aggregate::aggregate;
pub(crate) use aggregate::with_plain;
pub use binding::{bind, check_commitments};
pub(crate) use nonce_commit::draw;
pub use nonce_commit::{Nonces, nonce_commit};
pub use partial_sig::partial_sig;
pub(crate) use partial_sig::respond;
pub use verify_share::verify_share;
