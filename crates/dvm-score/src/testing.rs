//! Acts for the tests of this crate: one of each class.

use dvm_core::intent::{Act, Backend};
use dvm_core::run::Material;
use dvm_core::{Address20, B32, KeyId, Link, NodeId};

pub(crate) fn nodes(n: usize) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = (1..=n).map(|i| format!("n{i}").parse().unwrap()).collect();
    nodes.sort();
    nodes
}

fn key_id() -> KeyId {
    "k".parse().unwrap()
}

pub(crate) fn generate(backend: Backend, threshold: u16, roster: Vec<NodeId>) -> Act {
    Act::KeyGenerate { key_id: key_id(), backend, threshold, roster }
}

pub(crate) fn message() -> Act {
    Act::SignMessage { key_id: key_id(), key_epoch: 1, message: Link::of_raw(b"m"), len: 1 }
}

pub(crate) fn digest() -> Act {
    Act::SignDigest { key_id: key_id(), key_epoch: 1, digest: B32::default() }
}

pub(crate) fn transaction() -> Act {
    Act::SignEvmTransaction {
        key_id: key_id(),
        key_epoch: 1,
        path: vec![0, 7],
        from: Address20::default(),
        transaction: Link::of_raw(b"t"),
        len: 1,
    }
}

/// Of the key itself, which a key of either scheme can prepare.
pub(crate) fn presign(signers: Vec<NodeId>, count: u16) -> Act {
    presign_at(Vec::new(), signers, count)
}

pub(crate) fn presign_at(path: Vec<u32>, signers: Vec<NodeId>, count: u16) -> Act {
    Act::PresignBatch { key_id: key_id(), key_epoch: 1, path, signers, count }
}

pub(crate) fn material(index: u32) -> Material {
    Material { batch: B32([1; 32]), index }
}
