//! ECDSA signing by DKLs23.
//!
//! Source: Doerner, Kondi, Lee, shelat, "Threshold ECDSA in Three Rounds" (eprint 2023/765).
//! Not here: frames, sealing, permits, bans, storage. The caller authenticates every sender.

pub mod own;
mod preimage;
pub mod vole;
