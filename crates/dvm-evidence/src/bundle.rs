//! Writing a bundle: parts in, one byte string out.
//!
//! Source: `spec/evidence.md`, "Blocks" and "Order". The same layout serves the verifier, which lays
//! out what it has read and compares: so a bundle has one byte string, no block too many and none
//! out of place.
//!
//! Not here: whether the parts are right. A node exports what its peers gave it; `verify` judges.

use std::collections::BTreeSet;

use dvm_core::authority::ClusterManifest;
use dvm_core::bytes::Bytes;
use dvm_core::codec::{self, Artifact};
use dvm_core::governance::{HeadCertificate, LogEntry};
use dvm_core::ids::NodeId;
use dvm_core::intent::CanonicalIntent;
use dvm_core::limits::MEMBERS_MAX;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::sign::{Signed, Signer, sign_link};
use dvm_core::trace::TraceEvent;
use dvm_policy::PolicyBundle;

use crate::car::{self, CarError};
use crate::manifest::{
    BundleManifest, BundleRoot, CHAIN_MAX, EntryRef, LIST_MAX, LOG_MAX, PeerRef, RUNS_MAX, RunRef,
    SignatureBlock, SignedRef,
};
use crate::peer::{PeerEvidence, RunEvidence};

/// What a bundle is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleInput {
    /// The cluster's genesis manifest.
    pub manifest: ClusterManifest,
    /// The whole governance log.
    pub log: Vec<LogEntry>,
    /// The certificate over its head.
    pub certificate: Option<HeadCertificate>,
    /// The intent.
    pub intent: CanonicalIntent,
    /// The content of a message.
    pub content: Option<Bytes>,
    /// The exporter's policy files.
    pub policy: PolicyBundle,
    /// Each peer's part, in any order.
    pub parts: Vec<PeerEvidence>,
    /// What was published: signature bytes, or an encoded `KeyReadyCertificate`.
    pub result: Option<Bytes>,
    /// Who exports.
    pub exporter: NodeId,
}

/// Why there is no bundle of these parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleRefused {
    /// A list has more items than a bundle may hold.
    #[error("`{items}` items in `{list}` are more than the bound of `{max}`")]
    TooMany {
        /// Which list.
        list: &'static str,
        /// Items given.
        items: usize,
        /// Items allowed.
        max: usize,
    },
    /// An artifact is larger than its bound, so no reader would take it.
    #[error("a `{schema}` of `{len}` bytes is more than the bound of `{max}`")]
    TooLong {
        /// Which kind.
        schema: &'static str,
        /// Its bytes.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Two parts of one peer.
    #[error("two parts of `{node}`")]
    Twice {
        /// Whose.
        node: NodeId,
    },
    /// A trace names more broadcast payloads than the run's part has.
    #[error("a broadcast payload of `{node}` is missing")]
    PayloadMissing {
        /// Whose.
        node: NodeId,
    },
    /// The file would be too large.
    #[error(transparent)]
    Car(#[from] CarError),
}

impl BundleRefused {
    /// The reason code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::TooMany { .. } | Self::TooLong { .. } => ReasonCode::ResourceLimit,
            Self::Twice { .. } | Self::PayloadMissing { .. } => ReasonCode::LogInconsistent,
            Self::Car(error) => error.code(),
        }
    }
}

/// Writes the bundle as a CARv1 file. `signer` is the exporter's policy key.
///
/// # Errors
/// [`BundleRefused`] if the parts do not fit a bundle's bounds, or a peer comes twice.
pub fn write_bundle(
    mut input: BundleInput,
    signer: &impl Signer,
) -> Result<Vec<u8>, BundleRefused> {
    input.parts.sort_by(|a, b| a.node.cmp(&b.node));
    for part in &mut input.parts {
        for run in &mut part.runs {
            keep_named_payloads(&part.node, run)?;
        }
    }
    let layout = Layout::of(&input)?;
    let cose = sign_link(signer, BundleManifest::SCHEMA, &codec::link_of(&layout.manifest));
    layout.file(cose)
}

/// A level that a run's end overtook was sent but is not in the trace; what the trace does not name
/// is no evidence.
fn keep_named_payloads(node: &NodeId, run: &mut RunEvidence) -> Result<(), BundleRefused> {
    let named = own_payloads(run);
    if run.broadcasts.len() < named {
        return Err(BundleRefused::PayloadMissing { node: node.clone() });
    }
    run.broadcasts.truncate(named);
    Ok(())
}

fn own_payloads(run: &RunEvidence) -> usize {
    let own = run.trace.events.iter().filter_map(|event| match event {
        TraceEvent::Frame(fact) if fact.header.body.from == run.trace.self_peer => Some(fact),
        _ => None,
    });
    own.map(|fact| fact.broadcast.parts.len()).sum()
}

/// The blocks that a manifest names, each once, in the order in which it names them.
pub(crate) struct Layout {
    pub(crate) manifest: BundleManifest,
    blocks: Blocks,
}

impl Layout {
    pub(crate) fn of(input: &BundleInput) -> Result<Self, BundleRefused> {
        let mut blocks = Blocks::default();
        bound("log", input.log.len(), LOG_MAX)?;
        bound("peers", input.parts.len(), MEMBERS_MAX)?;
        let twice = input.parts.iter().zip(input.parts.iter().skip(1));
        if let Some((part, _)) = twice.into_iter().find(|(a, b)| a.node >= b.node) {
            return Err(BundleRefused::Twice { node: part.node.clone() });
        }
        let is_key = input.intent.act.makes_key();
        let manifest = BundleManifest {
            cluster: blocks.artifact(&input.manifest)?,
            log: each(&input.log, |e| blocks.entry(e))?,
            certificate: blocks.optional(input.certificate.as_ref())?,
            intent: blocks.artifact(&input.intent)?,
            content: input.content.as_ref().map(|c| blocks.raw(c)),
            policy: blocks.artifact(&input.policy)?,
            peers: each(&input.parts, |p| blocks.peer(p))?,
            result: input
                .result
                .as_ref()
                .map(|r| if is_key { blocks.encoded(r) } else { blocks.raw(r) }),
            exporter: input.exporter.clone(),
        };
        bytes_fit(&manifest)?;
        Ok(Self { manifest, blocks })
    }

    /// The file: root, manifest, and the blocks that it names.
    pub(crate) fn file(&self, cose: Bytes) -> Result<Vec<u8>, BundleRefused> {
        let manifest = codec::block_of(&self.manifest);
        let root = codec::block_of(&BundleRoot { manifest: manifest.link, cose });
        let own = [&root, &manifest].map(|b| (b.link, b.bytes.0.as_slice()));
        let rest = self.blocks.in_order.iter().map(|(l, b)| (*l, b.as_slice()));
        let all: Vec<(Link, &[u8])> = own.into_iter().chain(rest).collect();
        Ok(car::write(&all)?)
    }
}

fn bound(list: &'static str, items: usize, max: usize) -> Result<(), BundleRefused> {
    if items > max { Err(BundleRefused::TooMany { list, items, max }) } else { Ok(()) }
}

fn bytes_fit<T: Artifact>(value: &T) -> Result<Vec<u8>, BundleRefused> {
    let bytes = codec::encode(value);
    let (len, max) = (bytes.len(), T::BYTES_MAX.min(car::BLOCK_BYTES_MAX));
    if len > max {
        return Err(BundleRefused::TooLong { schema: T::SCHEMA, len, max });
    }
    Ok(bytes)
}

fn each<T, R>(
    items: &[T],
    lay: impl FnMut(&T) -> Result<R, BundleRefused>,
) -> Result<Vec<R>, BundleRefused> {
    items.iter().map(lay).collect()
}

#[derive(Default)]
struct Blocks {
    in_order: Vec<(Link, Vec<u8>)>,
    seen: BTreeSet<Link>,
}

impl Blocks {
    fn put(&mut self, link: Link, bytes: Vec<u8>) -> Link {
        if self.seen.insert(link) {
            self.in_order.push((link, bytes));
        }
        link
    }

    fn raw(&mut self, bytes: &[u8]) -> Link {
        self.put(Link::of_raw(bytes), bytes.to_vec())
    }

    fn encoded(&mut self, bytes: &[u8]) -> Link {
        self.put(Link::of_artifact(bytes), bytes.to_vec())
    }

    fn artifact<T: Artifact>(&mut self, value: &T) -> Result<Link, BundleRefused> {
        let bytes = bytes_fit(value)?;
        Ok(self.put(Link::of_artifact(&bytes), bytes))
    }

    fn optional<T: Artifact>(&mut self, value: Option<&T>) -> Result<Option<Link>, BundleRefused> {
        value.map(|v| self.artifact(v)).transpose()
    }

    fn signed<T: Artifact>(&mut self, signed: &Signed<T>) -> Result<SignedRef, BundleRefused> {
        let body = self.artifact(&signed.body)?;
        let schema = T::SCHEMA.to_owned();
        let signature = SignatureBlock { of: body, schema, cose: signed.cose.clone() };
        Ok(SignedRef { body, signature: self.artifact(&signature)? })
    }

    fn all_signed<T: Artifact>(
        &mut self,
        list: &'static str,
        all: &[Signed<T>],
    ) -> Result<Vec<SignedRef>, BundleRefused> {
        bound(list, all.len(), LIST_MAX)?;
        each(all, |signed| self.signed(signed))
    }

    fn entry(&mut self, entry: &LogEntry) -> Result<EntryRef, BundleRefused> {
        Ok(EntryRef {
            event: self.signed(&entry.event)?,
            decision: self.optional(entry.decision.as_ref())?,
            key_ready: self.optional(entry.key_ready.as_ref())?,
        })
    }

    fn peer(&mut self, part: &PeerEvidence) -> Result<PeerRef, BundleRefused> {
        bound("runs", part.runs.len(), RUNS_MAX)?;
        bound("chain", part.chain.len(), CHAIN_MAX)?;
        Ok(PeerRef {
            node: part.node.clone(),
            admissions: self.all_signed("admissions", &part.admissions)?,
            approvals: self.all_signed("approvals", &part.approvals)?,
            denials: self.all_signed("denials", &part.denials)?,
            runs: each(&part.runs, |run| self.run(run))?,
            chain: each(&part.chain, |entry| self.signed(entry))?,
        })
    }

    fn run(&mut self, run: &RunEvidence) -> Result<RunRef, BundleRefused> {
        bound("permits", run.permits.len(), LIST_MAX)?;
        bound("broadcasts", run.broadcasts.len(), LIST_MAX)?;
        Ok(RunRef {
            header: self.artifact(&run.proposal.header)?,
            opens: self.all_signed("opens", &run.proposal.opens)?,
            trace: self.artifact(&run.trace)?,
            trace_root: self.signed(&run.trace_root)?,
            permits: each(&run.permits, |permit| self.artifact(permit))?,
            permit_receipt: run.permit_receipt.as_ref().map(|r| self.signed(r)).transpose()?,
            publications: self.all_signed("publications", &run.publications)?,
            published: run.published.as_ref().map(|p| self.signed(p)).transpose()?,
            bans: self.all_signed("bans", &run.bans)?,
            broadcasts: run.broadcasts.iter().map(|bytes| self.raw(bytes)).collect(),
        })
    }
}
