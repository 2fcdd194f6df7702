//! The authority state, folded here from a node's log: a governor trusts no node's summary.

use std::path::Path;

use dvm_core::Link;
use dvm_core::authority::ClusterManifest;
use dvm_core::codec::{self, Artifact};
use dvm_core::governance::{HeadCertificate, LogEntry};
use dvm_core::reason::ReasonCode;
use dvm_governance::{AuthorityState, adopt};
use serde_json::Value;

use crate::cli::exit::Failure;
use crate::client::{As, Client};

/// A log that was checked from its manifest to its certified head.
pub(crate) struct Folded {
    /// Where it leads.
    pub(crate) state: AuthorityState,
    /// Its entries.
    pub(crate) entries: Vec<LogEntry>,
    /// What certifies it; none for an empty log.
    pub(crate) certificate: Option<HeadCertificate>,
}

fn bad(message: &str) -> Failure {
    Failure::refused(ReasonCode::LogInconsistent, message)
}

fn artifact<T: Artifact>(hex_text: Option<&Value>) -> Option<T> {
    let bytes = hex::decode(hex_text?.as_str()?).ok()?;
    codec::decode(&bytes).ok()
}

/// Fetches a node's log and checks every event, signature and cosignature of it. If the cluster is
/// named, the log must be of that one.
pub(crate) fn fetch(client: &Client, role: As, trusted: Option<Link>) -> Result<Folded, Failure> {
    let log = client.get(role, "/v1/governance/log")?;
    let manifest: ClusterManifest =
        artifact(log.get("manifest_hex")).ok_or_else(|| bad("the node shows no manifest"))?;
    if trusted.is_some_and(|trusted| trusted != codec::link_of(&manifest)) {
        return Err(bad("the node is of another cluster than the trusted one"));
    }
    let genesis = AuthorityState::genesis(&manifest).map_err(|e| bad(&e.to_string()))?;
    let events = log.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
    let entries: Option<Vec<LogEntry>> =
        events.iter().map(|e| artifact(e.get("entry_hex"))).collect();
    let entries = entries.ok_or_else(|| bad("an entry of the log does not decode"))?;
    if entries.is_empty() {
        return Ok(Folded { state: genesis, entries, certificate: None });
    }
    let certificate: HeadCertificate =
        artifact(log.get("certificate_hex")).ok_or_else(|| bad("the log has no certificate"))?;
    let state = adopt(&genesis, &entries, &certificate)
        .map_err(|e| Failure::refused(e.code(), format!("the log does not hold: {e}")))?;
    Ok(Folded { state, entries, certificate: Some(certificate) })
}

/// The cluster of a trust file, if one is named.
pub(crate) fn trusted(file: Option<&Path>) -> Result<Option<Link>, Failure> {
    file.map(|path| crate::cli::trusted_cluster(Some(path), None)).transpose()
}
