//! Hostile runtime and the log: entries, decisions and certificates that would change who may do what.

use dvm_core::authority::{Governors, NodePassport};
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::codec::link_of;
use dvm_core::governance::{
    Cosignature, Event, EventKind, GovernanceDecision, GovernorSignature, HeadCertificate, HeadRef,
    LogEntry, SignedDecision,
};
use dvm_core::intent::Backend;
use dvm_core::{B32, Link, NodeId, ReasonCode, Signed, Signer};
use dvm_governance::{AuthorityState, apply, cosign, sign_decision};

use crate::harness::{Cluster, corrupt, id, key};

/// Whoever runs every machine of the cluster but one holds these: two kernels and the witness, a quorum.
const CORRUPT: [&str; 3] = ["n1", "n2", "w1"];

fn cosigned(cluster: &Cluster, head: &HeadRef, by: &[&str]) -> HeadCertificate {
    let time_s = cluster.now_ms() / 1_000;
    let one = |name: &&str| {
        let signer = if *name == "w1" { key("w1/cosign") } else { corrupt(name) };
        cosign(&cluster.state.cluster(), head, id(name), time_s, &signer)
    };
    let cosignatures = by.iter().map(one).collect();
    HeadCertificate { cluster: cluster.state.cluster(), head: *head, cosignatures }
}

fn cosign_call(cluster: &Cluster, entry: &LogEntry) -> KernelCall {
    KernelCall::Cosign { entry: Box::new(entry.clone()), time_s: cluster.now_ms() / 1_000 }
}

fn adopt(entries: &[LogEntry], certificate: &HeadCertificate) -> KernelCall {
    KernelCall::Adopt { entries: entries.to_vec(), certificate: Box::new(certificate.clone()) }
}

fn loosened() -> EventKind {
    EventKind::PolicyRootAdopted { policy_root: Link::of_raw(b"allow everything") }
}

/// The entry with another event, signed by its author's policy key, which the runtime owns.
fn resigned(entry: &LogEntry, change: impl FnOnce(&mut Event)) -> LogEntry {
    let mut event = entry.event.body.clone();
    change(&mut event);
    LogEntry { event: Signed::new(event, &key("n1/policy")), ..entry.clone() }
}

/// The entry under another decision, signed by these governors' real keys.
fn decided(
    entry: &LogEntry,
    by: &[&str],
    change: impl FnOnce(&mut GovernanceDecision),
) -> LogEntry {
    let mut decision = entry.decision.clone().unwrap().decision;
    change(&mut decision);
    let signatures = by.iter().map(|g| sign_decision(&decision, id(g), &key(g))).collect();
    let decision_cid = Some(link_of(&decision));
    let mut entry = resigned(entry, |event| event.decision_cid = decision_cid);
    entry.decision = Some(SignedDecision { decision, signatures });
    entry
}

/// A signature by one governor under the name of another.
fn borrowed(entry: &LogEntry) -> LogEntry {
    let mut entry = entry.clone();
    let signed = entry.decision.as_mut().unwrap();
    let own = sign_decision(&signed.decision, id("g2"), &key("g2"));
    let lent = GovernorSignature { governor: id("g3"), cose: own.cose.clone() };
    signed.signatures = vec![own, lent];
    entry
}

fn root_of_the_changed_log(state: &AuthorityState, entry: &LogEntry) -> HeadRef {
    // What the log's tree would be if the entry were in it: any root serves, the guard comes first.
    let mut head = state.head();
    head.size += 1;
    head.root = link_of(&entry.event.body).digest();
    head
}

#[test]
fn kernel_opens_nothing_under_a_passport_that_does_not_name_its_own_two_keys() {
    let (mut cluster, _) = Cluster::active(Backend::FrostEd25519);
    let next = |cluster: &Cluster| {
        let mut passport = cluster.state.passport(&id("n3")).unwrap().clone();
        passport.generation += 1;
        passport
    };
    let issued = |passport| EventKind::PassportIssued { passport };
    let renewed = NodePassport { node_key: key("n3/new").public_key(), ..next(&cluster) };
    cluster.govern(issued(renewed), None);
    let intent = cluster.sign_intent(b"content", "one");
    cluster.open("n3", &intent, Some(b"content"));
    // Another sealing key alone: n3 would ban whoever sealed anything to that one. No kernel takes it.
    let other = NodePassport { sealing_key: B32([7; 32]), ..next(&cluster) };
    let entry = cluster.entry(issued(other.clone()), None);
    let call = cosign_call(&cluster, &entry);
    cluster.refused("n1", call, ReasonCode::GuardRefused);
    // Both at once are another kernel's, and n3 is not that one.
    let other = NodePassport { kernel_key: key("n3/other").public_key(), ..other };
    cluster.govern(issued(other), None);
    let intent = cluster.sign_intent(b"content", "two");
    let call = cluster.open_call("n3", &intent, Some(b"content"));
    cluster.refused("n3", call, ReasonCode::BindingMismatch);
    cluster.open("n1", &intent, Some(b"content"));
}

#[test]
fn decision_without_its_quorum_is_neither_cosigned_nor_adopted_even_when_a_quorum_certified_it() {
    let mut cluster = Cluster::formed();
    let good = cluster.entry(loosened(), None);
    let mut bare = good.clone();
    bare.decision = None;
    let mut later = good.event.body.clone();
    later.kind = EventKind::EmergencyHold;
    let (guard, log) = (ReasonCode::GuardRefused, ReasonCode::LogInconsistent);
    let n9: NodeId = id("n9");
    let cases = [
        ("one governor", guard, decided(&good, &["g2"], |_| {})),
        ("with the proposer", guard, decided(&good, &["g1", "g2"], |_| {})),
        ("one twice", guard, decided(&good, &["g2", "g2"], |_| {})),
        ("a stranger", guard, decided(&good, &["g2", "mallory"], |_| {})),
        ("a borrowed name", guard, borrowed(&good)),
        ("nobody", guard, bare),
        (
            "another change",
            guard,
            decided(&good, &["g2", "g3"], |d| d.transition = EventKind::EmergencyLift),
        ),
        (
            "another cluster",
            guard,
            decided(&good, &["g2", "g3"], |d| d.cluster = Link::of_raw(b"x")),
        ),
        (
            "another head",
            ReasonCode::StaleEpoch,
            decided(&good, &["g2", "g3"], |d| d.prev_head.size -= 1),
        ),
        (
            "a floor of its own",
            guard,
            decided(&good, &["g2", "g3"], |d| d.floor = Some(crate::harness::sign_floor())),
        ),
        ("skipped", log, resigned(&good, |e| e.seq += 1)),
        ("spliced", log, resigned(&good, |e| e.prev_event_cid = Some(Link::of_raw(b"fork")))),
        ("foreign", log, resigned(&good, |e| e.cluster = Link::of_raw(b"x"))),
        ("by nobody", log, resigned(&good, |e| e.author = n9.clone())),
        ("by another", log, resigned(&good, |e| e.author = id("n2"))),
    ];
    for (name, code, entry) in cases {
        println!("{name}");
        let call = cosign_call(&cluster, &entry);
        cluster.refused("n3", call, code);
        let head = root_of_the_changed_log(&cluster.state, &entry);
        let certificate = cosigned(&cluster, &head, &CORRUPT);
        cluster.refused("n3", adopt(&[entry], &certificate), code);
    }
    let call = cosign_call(&cluster, &good);
    assert!(matches!(cluster.call("n3", call), KernelReply::Cosigned(_)));
}

#[test]
fn decision_outside_its_time_is_not_cosigned() {
    let mut cluster = Cluster::formed();
    let good = cluster.entry(loosened(), None);
    let now = cluster.now_ms();
    let within = |from, to| {
        decided(&good, &["g2", "g3"], move |d| (d.not_before_ms, d.expires_ms) = (from, to))
    };
    for entry in [within(0, now - 1), within(now + 1, now + 9)] {
        let call = cosign_call(&cluster, &entry);
        cluster.refused("n3", call, ReasonCode::Expired);
    }
    let call = cosign_call(&cluster, &within(now, now + 1));
    assert!(matches!(cluster.call("n3", call), KernelReply::Cosigned(_)));
}

#[test]
fn governor_who_was_removed_decides_nothing_more() {
    let mut cluster = Cluster::formed();
    let members = cluster.state.manifest().governors.members.clone();
    let kept = members.into_iter().filter(|p| p.person != id("g3")).collect();
    let governors = Governors { threshold: 2, members: kept, proposer_counts: true };
    cluster.govern(EventKind::GovernorsChanged { governors }, None);
    // The harness lets g2 and g3 sign, as they did before.
    let stale = cluster.entry(loosened(), None);
    let call = cosign_call(&cluster, &stale);
    cluster.refused("n3", call, ReasonCode::GuardRefused);
    let good = decided(&stale, &["g1", "g2"], |_| {});
    let call = cosign_call(&cluster, &good);
    assert!(matches!(cluster.call("n3", call), KernelReply::Cosigned(_)));
}

#[test]
fn certificate_that_is_not_a_quorum_of_this_head_by_these_members_is_refused() {
    let mut cluster = Cluster::formed();
    let entry = cluster.entry(EventKind::EmergencyHold, None);
    let head = apply(&cluster.state, &entry).unwrap().head();
    let all = cosigned(&cluster, &head, &["n1", "n2", "n3", "w1"]);
    let with = |change: &dyn Fn(&mut HeadCertificate)| {
        let mut certificate = all.clone();
        change(&mut certificate);
        certificate
    };
    let stranger = cosign(&all.cluster, &head, id("n3"), 1, &key("n3/policy"));
    let named: Cosignature = cosign(&all.cluster, &head, id("w9"), 1, &key("w9"));
    let cases = [
        with(&|c| c.cosignatures.truncate(2)),
        with(&|c| c.cosignatures.clear()),
        with(&|c| c.cosignatures[2] = c.cosignatures[1].clone()),
        with(&|c| c.cosignatures.swap(0, 1)),
        with(&|c| c.cosignatures[2] = stranger.clone()),
        with(&|c| c.cosignatures.push(named.clone())),
        with(&|c| c.cosignatures[0].signature.0[0] ^= 1),
        with(&|c| c.cosignatures[0].time_s += 1),
        with(&|c| c.cosignatures[0].member = id("n3")),
        with(&|c| c.cluster = Link::of_raw(b"other")),
        with(&|c| c.head.root = B32([1; 32])),
        with(&|c| c.head.size += 1),
    ];
    for certificate in cases {
        let call = adopt(std::slice::from_ref(&entry), &certificate);
        cluster.refused("n3", call, ReasonCode::LogInconsistent);
    }
    cluster.refused("n3", adopt(&[], &all), ReasonCode::LogInconsistent);
    let three = with(&|c| c.cosignatures.truncate(3));
    let reply = cluster.call("n3", adopt(&[entry], &three));
    assert_eq!(reply, KernelReply::Head(head));
}

#[test]
fn log_that_is_truncated_reordered_or_spliced_is_refused_under_its_right_certificate() {
    let mut cluster = Cluster::formed();
    let first = cluster.entry(EventKind::EmergencyHold, None);
    let fork = cluster.entry(EventKind::ClusterDegraded, None);
    let start = cluster.state.clone();
    cluster.state = apply(&start, &first).unwrap();
    let second = cluster.entry(EventKind::ClusterDegraded, None);
    let head = apply(&cluster.state, &second).unwrap().head();
    cluster.state = start;
    let certificate = cosigned(&cluster, &head, &CORRUPT);
    let (a, b) = (first.clone(), second.clone());
    let logs = [
        vec![a.clone()],
        vec![b.clone()],
        vec![b.clone(), a.clone()],
        vec![a.clone(), a.clone()],
        vec![a.clone(), b.clone(), b.clone()],
        vec![fork.clone(), b],
        vec![a, fork],
    ];
    for log in logs {
        cluster.refused("n3", adopt(&log, &certificate), ReasonCode::LogInconsistent);
    }
    let reply = cluster.call("n3", adopt(&[first, second], &certificate));
    assert_eq!(reply, KernelReply::Head(head));
}

#[test]
fn sequencer_and_witness_that_sign_two_stories_get_one_certified_head_of_one_size() {
    let mut cluster = Cluster::formed();
    let stories = [EventKind::EmergencyHold, EventKind::ClusterDegraded]
        .map(|kind| cluster.entry(kind, None));
    let heads =
        [&stories[0], &stories[1]].map(|entry| apply(&cluster.state, entry).unwrap().head());
    assert_eq!(heads[0].size, heads[1].size);
    // The runtimes of all three nodes ask their kernels for both, in either order, and again after a restart.
    let mut cosignatures = [Vec::new(), Vec::new()];
    for (node, order) in [("n1", [0, 1]), ("n2", [1, 0]), ("n3", [0, 1])] {
        for turn in [order, [1, 0]] {
            for story in turn {
                let call = cosign_call(&cluster, &stories[story]);
                match cluster.call(node, call) {
                    KernelReply::Cosigned(given) => cosignatures[story].push(given),
                    KernelReply::Refused { code, .. } => {
                        assert_eq!(code, ReasonCode::Equivocation, "{node}");
                    }
                    other => panic!("{other:?}"),
                }
            }
            cluster.restart(node);
        }
    }
    let mut certified = 0;
    for (head, mut given) in heads.into_iter().zip(cosignatures) {
        given.push(cosigned(&cluster, &head, &["w1"]).cosignatures.remove(0));
        given.dedup_by(|a, b| a.member == b.member);
        let certificate =
            HeadCertificate { cluster: cluster.state.cluster(), head, cosignatures: given };
        let path = [cluster.state.clone()];
        certified +=
            usize::from(dvm_governance::check_certificate(&path, &head, &certificate).is_ok());
    }
    assert_eq!(certified, 1);
}

#[test]
fn kernel_that_cosigned_one_story_adopts_no_other_and_one_that_adopted_one_cosigns_no_other() {
    let mut cluster = Cluster::formed();
    let mine = cluster.entry(EventKind::EmergencyHold, None);
    let fork = cluster.entry(EventKind::ClusterDegraded, None);
    let call = cosign_call(&cluster, &mine);
    assert!(matches!(cluster.call("n3", call), KernelReply::Cosigned(_)));
    let head_of = |cluster: &Cluster, entry| apply(&cluster.state, entry).unwrap().head();
    let forked = cosigned(&cluster, &head_of(&cluster, &fork), &CORRUPT);
    let other = adopt(std::slice::from_ref(&fork), &forked);
    cluster.refused("n3", other.clone(), ReasonCode::Equivocation);
    cluster.restart("n3");
    cluster.refused("n3", other, ReasonCode::Equivocation);
    let right = cosigned(&cluster, &head_of(&cluster, &mine), &CORRUPT);
    let reply = cluster.call("n3", adopt(&[mine], &right));
    assert_eq!(reply, KernelReply::Head(right.head));
    let call = cosign_call(&cluster, &fork);
    cluster.refused("n3", call, ReasonCode::Equivocation);
    cluster.refused("n3", adopt(&[fork], &forked), ReasonCode::StaleEpoch);
}

#[test]
fn held_result_is_granted_under_no_head_but_the_kernels_own() {
    let (mut cluster, _) = Cluster::active(Backend::FrostEd25519);
    let (intent, held) =
        cluster.held_signature(b"content", "one", ["n1", "n2"], Backend::FrostEd25519);
    let course = cluster.start_publication(&intent, &held, Backend::FrostEd25519);
    // Yesterday's judgement, valid at the head before the key was suspended.
    let stale = cluster.grant_call(&intent, &course, &id("n1"), &["a2", "a3"]);
    cluster.govern(EventKind::KeySuspended { key_id: id("treasury") }, None);
    cluster.refused("n1", stale, ReasonCode::StaleEpoch);
    let fresh = cluster.grant_call(&intent, &course, &id("n1"), &["a2", "a3"]);
    let receipt = cluster.refused_at_the_gate("n1", fresh, ReasonCode::KeyNotActive);
    assert!(!receipt.destroyed);
    cluster.govern(EventKind::KeyResumed { key_id: id("treasury") }, None);
    let mut course = course;
    cluster.grant_all(&intent, &mut course);
    assert_eq!(cluster.open_all(&mut course).len(), 2);
}
