//! Key generation: Pedersen's DKG with Feldman commitments, committed to before they are opened.
//!
//! Source: eprint 2020/852, figure 1 ("FROST KeyGen"), as frost-core implements it; the commit–open level and the
//! session-bound identifiers are ours, because the paper assumes a context string Φ and a reliable broadcast that
//! frost-core leaves to the caller.
//!
//! Levels, each a state that the next round consumes:
//! [`commit`] (broadcast h_i, echoed) → [`open`] + [`receive_opening`] (sealed, kernel to kernel) → [`share`]
//! (sealed) → [`finish`] → [`agree`] (broadcast the transcript's hash) → [`Unconfirmed::probe_commit`], [`probe_partial`],
//! [`probe_confirm`] → [`crate::KeyShare`].
//! Always true: a key that was not agreed on and probed is no [`crate::KeyShare`], so it can neither sign nor be
//! stored. What signs with the key, FROST or DKLS23, makes no difference here: the same rounds make the keys of every
//! suite.
//! Not here: what pairs of parties set up for DKLS23 beside it.

mod commit;
mod finish;
mod open;
mod probe;
mod share;
#[cfg(test)]
mod tests;

pub use commit::{Committed, commit};
pub use finish::{Unconfirmed, finish};
pub use open::{Opened, VerifiedOpening, open, receive_opening};
pub use probe::{Agreed, agree, probe_confirm, probe_partial};
pub use share::{Shared, share};
