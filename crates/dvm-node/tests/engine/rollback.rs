//! A node's whole directory restored, or started twice: found when it connects, shown to operators, routed around.

use serde_json::Value;

use crate::net::{Net, floor, id};

const FENCED: &str = "SPLIT_BRAIN_FENCED";

fn signers(view: &Value) -> Vec<&str> {
    assert_eq!(view["state"], "Published", "{view:#}");
    view["signers"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

#[test]
fn restored_node_is_refused_by_its_own_kernel_and_by_its_peers_at_once_and_the_others_sign() {
    let mut net = Net::with_key(floor(0, 0));
    let yesterday = net.backup("n3");
    assert!(signers(&net.sign("n3", "s-1", "demo", b"today")).contains(&"n3"));
    net.restore("n3", &yesterday);
    assert_eq!(net.refused("n3", "n3"), FENCED);
    for peer in ["n1", "n2"] {
        assert_eq!(net.refused(peer, "n3"), FENCED);
        assert_eq!(net.refused(peer, peer), Value::Null);
    }
    let own = net.sign("n3", "s-2", "demo", b"at the restored one");
    assert_eq!((&own["state"], &own["codes"][0]), (&"Denied".into(), &FENCED.into()), "{own:#}");
    assert_eq!(signers(&net.sign("n1", "s-3", "demo", b"elsewhere")), ["n1", "n2"]);
    // Nobody ran at the same time, and starting it again helps nothing.
    net.crash_and_restart("n3");
    assert_eq!(net.refused("n3", "n3"), FENCED);
    assert_eq!(signers(&net.sign("n2", "s-4", "demo", b"elsewhere")), ["n1", "n2"]);
}

#[test]
fn node_started_twice_in_one_generation_is_fenced_at_every_node_by_evidence() {
    let mut net = Net::with_key(floor(0, 0));
    let copied = net.backup("n3");
    // The original starts; then the copy does, in its place on the wire.
    net.crash_and_restart("n3");
    net.restore("n3", &copied);
    for node in ["n1", "n2", "n3"] {
        assert_eq!(net.refused(node, "n3"), FENCED, "{node}");
        let fences = net.fences(node);
        assert!(fences.len() == 1 && fences[0].node == id("n3") && fences[0].holds(), "{node}");
    }
    assert_eq!(signers(&net.sign("n1", "s-1", "demo", b"m")), ["n1", "n2"]);
    // The evidence outlives the nodes that have it.
    net.crash_and_restart("n1");
    assert_eq!(net.fences("n1").len(), 1);
    assert_eq!(net.refused("n1", "n3"), FENCED);
}

#[test]
fn nodes_that_merely_restart_are_refused_by_nobody() {
    let mut net = Net::with_key(floor(0, 0));
    for (round, node) in ["n1", "n2", "n3", "n3"].into_iter().enumerate() {
        net.crash_and_restart(node);
        signers(&net.sign(node, &format!("s-{round}"), "demo", b"m"));
    }
    for at in ["n1", "n2", "n3"] {
        for member in ["n1", "n2", "n3"] {
            assert_eq!(net.refused(at, member), Value::Null, "{member} at {at}");
        }
        assert_eq!(net.fences(at), []);
    }
}

#[test]
fn node_that_was_only_greeted_since_still_knows_a_restored_one() {
    let mut net = Net::with_key(floor(0, 0));
    net.take_down("n3");
    let yesterday = net.backup("n2");
    assert_eq!(signers(&net.sign("n2", "s-1", "demo", b"today")), ["n1", "n2"]);
    // n3 hears n2's greeting and nothing else of today; whoever saw more is gone when n2's directory is restored.
    net.bring_up("n3");
    net.settle();
    net.take_down("n1");
    net.restore("n2", &yesterday);
    assert_eq!(net.refused("n3", "n2"), FENCED);
    assert_eq!(net.refused("n2", "n2"), FENCED);
}
