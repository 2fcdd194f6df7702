//! Prepared material: the batches that make it, and the signatures that spend it.

use dvm_act::evm::address_of;
use dvm_core::admission::Purpose;
use dvm_core::intent::{Act, ActClass, Backend, Scheme};
use dvm_core::run::Material;
use dvm_core::{Address20, Link};
use dvm_evidence::verify::Reached;
use dvm_evidence::{replay_bundle, verify};

use crate::rig::{NODES, Rig, id};

const PAIR: [&str; 2] = ["n1", "n2"];

/// The unsigned transaction of EIP-155's example.
fn payload() -> Vec<u8> {
    let head = [0xec, 9, 0x85, 4, 0xa8, 0x17, 0xc8, 0, 0x82, 0x52, 8, 0x94];
    let value = [0x88, 0x0d, 0xe0, 0xb6, 0xb3, 0xa7, 0x64, 0, 0];
    [&head[..], &[0x35; 20], &value, &[0x80, 1, 0x80, 0x80]].concat()
}

fn admitted(rig: &mut Rig) {
    for node in NODES {
        rig.judge(&id(node), &Purpose::Admit, &[]);
    }
}

/// A batch of two in the kernels' stashes.
pub(crate) fn prepared(rig: &mut Rig) -> Material {
    let act = Act::PresignBatch {
        key_id: id("treasury"),
        key_epoch: 1,
        path: Vec::new(),
        signers: PAIR.map(id).to_vec(),
        count: 2,
    };
    rig.ask(act, None, "batch");
    admitted(rig);
    rig.hold(&PAIR);
    let batch = rig.peer(&id("n1")).runs[0].stashed.unwrap().batch;
    Material { batch, index: 1 }
}

/// A signature with a piece, published.
pub(crate) fn spent(rig: &mut Rig, material: Material) {
    let ready = rig.state.key(&id("treasury")).unwrap().ready.clone();
    match ready.backend.scheme() {
        Scheme::Schnorr => rig.ask_signature(b"content", "sign"),
        Scheme::Ecdsa => {
            let payload = payload();
            let key = ready.public_key.0.as_slice().try_into().unwrap();
            let act = Act::SignEvmTransaction {
                key_id: id("treasury"),
                key_epoch: 1,
                path: Vec::new(),
                from: Address20(address_of(key).unwrap()),
                transaction: Link::of_raw(&payload),
                len: payload.len() as u64,
            };
            rig.ask(act, Some(&payload), "sign");
        }
    }
    rig.approve(&Purpose::Admit, &["a1"]);
    admitted(rig);
    rig.hold_with(&PAIR, Some(material));
    rig.publish(&PAIR);
}

fn batches_and_what_spends_them_verify(backend: Backend) {
    let mut rig = Rig::active(backend);
    let material = prepared(&mut rig);
    let car = rig.bundle();
    assert!(replay_bundle(&car).unwrap().iter().all(|replayed| replayed.equal()));
    let report = verify(&car, rig.cluster()).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!((report.act, report.state), (ActClass::PresignBatch, Reached::Stashed));
    assert_eq!(report.result, None);
    assert_eq!(report.runs.len(), 2);

    spent(&mut rig, material);
    let car = rig.bundle();
    assert!(replay_bundle(&car).unwrap().iter().all(|replayed| replayed.equal()));
    let report = verify(&car, rig.cluster()).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!((report.state, &report.result), (Reached::Published, &rig.result));
    assert!(report.complete && report.missing.is_empty(), "{:?}", report.lines);
}

#[test]
fn batches_of_ed25519_nonces_and_what_spends_them_verify() {
    batches_and_what_spends_them_verify(Backend::FrostEd25519);
}

#[test]
fn batches_of_secp256k1_nonces_and_what_spends_them_verify() {
    batches_and_what_spends_them_verify(Backend::FrostSecp256k1Tr);
}

#[test]
fn batches_of_ecdsa_triples_and_what_spends_them_verify() {
    batches_and_what_spends_them_verify(Backend::Dkls23Secp256k1);
}
