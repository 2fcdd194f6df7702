//! ECDSA by DKLS23 with a liar among the signers: a lie in every word of every round, whom it names, what it costs the
//! liar, and what is left to the others.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use dvm_blame::Roster;
use dvm_blame::ecdsa::{NonceCommitment, RunName};
use dvm_core::call::{KernelCall, LevelReply};
use dvm_core::codec::link_of;
use dvm_core::governance::EventKind;
use dvm_core::intent::{Act, Backend};
use dvm_core::run::Proposal;
use dvm_core::{KeyId, NodeId, ReasonCode};
use dvm_score::MicroOp;

use crate::harness::{Cluster, id};
use crate::liar::{Heard, LIAR, retold_inside, verdict};
use crate::messenger::{Course, level};

const BACKEND: Backend = Backend::Dkls23Secp256k1;
const CONTENT: &[u8] = b"content";

// Parts of the liar's words. Level 1, sealed:
const SETUP_DIGEST: Range<usize> = 0..32;
const PSI_COMMITMENT: Range<usize> = 32..64;
const EXTENSION_NONCE: Range<usize> = 64..96;
const EXTENSION_COLUMNS: Range<usize> = 96..96 + 256 * 78;
const EXTENSION_X: Range<usize> = EXTENSION_COLUMNS.end..EXTENSION_COLUMNS.end + 26;
const EXTENSION_T: Range<usize> = EXTENSION_X.end..EXTENSION_X.end + 256 * 26;
// Level 2, for all:
const NONCE_POINT: Range<usize> = 0..33;
const KEY_POINT: Range<usize> = 33..66;
const NONCE_SALT: Range<usize> = 66..98;
// Level 2, sealed:
const GAMMA_U: Range<usize> = 0..33;
const GAMMA_V: Range<usize> = 33..66;
const PSI: Range<usize> = 66..98;
const PSI_SALT: Range<usize> = 98..130;
const TAU: Range<usize> = 130..130 + 4 * 416 * 32;
const SALT: Range<usize> = TAU.end..TAU.end + 32;
const VERIFY_R: Range<usize> = SALT.end..SALT.end + 32;
const VERIFY_U: Range<usize> = VERIFY_R.end..VERIFY_R.end + 64;
const GAMMA: Range<usize> = VERIFY_U.end..VERIFY_U.end + 64;

/// A point of the curve that is nobody's: the generator.
const POINT: [u8; 33] = [
    2, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 7,
    2, 0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98,
];

/// What the liar makes of one of its words.
type Lie<'a> = (MicroOp, &'a dyn Fn(&mut Vec<u8>));

/// A cluster with an active key, made once and copied for every lie.
fn cluster() -> Cluster {
    thread_local! {
        static MADE: OnceCell<Cluster> = const { OnceCell::new() };
    }
    MADE.with(|made| made.get_or_init(|| Cluster::roomy(BACKEND)).again())
}

fn started(cluster: &mut Cluster, name: &str, by: [&str; 2]) -> Course {
    let intent = cluster.sign_intent(CONTENT, name);
    let opens = by.map(|node| cluster.open(node, &intent, Some(CONTENT))).to_vec();
    let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
    cluster.start(&proposal, plan, &BTreeMap::new())
}

/// What the liar's kernel said to n1 in the last level, with these lies in it.
fn told(course: &Course, lies: &[Lie<'_>]) -> Course {
    let mut told = course.clone();
    for frame in told.inbox.get_mut(&id::<NodeId>("n1")).into_iter().flatten() {
        *frame = retold_inside(course, frame, |op, said| {
            lies.iter().filter(|(of, _)| *of == op).for_each(|(_, lie)| lie(said));
        });
    }
    told
}

/// The level in which n1 ends this run with the liar, or the last one, and its word in it.
fn lied_to_in(cluster: &mut Cluster, mut course: Course, lies: &[Lie<'_>]) -> (u16, LevelReply) {
    loop {
        let call = Cluster::step_call(&told(&course, lies), &id("n1"));
        let reply = level(cluster.call("n1", call));
        course.level += 1;
        if verdict(&reply) != Heard::On || course.level == course.plan.levels() {
            return (course.level, reply);
        }
        // The liar's own kernel goes on with what n1 says.
        course.level -= 1;
        let liars = level(cluster.call(LIAR, Cluster::step_call(&course, &id(LIAR))));
        course.level += 1;
        course.inbox.clear();
        for (node, reply) in [("n1", reply), (LIAR, liars)] {
            for frame in &reply.frames {
                course.inbox.entry(frame.to.clone()).or_default().push(frame.clone());
            }
            course.calls.insert(id(node), reply.next.clone());
            course.replies.insert(id(node), reply);
        }
    }
}

fn lied_to(cluster: &mut Cluster, lies: &[Lie<'_>]) -> (u16, LevelReply) {
    let course = started(cluster, "one", ["n1", LIAR]);
    lied_to_in(cluster, course, lies)
}

fn named() -> Heard {
    Heard::Failed(ReasonCode::PayloadRejected, Some(id(LIAR)))
}

fn nobody() -> Heard {
    Heard::Failed(ReasonCode::PayloadRejected, None)
}

/// From an intent to a verified signature.
fn signs(cluster: &mut Cluster, name: &str, by: [&str; 2]) {
    let (intent, held) = cluster.held_signature(CONTENT, name, by, BACKEND);
    let mut publication = cluster.start_publication(&intent, &held, BACKEND);
    cluster.grant_all(&intent, &mut publication);
    for result in cluster.open_all(&mut publication) {
        assert!(cluster.verified(CONTENT, &result.body.result));
    }
}

/// What starts a run of these two.
fn start_of(cluster: &mut Cluster, name: &str, by: [&str; 2]) -> KernelCall {
    let intent = cluster.sign_intent(CONTENT, name);
    let opens = by.map(|node| cluster.open(node, &intent, Some(CONTENT))).to_vec();
    let (proposal, _): (Proposal, _) = cluster.proposal(&intent, opens, BACKEND);
    KernelCall::Start { proposal: Box::new(proposal), frames: Vec::new() }
}

#[test]
fn liar_that_tells_no_lie_is_taken_for_a_kernel() {
    let mut cluster = cluster();
    let (level, reply) = lied_to(&mut cluster, &[]);
    assert_eq!((level, verdict(&reply)), (3, Heard::On));
    assert_eq!(cluster.phases("n1"), ["Held"]);
}

#[test]
fn lie_in_any_word_of_any_round_names_the_liar_and_the_others_sign() {
    use MicroOp::{NonceCommit, NonceOpen, VoleRecv, VoleSend};
    let flipped: [(u16, MicroOp, Range<usize>); 15] = [
        (2, VoleRecv, EXTENSION_NONCE),
        (2, VoleRecv, EXTENSION_COLUMNS),
        (2, VoleRecv, EXTENSION_X),
        (2, VoleRecv, EXTENSION_T),
        (3, VoleRecv, PSI_COMMITMENT),
        (3, NonceCommit, 0..32),
        (3, NonceOpen, NONCE_SALT),
        (3, VoleSend, PSI),
        (3, VoleSend, PSI_SALT),
        (3, VoleSend, TAU),
        (3, VoleSend, SALT),
        (3, VoleSend, VERIFY_R),
        (3, VoleSend, VERIFY_U.start..VERIFY_U.start + 32),
        (3, VoleSend, GAMMA.start..GAMMA.start + 32),
        (3, VoleSend, GAMMA.start + 32..GAMMA.end),
    ];
    for (at, op, part) in flipped {
        let mut cluster = cluster();
        // The last byte: of a scalar, the one that leaves it a scalar.
        let (level, reply) = lied_to(&mut cluster, &[(op, &|said| said[part.end - 1] ^= 1)]);
        assert_eq!((level, verdict(&reply)), (at, named()), "{op:?} {part:?}");
        assert!(reply.frames.is_empty() && reply.header.is_none());
        let banned = start_of(&mut cluster, "two", ["n1", LIAR]);
        cluster.refused("n1", banned, ReasonCode::PartyBanned);
        signs(&mut cluster, "three", ["n1", "n3"]);
    }
}

#[test]
fn lie_in_any_item_of_a_batch_names_the_liar_ends_the_pair_and_leaves_nothing_in_the_stash() {
    let rounds = [
        (2, MicroOp::VoleRecv, EXTENSION_X),
        (3, MicroOp::NonceOpen, NONCE_SALT),
        (3, MicroOp::VoleSend, VERIFY_R),
    ];
    for (item, (noticed_in, op, part)) in rounds.into_iter().enumerate() {
        let mut cluster = cluster();
        let (key_id, signers) = (id("treasury"), vec![id("n1"), id(LIAR)]);
        let act = Act::PresignBatch { key_id, key_epoch: 1, path: Vec::new(), signers, count: 3 };
        let intent = cluster.intent(act, None, "batch");
        let opens = ["n1", LIAR].map(|node| cluster.open(node, &intent, None)).to_vec();
        let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
        let course = cluster.start(&proposal, plan, &BTreeMap::new());
        let told = Cell::new(0);
        let lie = |said: &mut Vec<u8>| {
            if told.replace(told.get() + 1) == item {
                said[part.start] ^= 1;
            }
        };
        let (level, reply) = lied_to_in(&mut cluster, course, &[(op, &lie)]);
        assert_eq!((level, verdict(&reply)), (noticed_in, named()), "{op:?}");
        assert_eq!((reply.stashed, reply.bans.len()), (None, 1));
        let kept = |kind: &str| cluster.records("n1", kind).len();
        assert_eq!((kept("pair-setup"), kept("ban")), (1, 1));
    }
}

#[test]
fn point_of_the_curve_that_is_not_the_liars_names_it() {
    use MicroOp::{NonceOpen, VoleSend};
    for (op, part) in
        [(NonceOpen, NONCE_POINT), (NonceOpen, KEY_POINT), (VoleSend, GAMMA_U), (VoleSend, GAMMA_V)]
    {
        let lie = |said: &mut Vec<u8>| said[part.clone()].copy_from_slice(&POINT);
        let (level, reply) = lied_to(&mut cluster(), &[(op, &lie)]);
        assert_eq!((level, verdict(&reply)), (3, named()), "{op:?} {part:?}");
    }
}

#[test]
fn word_of_another_length_or_of_no_meaning_names_its_sender() {
    use MicroOp::{NonceCommit, NonceOpen, VoleRecv, VoleSend};
    let changes: [fn(&mut Vec<u8>); 3] =
        [|said| said.truncate(said.len() - 1), Vec::clear, |said| said.fill(0xff)];
    for (at, op) in [(2, VoleRecv), (3, NonceOpen), (3, VoleSend), (2, NonceCommit)] {
        for (number, change) in changes.iter().enumerate() {
            let (level, reply) = lied_to(&mut cluster(), &[(op, change)]);
            // Any 32 bytes are a commitment, which is opened one level later; the digest of another set-up is no lie.
            let (level_of, end) = match (op, number) {
                (NonceCommit, 2) => (3, named()),
                (VoleRecv, 2) => (2, Heard::Failed(ReasonCode::SessionMismatch, None)),
                _ => (at, named()),
            };
            assert_eq!((level, verdict(&reply)), (level_of, end), "{op:?} {number}");
        }
    }
}

#[test]
fn nonce_that_was_not_multiplied_with_names_the_liar_though_it_opens_what_it_committed_to() {
    let mut cluster = cluster();
    let course = started(&mut cluster, "one", ["n1", LIAR]);
    let ready = cluster.state.key(&id("treasury")).unwrap().ready.clone();
    let signers = Roster::new(["n1", LIAR]).unwrap();
    let name = RunName {
        execution_id: &course.execution_id.0,
        key: &link_of(&ready).to_bytes(),
        table: &course.plan.backend,
        path: &[],
        public_key: ready.public_key.0.as_slice().try_into().unwrap(),
        signers: &signers,
    };
    let (run_sid, salt) = (name.sid(), [7; 32]);
    let com =
        NonceCommitment { run_sid: &run_sid, item: 0, node: LIAR, nonce: &POINT, salt: &salt };
    let com = com.hash();
    let opens = |said: &mut Vec<u8>| {
        said[NONCE_POINT].copy_from_slice(&POINT);
        said[NONCE_SALT].copy_from_slice(&salt);
    };
    let commits = |said: &mut Vec<u8>| said.copy_from_slice(&com);
    let lies: [Lie<'_>; 2] = [(MicroOp::NonceCommit, &commits), (MicroOp::NonceOpen, &opens)];
    let (level, reply) = lied_to_in(&mut cluster, course, &lies);
    assert_eq!((level, verdict(&reply)), (3, named()));
}

#[test]
fn other_set_up_ends_the_run_and_neither_names_nor_bans_nor_counts() {
    let mut cluster = cluster();
    for name in ["one", "two", "three"] {
        let course = started(&mut cluster, name, ["n1", LIAR]);
        let stale = |said: &mut Vec<u8>| said[SETUP_DIGEST].fill(1);
        let (level, reply) = lied_to_in(&mut cluster, course, &[(MicroOp::VoleRecv, &stale)]);
        let ended = Heard::Failed(ReasonCode::SessionMismatch, None);
        assert_eq!((level, verdict(&reply)), (2, ended));
        assert!(reply.bans.is_empty());
    }
    // The floor's count of failures is two: had one of them counted, or suspended the signers, they could not.
    signs(&mut cluster, "four", ["n1", LIAR]);
}

#[test]
fn ban_ends_the_pair_for_good_also_over_a_restart_and_after_governors_lift_it() {
    let mut cluster = cluster();
    assert_eq!(cluster.records("n1", "pair-setup").len(), 2);
    let (_, reply) =
        lied_to(&mut cluster, &[(MicroOp::VoleRecv, &|said| said[EXTENSION_X.start] ^= 1)]);
    assert_eq!(verdict(&reply), named());
    let [ban] = reply.bans.as_slice() else { panic!("one ban") };
    assert_eq!((&ban.body.culprit, ban.body.level), (&id(LIAR), 2));
    for _ in 0..2 {
        assert_eq!(cluster.records("n1", "pair-setup").len(), 1);
        assert_eq!(cluster.records("n1", "ban").len(), 1);
        let banned = start_of(&mut cluster, "two", ["n1", LIAR]);
        cluster.refused("n1", banned, ReasonCode::PartyBanned);
        cluster.restart("n1");
    }
    unban(&mut cluster);
    let unset = start_of(&mut cluster, "two", ["n1", LIAR]);
    cluster.refused("n1", unset, ReasonCode::PartyBanned);
    signs(&mut cluster, "three", ["n1", "n3"]);
    // The liar's pair with n3 is n3's to judge.
    signs(&mut cluster, "four", [LIAR, "n3"]);
}

#[test]
fn kernel_that_dies_in_the_commit_of_a_ban_has_banned_and_ended_the_pair_or_done_neither() {
    const FILES: [&str; 2] = ["vault.db", "vault.db-wal"];
    let mut cluster = cluster();
    let mut course = started(&mut cluster, "one", ["n1", LIAR]);
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    let flip = |said: &mut Vec<u8>| said[EXTENSION_X.start] ^= 1;
    let call = Cluster::step_call(&told(&course, &[(MicroOp::VoleRecv, &flip)]), &id("n1"));
    let dir = cluster.vault_dir("n1");
    let written = || FILES.map(|file| std::fs::read(dir.join(file)).unwrap());
    let [_, before] = written();
    assert_eq!(verdict(&level(cluster.call("n1", call))), named());
    let [whole, after] = written();
    let differs = before.iter().zip(&after).position(|(a, b)| a != b).unwrap_or(before.len());
    let mut seen = BTreeSet::new();
    for part in 0..=16 {
        cluster.halt("n1");
        let cut = differs + (after.len() - differs) * part / 16;
        std::fs::write(dir.join(FILES[0]), &whole).unwrap();
        std::fs::write(dir.join(FILES[1]), &after[..cut]).unwrap();
        // Unseen by the others: to them, each of these but one would be a restored vault.
        cluster.reboot("n1");
        let kept = |kind: &str| cluster.records("n1", kind).len();
        seen.insert((kept("pair-setup"), kept("ban")));
    }
    assert_eq!(seen, BTreeSet::from([(2, 0), (1, 1)]));
    cluster.restart("n1");
    let banned = start_of(&mut cluster, "two", ["n1", LIAR]);
    cluster.refused("n1", banned, ReasonCode::PartyBanned);
}

#[test]
fn run_under_way_with_the_banned_liar_ends_and_its_held_result_is_published() {
    let mut cluster = cluster();
    let (intent, held) = cluster.held_signature(CONTENT, "held", ["n1", LIAR], BACKEND);
    let mut running = started(&mut cluster, "running", ["n1", LIAR]);
    cluster.advance(&mut running, |_, course, node| Cluster::step_call(course, node));
    let (_, reply) = lied_to(&mut cluster, &[(MicroOp::VoleSend, &|said| said[TAU.end - 1] ^= 1)]);
    assert_eq!(verdict(&reply), named());
    let reply = level(cluster.call("n1", Cluster::step_call(&running, &id("n1"))));
    assert_eq!(verdict(&reply), Heard::Failed(ReasonCode::PartyBanned, None));
    assert_eq!(reply.receipt.unwrap().body.aborted, Some(ReasonCode::PartyBanned));
    let mut publication = cluster.start_publication(&intent, &held, BACKEND);
    cluster.grant_all(&intent, &mut publication);
    assert_eq!(cluster.open_all(&mut publication).len(), 2);
}

#[test]
fn run_under_way_does_not_go_on_with_the_ended_pair_once_governors_lifted_the_ban() {
    let mut cluster = cluster();
    let mut running = started(&mut cluster, "running", ["n1", LIAR]);
    let mut with_another = started(&mut cluster, "with-another", ["n1", "n3"]);
    let step = |_: &Cluster, course: &Course, node: &NodeId| Cluster::step_call(course, node);
    cluster.advance(&mut running, step);
    cluster.advance(&mut with_another, step);
    let flip = |said: &mut Vec<u8>| said[EXTENSION_X.start] ^= 1;
    let (_, reply) = lied_to(&mut cluster, &[(MicroOp::VoleRecv, &flip)]);
    assert_eq!(verdict(&reply), named());
    unban(&mut cluster);
    let reply = level(cluster.call("n1", Cluster::step_call(&running, &id("n1"))));
    assert_eq!(verdict(&reply), Heard::Failed(ReasonCode::PartyBanned, None));
    assert!(reply.frames.is_empty() && reply.bans.is_empty());
    cluster.advance(&mut with_another, step);
    cluster.advance(&mut with_another, step);
    assert!(cluster.phases("n1").iter().any(|phase| phase == "Held"));
}

fn unban(cluster: &mut Cluster) {
    let key_id = id::<KeyId>("treasury");
    cluster.govern(EventKind::PairUnbanned { key_id, node: id(LIAR) }, None);
}

#[test]
fn key_is_frozen_for_all_at_the_floors_count_of_failures_and_not_before() {
    // The floor's count is two; either pair of n1's can be the one that fails.
    let mut cluster = cluster();
    for (name, other) in [("one", LIAR), ("two", "n3")] {
        let reply = opens_a_lie_of(&mut cluster, (name, other), &|share| share[63] ^= 1);
        assert_eq!((verdict(&reply), reply.bans.len()), (nobody(), 0));
    }
    let intent = cluster.sign_intent(CONTENT, "three");
    let call = cluster.open_call("n1", &intent, Some(CONTENT));
    cluster.refused("n1", call.clone(), ReasonCode::KeyFrozen);
    cluster.restart("n1");
    cluster.refused("n1", call, ReasonCode::KeyFrozen);
    let key_id: KeyId = id("treasury");
    cluster.govern(EventKind::KeyUnfrozen { key_id }, None);
    signs(&mut cluster, "four", ["n1", "n3"]);
}

/// A publication of n1 and another up to the level in which shares are out.
fn opened(cluster: &mut Cluster, name: &str, other: &str) -> Course {
    let (intent, held) = cluster.held_signature(CONTENT, name, ["n1", other], BACKEND);
    let mut publication = cluster.start_publication(&intent, &held, BACKEND);
    cluster.grant_all(&intent, &mut publication);
    cluster.advance(&mut publication, |_, course, node| Cluster::open_result_call(course, node));
    publication
}

/// n1's word on the share that another opens.
fn opens_a_lie_of(
    cluster: &mut Cluster,
    (name, liar): (&str, &str),
    lie: &dyn Fn(&mut Vec<u8>),
) -> LevelReply {
    let publication = opened(cluster, name, liar);
    let told = told(&publication, &[(MicroOp::OpenShare, lie)]);
    level(cluster.call("n1", Cluster::open_result_call(&told, &id("n1"))))
}

#[test]
fn wrong_share_names_nobody_keeps_its_signers_apart_and_the_others_sign() {
    let mut cluster = cluster();
    let reply = opens_a_lie_of(&mut cluster, ("one", LIAR), &|share| share[63] ^= 1);
    assert_eq!((verdict(&reply), &reply.published), (nobody(), &None));
    assert!(reply.bans.is_empty());
    for _ in 0..2 {
        let same = start_of(&mut cluster, "two", ["n1", LIAR]);
        cluster.refused("n1", same, ReasonCode::KeyFrozen);
        cluster.restart("n1");
    }
    signs(&mut cluster, "three", ["n1", "n3"]);
    let key_id: KeyId = id("treasury");
    cluster.govern(EventKind::KeyUnfrozen { key_id }, None);
    signs(&mut cluster, "four", ["n1", LIAR]);
}

#[test]
fn share_that_is_no_pair_of_scalars_bans_its_sender() {
    let lies: [fn(&mut Vec<u8>); 4] = [
        |share| share.truncate(63),
        |share| share.push(0),
        |share| share[..32].fill(0xff),
        |share| share[32..].fill(0xff),
    ];
    for lie in lies {
        let mut cluster = cluster();
        let reply = opens_a_lie_of(&mut cluster, ("one", LIAR), &lie);
        assert_eq!((verdict(&reply), reply.bans.len()), (named(), 1));
        let banned = start_of(&mut cluster, "two", ["n1", LIAR]);
        cluster.refused("n1", banned, ReasonCode::PartyBanned);
        assert_eq!(cluster.records("n1", "pair-setup").len(), 1);
    }
}

#[test]
fn frames_of_another_attempt_are_refused_ban_nobody_and_the_attempt_ends_well() {
    let mut cluster = cluster();
    let mut first = started(&mut cluster, "one", ["n1", LIAR]);
    let step = |_: &Cluster, course: &Course, node: &NodeId| Cluster::step_call(course, node);
    cluster.advance(&mut first, step);
    let mut second = started(&mut cluster, "one", ["n1", LIAR]);
    cluster.advance(&mut second, step);
    let mut stale = second.clone();
    stale.inbox.clone_from(&first.inbox);
    cluster.refused("n1", Cluster::step_call(&stale, &id("n1")), ReasonCode::SessionMismatch);
    cluster.run_to_held(&mut second);
    assert_eq!(cluster.phases("n1"), ["Held"]);
}
