//! Judgements before and at release, and the human statements they rest on.

use serde::{Deserialize, Serialize};

use crate::bytes::B32;
use crate::codec::Artifact;
use crate::governance::HeadRef;
use crate::ids::{KeyId, NodeId, PersonId};
use crate::link::Link;
use crate::reason::ReasonCode;

/// What a judgement or an approval is for. An admission can never serve as a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Purpose {
    /// May the act run?
    #[serde(rename = "admit")]
    Admit,
    /// May this result of this execution leave?
    #[serde(rename = "release")]
    Release {
        /// The signing (or key generation) execution that holds the result.
        execution_id: B32,
        /// The result's public name, the same at every signer.
        result_ref: B32,
    },
}

/// A policy verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Yes.
    #[serde(rename = "allow")]
    Allow,
    /// No.
    #[serde(rename = "deny")]
    Deny,
    /// Not yet: approvals are missing.
    #[serde(rename = "awaiting")]
    Awaiting,
}

/// One peer's signed verdict. Nobody's verdict binds another peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionReceipt {
    /// The cluster.
    pub cluster: Link,
    /// Whose verdict.
    pub node: NodeId,
    /// On what.
    pub intent: Link,
    /// Admission or release.
    pub purpose: Purpose,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, when it is not `allow`. Sorted.
    pub codes: Vec<ReasonCode>,
    /// Names of the rules that decided. Sorted.
    pub rules: Vec<String>,
    /// The policy set in force.
    pub policy_root: Link,
    /// Salted link of the private PolicyReceipt, which never leaves the node.
    pub policy_receipt: Link,
    /// Links of the approvals that counted. Sorted.
    pub approvals: Vec<Link>,
    /// The key.
    pub key_id: KeyId,
    /// Its epoch.
    pub key_epoch: u32,
    /// The governance head it was judged at.
    pub head: HeadRef,
    /// The node's clock.
    pub time_ms: u64,
}

impl Artifact for AdmissionReceipt {
    const SCHEMA: &'static str = "dvm/admission-receipt/1";
}

/// The private side of a verdict. Only its link is ever named outside the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyReceipt {
    /// So that the link confirms no guess.
    pub salt: B32,
    /// The intent.
    pub intent: Link,
    /// The request as the engine saw it, for explanation.
    pub request: String,
    /// Rules that permitted or forbade.
    pub rules: Vec<String>,
    /// Errors while judging; any makes it a denial.
    pub errors: Vec<String>,
    /// Limits reserved: (name, amount after this act).
    pub limits: Vec<(String, u64)>,
}

impl Artifact for PolicyReceipt {
    const SCHEMA: &'static str = "dvm/policy-receipt/1";
}

/// What an approver signs: the act as shown, for one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The cluster.
    pub cluster: Link,
    /// Who approves.
    pub approver: PersonId,
    /// Admission or release.
    pub purpose: Purpose,
    /// The intent.
    pub intent: Link,
    /// Hash of the text that was shown.
    pub display_hash: B32,
    /// The key.
    pub key_id: KeyId,
    /// Its epoch.
    pub key_epoch: u32,
    /// The policy in force when it was given.
    pub policy_root: Link,
    /// After this it no longer counts.
    pub expires_ms: u64,
}

impl Artifact for Approval {
    const SCHEMA: &'static str = "dvm/approval/1";
}

/// A human no. It tombstones the intent at every kernel that sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denial {
    /// The cluster.
    pub cluster: Link,
    /// Who denies.
    pub approver: PersonId,
    /// The intent.
    pub intent: Link,
    /// Hash of the text that was shown.
    pub display_hash: B32,
    /// The key.
    pub key_id: KeyId,
    /// Its epoch.
    pub key_epoch: u32,
}

impl Artifact for Denial {
    const SCHEMA: &'static str = "dvm/denial/1";
}
