//! What the quickstart's one JSON object says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::processes::Processes;
use super::site::Site;

/// A node as it runs.
pub(crate) struct NodeFacts {
    pub(crate) node_id: String,
    pub(crate) pid: u64,
    pub(crate) kernel_pid: u64,
    pub(crate) api: String,
}

/// Everything that the story left behind. Paths are absolute.
pub(crate) struct Facts {
    pub(crate) nodes: Vec<NodeFacts>,
    pub(crate) key_id: String,
    pub(crate) public_key_hex: String,
    pub(crate) public_key_pem: String,
    pub(crate) public_key_file: PathBuf,
    pub(crate) signature_hex: String,
    pub(crate) signature_file: PathBuf,
    pub(crate) execution_id: String,
    pub(crate) intent: String,
    pub(crate) receipts: Vec<String>,
    pub(crate) trace_roots: BTreeMap<String, String>,
    pub(crate) bundle_path: PathBuf,
}

impl Facts {
    pub(crate) fn json(&self, site: &Site, processes: &Processes) -> Value {
        let nodes = self.nodes.iter().map(|n| {
            json!({ "node_id": n.node_id, "pid": n.pid, "kernel_pid": n.kernel_pid, "api": n.api })
        });
        let witness = site.cluster.witnesses.first().and_then(|w| processes.pid(w.id.as_str()));
        json!({
            "nodes": nodes.collect::<Vec<_>>(),
            "witness": { "pid": witness },
            "tokens_path": site.cluster.tokens_file,
            "key_id": self.key_id,
            "public_key_hex": self.public_key_hex,
            "public_key_pem": self.public_key_pem,
            "signature_hex": self.signature_hex,
            "signed_file": site.file,
            "execution_id": self.execution_id,
            "receipts": self.receipts,
            "trace_roots": self.trace_roots,
            "bundle_path": self.bundle_path,
            "trust_path": site.cluster.trust_file,
        })
    }
}
