//! Claims about the engine: three engines with real kernels in one process, a witness, a network
//! that can lose a node, and a clock that moves only when told.

#[cfg(test)]
mod endings;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod hostile_peer;
#[cfg(test)]
mod hostile_wire;
#[cfg(test)]
mod net;
#[cfg(test)]
mod rollback;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod stock;
#[cfg(test)]
mod transactions;

use dvm_core::ReasonCode;
use dvm_core::governance::EventKind;
use dvm_core::intent::{Act, Backend};
use net::{Net, floor, id};

fn keygen(key_id: &str, backend: Backend) -> Act {
    Act::KeyGenerate { key_id: id(key_id), backend, threshold: 2, roster: Vec::new() }
}

#[test]
fn a_key_is_made_published_activated_and_signs_under_a_held_gate() {
    for backend in Backend::ALL {
        let mut net = Net::formed();
        let view = net.submit("n1", "k-1", keygen("demo", backend), None);
        assert_eq!(view["state"], "Published", "{view:#}");
        assert_eq!(net.key_state("n2", "demo"), "Pre-activation");

        let early = net.sign("n1", "s-0", "demo", b"too early");
        assert_eq!(early["state"], "Denied", "{early:#}");
        assert_eq!(early["codes"][0], "KEY_NOT_ACTIVE");

        net.activate("demo", floor(0, 1));
        let held = net.sign("n2", "s-1", "demo", b"hello");
        assert_eq!(held["state"], "Executed", "{held:#}");
        assert_eq!(held["codes"][0], "APPROVALS_MISSING");
        assert!(held["signature_hex"].is_null());

        net.approve_release("n3", &held, "a1");
        let done = net.view("n2", &held);
        assert_eq!(done["state"], "Published", "{done:#}");
        assert!(net.verifies("demo", b"hello", &done));
        // The node that took no part knows the outcome, too.
        for node in ["n1", "n2", "n3"] {
            assert_eq!(net.view(node, &held)["state"], "Published", "{node}");
        }
    }
}

#[test]
fn an_admission_approval_counts_and_one_too_few_waits() {
    let mut net = Net::with_key(floor(1, 0));
    let waiting = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!(waiting["state"], "AwaitingApproval", "{waiting:#}");
    net.approve_admission("n2", &waiting, "a2");
    assert_eq!(net.view("n1", &waiting)["state"], "Published");
}

#[test]
fn a_denial_destroys_what_is_held_and_no_approval_brings_it_back() {
    let mut net = Net::with_key(floor(0, 2));
    let held = net.sign("n1", "s-1", "demo", b"m");
    net.approve_release("n1", &held, "a1");
    assert_eq!(net.view("n1", &held)["state"], "Executed");
    net.deny("n1", &held, "a2");
    assert_eq!(net.view("n1", &held)["state"], "Discarded");
    assert_eq!(net.view("n1", &held)["codes"][0], "DENIED_BY_APPROVER");
    net.approve_release("n1", &held, "a3");
    assert_eq!(net.view("n1", &held)["state"], "Discarded");
}

#[test]
fn an_act_is_observed_by_the_sites_of_its_score_and_its_secrets_by_a_root() {
    let mut net = Net::with_key(floor(0, 1));
    let held = net.sign("n1", "s-1", "demo", b"m");
    let sites = |run: &serde_json::Value| -> Vec<(String, String)> {
        let text = |site: &serde_json::Value, name| site[name].as_str().unwrap().to_owned();
        let sites = run["sites"].as_array().unwrap().iter();
        sites.map(|site| (text(site, "kind"), text(site, "status"))).collect()
    };
    let with = |kinds: &[&str], status: &[&str]| -> Vec<(String, String)> {
        kinds.iter().zip(status).map(|(k, s)| ((*k).to_owned(), (*s).to_owned())).collect()
    };
    let act =
        ["share_load", "share_rand", "share_ec_mul", "transcript", "share_lin", "finalize_sig"];
    let publication = ["result_load", "gate_grant", "publish_sig", "confirm"];
    let runs = net.observed("n1", &held);
    assert_eq!(sites(&runs[0]), with(&act, &["done"; 6]));
    assert_eq!(sites(&runs[1]), with(&publication, &["pending", "open", "pending", "pending"]));
    net.approve_release("n1", &held, "a1");
    let runs = net.observed("n1", &held);
    assert_eq!(sites(&runs[1]), with(&publication, &["done"; 4]));
    assert!(runs[0]["microtrace_root"].is_string() && runs[1]["microtrace_root"].is_null());
}

#[test]
fn the_same_idempotency_key_is_the_same_operation_and_another_act_is_refused() {
    let mut net = Net::with_key(floor(0, 0));
    let first = net.sign("n1", "s-1", "demo", b"m");
    let again = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!(first["intent"], again["intent"]);
    assert_eq!(first["signature_hex"], again["signature_hex"]);
    let other = net.sign_error("n1", "s-1", "demo", b"another");
    assert_eq!(other, ReasonCode::ReplayOrConflict);
}

#[test]
fn any_two_nodes_sign_while_the_third_is_down_and_one_alone_says_who_is_missing() {
    let mut net = Net::with_key(floor(0, 0));
    for (n, down) in ["n1", "n2", "n3"].into_iter().enumerate() {
        net.take_down(down);
        let at = if down == "n1" { "n2" } else { "n1" };
        let view = net.sign(at, &format!("s-{n}"), "demo", b"m");
        assert_eq!(view["state"], "Published", "{down}: {view:#}");
        net.bring_up(down);
    }
    net.take_down("n2");
    net.take_down("n3");
    let view = net.sign("n1", "s-9", "demo", b"m");
    assert_eq!(view["state"], "PendingRemote", "{view:#}");
    assert_eq!(view["codes"][0], "REMOTE_TIMEOUT");
    assert_eq!(view["missing"], serde_json::json!(["n2", "n3"]));
    net.bring_up("n2");
    net.pass_ms(3_000);
    assert_eq!(net.view("n1", &view)["state"], "Published");
}

#[test]
fn a_signature_costs_at_most_eight_serial_commits() {
    let mut net = Net::with_key(floor(0, 0));
    let view = net.sign("n1", "s-1", "demo", b"m");
    assert!(view["serial_commits"].as_u64().unwrap() <= 8, "{view:#}");
}

#[test]
fn a_node_that_crashes_while_holding_comes_back_and_publishes() {
    let mut net = Net::with_key(floor(0, 1));
    let held = net.sign("n1", "s-1", "demo", b"m");
    let signers = held["signers"].as_array().unwrap().clone();
    for signer in &signers {
        net.crash_and_restart(signer.as_str().unwrap());
    }
    net.pass_ms(2_000);
    net.approve_release("n1", &held, "a1");
    net.pass_ms(2_000);
    let done = net.view("n1", &held);
    assert_eq!(done["state"], "Published", "{done:#}");
    assert!(done["recovered"].as_bool().unwrap());
    assert!(net.verifies("demo", b"m", &done));
}

#[test]
fn a_hold_destroys_what_is_held_and_lifting_it_brings_nothing_back() {
    let mut net = Net::with_key(floor(0, 1));
    let held = net.sign("n1", "s-1", "demo", b"m");
    net.decide(EventKind::EmergencyHold, None, &["g1"]);
    net.decide(EventKind::EmergencyLift, None, &["g1", "g2"]);
    let after = net.view("n1", &held);
    assert_eq!(after["state"], "Discarded", "{after:#}");
    net.approve_release("n1", &held, "a1");
    assert_eq!(net.view("n1", &held)["state"], "Discarded");
}

#[test]
fn a_held_result_outlives_its_intent_but_not_its_own_expiry() {
    const HOUR_MS: u64 = 3_600_000;
    let mut net = Net::with_key(floor(0, 1));
    let early = net.sign("n1", "s-1", "demo", b"m");
    let late = net.sign("n1", "s-2", "demo", b"n");
    net.jump_ms(2 * HOUR_MS);
    net.approve_release("n1", &early, "a1");
    assert_eq!(net.view("n1", &early)["state"], "Published");
    assert_eq!(net.report("n1", &early).state.name(), "Published");
    net.jump_ms(dvm_core::limits::HELD_TTL_MS);
    assert_eq!(net.view("n1", &late)["state"], "Discarded");
    assert_eq!(net.view("n1", &late)["codes"][0], "EXPIRED");
}

#[test]
fn what_waits_for_long_asks_seldom_and_at_once_when_a_peer_is_back() {
    let mut net = Net::with_key(floor(0, 0));
    net.take_down("n2");
    net.take_down("n3");
    let view = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!(view["state"], "PendingRemote", "{view:#}");
    net.pass_ms(300_000);
    let attempts = net.view("n1", &view)["attempt"].as_u64().unwrap();
    assert!((12..40).contains(&attempts), "{attempts} tries in five minutes");
    net.bring_up("n2");
    net.pass_ms(100);
    assert_eq!(net.view("n1", &view)["state"], "Published");
}
