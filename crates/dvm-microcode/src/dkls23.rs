//! ECDSA over secp256k1 by DKLs23: t signers of n, three levels, one multiplication with every peer.
//!
//! Source: Doerner, Kondi, Lee, shelat, "Threshold ECDSA in Three Rounds" (eprint 2023/765), Protocol 3.6. Session ids
//! and hash preimages are ours ([`Terms`]); so are the broadcast of nonce commitments, the commitment to ψ and the
//! comparison of set-ups: they add bindings and take none away.
//!
//! Of a key: [`pair::offer`] → [`pair::open`] → [`pair::finish`] → [`pair::agree`], beside the levels of [`crate::dkg`].
//! Of a run, each a state that the next round consumes, once per item of a batch:
//! [`commit`] (broadcast com_i; sealed to each peer: the OLE's first message) → [`multiply`] (broadcast R_i, pk_i; sealed:
//! the OLE's answer) → [`check`] → [`affine`], or [`Checked::into_triple`] → [`Triple::scaled`] → [`ScaledTriple::affine`].
//! Always true: generic over the [`vole::Vole`]; a failed check names all its culprits at once, and does not tell
//! which check it was.
//! Not here: frames, sealing, permits, bans, storage, adding up the shares. The caller authenticates every sender.

mod affine;
mod check;
mod commit;
mod multiply;
pub mod own;
pub mod pair;
mod preimage;
mod terms;
#[cfg(test)]
mod tests;
mod verdicts;
pub mod vole;
#[cfg(test)]
mod vole_core;
mod zero_share;

pub use affine::{ScaledTriple, Triple, affine};
pub use check::{Checked, check};
pub use commit::{COMMIT_MESSAGE_BYTES, Committed, commit};
pub use multiply::{MULTIPLY_MESSAGE_BYTES, Multiplied, multiply};
pub use terms::{Pairs, Terms};
