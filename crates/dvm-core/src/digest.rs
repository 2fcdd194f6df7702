//! Every hash preimage that is not an artifact: named, domain-tagged, in one place.
//!
//! A preimage is hashed as `sha256(len(tag) ‖ tag ‖ (len(part) ‖ part)*)` with 8-byte big-endian
//! lengths, so two different tuples never share bytes.

use sha2::{Digest, Sha256};

use crate::bytes::B32;

/// The domain tags in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// `execution_id` of an act.
    Execution,
    /// `execution_id` of a publication.
    Publication,
    /// View of one level.
    View,
    /// ViewRoot over all confirmed levels.
    ViewRoot,
    /// One leaf of a frame.
    Leaf,
    /// Binding hash of an envelope.
    Binding,
    /// A kernel-local result's public name.
    ResultRef,
    /// A run-local value's opaque name.
    Handle,
    /// Arguments of one call.
    Args,
    /// A step permit.
    StepPermit,
    /// A permit handle.
    PermitHandle,
    /// Display text.
    Display,
    /// The message of the activation probe.
    Activation,
    /// The session id that backends bind.
    Session,
    /// The microtrace of one execution.
    Microtrace,
    /// A plan.
    Plan,
    /// A score.
    Score,
    /// A set of policy files.
    PolicyRoot,
    /// A sealed payload's HPKE info.
    Seal,
    /// A kernel's stream of random bytes for one level.
    Hedge,
    /// A batch of one-time material.
    Batch,
}

impl Domain {
    /// The tag's bytes.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Execution => "dvm/execution/1",
            Self::Publication => "dvm/publication/1",
            Self::View => "dvm/view/1",
            Self::ViewRoot => "dvm/view-root/1",
            Self::Leaf => "dvm/leaf/1",
            Self::Binding => "dvm/binding/1",
            Self::ResultRef => "dvm/result-ref/1",
            Self::Handle => "dvm/handle/1",
            Self::Args => "dvm/args/1",
            Self::StepPermit => "dvm/step-permit/1",
            Self::PermitHandle => "dvm/permit-handle/1",
            Self::Display => "dvm/display/1",
            Self::Activation => "dvm/activation/1",
            Self::Session => "dvm/session/1",
            Self::Microtrace => "dvm/microtrace/1",
            Self::Plan => "dvm/plan/1",
            Self::Score => "dvm/score/1",
            Self::PolicyRoot => "dvm/policy-root/1",
            Self::Seal => "dvm/seal/1",
            Self::Hedge => "dvm/hedge/1",
            Self::Batch => "dvm/batch/1",
        }
    }
}

/// A tagged, length-delimited hash being built.
pub struct Tagged(Sha256);

impl Tagged {
    /// Starts a preimage of this domain.
    pub fn new(domain: Domain) -> Self {
        Self(Sha256::new()).part(domain.tag().as_bytes())
    }

    /// Adds one part.
    #[must_use]
    pub fn part(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a number as eight big-endian bytes.
    #[must_use]
    pub fn number(self, value: u64) -> Self {
        self.part(&value.to_be_bytes())
    }

    /// The digest.
    pub fn finish(self) -> B32 {
        B32(self.0.finalize().into())
    }
}

/// sha2-256 of plain bytes (payloads, files): no tag, so that anyone can recompute it.
pub fn sha256(bytes: &[u8]) -> B32 {
    B32(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_boundary_changes_the_digest() {
        let a = Tagged::new(Domain::View).part(b"ab").part(b"c").finish();
        let b = Tagged::new(Domain::View).part(b"a").part(b"bc").finish();
        let c = Tagged::new(Domain::Leaf).part(b"ab").part(b"c").finish();
        assert!(a != b && a != c && b != c);
    }
}
