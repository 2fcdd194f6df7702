//! Where a secret could leave: replies and refusals of a whole life, and the algebra of shares that did leave.

use std::collections::BTreeMap;

use dvm_blame::{Binding, GroupKey};
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::digest::{Domain, Tagged};
use dvm_core::intent::Backend;
use dvm_core::{ReasonCode, codec};
use dvm_microcode::Ed25519;
use frost_core::{Ciphersuite, Field, Group};

use crate::harness::{Cluster, NODES, id};
use crate::lab::{secrets, shows};
use crate::messenger::Course;

const BACKEND: Backend = Backend::FrostEd25519;

type F = <<Ed25519 as Ciphersuite>::Group as Group>::Field;
type Scalar = <F as Field>::Scalar;

fn scalar(bytes: &[u8]) -> Scalar {
    F::deserialize(&bytes.try_into().unwrap()).unwrap()
}

/// One signature as the runtime of n1 sees it: z = d + rho e + c lambda s, of which it does not know d, e and s.
struct Equation {
    z: Scalar,
    rho: Scalar,
    c: Scalar,
    lambda: Scalar,
}

/// Signs, and writes n1's share down as an equation.
fn equation(cluster: &mut Cluster, content: &[u8], name: &str) -> Equation {
    let intent = cluster.sign_intent(content, name);
    let opens = ["n1", "n2"].map(|node| cluster.open(node, &intent, Some(content))).to_vec();
    let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
    let mut held = cluster.start(&proposal, plan, &BTreeMap::new());
    cluster.advance(&mut held, |_, course, node| Cluster::step_call(course, node));
    let said = |course: &Course, node: &str| {
        course.replies[&id(node)].frames[0].broadcast.payloads[0].0.clone()
    };
    let commitments =
        ["n1", "n2"].map(|node| (node.to_owned(), said(&held, node))).into_iter().collect();
    cluster.run_to_held(&mut held);
    let mut publication = cluster.start_publication(&intent, &held, BACKEND);
    cluster.grant_all(&intent, &mut publication);
    cluster.advance(&mut publication, |_, course, node| Cluster::open_result_call(course, node));
    let z = scalar(&said(&publication, "n1"));

    let record = cluster.state.key(&id("treasury")).unwrap();
    let group = GroupKey::<Ed25519>::decode(&record.ready.package).unwrap();
    let binding = Binding::new(&group, &commitments, content).unwrap();
    let package = binding.package();
    let me = group.identifier("n1").unwrap();
    let key = group.package().verifying_key();
    let factors = frost_core::compute_binding_factor_list(package, key, &[]).unwrap();
    Equation {
        z,
        rho: scalar(&factors.get(&me).unwrap().serialize()),
        c: scalar(binding.challenge()),
        lambda: frost_core::derive_interpolating_value(&me, package).unwrap(),
    }
}

/// The key share, if all three equations are under one nonce pair: three unknowns, three equations.
fn extract([a, b, c]: [Equation; 3]) -> Option<[u8; 32]> {
    let (z1, z2) = (b.z - a.z, c.z - a.z);
    let (r1, r2) = (b.rho - a.rho, c.rho - a.rho);
    let (c1, c2) = ((b.c - a.c) * a.lambda, (c.c - a.c) * a.lambda);
    let det = F::invert(&(r1 * c2 - r2 * c1)).ok()?;
    Some(F::serialize(&((r1 * z2 - r2 * z1) * det)))
}

#[test]
fn three_published_shares_do_not_give_the_key_share_even_if_the_random_source_repeats_itself() {
    let mut cluster = Cluster::roomy(BACKEND);
    let equations = ["pay alice", "pay bob", "pay carol"].map(|content| {
        // As after a copy of the machine: the same bytes come out of its random source again.
        cluster.restart_with_the_same_randomness("n1");
        equation(&mut cluster, content.as_bytes(), &content.replace(' ', "-"))
    });
    let found = extract(equations).unwrap();
    let kept = secrets(&cluster, "n1");
    assert!(!kept.contains(&found), "the key share of n1 was computed from its signatures");
}

#[test]
fn receipt_of_a_run_that_performed_nothing_gives_no_permit_away() {
    let mut cluster = Cluster::roomy(BACKEND);
    let intent = cluster.sign_intent(b"content", "one");
    let opens = ["n1", "n2"].map(|node| cluster.open(node, &intent, Some(b"content"))).to_vec();
    let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
    let course = cluster.start(&proposal, plan, &BTreeMap::new());
    let minted = course.calls[&id("n1")][0].clone();
    let abort =
        KernelCall::Abort { execution_id: course.execution_id, code: ReasonCode::RemoteTimeout };
    let KernelReply::Aborted(Some(receipt)) = cluster.call("n1", abort) else { panic!() };
    // Permits are derived from the run's seed; whoever has the seed has them all.
    let shown = receipt.body.microtrace_root;
    let derived =
        Tagged::new(Domain::StepPermit).part(&shown.0).number(minted.step.into()).finish();
    assert_ne!(derived, minted.step_permit);
}

#[test]
fn no_reply_of_a_whole_life_and_no_refusal_shows_a_secret_of_any_vault() {
    for backend in [BACKEND, Backend::Dkls23Secp256k1] {
        whole_life_shows_no_secret(backend);
    }
}

fn whole_life_shows_no_secret(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let (intent, mut held) = {
        let intent = cluster.sign_intent(b"content", "one");
        let opens = ["n1", "n2"].map(|node| cluster.open(node, &intent, Some(b"content"))).to_vec();
        let (proposal, plan) = cluster.proposal(&intent, opens, backend);
        (intent, cluster.start(&proposal, plan, &BTreeMap::new()))
    };
    cluster.run_to_held(&mut held);
    let mut course = cluster.start_publication(&intent, &held, backend);
    cluster.grant_all(&intent, &mut course);
    let early = Cluster::step_call(&held, &id("n1"));
    cluster.refused("n1", early, ReasonCode::WrongPhase);
    let kept: Vec<_> = NODES.iter().flat_map(|node| secrets(&cluster, node)).collect();
    // Two keys each, a key share each, and the two shares held.
    assert_eq!(kept.len(), 3 * 3 + 2);
    for (node, reply) in &cluster.said {
        let text = format!("{reply:?}");
        let shown = shows(&kept, &codec::encode(reply)) || shows(&kept, text.as_bytes());
        assert!(!shown, "{node} said {text}");
    }
    // The search finds what it should: once opened, the share is there.
    let before = cluster.said.len();
    cluster.advance(&mut course, |_, course, node| Cluster::open_result_call(course, node));
    let opened = &cluster.said[before..];
    assert!(opened.iter().all(|(_, reply)| shows(&kept, &codec::encode(reply))));
}
