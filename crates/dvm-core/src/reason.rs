//! Reason codes: stable, machine-readable, one enum. `docs/reason-codes.md` is generated from it.
//!
//! In artifacts a code is its number; people and APIs see its name.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One row of the reason table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The code's number in artifacts.
    pub number: u16,
    /// The stable name.
    pub name: &'static str,
    /// Where it is raised.
    pub raised_at: &'static str,
    /// What is kept as evidence.
    pub evidence: &'static str,
    /// What to do next.
    pub next: &'static str,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $raised:literal, $evidence:literal, $next:literal;)*) => {
        /// Why something was refused, delayed or stopped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode { $($(#[$doc])* $variant,)* }

        impl ReasonCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code's row of the table.
            pub fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        number: $number, name: $name, raised_at: $raised, evidence: $evidence, next: $next,
                    },)*
                }
            }

            /// The code with this number.
            pub fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    /// Ingress 1: the envelope's binding hash or signature, or any bound field.
    BindingMismatch = 1, "BINDING_MISMATCH", "ingress 1: envelope's binding hash or signature; any bound field",
        "signed envelope + binding hash", "new frame only";
    /// Ingress 2: an envelope that is not for this node.
    WrongRecipient = 2, "WRONG_RECIPIENT", "ingress 2: envelope not for this node", "envelope", "new frame only";
    /// Ingress 3: a frame of another session or attempt.
    SessionMismatch = 3, "SESSION_MISMATCH", "ingress 3: frame of another session or attempt",
        "envelope header", "drop; never a ban";
    /// Ingress 4: size, form, kind or a cryptographic check.
    PayloadRejected = 4, "PAYLOAD_REJECTED", "ingress 4: typed graph facts: size, form, kind, crypto check; malformed requests",
        "fact + culprit where attributable", "per plan: wait, abort or blame; correct the request";
    /// Ingress 5: a slot that is filled, or an idempotency key with another intent.
    ReplayOrConflict = 5, "REPLAY_OR_CONFLICT", "ingress 5: a fact for a filled slot; an idempotency key with another intent",
        "both envelopes", "same bytes: no-op; else a new frame or a new key";
    /// Kernel: a step permit was used before.
    StepPermitReused = 6, "STEP_PERMIT_REUSED", "kernel", "permit event + poisoned artifact ref", "abort or quarantine";
    /// A stale boot generation, or two live instances of one passport.
    SplitBrainFenced = 7, "SPLIT_BRAIN_FENCED", "peers and kernel: stale boot generation or fence",
        "fencing record + node passport", "rebind after fence";
    /// Two valid signed statements for one slot.
    Equivocation = 8, "EQUIVOCATION", "two valid signed statements for one slot",
        "equivocation evidence + Abort", "operator review";
    /// The deadline of a pending frontier passed.
    RemoteTimeout = 9, "REMOTE_TIMEOUT", "deadline of a pending frontier", "pending event + deadline",
        "poll, resume, or retry transport";
    /// The gate refused.
    PublicationDenied = 10, "PUBLICATION_DENIED", "gate", "PublicationReceipt with the denial", "after policy change";
    /// Bound to an older manifest, epoch or head.
    StaleEpoch = 11, "STALE_EPOCH", "anything bound to an older domain manifest, epoch or head",
        "DomainManifest + epoch evidence", "rebind the operation";
    /// The key exists but has no authority at this epoch.
    KeyNotActive = 12, "KEY_NOT_ACTIVE", "admission and kernel: the key has no authority at this epoch",
        "key state + head certificate", "governance decision";
    /// A policy did not permit, forbade, or failed while judging.
    PolicyDenied = 13, "POLICY_DENIED", "admission", "AdmissionReceipt with rule ids", "change the act or the policy";
    /// A cheater, banned per key by evidence.
    PartyBanned = 14, "PARTY_BANNED", "kernel: a cheater, banned per key by evidence", "ban record",
        "governance act, fresh pairwise setup";
    /// Burned or unsure one-time material.
    MaterialPoisoned = 15, "MATERIAL_POISONED", "kernel: burned or unsure one-time material", "burn record",
        "new attempt, fresh material";
    /// Too many failed attempts on a key.
    KeyFrozen = 16, "KEY_FROZEN", "kernel: too many failed attempts on a key", "counter + evidence", "governance act";
    /// A log or bundle does not hold together.
    LogInconsistent = 17, "LOG_INCONSISTENT", "governance log or bundle verification", "first bad index",
        "stop; operator review";
    /// A named bound was reached.
    ResourceLimit = 18, "RESOURCE_LIMIT", "any named bound", "bound and value", "back off";
    /// More approvals are needed before this can go on.
    ApprovalsMissing = 19, "APPROVALS_MISSING", "admission and gate: fewer valid approvals than the rule asks",
        "AdmissionReceipt or PublicationReceipt", "collect approvals";
    /// A human said no; the intent is tombstoned.
    DeniedByApprover = 20, "DENIED_BY_APPROVER", "admission, gate and kernel: a signed human denial",
        "Denial + receipt", "a new intent";
    /// The intent or the held result is past its time.
    Expired = 21, "EXPIRED", "admission, gate and kernel: past its expiry", "receipt", "a new intent";
    /// A governance event out of order or without what it needs.
    GuardRefused = 22, "GUARD_REFUSED", "governance: an event out of order or without its decision",
        "event + rule name", "correct the event";
    /// Not a call for this phase.
    WrongPhase = 23, "WRONG_PHASE", "kernel: a call that the phase table does not allow", "phase + call", "resume from status";
    /// The caller's token is missing, unknown or lacks the role.
    NotAuthorized = 24, "NOT_AUTHORIZED", "API: token missing, unknown or without the role", "request log",
        "use a token with the role";
    /// Nothing by this name here.
    NotFound = 25, "NOT_FOUND", "API and kernel: no such execution, key or handle", "request log", "check the id";
    /// Disk, pipe or clock; or a broken invariant of our own.
    Internal = 26, "INTERNAL", "any process: disk, pipe, clock or a broken invariant", "local log", "operator review";
    /// A required isolation layer does not hold.
    IsolationMissing = 27, "ISOLATION_MISSING", "kernel start with --require-isolation", "attestation", "fix the host";
}

impl ReasonCode {
    /// The stable name, such as `KEY_NOT_ACTIVE`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The code with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// The documentation table, in Markdown.
    pub fn table() -> String {
        let mut out = String::from(
            "| number | code | raised at | evidence | what then |\n| --- | --- | --- | --- | --- |\n",
        );
        for code in Self::ALL {
            let Row { number, name, raised_at, evidence, next } = code.row();
            out.push_str(&format!("| {number} | `{name}` | {raised_at} | {evidence} | {next} |\n"));
        }
        out
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for ReasonCode {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u16(self.row().number)
    }
}

impl<'de> Deserialize<'de> for ReasonCode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let number = u16::deserialize(d)?;
        Self::from_number(number).ok_or_else(|| D::Error::custom("unknown reason code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_invert() {
        for code in ReasonCode::ALL {
            assert_eq!(ReasonCode::from_number(code.row().number), Some(*code));
            assert_eq!(ReasonCode::from_name(code.name()), Some(*code));
        }
        assert_eq!(ReasonCode::from_number(0), None);
    }

    #[test]
    fn the_documented_table_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reason-codes.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, documented) = text.split_at(text.find("| number |").unwrap());
        if std::env::var_os("DVM_BLESS").is_some() {
            std::fs::write(path, format!("{before}{}", ReasonCode::table())).unwrap();
        } else {
            assert_eq!(documented, ReasonCode::table(), "run this test with DVM_BLESS=1");
        }
    }
}
