//! The sign-once rule: one member cosigns one event per sequence number, for ever.
//!
//! Source: the design's governance chapter; the precedent is EIP-3076. The register is a value; its
//! owner makes the returned one durable *before* the cosignature leaves. A crash between the two
//! costs nothing: the same entry may be cosigned again, another may not.
//!
//! Not here: the signature itself (`cosign`) and the store.

use dvm_core::codec::link_of;
use dvm_core::governance::{HeadRef, LogEntry};
use dvm_core::{Link, ReasonCode};
use serde::{Deserialize, Serialize};

use crate::fold::apply;
use crate::guard::check_time;
use crate::state::AuthorityState;

/// What one member has bound itself to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The certified head; nothing at or below it is ever cosigned again.
    pub certified: HeadRef,
    /// The event cosigned for the next sequence number, if one was.
    pub pending: Option<(u64, Link)>,
}

/// Leave to cosign. Make `register` durable, then sign `head`.
#[derive(Clone, Debug)]
pub struct Cosigned {
    /// The register from now on.
    pub register: Register,
    /// The head to cosign.
    pub head: HeadRef,
}

impl Register {
    /// Nothing cosigned yet.
    pub fn new(state: &AuthorityState) -> Self {
        Self { certified: state.head(), pending: None }
    }

    /// Whether this member may cosign the log extended by `entry`, where `state` is the fold of the
    /// certified log.
    ///
    /// # Errors
    /// `EQUIVOCATION` for a second event of a cosigned or just certified sequence number;
    /// `LOG_INCONSISTENT` for any other event that is not the next, or if state and register are of
    /// different heads; the guard's code otherwise.
    pub fn may_cosign(
        &self,
        state: &AuthorityState,
        entry: &LogEntry,
        time_ms: u64,
    ) -> Result<Cosigned, ReasonCode> {
        if state.head() != self.certified {
            return Err(ReasonCode::LogInconsistent);
        }
        let (seq, link) = (entry.event.body.seq, link_of(&entry.event.body));
        let latest = seq.checked_add(1) == Some(self.certified.size);
        if latest && state.last_event() != Some(link) {
            return Err(ReasonCode::Equivocation);
        }
        if self.pending.is_some_and(|(at, cosigned)| at == seq && cosigned != link) {
            return Err(ReasonCode::Equivocation);
        }
        check_time(entry, time_ms).map_err(|refused| refused.code)?;
        let next = apply(state, entry).map_err(|refused| refused.code)?;
        let register = Self { certified: self.certified, pending: Some((seq, link)) };
        Ok(Cosigned { register, head: next.head() })
    }

    /// The register after `entries` were certified and lead to `state`.
    ///
    /// # Errors
    /// `EQUIVOCATION` if another event was certified where this member cosigned one: the author
    /// signed two. `LOG_INCONSISTENT` if the head would fall back.
    pub fn certify(
        &self,
        entries: &[LogEntry],
        state: &AuthorityState,
    ) -> Result<Self, ReasonCode> {
        let head = state.head();
        if head.size < self.certified.size {
            return Err(ReasonCode::LogInconsistent);
        }
        let other = |entry: &LogEntry| {
            let (seq, link) = (entry.event.body.seq, link_of(&entry.event.body));
            self.pending.is_some_and(|(at, cosigned)| at == seq && cosigned != link)
        };
        if entries.iter().any(other) {
            return Err(ReasonCode::Equivocation);
        }
        Ok(Self { certified: head, pending: self.pending.filter(|(seq, _)| *seq >= head.size) })
    }
}
