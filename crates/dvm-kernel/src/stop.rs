//! Why a call ends without its reply: a rule, a refusal at the gate, or a fault of disk.
//!
//! Always true: whatever becomes a [`Stop`] left the kernel's state as it was, except a refusal at the gate, whose
//! signed receipt says what it did, and a contradiction, whose evidence fences the node.

use dvm_core::call::KernelReply;
use dvm_core::receipt::PublicationReceipt;
use dvm_core::sighting::FencingRecord;
use dvm_core::{ReasonCode, Signed};

use crate::vault::VaultError;

/// Why a call ends without its reply.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A rule; nothing changed.
    Refused {
        /// The stable code.
        code: ReasonCode,
        /// The rule's name, for people.
        rule: &'static str,
    },
    /// The gate said no; the receipt is durable.
    AtTheGate {
        /// The stable code.
        code: ReasonCode,
        /// The signed refusal.
        receipt: Box<Signed<PublicationReceipt>>,
    },
    /// Two statements that no single kernel makes: the node is fenced before this is said.
    Contradiction(Box<FencingRecord>),
    /// The vault could not do its work.
    Fault(VaultError),
}

impl Stop {
    pub(crate) fn refused(code: ReasonCode, rule: &'static str) -> Self {
        Self::Refused { code, rule }
    }

    /// A broken invariant of our own, or a primitive that failed where it cannot.
    pub(crate) fn internal(rule: &'static str) -> Self {
        Self::Refused { code: ReasonCode::Internal, rule }
    }

    /// What the runtime is told. A vault fault is named without its detail, which may name files.
    pub(crate) fn into_reply(self) -> KernelReply {
        match self {
            Self::Refused { code, rule } => {
                KernelReply::Refused { code, rule: rule.to_owned(), publication: None }
            }
            Self::AtTheGate { code, receipt } => KernelReply::Refused {
                code,
                rule: "the gate".to_owned(),
                publication: Some(receipt),
            },
            Self::Contradiction(_) => KernelReply::Refused {
                code: ReasonCode::SplitBrainFenced,
                rule: "a node's kernel runs twice; it is fenced".to_owned(),
                publication: None,
            },
            Self::Fault(_) => KernelReply::Refused {
                code: ReasonCode::Internal,
                rule: "the vault failed".to_owned(),
                publication: None,
            },
        }
    }
}

impl From<VaultError> for Stop {
    fn from(error: VaultError) -> Self {
        Self::Fault(error)
    }
}

/// Refuses unless the rule holds.
pub(crate) fn ensure(holds: bool, code: ReasonCode, rule: &'static str) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::refused(code, rule)) }
}
