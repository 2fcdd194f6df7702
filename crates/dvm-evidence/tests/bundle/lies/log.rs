//! The cluster, its log, certificate, policies, and the act itself.

use dvm_core::governance::Event;
use dvm_core::{B32, Link, ReasonCode, Signed};

use super::{assert_refused, by_policy, world};
use crate::rig::{id, key};

#[test]
fn a_log_entry_that_breaks_a_rule_is_refused_where_it_stands() {
    let what = "the entry breaks a rule of the log";
    let others: [fn(&mut Event); 5] = [
        |e| e.cluster = Link::of_raw(b"x"),
        |e| e.seq += 1,
        |e| e.prev_event_cid = None,
        |e| e.key_epoch += 1,
        |e| e.decision_cid = None,
    ];
    for other in others {
        let refused = world().lie(|i| {
            let mut body = i.log[2].event.body.clone();
            other(&mut body);
            i.log[2].event = by_policy("n1", body);
        });
        assert_refused(&refused, "log/2", what);
    }
    let forged = Signed::new(world().input.log[1].event.body.clone(), &key("g1"));
    assert_refused(&world().lie(|i| i.log[1].event = forged), "log/1", what);
    assert_refused(&world().lie(|i| i.log.swap(0, 1)), "log/0", what);
    assert_refused(&world().lie(|i| drop(i.log.remove(0))), "log/0", what);
}

#[test]
fn a_decision_below_its_quorum_or_by_a_stranger_is_refused() {
    let at = world().input.log.iter().position(|entry| entry.decision.is_some()).unwrap();
    let link = format!("log/{at}");
    let what = "the entry breaks a rule of the log";
    let refused = world().lie(|i| {
        i.log[at].decision.as_mut().unwrap().signatures.pop();
    });
    assert_refused(&refused, &link, what);
    let refused = world().lie(|i| {
        let decision = i.log[at].decision.as_mut().unwrap();
        decision.signatures[0].governor = id("a1");
    });
    assert_refused(&refused, &link, what);
    assert_refused(&world().lie(|i| i.log[at].decision = None), &link, what);
}

#[test]
fn a_certificate_without_a_quorum_or_over_another_head_is_refused() {
    let what = "the certificate does not hold over the log's head";
    let certificate = |change: fn(&mut dvm_core::governance::HeadCertificate)| {
        world().lie(|i| change(i.certificate.as_mut().unwrap()))
    };
    let lies: [fn(&mut dvm_core::governance::HeadCertificate); 6] = [
        |c| drop(c.cosignatures.pop()),
        |c| c.cosignatures.reverse(),
        |c| c.cosignatures.insert(1, c.cosignatures[0].clone()),
        |c| c.cosignatures[0].time_s += 1,
        |c| c.head.root = B32([1; 32]),
        |c| c.cluster = Link::of_raw(b"x"),
    ];
    for lie in lies {
        let refused = certificate(lie);
        assert_refused(&refused, "certificate", what);
        assert_eq!(refused.code, ReasonCode::LogInconsistent);
    }
    let none = world().lie(|i| i.certificate = None);
    assert_refused(&none, "certificate", "the log's head has no certificate");
}

#[test]
fn another_act_than_the_one_that_was_shown_is_refused() {
    let what = "the act does not parse, or is not what was shown";
    let refused = world().lie(|i| i.content.as_mut().unwrap().0[0] ^= 1);
    assert_refused(&refused, "intent", what);
    let refused = world().lie(|i| i.intent.display_hash = B32([1; 32]));
    assert_refused(&refused, "intent", what);
    assert_eq!(refused.code, ReasonCode::BindingMismatch);
    let refused = world().lie(|i| i.intent.cluster = Link::of_raw(b"x"));
    assert_refused(&refused, "intent", "the intent is of another cluster");
}

#[test]
fn policy_files_that_were_never_in_force_are_refused() {
    let refused = world().lie(|i| i.policy.files[0].text.push('\n'));
    let what = "the policy files are not those of a policy root in force";
    assert_refused(&refused, "policy", what);
}

#[test]
fn a_cluster_that_is_not_well_formed_or_not_the_trusted_one_is_refused() {
    let refused = world().lie(|i| i.manifest.nonce = B32([2; 32]));
    assert_refused(&refused, "cluster", "the cluster is not the trusted one");
    let mut input = world().input.clone();
    input.manifest.nodes.swap(0, 1);
    let itself = dvm_core::codec::link_of(&input.manifest);
    let refused = dvm_evidence::verify(&crate::rig::write(input), itself).unwrap_err();
    assert_refused(&refused, "cluster", "the genesis manifest is not well formed");
}

#[test]
fn statements_at_more_heads_than_a_bundle_may_have_are_refused_for_that() {
    let at_heads = |count: u64| {
        world().lie(|i| {
            let body = i.parts[0].admissions[0].body.clone();
            let at = |size| {
                let mut other = body.clone();
                other.head.size = size;
                by_policy("n1", other)
            };
            i.parts[0].admissions = (0..count).map(at).collect();
        })
    };
    let what = "statements at more heads than a bundle may have";
    assert_refused(&at_heads(1_025), "peers", what);
    assert_ne!(at_heads(1_024).what, what);
}
