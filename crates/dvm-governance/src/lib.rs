//! Governance: events, guards, the fold to authority state, decisions and head certificates.
//!
//! Source: the design's governance chapter; C2SP checkpoint and cosignature/v1 for heads. The same
//! functions run in the node, in the kernel and in the offline verifier.
//!
//! Always true: [`AuthorityState`] is made only from a genesis manifest and by [`apply`]; every
//! entry that it was made from passed every guard. Pure: no clock, no randomness, no I/O.
//!
//! Not here: storage, replication, and the decision when to propose what.

mod decision;
mod draft;
mod floor;
mod fold;
mod guard;
mod head;
mod register;
mod roster;
mod state;

pub use decision::{Needed, attach, check_decision, human_text, needed, sign_decision};
pub use draft::{Terms, draft_decision, draft_event};
pub use floor::{
    ApprovalContext, Authority, approvals_by, authority_behind, authority_for, check_approvals,
    check_floor_admit, check_floor_release, fenced, signing_authority,
};
pub use fold::{adopt, apply, key_ready_cid};
pub use guard::{GuardRefused, Rule, check_time};
pub use head::{
    CertificateRefused, check_certificate, checkpoint, cosign, cosign_message, cosignature_holds,
    note_of, parse_note, signer_name,
};
pub use register::{Cosigned, Register};
pub use state::{AuthorityState, ClusterState, KeyRecord, KeyState, Prepared};

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
