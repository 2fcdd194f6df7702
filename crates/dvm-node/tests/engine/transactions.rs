//! Claims about keys for ECDSA: who sends a transaction, and what is told of how it was made.

use dvm_act::evm::{Transaction, eip55};
use dvm_core::intent::{Act, Backend};
use dvm_core::{Address20, B32, Link, ReasonCode};
use serde_json::Value;

use crate::net::acts::transaction;
use crate::net::{Net, floor, id};

const ECDSA: Backend = Backend::Dkls23Secp256k1;

fn transfer(path: &[u32], from: Address20) -> (Act, Vec<u8>) {
    let (key_id, payload) = (id("demo"), transaction(b"data").payload());
    let (transaction, len) = (Link::of_raw(&payload), payload.len() as u64);
    let path = path.to_vec();
    (Act::SignEvmTransaction { key_id, key_epoch: 1, path, from, transaction, len }, payload)
}

fn sender(view: &Value) -> Address20 {
    Address20::from_hex(view["sender"].as_str().unwrap().strip_prefix("0x").unwrap()).unwrap()
}

#[test]
fn a_transaction_is_sent_by_the_account_at_its_path_and_by_no_other_that_is_named() {
    let mut net = Net::with_key_of(ECDSA, floor(0, 0));
    let mut senders = Vec::new();
    for (number, path) in [&[][..], &[0, 7]].into_iter().enumerate() {
        // The engine fills in a sender that is not named.
        let (act, payload) = transfer(path, Address20::default());
        let view = net.submit("n1", &format!("s-{number}"), act, Some(payload.clone()));
        assert_eq!(view["state"], "Published", "{view:#}");
        let from = sender(&view);
        assert_eq!(view["sender"], eip55(&from.0));
        let signature = hex::decode(view["signature_hex"].as_str().unwrap()).unwrap();
        let signature = signature.as_slice().try_into().unwrap();
        let signed = Transaction::parse(&payload).unwrap().signed(&from.0, signature).unwrap();
        assert_eq!(view["raw_transaction_hex"], format!("0x{}", hex::encode(signed.raw())));
        assert_eq!(view["transaction_hash"], format!("0x{}", hex::encode(signed.hash())));
        senders.push(from);
    }
    let [own, below] = senders[..] else { panic!() };
    assert_ne!(own, below);
    let (named, payload) = transfer(&[0, 7], below);
    let view = net.submit("n1", "named", named, Some(payload.clone()));
    assert_eq!(view["state"], "Published", "{view:#}");
    let (other, _) = transfer(&[0, 7], own);
    assert_eq!(net.submit_error("n1", "other", other, payload), ReasonCode::BindingMismatch);
}

#[test]
fn a_schnorr_key_has_no_account_and_an_ecdsa_key_signs_no_message() {
    let mut net = Net::with_key(floor(0, 0));
    let (act, payload) = transfer(&[], Address20::default());
    assert_eq!(net.submit_error("n1", "s-1", act, payload), ReasonCode::PayloadRejected);
    let mut net = Net::with_key_of(ECDSA, floor(0, 0));
    let (message, len) = (Link::of_raw(b"m"), 1);
    let act = Act::SignMessage { key_id: id("demo"), key_epoch: 1, message, len };
    assert_eq!(net.submit_error("n1", "s-1", act, b"m".to_vec()), ReasonCode::PayloadRejected);
    let signed = net.sign("n1", "s-2", "demo", b"m");
    assert_eq!(signed["state"], "Published", "{signed:#}");
}

/// Kind and status of each site of a run.
fn sites(run: &Value) -> Vec<(String, String)> {
    let text = |site: &Value, name: &str| site[name].as_str().unwrap().to_owned();
    let sites = run["sites"].as_array().unwrap().iter();
    sites.map(|site| (text(site, "kind"), text(site, "status"))).collect()
}

/// What is observed of one and the same act, held and then released, and of the key generation before it.
fn observed(backend: Backend) -> [Vec<Value>; 3] {
    let mut net = Net::with_key_of(backend, floor(0, 1));
    let made = net.make_key(backend);
    let made = net.observed("n1", &made);
    let act = Act::SignDigest { key_id: id("demo"), key_epoch: 1, digest: B32([7; 32]) };
    let view = net.submit("n1", "s-1", act, None);
    assert_eq!(view["state"], "Executed", "{view:#}");
    let held = net.observed("n1", &view);
    net.approve_release("n2", &view, "a1");
    assert_eq!(net.view("n1", &view)["state"], "Published");
    [made, held, net.observed("n1", &view)]
}

#[test]
fn an_act_is_observed_alike_on_both_schemes_where_their_scores_agree_and_secrets_by_a_root() {
    let [frost, dkls] = [Backend::FrostEd25519, ECDSA].map(observed);
    for (phase, (frost, dkls)) in frost.iter().zip(&dkls).enumerate() {
        assert_eq!((frost.len(), dkls.len()), (2, 2));
        let [act, other_act] = [&frost[0], &dkls[0]].map(sites);
        // The scores differ in these sites alone: a set-up of pairs; a challenge, or an inverse and a product.
        let own = ["provision", "transcript", "share_inv", "share_mul"];
        let common = |sites: &[(String, String)]| -> Vec<(String, String)> {
            let of_both = |site: &&(String, String)| !own.contains(&site.0.as_str());
            sites.iter().filter(of_both).cloned().collect()
        };
        let making = phase == 0;
        if making {
            let but_provision: Vec<_> =
                other_act.iter().filter(|site| site.0 != "provision").cloned().collect();
            assert_eq!(act, but_provision);
            assert_eq!(other_act.len(), act.len() + 1);
        }
        assert_eq!(common(&act), common(&other_act));
        assert!(common(&act).len() >= 5, "{act:?}");
        assert!(act.iter().chain(&other_act).all(|site| site.1 == "done"), "{other_act:?}");
        // The publication is one score for both.
        assert_eq!(sites(&frost[1]), sites(&dkls[1]), "phase {phase}");

        let told = serde_json::to_string(&dkls[0]["sites"]).unwrap();
        for secret in ["vole", "pair", "zero_share", "affine"] {
            assert!(!told.contains(secret), "{told}");
        }
        for run in [&frost[0], &dkls[0]] {
            assert!(B32::from_hex(run["microtrace_root"].as_str().unwrap()).is_some());
        }
    }
}
