//! Signing: FROST's two rounds as the micro-ops of the plan.
//!
//! Source: RFC 9591 §5. [`nonce_commit`] is round one; [`bind`] computes binding factors, R and the challenge;
//! [`partial_sig`] is round two; [`verify_share`] and [`aggregate`] finish.
//! Always true: nonces are used up by value; exactly t signers; a finished signature is verified under the key by a
//! library that FROST does not use, and is a [`crate::Secret`] until the gate publishes it.

mod aggregate;
mod binding;
mod nonce_commit;
mod partial_sig;
#[cfg(test)]
mod tests;
mod verify_share;

pub use aggregate::aggregate;
pub use binding::bind;
pub use nonce_commit::{Nonces, nonce_commit};
pub use partial_sig::partial_sig;
pub use verify_share::verify_share;
