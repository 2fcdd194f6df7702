//! The table of targets, and what they are by family.

mod act;
mod api;
mod artifacts;
mod bundle;
mod ecdsa;
mod forge;
mod frost;
mod kernel;
mod node;
mod signed;
mod transport;

use dvm_core::admission::*;
use dvm_core::authority::*;
use dvm_core::call::*;
use dvm_core::frame::{Envelope, FrameHeader};
use dvm_core::governance::*;
use dvm_core::intent::CanonicalIntent;
use dvm_core::receipt::*;
use dvm_core::run::*;
use dvm_core::trace::*;
use dvm_evidence::manifest::{BundleManifest, BundleRoot, SignatureBlock};
use dvm_evidence::peer::PeerEvidence;

use crate::{Seen, Target};
use artifacts::artifact;
use signed::signed;

/// Longest input of a codec target: structure turns within a few kilobytes.
const ARTIFACT_BYTES: usize = 48 << 10;

const fn codec(name: &'static str, run: fn(&[u8]) -> Seen) -> Target {
    Target { name, bytes_max: ARTIFACT_BYTES, short: 250, run }
}

const fn other(name: &'static str, bytes_max: usize, short: u64, run: fn(&[u8]) -> Seen) -> Target {
    Target { name, bytes_max, short, run }
}

/// Every target.
pub const TARGETS: &[Target] = &[
    codec("intent", artifact::<CanonicalIntent>),
    codec("policy_receipt", artifact::<PolicyReceipt>),
    codec("run_header", artifact::<RunHeader>),
    codec("call_context", artifact::<CallContext>),
    codec("permit_event", artifact::<PermitEvent>),
    codec("trace", artifact::<Trace>),
    codec("decision", artifact::<GovernanceDecision>),
    codec("cluster_manifest", artifact::<ClusterManifest>),
    codec("key_ready_certificate", artifact::<KeyReadyCertificate>),
    codec("attestation", artifact::<Attestation>),
    codec("kernel_call", artifact::<KernelCall>),
    codec("kernel_reply", artifact::<KernelReply>),
    codec("score", artifacts::score),
    codec("plan", artifacts::plan),
    codec("authority_state", artifact::<dvm_governance::AuthorityState>),
    codec("policy_bundle", artifact::<dvm_policy::PolicyBundle>),
    codec("peer_evidence", artifact::<PeerEvidence>),
    codec("bundle_root", artifact::<BundleRoot>),
    codec("signature_block", artifact::<SignatureBlock>),
    codec("bundle_manifest", artifact::<BundleManifest>),
    codec("wire", artifact::<dvm_node::wire::Wire>),
    codec("any_schema", artifacts::any_schema),
    codec("signed_admission", signed::<AdmissionReceipt>),
    codec("signed_approval", signed::<Approval>),
    codec("signed_denial", signed::<Denial>),
    codec("signed_open", signed::<Open>),
    codec("signed_frame_header", signed::<FrameHeader>),
    codec("signed_permit_receipt", signed::<PermitReceipt>),
    codec("signed_publication", signed::<PublicationReceipt>),
    codec("signed_published", signed::<PublishedResult>),
    codec("signed_chain_entry", signed::<ChainEntry>),
    codec("signed_trace_root", signed::<TraceRoot>),
    codec("signed_event", signed::<Event>),
    codec("signed_key_ready", signed::<KeyReady>),
    codec("proposal", artifact::<Proposal>),
    codec("envelope", signed::envelope),
    codec("envelope_raw", artifact::<Envelope>),
    codec("log_entry", signed::log_entry),
    codec("head_certificate", signed::head_certificate),
    codec("signed_decision", artifact::<SignedDecision>),
    other("checkpoint_note", 4 << 10, 300, signed::checkpoint_note),
    other("car", 256 << 10, 150, bundle::car),
    other("bundle", 256 << 10, 120, bundle::raw),
    other("bundle_forged", 256, 25, forge::forged),
    other("pipe", 16 << 10, 400, kernel::pipe),
    other("vault_record", 4 << 10, 40, kernel::vault_record),
    other("sealed_payload", 4 << 10, 150, kernel::sealed_payload),
    other("kernel_options", 1 << 10, 300, kernel::options),
    other("transport_frame", 16 << 10, 300, node::transport_frame),
    other("transport_beats", 1 << 10, 300, node::transport_beats),
    other("node_config", 8 << 10, 120, node::node_config),
    other("witness_config", 4 << 10, 120, node::witness_config),
    other("token_record", 1 << 10, 300, node::token_record),
    other("token_text", 256, 300, node::token_text),
    other("names", 256, 300, node::names),
    other("policy_files", 20 << 10, 40, node::policy_files),
    other("api", 8 << 10, 200, api::request),
    other("api_submission", 8 << 10, 300, api::submission),
    other("act_display", 8 << 10, 300, act::display_text),
    other("act_compile", 8 << 10, 60, act::compiled),
    other("evm_payload", 4 << 10, 400, act::evm_payload),
    other("evm_fields", 8 << 10, 300, act::evm_fields),
    other("group_key", 2 << 10, 150, frost::group_key),
    other("key_share", 2 << 10, 150, frost::key_share),
    other("dkg_opening", 2 << 10, 150, frost::dkg_opening),
    other("dkg_share", 256, 60, frost::dkg_share),
    other("nonce_commitments", 512, 100, frost::nonce_commitments),
    other("signature_share", 256, 60, frost::signature_share),
    other("signature", 256, 100, frost::signature),
    other("ecdsa_nonce_opening", 256, 100, ecdsa::nonce_opening),
    other("ecdsa_share", 256, 100, ecdsa::share),
    other("ecdsa_signature", 256, 100, ecdsa::signature),
    other("ecdsa_derivation", 128, 100, ecdsa::derivation),
];

/// Genuine inputs that need no cluster, for the corpus: target and bytes.
pub fn genuine() -> Vec<(&'static str, Vec<u8>)> {
    [
        act::genuine(),
        frost::genuine(),
        ecdsa::genuine(),
        kernel::genuine(),
        node::genuine(),
        api::genuine(),
    ]
    .concat()
}
