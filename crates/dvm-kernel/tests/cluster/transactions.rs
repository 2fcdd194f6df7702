//! Transactions of an EVM chain: parsed by the kernel, signed by the key at the act's path, and only for its account.

use std::collections::BTreeMap;

use dvm_act::evm::{Transaction, address_of};
use dvm_core::intent::{Act, Backend, CanonicalIntent};
use dvm_core::{Address20, Link, ReasonCode};

use crate::harness::{Cluster, id};

const BACKEND: Backend = Backend::Dkls23Secp256k1;
/// The unsigned transaction of EIP-155's example.
const PAYLOAD: &str =
    "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080018080";

fn payload() -> Vec<u8> {
    hex::decode(PAYLOAD).unwrap()
}

/// The account of the active key at a path.
fn account(cluster: &Cluster, path: &[u32]) -> Address20 {
    let ready = &cluster.state.key(&id("treasury")).unwrap().ready;
    let code = ready.chain_code.unwrap();
    let key = dvm_blame::bip32::derive(&ready.public_key, &code.0, path).unwrap();
    Address20(address_of(key.public_key()).unwrap())
}

fn transfer(cluster: &Cluster, path: &[u32], from: Address20, name: &str) -> CanonicalIntent {
    let (payload, path) = (payload(), path.to_vec());
    let (transaction, len) = (Link::of_raw(&payload), payload.len() as u64);
    let (key_id, key_epoch) = (id("treasury"), 1);
    let act = Act::SignEvmTransaction { key_id, key_epoch, path, from, transaction, len };
    cluster.intent(act, Some(&payload), name)
}

#[test]
fn account_of_any_path_sends_what_its_key_signed() {
    let mut cluster = Cluster::roomy(BACKEND);
    let paths: [&[u32]; 3] = [&[], &[0], &[44, 60, 0, 0, 7]];
    for (number, path) in paths.into_iter().enumerate() {
        let from = account(&cluster, path);
        let intent = transfer(&cluster, path, from, &format!("pay-{number}"));
        let opens = ["n1", "n3"].map(|node| cluster.open(node, &intent, Some(&payload()))).to_vec();
        let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
        let mut held = cluster.start(&proposal, plan, &BTreeMap::new());
        cluster.run_to_held(&mut held);
        let mut publication = cluster.start_publication(&intent, &held, BACKEND);
        cluster.grant_all(&intent, &mut publication);
        for result in cluster.open_all(&mut publication) {
            let signature = result.body.result.0.as_slice().try_into().unwrap();
            let transaction = Transaction::parse(&payload()).unwrap();
            assert!(transaction.signed(&from.0, signature).is_ok(), "{path:?}");
        }
    }
}

#[test]
fn transaction_that_shows_another_sender_than_the_keys_account_is_not_opened() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (own, other) = (account(&cluster, &[7]), account(&cluster, &[8]));
    for (from, opened) in [(other, false), (Address20([1; 20]), false), (own, true)] {
        let intent = transfer(&cluster, &[7], from, "pay");
        if opened {
            cluster.open("n1", &intent, Some(&payload()));
        } else {
            let call = cluster.open_call("n1", &intent, Some(&payload()));
            cluster.refused("n1", call, ReasonCode::BindingMismatch);
        }
    }
}
