//! The bundle's own blocks: root, manifest, signatures. Everything else in it is somebody's artifact.
//!
//! Source: `spec/evidence.md`, "Blocks". The manifest names every block by link, in one order; a
//! signed artifact is named by two links, its own and its signature's, so that any IPLD tool sees
//! the artifact under the address by which receipts name it.

use dvm_core::bytes::Bytes;
use dvm_core::codec::Artifact;
use dvm_core::ids::NodeId;
use dvm_core::link::Link;
use serde::{Deserialize, Serialize};

/// Log entries of one bundle: a busy cluster's many years.
pub const LOG_MAX: usize = 8_192;
/// Runs of one intent at one peer: each failed attempt is one.
pub const RUNS_MAX: usize = 64;
/// Verdicts, approvals, denials, permits, statements or broadcasts in one list.
pub const LIST_MAX: usize = 4_096;
/// Places of one receipt chain.
pub const CHAIN_MAX: usize = 16_384;

/// The root block: who vouches for the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleRoot {
    /// The manifest.
    pub manifest: Link,
    /// COSE_Sign1 over it, by the exporter's policy key.
    pub cose: Bytes,
}

impl Artifact for BundleRoot {
    const SCHEMA: &'static str = "dvm/bundle/1";
}

/// One signature over one artifact. The signer's key is in its protected header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureBlock {
    /// The artifact.
    pub of: Link,
    /// Its schema, which is the signature's external data.
    pub schema: String,
    /// COSE_Sign1, detached payload.
    pub cose: Bytes,
}

impl Artifact for SignatureBlock {
    const SCHEMA: &'static str = "dvm/signature/1";
}

/// A signed artifact: its block and the block of its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRef {
    /// The artifact.
    pub body: Link,
    /// Its [`SignatureBlock`].
    pub signature: Link,
}

/// One log entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryRef {
    /// The event.
    pub event: SignedRef,
    /// Its decision, with the governors' signatures in it.
    pub decision: Option<Link>,
    /// Its key facts, with the holders' signatures in them.
    pub key_ready: Option<Link>,
}

/// One run of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRef {
    /// The run's header.
    pub header: Link,
    /// The openings it names.
    pub opens: Vec<SignedRef>,
    /// The recorded events.
    pub trace: Link,
    /// The root over them.
    pub trace_root: SignedRef,
    /// Permit events, in order.
    pub permits: Vec<Link>,
    /// The kernel's receipt.
    pub permit_receipt: Option<SignedRef>,
    /// The kernel's words at the gate.
    pub publications: Vec<SignedRef>,
    /// The kernel's verified result.
    pub published: Option<SignedRef>,
    /// The peers that its kernel banned for this run.
    pub bans: Vec<SignedRef>,
    /// Raw payloads that its own frames carried to all, in frame order.
    pub broadcasts: Vec<Link>,
}

/// One peer's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerRef {
    /// The peer.
    pub node: NodeId,
    /// Its verdicts.
    pub admissions: Vec<SignedRef>,
    /// Approvals it has seen.
    pub approvals: Vec<SignedRef>,
    /// Denials it has seen.
    pub denials: Vec<SignedRef>,
    /// Its runs.
    pub runs: Vec<RunRef>,
    /// Its stretch of receipt chain.
    pub chain: Vec<SignedRef>,
}

/// Everything that the bundle holds, by link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleManifest {
    /// The cluster's genesis manifest.
    pub cluster: Link,
    /// The governance log, from its first entry.
    pub log: Vec<EntryRef>,
    /// The certificate over its head.
    pub certificate: Option<Link>,
    /// The intent.
    pub intent: Link,
    /// The content of a message, raw.
    pub content: Option<Link>,
    /// The exporter's policy files.
    pub policy: Link,
    /// Peers, sorted.
    pub peers: Vec<PeerRef>,
    /// What was published: a signature's raw bytes, or the certificate of a key.
    pub result: Option<Link>,
    /// Who made the bundle.
    pub exporter: NodeId,
}

impl Artifact for BundleManifest {
    const SCHEMA: &'static str = "dvm/bundle-manifest/2";
    /// 8,192 log entries need some 1.9 MB.
    const BYTES_MAX: usize = 3 << 20;
}
