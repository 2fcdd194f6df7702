//! Receipts: Admission ← Permit ← Publication, each naming the one before; and the node's chain.

use serde::{Deserialize, Serialize};

use crate::admission::Verdict;
use crate::bytes::{B32, Bytes};
use crate::codec::Artifact;
use crate::digest::{Domain, Tagged};
use crate::governance::HeadRef;
use crate::ids::{KeyId, NodeId};
use crate::intent::Scope;
use crate::link::Link;
use crate::reason::ReasonCode;
use crate::run::{Boot, Material};

/// What a step permit is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallContext {
    /// The run.
    pub execution_id: B32,
    /// Its plan.
    pub plan_id: B32,
    /// The L1 site that the step belongs to.
    pub site: u16,
    /// The step's index in the plan.
    pub step: u16,
    /// The step's level.
    pub level: u16,
    /// The view of the level before.
    pub view: B32,
    /// Digest of the call's arguments; see [`args_digest`].
    pub args: B32,
}

impl Artifact for CallContext {
    const SCHEMA: &'static str = "dvm/call-context/1";
}

/// Digest of a call's arguments: the public payload names it receives, in (sender) order.
pub fn args_digest<'a>(received: impl Iterator<Item = (&'a NodeId, &'a B32)>) -> B32 {
    let mut tagged = Tagged::new(Domain::Args);
    for (from, digest) in received {
        tagged = tagged.part(from.as_str().as_bytes()).part(&digest.0);
    }
    tagged.finish()
}

/// One permit, consumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermitEvent {
    /// What was permitted.
    pub context: CallContext,
    /// The run's permit handle.
    pub permit_handle: B32,
    /// The permit.
    pub step_permit: B32,
}

impl Artifact for PermitEvent {
    const SCHEMA: &'static str = "dvm/permit-event/1";
}

/// What a kernel did in one act run: closes at Held or at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermitReceipt {
    /// The cluster.
    pub cluster: Link,
    /// Whose kernel.
    pub node: NodeId,
    /// Which run of it.
    pub boot: Boot,
    /// Monotone over its statements.
    pub vault_seq: u64,
    /// The run.
    pub execution_id: B32,
    /// Its header.
    pub header: Link,
    /// The intent.
    pub intent: Link,
    /// The receipt before: this node's AdmissionReceipt.
    pub admission: Link,
    /// The permit handle.
    pub permit_handle: B32,
    /// Merkle root over the links of all PermitEvents, in order.
    pub permits_root: B32,
    /// How many there are.
    pub permits: u32,
    /// Digest of the secret microtrace; its content never leaves.
    pub microtrace_root: B32,
    /// The kernel's own view of the level before the last it performed.
    pub view: B32,
    /// The held result's public name, if the run got that far.
    pub result_ref: Option<B32>,
    /// Why it ended, if it did not.
    pub aborted: Option<ReasonCode>,
    /// The kernel's clock.
    pub time_ms: u64,
}

impl Artifact for PermitReceipt {
    const SCHEMA: &'static str = "dvm/permit-receipt/1";
}

/// A kernel's word that it works with this peer on this key no more: a check of its own failed over what
/// the peer's kernel signed in this run. It binds nobody else, and does not say which check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanRecord {
    /// The cluster.
    pub cluster: Link,
    /// Whose kernel.
    pub node: NodeId,
    /// Which run of it.
    pub boot: Boot,
    /// Monotone over its statements.
    pub vault_seq: u64,
    /// The key that the pair is banned for.
    pub key_id: KeyId,
    /// The epoch of it that the failure was in.
    pub key_epoch: u32,
    /// The peer.
    pub culprit: NodeId,
    /// The run.
    pub execution_id: B32,
    /// The level that failed.
    pub level: u16,
    /// The step that failed.
    pub step: u16,
    /// The frame header of the level before, as the peer's kernel signed it: the failure is over what it names.
    pub header: Link,
    /// The kernel's clock.
    pub time_ms: u64,
}

impl Artifact for BanRecord {
    const SCHEMA: &'static str = "dvm/ban-record/1";
}

/// What is known of a held result without it: binds a grant to exactly one signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultFacts {
    /// The act run that made it.
    pub execution_id: B32,
    /// sha2-256 of the bytes signed (or of the DKG transcript).
    pub digest: B32,
    /// The signature's public nonce R; empty for a key.
    pub public_nonce: Bytes,
    /// The one-time material that it was made with.
    pub material: Option<Material>,
}

impl ResultFacts {
    /// The public name, the same at every signer.
    pub fn result_ref(&self) -> B32 {
        let made = Tagged::new(Domain::ResultRef)
            .part(&self.execution_id.0)
            .part(&self.digest.0)
            .part(&self.public_nonce);
        match &self.material {
            Some(Material { batch, index }) => made.part(&batch.0).number((*index).into()),
            None => made,
        }
        .finish()
    }
}

/// The kernel's signed word at the gate: a grant, a refusal, or a destruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicationReceipt {
    /// The cluster.
    pub cluster: Link,
    /// Whose kernel.
    pub node: NodeId,
    /// Which run of it.
    pub boot: Boot,
    /// Monotone over its statements.
    pub vault_seq: u64,
    /// The publication run.
    pub execution_id: B32,
    /// The intent.
    pub intent: Link,
    /// The receipt before: this kernel's PermitReceipt.
    pub permit: Link,
    /// The node's own release judgement (an AdmissionReceipt with purpose release); none for a
    /// destruction by a human denial.
    pub judgement: Option<Link>,
    /// What it is about.
    pub facts: ResultFacts,
    /// The result's public name.
    pub result_ref: B32,
    /// To whom.
    pub scope: Scope,
    /// Allow, or deny.
    pub verdict: Verdict,
    /// Why, when denied. Sorted.
    pub codes: Vec<ReasonCode>,
    /// Whether the held share was destroyed with this statement.
    pub destroyed: bool,
    /// Approvals that the kernel verified. Sorted.
    pub approvals: Vec<Link>,
    /// The head it was judged at.
    pub head: HeadRef,
    /// The kernel's clock.
    pub time_ms: u64,
}

impl Artifact for PublicationReceipt {
    const SCHEMA: &'static str = "dvm/publication-receipt/2";
}

/// The kernel's last word on a publication: the verified result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedResult {
    /// The cluster.
    pub cluster: Link,
    /// Whose kernel verified it.
    pub node: NodeId,
    /// The publication run.
    pub execution_id: B32,
    /// The intent.
    pub intent: Link,
    /// This kernel's own grant.
    pub grant: Link,
    /// The result's public name.
    pub result_ref: B32,
    /// The signature bytes, or the link bytes of the KeyReady.
    pub result: Bytes,
}

impl Artifact for PublishedResult {
    const SCHEMA: &'static str = "dvm/published-result/1";
}

/// One place in a node's gapless receipt chain, signed by its policy key.
///
/// A node's receipts on one intent are a chain of their own within it, so that an intent's bundle needs no other
/// entries, however many lie between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainEntry {
    /// The cluster.
    pub cluster: Link,
    /// Whose chain.
    pub node: NodeId,
    /// From 0, without gaps.
    pub seq: u64,
    /// The entry before.
    pub prev: Option<Link>,
    /// The entry before it that is on the same intent.
    pub same_intent: Option<Link>,
    /// The receipt at this place.
    pub receipt: Link,
}

impl Artifact for ChainEntry {
    const SCHEMA: &'static str = "dvm/chain-entry/2";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_results_name_tells_with_which_material_it_was_made() {
        let named = |material, nonce: &[u8]| {
            let (execution_id, digest) = (B32([1; 32]), B32([2; 32]));
            ResultFacts { execution_id, digest, public_nonce: nonce.into(), material }.result_ref()
        };
        let batch = B32([3; 32]);
        let with = |index| named(Some(Material { batch, index }), b"R");
        let other = named(Some(Material { batch: B32([4; 32]), index: 0 }), b"R");
        let all = [named(None, b"R"), named(None, b"S"), with(0), with(1), other];
        let distinct: std::collections::BTreeSet<B32> = all.into_iter().collect();
        assert_eq!(distinct.len(), 5);
    }
}
