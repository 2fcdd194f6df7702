//! Reading a bundle: bytes in, the parts it was made from out.
//!
//! Always true of a [`Bundle`]: its blocks hash to their links, decode canonically, and laid out
//! again give the same bytes; so no block is missing, extra, or in another place.
//!
//! Not here: any signature. Nothing in a [`Bundle`] is believed yet.

use std::collections::BTreeMap;

use dvm_core::bytes::Bytes;
use dvm_core::codec::{self, Artifact, CodecError};
use dvm_core::governance::LogEntry;
use dvm_core::intent::CanonicalIntent;
use dvm_core::limits::MEMBERS_MAX;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::run::Proposal;
use dvm_core::sign::Signed;

use crate::bundle::{BundleInput, Layout};
use crate::car;
use crate::manifest::{
    BundleManifest, BundleRoot, CHAIN_MAX, EntryRef, LIST_MAX, LOG_MAX, PeerRef, RUNS_MAX, RunRef,
    SignatureBlock, SignedRef,
};
use crate::peer::{PeerEvidence, RunEvidence};
use crate::verify::Refused;

/// What a file says, before anything in it is believed.
pub(crate) struct Bundle {
    pub(crate) root: Link,
    pub(crate) manifest: Link,
    /// The exporter's signature over the manifest.
    pub(crate) cose: Bytes,
    pub(crate) parts: BundleInput,
}

/// Reads a file into parts, and holds the parts against the file.
pub(crate) fn read(file: &[u8]) -> Result<Bundle, Refused> {
    let blocks = car::read(file).map_err(|error| Refused {
        link: match error {
            car::CarError::Hash { link, .. } | car::CarError::Twice { link } => link.to_string(),
            _ => "car".to_owned(),
        },
        code: error.code(),
        what: "the file is not a CARv1 file of intact blocks with one root",
    })?;
    let root_link = blocks.first().map(|(link, _)| *link);
    let root_link = root_link.ok_or_else(|| Refused::at("root", "there is no root"))?;
    let blocks = Store(blocks.into_iter().collect());
    let root: BundleRoot = blocks.artifact(root_link, "root")?;
    let manifest: BundleManifest = blocks.artifact(root.manifest, "manifest")?;
    let parts = blocks.parts(&manifest)?;
    let twin = Layout::of(&parts).and_then(|layout| layout.file(root.cose.clone()));
    if twin.as_deref() != Ok(file) {
        return Err(Refused::at(
            "car",
            "a block is not named by the manifest, or not in its place",
        ));
    }
    Ok(Bundle { root: root_link, manifest: root.manifest, cose: root.cose, parts })
}

struct Store<'a>(BTreeMap<Link, &'a [u8]>);

impl Store<'_> {
    fn bytes(&self, link: Link, path: &str) -> Result<&[u8], Refused> {
        let found = self.0.get(&link).copied();
        found.ok_or_else(|| Refused::at(path, "the block that is named here is not in the file"))
    }

    fn raw(&self, link: Link, path: &str) -> Result<Bytes, Refused> {
        if !link.is_raw() {
            return Err(Refused::at(path, "a link of raw bytes was expected"));
        }
        Ok(self.bytes(link, path)?.into())
    }

    fn artifact<T: Artifact>(&self, link: Link, path: &str) -> Result<T, Refused> {
        if link.is_raw() {
            return Err(Refused::at(path, "a link of an artifact was expected"));
        }
        codec::decode(self.bytes(link, path)?).map_err(|error| Refused {
            link: path.to_owned(),
            code: match error {
                CodecError::TooLong { .. } | CodecError::Unbounded { .. } => {
                    ReasonCode::ResourceLimit
                }
                _ => ReasonCode::LogInconsistent,
            },
            what: "the block is not the canonical encoding of what belongs here",
        })
    }

    fn optional<T: Artifact>(&self, link: Option<Link>, path: &str) -> Result<Option<T>, Refused> {
        link.map(|link| self.artifact(link, path)).transpose()
    }

    fn signed<T: Artifact>(&self, by: &SignedRef, path: &str) -> Result<Signed<T>, Refused> {
        let body = self.artifact(by.body, path)?;
        let signature: SignatureBlock = self.artifact(by.signature, path)?;
        if signature.of != by.body || signature.schema != T::SCHEMA {
            return Err(Refused::at(path, "the signature is of something else"));
        }
        Ok(Signed { body, cose: signature.cose })
    }

    fn all_signed<T: Artifact>(
        &self,
        all: &[SignedRef],
        path: &str,
        max: usize,
    ) -> Result<Vec<Signed<T>>, Refused> {
        bound(all.len(), max, path)?;
        let one = |(i, by)| self.signed(by, &format!("{path}/{i}"));
        all.iter().enumerate().map(one).collect()
    }

    fn parts(&self, manifest: &BundleManifest) -> Result<BundleInput, Refused> {
        bound(manifest.log.len(), LOG_MAX, "log")?;
        bound(manifest.peers.len(), MEMBERS_MAX, "peers")?;
        let intent: CanonicalIntent = self.artifact(manifest.intent, "intent")?;
        let is_key = intent.act.makes_key();
        let result = |link: Link| match (is_key, link.is_raw()) {
            (true, false) => self.bytes(link, "result").map(Bytes::from),
            (false, true) => self.raw(link, "result"),
            _ => Err(Refused::at("result", "not the kind of result that this act has")),
        };
        let entry = |(i, e)| self.entry(e, &format!("log/{i}"));
        Ok(BundleInput {
            manifest: self.artifact(manifest.cluster, "cluster")?,
            log: manifest.log.iter().enumerate().map(entry).collect::<Result<_, _>>()?,
            certificate: self.optional(manifest.certificate, "certificate")?,
            intent,
            content: manifest.content.map(|link| self.raw(link, "content")).transpose()?,
            policy: self.artifact(manifest.policy, "policy")?,
            parts: manifest.peers.iter().map(|p| self.peer(p)).collect::<Result<_, _>>()?,
            result: manifest.result.map(result).transpose()?,
            exporter: manifest.exporter.clone(),
        })
    }

    fn entry(&self, entry: &EntryRef, path: &str) -> Result<LogEntry, Refused> {
        Ok(LogEntry {
            event: self.signed(&entry.event, path)?,
            decision: self.optional(entry.decision, &format!("{path}/decision"))?,
            key_ready: self.optional(entry.key_ready, &format!("{path}/key_ready"))?,
        })
    }

    fn peer(&self, peer: &PeerRef) -> Result<PeerEvidence, Refused> {
        let path = format!("peers/{}", peer.node);
        bound(peer.runs.len(), RUNS_MAX, &path)?;
        let run = |(i, run)| self.run(run, &peer.node, &format!("{path}/runs/{i}"));
        Ok(PeerEvidence {
            node: peer.node.clone(),
            admissions: self.all_signed(
                &peer.admissions,
                &format!("{path}/admissions"),
                LIST_MAX,
            )?,
            approvals: self.all_signed(&peer.approvals, &format!("{path}/approvals"), LIST_MAX)?,
            denials: self.all_signed(&peer.denials, &format!("{path}/denials"), LIST_MAX)?,
            runs: peer.runs.iter().enumerate().map(run).collect::<Result<_, _>>()?,
            chain: self.all_signed(&peer.chain, &format!("{path}/chain"), CHAIN_MAX)?,
        })
    }

    fn run(
        &self,
        run: &RunRef,
        node: &dvm_core::NodeId,
        path: &str,
    ) -> Result<RunEvidence, Refused> {
        bound(run.permits.len(), LIST_MAX, path)?;
        bound(run.broadcasts.len(), LIST_MAX, path)?;
        let at = |what: &str| format!("{path}/{what}");
        let permit = |(i, link): (usize, &Link)| self.artifact(*link, &at(&format!("permits/{i}")));
        let payload = |(i, link): (usize, &Link)| self.raw(*link, &at(&format!("broadcasts/{i}")));
        let trace: dvm_core::trace::Trace = self.artifact(run.trace, &at("trace"))?;
        if trace.self_peer != *node {
            return Err(Refused::at(at("trace"), "the trace is another peer's"));
        }
        Ok(RunEvidence {
            proposal: Proposal {
                header: self.artifact(run.header, &at("header"))?,
                opens: self.all_signed(&run.opens, &at("opens"), LIST_MAX)?,
            },
            trace,
            trace_root: self.signed(&run.trace_root, &at("trace_root"))?,
            permits: run.permits.iter().enumerate().map(permit).collect::<Result<_, _>>()?,
            permit_receipt: run
                .permit_receipt
                .map(|by| self.signed(&by, &at("permit_receipt")))
                .transpose()?,
            publications: self.all_signed(&run.publications, &at("publications"), LIST_MAX)?,
            published: run.published.map(|by| self.signed(&by, &at("published"))).transpose()?,
            bans: self.all_signed(&run.bans, &at("bans"), LIST_MAX)?,
            broadcasts: run.broadcasts.iter().enumerate().map(payload).collect::<Result<_, _>>()?,
        })
    }
}

fn bound(items: usize, max: usize, path: &str) -> Result<(), Refused> {
    if items <= max {
        return Ok(());
    }
    let what = "more items than a bundle may hold";
    Err(Refused { link: path.to_owned(), code: ReasonCode::ResourceLimit, what })
}
