//! Batches of one-time material, the stash that they fill, and what takes a piece out of it: the same claims for every
//! backend, and those that ECDSA's scaled presignatures have beside.

use std::collections::BTreeMap;

use dvm_act::evm::{Transaction, address_of};
use dvm_core::call::{KernelCall, KernelReply, LevelReply, StashedBatch};
use dvm_core::governance::EventKind;
use dvm_core::intent::{Act, ActClass, Backend, CanonicalIntent, Scheme};
use dvm_core::run::{Material, Proposal};
use dvm_core::trace::Outcome;
use dvm_core::{Address20, B32, Link, ReasonCode};
use dvm_score::{MicroOp, Plan};

use crate::harness::{Cluster, floor_of, id};
use crate::messenger::{Course, level, refusal, retold};

const PAIR: [&str; 2] = ["n1", "n2"];

for_every_backend!(
    batch_of_any_size_takes_the_frames_of_one_and_every_piece_signs_in_one_level
    piece_is_taken_once_whatever_became_of_the_run_that_took_it
    piece_named_for_another_use_is_spent_and_its_neighbours_are_not
    unknown_piece_is_refused_and_changes_nothing
    piece_never_signs_a_digest
    material_dies_with_any_signers_kernel
    material_dies_with_the_keys_authority_and_with_its_age
    material_of_signers_that_failed_together_is_gone_and_that_of_others_is_not
    marker_of_a_piece_is_durable_with_the_word_that_takes_it
    batch_needs_nobodys_approval
    no_more_than_four_batches_are_made_at_once
);

/// What is signed: a transaction for an ECDSA key, which signs no message, and the text of its own for the others.
fn content(cluster: &Cluster, number: u8) -> Vec<u8> {
    match cluster.backend.scheme() {
        Scheme::Schnorr => vec![b'a', number],
        Scheme::Ecdsa => {
            let rest = "8504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080018080";
            [&[0xec, number + 1][..], &hex::decode(rest).unwrap()].concat()
        }
    }
}

fn account(cluster: &Cluster, path: &[u32]) -> Address20 {
    let ready = &cluster.state.key(&id("treasury")).unwrap().ready;
    let code = ready.chain_code.unwrap();
    let key = dvm_blame::bip32::derive(&ready.public_key, &code.0, path).unwrap();
    Address20(address_of(key.public_key()).unwrap())
}

/// A signature that material may serve, with what it is over.
fn asked(cluster: &Cluster, number: u8, path: &[u32]) -> (CanonicalIntent, Vec<u8>) {
    let (content, key_id, key_epoch) = (content(cluster, number), id("treasury"), 1);
    let (link, len) = (Link::of_raw(&content), content.len() as u64);
    let act = match cluster.backend.scheme() {
        Scheme::Schnorr => Act::SignMessage { key_id, key_epoch, message: link, len },
        Scheme::Ecdsa => {
            let (path, from) = (path.to_vec(), account(cluster, path));
            Act::SignEvmTransaction { key_id, key_epoch, path, from, transaction: link, len }
        }
    };
    (cluster.intent(act, Some(&content), &format!("sign-{number}")), content)
}

fn batch_intent(cluster: &Cluster, name: &str, by: [&str; 2], count: u16) -> CanonicalIntent {
    let (key_id, key_epoch, path) = (id("treasury"), 1, Vec::new());
    let signers = by.map(id).to_vec();
    let act = Act::PresignBatch { key_id, key_epoch, path, signers, count };
    cluster.intent(act, None, name)
}

fn batch_started(cluster: &mut Cluster, name: &str, by: [&str; 2], count: u16) -> Course {
    let intent = batch_intent(cluster, name, by, count);
    let opens = by.map(|node| cluster.open(node, &intent, None)).to_vec();
    let (proposal, plan) = cluster.proposal(&intent, opens, cluster.backend);
    cluster.start(&proposal, plan, &BTreeMap::new())
}

/// A batch in the stash of both: its name and the course that made it.
fn batch(cluster: &mut Cluster, name: &str, by: [&str; 2], count: u16) -> (B32, Course) {
    let mut course = batch_started(cluster, name, by, count);
    cluster.run_to_held(&mut course);
    let of = |reply: &LevelReply| reply.stashed.unwrap();
    let stashed = of(&course.replies[&id(by[0])]);
    assert_eq!(stashed, of(&course.replies[&id(by[1])]));
    assert_eq!(stashed.count, count.into());
    (stashed.batch, course)
}

fn at_hand(cluster: &mut Cluster, node: &str) -> Vec<StashedBatch> {
    match cluster.call(node, KernelCall::Status) {
        KernelReply::Status { stash, .. } => stash,
        other => panic!("no status: {other:?}"),
    }
}

/// Places of a batch that a kernel has left.
fn free(cluster: &mut Cluster, node: &str, batch: B32) -> Vec<u32> {
    let stash = at_hand(cluster, node);
    stash.into_iter().find(|b| b.batch == batch).map_or(Vec::new(), |b| b.free)
}

/// A proposal to sign with a piece.
fn spending(
    cluster: &mut Cluster,
    (intent, content): &(CanonicalIntent, Vec<u8>),
    (by, material): ([&str; 2], Material),
) -> (Proposal, Plan) {
    let opens = by.map(|node| cluster.open(node, intent, Some(content))).to_vec();
    cluster.proposal_with(intent, opens, (cluster.backend, Some(material)))
}

fn start_call(proposal: &Proposal) -> KernelCall {
    KernelCall::Start { proposal: Box::new(proposal.clone()), frames: Vec::new() }
}

/// A run of this signature that took a piece, held.
fn held_with(cluster: &mut Cluster, number: u8, material: Material) -> (CanonicalIntent, Course) {
    let asked = asked(cluster, number, &[]);
    let (proposal, plan) = spending(cluster, &asked, (PAIR, material));
    let mut course = cluster.start(&proposal, plan, &BTreeMap::new());
    cluster.run_to_held(&mut course);
    (asked.0, course)
}

/// Publishes what is held: every result verifies.
fn published(cluster: &mut Cluster, number: u8, (intent, held): &(CanonicalIntent, Course)) {
    let mut publication = cluster.start_publication(intent, held, cluster.backend);
    cluster.grant_all(intent, &mut publication);
    let material = held.header.kind.material();
    for reply in publication.replies.values() {
        assert_eq!(reply.publication.as_ref().unwrap().body.facts.material, material);
    }
    let signed = content(cluster, number);
    for result in cluster.open_all(&mut publication) {
        let signature = &result.body.result;
        match cluster.backend.scheme() {
            Scheme::Schnorr => assert!(cluster.verified(&signed, signature)),
            Scheme::Ecdsa => {
                let transaction = Transaction::parse(&signed).unwrap();
                let from = account(cluster, &[]);
                let signature = signature.0.as_slice().try_into().unwrap();
                assert!(transaction.signed(&from.0, signature).is_ok());
            }
        }
    }
}

/// That nobody starts a run with this piece any more, and nothing changes when one tries.
fn gone(cluster: &mut Cluster, number: u8, material: Material) {
    let asked = asked(cluster, number, &[]);
    let (proposal, _) = spending(cluster, &asked, (PAIR, material));
    for node in PAIR {
        cluster.refused(node, start_call(&proposal), ReasonCode::MaterialPoisoned);
    }
}

fn batch_of_any_size_takes_the_frames_of_one_and_every_piece_signs_in_one_level(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let (_, one) = batch(&mut cluster, "one", PAIR, 1);
    let (name, many) = batch(&mut cluster, "many", PAIR, 32);
    assert_eq!(one.plan.levels(), many.plan.levels());
    for index in [0, 7, 31] {
        let (number, material) = (index as u8, Material { batch: name, index });
        let held = held_with(&mut cluster, number, material);
        assert_eq!(held.1.plan.levels(), 1);
        published(&mut cluster, number, &held);
    }
    let left: Vec<u32> = (0..32).filter(|place| ![0, 7, 31].contains(place)).collect();
    for node in PAIR {
        assert_eq!(free(&mut cluster, node, name), left);
    }
    assert_eq!(at_hand(&mut cluster, "n3"), []);
}

fn piece_is_taken_once_whatever_became_of_the_run_that_took_it(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let (name, _) = batch(&mut cluster, "batch", PAIR, 3);
    let material = |index| Material { batch: name, index };
    // Signed and published.
    let held = held_with(&mut cluster, 1, material(0));
    published(&mut cluster, 1, &held);
    gone(&mut cluster, 2, material(0));
    // Held, and destroyed for a later try.
    held_with(&mut cluster, 3, material(1));
    gone(&mut cluster, 3, material(1));
    // Started, and given up before a word of it.
    let asked = asked(&cluster, 4, &[]);
    let (proposal, plan) = spending(&mut cluster, &asked, (PAIR, material(2)));
    let course = cluster.start(&proposal, plan, &BTreeMap::new());
    for node in PAIR {
        let (execution_id, code) = (course.execution_id, ReasonCode::RemoteTimeout);
        cluster.call(node, KernelCall::Abort { execution_id, code });
    }
    gone(&mut cluster, 4, material(2));
    assert_eq!(at_hand(&mut cluster, "n1"), []);
}

fn piece_named_for_another_use_is_spent_and_its_neighbours_are_not(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let (name, _) = batch(&mut cluster, "batch", PAIR, 3);
    let material = |index| Material { batch: name, index };
    let mut misnamed = vec![(asked(&cluster, 1, &[]), ["n1", "n3"], 0)];
    if backend.scheme() == Scheme::Ecdsa {
        misnamed.push((asked(&cluster, 2, &[7]), PAIR, 1));
    }
    for (asked, by, index) in misnamed {
        let (proposal, _) = spending(&mut cluster, &asked, (by, material(index)));
        let reply = cluster.call("n1", start_call(&proposal));
        assert_eq!(refusal(&reply).0, ReasonCode::BindingMismatch);
        assert!(!free(&mut cluster, "n1", name).contains(&index));
        cluster.refused("n1", start_call(&proposal), ReasonCode::MaterialPoisoned);
    }
    let held = held_with(&mut cluster, 3, material(2));
    published(&mut cluster, 3, &held);
}

fn unknown_piece_is_refused_and_changes_nothing(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let (name, _) = batch(&mut cluster, "batch", PAIR, 2);
    let others = [(B32([9; 32]), 0), (name, 2), (name, u32::MAX)];
    for (number, (batch, index)) in (0..).zip(others) {
        gone(&mut cluster, number, Material { batch, index });
    }
    assert_eq!(free(&mut cluster, "n1", name), [0, 1]);
}

fn piece_never_signs_a_digest(backend: Backend) {
    let mut acts = floor_of(backend).acts;
    acts.extend([ActClass::SignDigest]);
    acts.sort();
    acts.dedup();
    let floor =
        dvm_core::authority::Floor { acts, executions_per_hour: 1_000, ..floor_of(backend) };
    let mut cluster = Cluster::active_under(backend, floor).0;
    let (name, _) = batch(&mut cluster, "batch", PAIR, 2);
    let act = Act::SignDigest { key_id: id("treasury"), key_epoch: 1, digest: B32([3; 32]) };
    let intent = cluster.intent(act, None, "digest");
    let opens = PAIR.map(|node| cluster.open(node, &intent, None)).to_vec();
    let (mut proposal, plan) = cluster.proposal(&intent, opens, backend);
    let without = proposal.clone();
    let named = Some(Material { batch: name, index: 0 });
    if let dvm_core::run::RunKind::Act { material, .. } = &mut proposal.header.kind {
        *material = named;
    }
    let (run, participants) = (dvm_score::Run::Act(named), &proposal.header.participants);
    if let Ok(compiled) = dvm_score::compile(&intent.act, run, backend, participants) {
        proposal.header.plan_id = compiled.plan_id();
    }
    // No plan takes material for a digest; whoever asked for one has spent the piece.
    let reply = cluster.call("n1", start_call(&proposal));
    assert_eq!(refusal(&reply).0, ReasonCode::PayloadRejected);
    assert_eq!(free(&mut cluster, "n1", name), [1]);
    let mut course = cluster.start(&without, plan, &BTreeMap::new());
    cluster.run_to_held(&mut course);
    assert_eq!(free(&mut cluster, "n1", name), [1]);
}

fn material_dies_with_any_signers_kernel(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let (name, _) = batch(&mut cluster, "batch", PAIR, 2);
    // Nobody told n1 that n2's kernel is another one now; n2's opening does.
    cluster.reboot("n2");
    assert_eq!(at_hand(&mut cluster, "n2"), []);
    let asked = asked(&cluster, 1, &[]);
    let material = |index| Material { batch: name, index };
    let (proposal, _) = spending(&mut cluster, &asked, (PAIR, material(0)));
    cluster.refused("n2", start_call(&proposal), ReasonCode::MaterialPoisoned);
    let reply = cluster.call("n1", start_call(&proposal));
    assert_eq!(refusal(&reply).0, ReasonCode::BindingMismatch);
    assert_eq!(free(&mut cluster, "n1", name), [1]);
    // Once it is told, it keeps nothing that the other has forgotten.
    cluster.restart("n2");
    assert_eq!(at_hand(&mut cluster, "n1"), []);
    gone(&mut cluster, 2, material(1));
    let (name, _) = batch(&mut cluster, "again", PAIR, 1);
    let held = held_with(&mut cluster, 3, Material { batch: name, index: 0 });
    published(&mut cluster, 3, &held);
}

fn material_dies_with_the_keys_authority_and_with_its_age(backend: Backend) {
    const AGE_MS: u64 = 600_000;
    let mut cluster = Cluster::roomy(backend);
    let (name, _) = batch(&mut cluster, "batch", PAIR, 1);
    let key_id = || id("treasury");
    cluster.govern(EventKind::KeySuspended { key_id: key_id() }, None);
    for node in PAIR {
        assert_eq!(at_hand(&mut cluster, node), []);
    }
    cluster.govern(EventKind::KeyResumed { key_id: key_id() }, None);
    gone(&mut cluster, 1, Material { batch: name, index: 0 });
    let (name, _) = batch(&mut cluster, "again", PAIR, 2);
    cluster.pass_ms(AGE_MS);
    assert_eq!(free(&mut cluster, "n1", name), [0, 1]);
    cluster.pass_ms(1);
    gone(&mut cluster, 2, Material { batch: name, index: 0 });
    assert_eq!(at_hand(&mut cluster, "n1"), []);
}

/// n1 hears a wrong share of n2's, which bans n2 or keeps the two apart.
fn fails_together(cluster: &mut Cluster) {
    let backend = cluster.backend;
    let (intent, held) = cluster.held_signature(b"content", "wrong", PAIR, backend);
    let mut publication = cluster.start_publication(&intent, &held, backend);
    cluster.grant_all(&intent, &mut publication);
    cluster.advance(&mut publication, |_, course, node| Cluster::open_result_call(course, node));
    let frame = &mut publication.inbox.get_mut(&id("n1")).unwrap()[0];
    *frame = retold(frame, |_, share| share[16] ^= 1);
    let reply = level(cluster.call("n1", Cluster::open_result_call(&publication, &id("n1"))));
    assert!(matches!(reply.results.last().unwrap().outcome, Outcome::Fault { .. }));
}

fn material_of_signers_that_failed_together_is_gone_and_that_of_others_is_not(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let (with_n2, _) = batch(&mut cluster, "one", PAIR, 2);
    let (with_n3, _) = batch(&mut cluster, "two", ["n1", "n3"], 2);
    fails_together(&mut cluster);
    assert_eq!(free(&mut cluster, "n1", with_n2), []);
    assert_eq!(free(&mut cluster, "n1", with_n3), [0, 1]);
    assert_eq!(at_hand(&mut cluster, "n3").len(), 1);
}

/// Markers of material in a node's vault.
fn markers(cluster: &Cluster, node: &str) -> Vec<Vec<u8>> {
    let records = cluster.records(node, "consumed").into_iter();
    records.map(|r| r.id).filter(|id| id.starts_with(b"material/")).collect()
}

fn marker_of_a_piece_is_durable_with_the_word_that_takes_it(backend: Backend) {
    const FILES: [&str; 2] = ["vault.db", "vault.db-wal"];
    let mut cluster = Cluster::roomy(backend);
    let (name, _) = batch(&mut cluster, "batch", PAIR, 2);
    let asked = asked(&cluster, 1, &[]);
    let (proposal, plan) =
        spending(&mut cluster, &asked, (PAIR, Material { batch: name, index: 1 }));
    let course = cluster.start(&proposal, plan, &BTreeMap::new());
    // A start says nothing to anybody, and the piece is gone with the process.
    assert!(markers(&cluster, "n1").is_empty());
    let dir = cluster.vault_dir("n1");
    let written = || FILES.map(|file| std::fs::read(dir.join(file)).unwrap());
    let [_, before] = written();
    assert!(level(cluster.call("n1", Cluster::step_call(&course, &id("n1")))).header.is_some());
    let marker = [b"material/".as_slice(), &name.0, &1_u32.to_be_bytes()].concat();
    assert_eq!(markers(&cluster, "n1"), [marker]);
    // The kernel dies anywhere in the commit: the level with its marker is there, or neither.
    let [whole, after] = written();
    let differs = before.iter().zip(&after).position(|(a, b)| a != b).unwrap_or(before.len());
    let mut seen = std::collections::BTreeSet::new();
    for part in 0..=8 {
        cluster.halt("n1");
        let cut = differs + (after.len() - differs) * part / 8;
        std::fs::write(dir.join(FILES[0]), &whole).unwrap();
        std::fs::write(dir.join(FILES[1]), &after[..cut]).unwrap();
        cluster.reboot("n1");
        seen.insert((markers(&cluster, "n1").len(), cluster.phases("n1").len()));
        assert_eq!(at_hand(&mut cluster, "n1"), []);
    }
    assert_eq!(seen, [(0, 0), (1, 1)].into());
}

fn batch_needs_nobodys_approval(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let intent = batch_intent(&cluster, "batch", PAIR, 1);
    let unapproved = |call| match call {
        KernelCall::Open { intent, content, admission, .. } => {
            KernelCall::Open { intent, content, admission, approvals: Vec::new() }
        }
        other => other,
    };
    let open = unapproved(cluster.open_call("n1", &intent, None));
    assert!(matches!(cluster.call("n1", open), KernelReply::Opened(_)));
    // What spends it does.
    let (intent, content) = asked(&cluster, 1, &[]);
    let open = unapproved(cluster.open_call("n1", &intent, Some(&content)));
    cluster.refused("n1", open, ReasonCode::ApprovalsMissing);
}

#[test]
fn batch_is_refused_under_a_floor_that_does_not_name_its_class() {
    let backend = Backend::FrostEd25519;
    let mut floor = floor_of(backend);
    floor.acts.retain(|class| *class != ActClass::PresignBatch);
    let mut cluster = Cluster::active_under(backend, floor).0;
    let intent = batch_intent(&cluster, "batch", PAIR, 1);
    let open = cluster.open_call("n1", &intent, None);
    cluster.refused("n1", open, ReasonCode::PolicyDenied);
}

fn no_more_than_four_batches_are_made_at_once(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let first = batch_started(&mut cluster, "one", PAIR, 1);
    for name in ["two", "three", "four"] {
        batch_started(&mut cluster, name, PAIR, 1);
    }
    let intent = batch_intent(&cluster, "five", PAIR, 1);
    let opens = PAIR.map(|node| cluster.open(node, &intent, None)).to_vec();
    let (proposal, plan) = cluster.proposal(&intent, opens, backend);
    for node in PAIR {
        cluster.refused(node, start_call(&proposal), ReasonCode::ResourceLimit);
        let (execution_id, code) = (first.execution_id, ReasonCode::RemoteTimeout);
        cluster.call(node, KernelCall::Abort { execution_id, code });
    }
    cluster.start(&proposal, plan, &BTreeMap::new());
}

#[test]
fn signers_with_other_material_have_another_name_for_it() {
    let mut cluster = Cluster::roomy(Backend::FrostEd25519);
    let mut course = batch_started(&mut cluster, "batch", PAIR, 1);
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    let other = batch(&mut cluster, "other", PAIR, 1).1;
    // Another commitment of n2's, which n1 has no way to tell from the one that n2 told itself.
    let theirs = level_one(&cluster, &other);
    let frame = &mut course.inbox.get_mut(&id("n1")).unwrap()[0];
    *frame = retold(frame, |_, said| *said = theirs.clone());
    let names = PAIR.map(|node| {
        let reply = level(cluster.call(node, Cluster::step_call(&course, &id(node))));
        reply.stashed.unwrap().batch
    });
    assert_ne!(names[0], names[1]);
    let asked = asked(&cluster, 1, &[]);
    let material = Material { batch: names[0], index: 0 };
    let (proposal, _) = spending(&mut cluster, &asked, (PAIR, material));
    assert!(matches!(cluster.call("n1", start_call(&proposal)), KernelReply::Started { .. }));
    cluster.refused("n2", start_call(&proposal), ReasonCode::MaterialPoisoned);
}

#[test]
fn malformed_commitment_in_any_item_of_a_batch_names_its_sender_and_there_is_no_batch() {
    for item in [0, 3] {
        let mut cluster = Cluster::roomy(Backend::FrostEd25519);
        let mut course = batch_started(&mut cluster, "batch", PAIR, 4);
        cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
        let commits = course.plan.steps.iter().filter(|step| step.op == MicroOp::NonceCommit);
        let step = commits.map(|step| step.index).nth(item).unwrap();
        let frame = &mut course.inbox.get_mut(&id("n1")).unwrap()[0];
        *frame = retold(frame, |of, said| {
            if of == step {
                said.fill(0xff);
            }
        });
        let reply = level(cluster.call("n1", Cluster::step_call(&course, &id("n1"))));
        let blamed = Outcome::Fault { code: ReasonCode::PayloadRejected, blame: Some(id("n2")) };
        assert_eq!(reply.results.last().unwrap().outcome, blamed);
        assert_eq!((reply.stashed, reply.bans.len()), (None, 1));
        assert_eq!(at_hand(&mut cluster, "n1"), []);
    }
}

/// What n2 said to all in level 1 of a run.
fn level_one(cluster: &Cluster, course: &Course) -> Vec<u8> {
    let of_run = cluster.said.iter().find_map(|(node, reply)| match reply {
        KernelReply::Level(reply) if *node == id("n2") => {
            let header = reply.header.as_ref()?;
            let first = (header.body.execution_id, header.body.level) == (course.execution_id, 1);
            first.then(|| reply.frames[0].broadcast.payloads[0].0.clone())
        }
        _ => None,
    });
    of_run.unwrap()
}

#[test]
fn nonce_of_a_signature_with_a_triple_is_known_to_nobody_before_its_message() {
    let mut cluster = Cluster::roomy(Backend::Dkls23Secp256k1);
    let (name, made) = batch(&mut cluster, "batch", PAIR, 2);
    // R of every piece was shown when it was made: whoever waits has minutes to look for a message that suits it.
    let reply = made.replies.values().next().unwrap();
    let mut shown: Vec<Vec<u8>> = Vec::new();
    for result in &reply.results {
        if let Outcome::Ok { public: Some(public), .. } = &result.outcome {
            shown.push(public.0.clone());
        }
    }
    assert_eq!(shown.len(), 2);
    let mut used = Vec::new();
    for (number, index) in [(1, 0), (2, 1)] {
        let (intent, held) = held_with(&mut cluster, number, Material { batch: name, index });
        let mut publication = cluster.start_publication(&intent, &held, cluster.backend);
        cluster.grant_all(&intent, &mut publication);
        let grant = publication.replies.values().next().unwrap().publication.clone().unwrap();
        used.push(grant.body.facts.public_nonce.0);
    }
    assert!(used.iter().all(|nonce| !shown.contains(nonce)));
    assert_ne!(used[0], used[1]);
}

#[test]
fn random_source_that_repeats_itself_repeats_no_nonce_of_a_batch() {
    let backend = Backend::FrostEd25519;
    let mut cluster = Cluster::roomy(backend);
    let mut commitments = Vec::new();
    for name in ["one", "two"] {
        cluster.restart_with_the_same_randomness("n1");
        let mut course = batch_started(&mut cluster, name, PAIR, 4);
        cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
        let reply = &course.replies[&id("n1")];
        commitments.extend(reply.frames[0].broadcast.payloads.iter().map(|p| p.0.clone()));
        cluster.run_to_held(&mut course);
    }
    let distinct: std::collections::BTreeSet<_> = commitments.iter().collect();
    assert_eq!((commitments.len(), distinct.len()), (8, 8));
}
