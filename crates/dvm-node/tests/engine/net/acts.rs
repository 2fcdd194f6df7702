//! Requests to sign, as the key's scheme has them: bytes as a message, or as the data of a transaction.

use dvm_act::evm::{Fields, Transaction, address_of};
use dvm_core::intent::{Act, Backend, Scheme};
use dvm_core::{Address20, Link, NodeId, ReasonCode};
use dvm_node::engine::{ApiCall, ApiReply};
use serde_json::Value;

use super::{NODES, Net, id};

/// An unsigned transaction of its own for this content: as many tokens as its digest says go to somebody. The shipped
/// policy forbids calls that cannot be read.
pub fn transaction(content: &[u8]) -> Transaction {
    let text = |text: &str| text.to_owned();
    let receiver = "11".repeat(20);
    let amount = dvm_core::digest::sha256(content).hex();
    let fields = Fields {
        chain_id: text("0x7a69"),
        to: Some(text("0x3535353535353535353535353535353535353535")),
        nonce: text("0x0"),
        gas: text("0xf4240"),
        max_fee_per_gas: Some(text("0x2")),
        max_priority_fee_per_gas: Some(text("0x1")),
        input: Some(format!("0xa9059cbb{:0>64}{amount}", receiver)),
        ..Fields::default()
    };
    fields.transaction().unwrap()
}

impl Net {
    pub fn sign(&mut self, at: &str, name: &str, key_id: &str, content: &[u8]) -> Value {
        let (act, content) = self.act(key_id, content);
        self.submit(at, name, act, Some(content))
    }

    /// Makes the key `demo`; asked again, tells how it was made.
    pub fn make_key(&mut self, backend: Backend) -> Value {
        let (key_id, roster) = (id("demo"), Vec::new());
        let act = Act::KeyGenerate { key_id, backend, threshold: 2, roster };
        self.submit("n1", "key", act, None)
    }

    pub fn sign_error(&mut self, at: &str, name: &str, key_id: &str, content: &[u8]) -> ReasonCode {
        let (act, content) = self.act(key_id, content);
        self.submit_error(at, name, act, content)
    }

    pub fn submit_error(&mut self, at: &str, name: &str, act: Act, content: Vec<u8>) -> ReasonCode {
        match self.api(at, Self::submission(name, act, Some(content))) {
            ApiReply::Error { code, .. } => code,
            other => panic!("{other:?}"),
        }
    }

    /// What signs these bytes, and what then travels beside it.
    pub(super) fn act(&mut self, key_id: &str, content: &[u8]) -> (Act, Vec<u8>) {
        let (key_epoch, key) = (1, self.key_view(key_id));
        let key_id = id(key_id);
        let content = match backend(&key).scheme() {
            Scheme::Schnorr => content.to_vec(),
            Scheme::Ecdsa => transaction(content).payload(),
        };
        let (link, len) = (Link::of_raw(&content), content.len() as u64);
        let act = match backend(&key).scheme() {
            Scheme::Schnorr => Act::SignMessage { key_id, key_epoch, message: link, len },
            // The engine fills in the sender.
            Scheme::Ecdsa => Act::SignEvmTransaction {
                key_id,
                key_epoch,
                path: Vec::new(),
                from: Address20::default(),
                transaction: link,
                len,
            },
        };
        (act, content)
    }

    fn key_view(&mut self, key_id: &str) -> Value {
        let up = NODES.into_iter().find(|node| !self.down.contains(&id::<NodeId>(node))).unwrap();
        let keys = self.json(up, ApiCall::Keys);
        keys["keys"].as_array().unwrap().iter().find(|k| k["key_id"] == key_id).unwrap().clone()
    }

    /// Whether what is published is the key's signature of these bytes; a transaction's also for its chain.
    pub fn verifies(&mut self, key_id: &str, content: &[u8], view: &Value) -> bool {
        let key = self.key_view(key_id);
        let public = hex::decode(key["public_key_hex"].as_str().unwrap()).unwrap();
        let signature = hex::decode(view["signature_hex"].as_str().unwrap()).unwrap();
        let verifies = |bytes: &[u8]| {
            dvm_blame::verify_signature(backend(&key).into(), &public, bytes, &signature).is_ok()
        };
        match backend(&key).scheme() {
            Scheme::Schnorr => verifies(content) && view["raw_transaction_hex"].is_null(),
            Scheme::Ecdsa => {
                let transaction = transaction(content);
                let from = address_of(public.as_slice().try_into().unwrap()).unwrap();
                let signed = transaction.signed(&from, signature.as_slice().try_into().unwrap());
                let raw = signed.map(|signed| format!("0x{}", hex::encode(signed.raw())));
                verifies(&transaction.signing_hash())
                    && raw.is_ok_and(|raw| view["raw_transaction_hex"] == raw)
            }
        }
    }
}

fn backend(key: &Value) -> Backend {
    Backend::from_name(key["backend"].as_str().unwrap()).unwrap()
}
