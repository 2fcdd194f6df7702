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
    pub(crate) signed: SignedFacts,
    pub(crate) sent: SentFacts,
}

/// The Ed25519 key, and the file that it signed.
pub(crate) struct SignedFacts {
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

/// The secp256k1 key, and the transaction that it signed.
pub(crate) struct SentFacts {
    pub(crate) key_id: String,
    pub(crate) public_key_hex: String,
    /// With its EIP-55 checksum.
    pub(crate) address: String,
    /// The fields, as JSON.
    pub(crate) transaction_file: PathBuf,
    pub(crate) signature_hex: String,
    pub(crate) raw_transaction_hex: String,
    pub(crate) transaction_hash: String,
    pub(crate) execution_id: String,
    pub(crate) intent: String,
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
            "key_id": self.signed.key_id,
            "public_key_hex": self.signed.public_key_hex,
            "public_key_pem": self.signed.public_key_pem,
            "signature_hex": self.signed.signature_hex,
            "signed_file": site.file,
            "execution_id": self.signed.execution_id,
            "receipts": self.signed.receipts,
            "trace_roots": self.signed.trace_roots,
            "bundle_path": self.signed.bundle_path,
            "trust_path": site.cluster.trust_file,
            "evm": {
                "key_id": self.sent.key_id,
                "public_key_hex": self.sent.public_key_hex,
                "address": self.sent.address,
                "transaction_path": self.sent.transaction_file,
                "signature_hex": self.sent.signature_hex,
                "raw_transaction_hex": self.sent.raw_transaction_hex,
                "transaction_hash": self.sent.transaction_hash,
                "execution_id": self.sent.execution_id,
                "intent": self.sent.intent,
                "bundle_path": self.sent.bundle_path,
            },
        })
    }
}
