//! Hand-made captures, good and bad: a checker that cannot complain proves nothing.

use dvm_core::bytes::Bytes;
use dvm_core::call::{Attestation, Layers};
use dvm_core::frame::{OutTree, Outgoing};
use dvm_core::governance::HeadRef;
use dvm_core::intent::Scope;
use dvm_core::receipt::ResultFacts;
use dvm_core::run::{RunHeader, RunKind};
use ed25519_dalek::SigningKey;

use super::*;

/// Two kernels that say what a test wants, each signed with its real key.
struct Story {
    checker: Checker,
    seq: u64,
}

fn node(at: u8) -> NodeId {
    format!("n{at}").parse().unwrap()
}

fn key(at: u8) -> SigningKey {
    SigningKey::from_bytes(&[at; 32])
}

fn link(of: &[u8]) -> Link {
    Link::of_raw(of)
}

fn boot(at: u8) -> Boot {
    Boot { generation: 1, id: B32([at; 32]) }
}

fn wire(message: PeerMessage) -> Vec<u8> {
    codec::encode(&Wire { commits: 0, message })
}

/// One level of one kernel, ready to be sent.
#[derive(Clone)]
struct Said {
    from: u8,
    out_root: B32,
    bytes: Vec<u8>,
}

impl Story {
    fn new() -> Self {
        let keys = (1..=2).map(|at| (node(at), dvm_core::Signer::public_key(&key(at))));
        Self { checker: Checker::with_keys(keys.collect()), seq: 0 }
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    fn level(&mut self, from: u8, place: (B32, u16, B32), payload: &[u8]) -> Said {
        let (execution_id, level, prev_view) = place;
        let outgoing =
            Outgoing { broadcast: vec![(0, payload.to_vec().into())], ..Outgoing::default() };
        let to = node(3 - from);
        let salt = B32([self.seq as u8; 32]);
        let tree = OutTree::lay_out(outgoing, std::slice::from_ref(&to), || salt);
        let header = FrameHeader {
            execution_id,
            boot: boot(from),
            vault_seq: self.next_seq(),
            level,
            from: node(from),
            prev_view,
            out_root: tree.out_root,
        };
        let header = Signed::new(header, &key(from));
        let envelope = tree.envelopes(&header).remove(0);
        let bytes = wire(PeerMessage::Frame(Box::new(envelope)));
        Said { from, out_root: tree.out_root, bytes }
    }

    fn send(&mut self, said: &Said) {
        self.checker.message(&node(said.from), &said.bytes);
    }

    fn grant(
        &mut self,
        from: u8,
        (act, run): (B32, B32),
        (intent, verdict): (&[u8], Verdict),
    ) -> Vec<u8> {
        let facts = ResultFacts {
            execution_id: act,
            digest: sha256(intent),
            public_nonce: Bytes(vec![1]),
            material: None,
        };
        let receipt = PublicationReceipt {
            cluster: link(b"cluster"),
            node: node(from),
            boot: boot(from),
            vault_seq: self.next_seq(),
            execution_id: run,
            intent: link(intent),
            permit: link(b"permit"),
            judgement: None,
            result_ref: facts.result_ref(),
            facts,
            scope: Scope::Public,
            verdict,
            codes: Vec::new(),
            destroyed: false,
            approvals: Vec::new(),
            head: head(),
            time_ms: 1,
        };
        codec::encode(&Signed::new(receipt, &key(from)))
    }

    /// A publication of the one result up to its grants; what it returns opens it.
    fn granted(&mut self, salt: u8, intent: &[u8], verdict: Verdict) -> (B32, B32) {
        self.publication((1, salt), intent, verdict)
    }

    /// The same of this attempt's own result.
    fn attempt(&mut self, attempt: u8, intent: &[u8], verdict: Verdict) -> (B32, B32) {
        self.publication((attempt, attempt), intent, verdict)
    }

    fn publication(
        &mut self,
        (attempt, salt): (u8, u8),
        intent: &[u8],
        verdict: Verdict,
    ) -> (B32, B32) {
        let header = RunHeader {
            cluster: link(b"cluster"),
            intent: link(intent),
            kind: RunKind::Act { attempt: attempt.into(), opens: Vec::new(), material: None },
            ..spending(None)
        };
        let (act, run) = (self.proposed(header), B32([100 + salt; 32]));
        let mut roots = BTreeMap::new();
        for from in 1..=2 {
            let verdict = if from == 2 { verdict } else { Verdict::Allow };
            let grant = self.grant(from, (act, run), (intent, verdict));
            let said = self.level(from, (run, GRANT_LEVEL, B32::default()), &grant);
            self.send(&said);
            roots.insert(node(from), said.out_root);
        }
        (run, frame::view(&run, GRANT_LEVEL, &roots))
    }

    /// Gives the run's id.
    fn proposed(&mut self, header: RunHeader) -> B32 {
        let run = header.execution_id();
        let proposal = PeerMessage::Propose(Box::new(Proposal { header, opens: Vec::new() }));
        self.checker.message(&node(1), &wire(proposal));
        run
    }

    fn rules(self) -> Vec<Rule> {
        self.checker.finish().complaints.into_iter().map(|c| c.rule).collect()
    }
}

fn head() -> HeadRef {
    HeadRef { size: 1, root: B32::default() }
}

/// The header of an act's run that spends this.
fn spending(material: Option<Material>) -> RunHeader {
    RunHeader {
        cluster: link(b"cluster"),
        intent: link(b"intent"),
        kind: RunKind::Act { attempt: 1, opens: Vec::new(), material },
        plan_id: B32([1; 32]),
        key_epoch: 1,
        participants: vec![node(1), node(2)],
        soft_deadline_ms: 1,
        hard_deadline_ms: 2,
    }
}

const RUN: B32 = B32([7; 32]);
const OTHER: B32 = B32([8; 32]);

#[test]
fn an_honest_story_with_every_message_twice_has_no_complaint() {
    let mut story = Story::new();
    let mut said = Vec::new();
    for from in 1..=2 {
        said.push(story.level(from, (RUN, 1, B32::default()), &[from; 64]));
        said.push(story.level(from, (RUN, 2, B32([3; 32])), &[0; 32]));
    }
    let (run, view) = story.granted(1, b"intent", Verdict::Allow);
    for from in 1..=2 {
        said.push(story.level(from, (run, OPEN_LEVEL, view), &[10 + from; 32]));
    }
    for one in said.iter().chain(&said) {
        story.send(one);
    }
    let found = story.checker.finish();
    assert_eq!((found.complained, &found.complaints), (0, &Vec::new()));
    assert_eq!((found.frames, found.act_runs, found.one_time_ids, found.shares), (8, 1, 2, 2));
    assert_eq!((found.unproposed_runs, found.unjudged_openings), (1, 0));
}

#[test]
fn a_nonce_shown_in_two_runs_is_found_and_one_shown_twice_in_its_own_is_not() {
    let mut story = Story::new();
    let first = story.level(1, (RUN, 1, B32::default()), b"nonce");
    let other = story.level(1, (OTHER, 1, B32::default()), b"another");
    let again = story.level(1, (OTHER, 1, B32::default()), b"nonce");
    for said in [&first, &first, &other] {
        story.send(said);
    }
    assert_eq!(story.checker.found.complained, 0);
    story.send(&again);
    assert_eq!(story.rules(), [Rule::TwoFrames, Rule::OneTimeIdTwice]);
}

#[test]
fn a_presignature_spent_in_two_runs_is_found_and_one_that_a_kernel_never_spoke_over_is_not() {
    let item = |index| Some(Material { batch: B32([9; 32]), index });
    let run = |intent: &[u8], index| RunHeader { intent: link(intent), ..spending(item(index)) };
    let mut story = Story::new();
    let said = |story: &mut Story, from, header: RunHeader, payload: &[u8]| {
        let run = story.proposed(header);
        let said = story.level(from, (run, 1, B32::default()), payload);
        story.send(&said);
    };
    said(&mut story, 1, run(b"one", 0), b"a");
    said(&mut story, 2, run(b"one", 0), b"b");
    said(&mut story, 1, run(b"two", 1), b"c");
    // Proposed with the same presignature, and given up before anybody spoke.
    story.proposed(run(b"three", 1));
    let well = story.checker.clone().finish();
    assert_eq!((well.complained, well.materials), (0, 2));
    said(&mut story, 1, run(b"three", 1), b"d");
    assert_eq!(story.rules(), [Rule::MaterialTwice]);
}

#[test]
fn two_frames_of_one_kernel_for_one_level_are_found_also_from_passed_on_headers() {
    let mut story = Story::new();
    let one = story.level(1, (RUN, 2, B32::default()), b"one");
    let next = story.level(1, (RUN, 3, B32::default()), b"one");
    story.send(&one);
    story.send(&next);
    assert_eq!(story.checker.found.complained, 0);
    let two = story.level(1, (RUN, 2, B32::default()), b"two");
    let Ok(Wire { message: PeerMessage::Frame(envelope), .. }) = codec::decode(&two.bytes) else {
        panic!("a frame was made");
    };
    let headers = Some(vec![envelope.header]);
    let passed_on = PeerMessage::Headers { execution_id: RUN, level: 2, headers };
    story.checker.message(&node(2), &wire(passed_on));
    let found = story.checker.finish();
    let culprits: Vec<(Rule, &NodeId)> =
        found.complaints.iter().map(|c| (c.rule, &c.node)).collect();
    assert_eq!(culprits, [(Rule::TwoFrames, &node(1))]);
}

#[test]
fn an_opening_whose_view_is_not_that_of_all_grants_is_found() {
    for (what, verdict, spoil) in [
        ("all granted and seen", Verdict::Allow, false),
        ("one refused", Verdict::Deny, false),
        ("another view", Verdict::Allow, true),
    ] {
        let mut story = Story::new();
        let (run, mut view) = story.granted(1, b"intent", verdict);
        view.0[0] ^= u8::from(spoil);
        let opened = story.level(1, (run, OPEN_LEVEL, view), &[5; 32]);
        story.send(&opened);
        let holds = what == "all granted and seen";
        let expected: &[Rule] = if holds { &[] } else { &[Rule::OpenedWithoutGrants] };
        assert_eq!(story.rules(), expected, "{what}");
    }
}

#[test]
fn an_opening_without_the_other_signers_grant_is_found_and_unjudged_without_their_capture() {
    for complete in [true, false] {
        let mut story = Story::new();
        let (run, view) = story.granted(1, b"intent", Verdict::Allow);
        story.checker.grants.remove(&(node(2), run));
        story.checker.frames.remove(&(node(2), run, GRANT_LEVEL));
        if !complete {
            story.checker.senders.remove(&node(2));
        }
        let opened = story.level(1, (run, OPEN_LEVEL, view), &[5; 32]);
        story.send(&opened);
        let found = story.checker.finish();
        assert_eq!(
            (found.complained, found.unjudged_openings),
            (u64::from(complete), u64::from(!complete))
        );
    }
}

#[test]
fn two_shares_of_one_result_are_found() {
    let mut story = Story::new();
    let (first, view) = story.granted(1, b"intent", Verdict::Allow);
    let opened = story.level(1, (first, OPEN_LEVEL, view), &[5; 32]);
    let (second, view) = story.granted(2, b"intent", Verdict::Allow);
    let same = story.level(1, (second, OPEN_LEVEL, view), &[5; 32]);
    let other = story.level(2, (second, OPEN_LEVEL, view), &[6; 32]);
    for said in [&opened, &same, &other] {
        story.send(said);
    }
    let (third, view) = story.granted(3, b"intent", Verdict::Allow);
    let changed = story.level(1, (third, OPEN_LEVEL, view), &[7; 32]);
    story.send(&changed);
    // Publications are judged by their ids' order: one or two of them differ from the first.
    let rules = story.rules();
    assert!(!rules.is_empty() && rules.iter().all(|rule| *rule == Rule::TwoShares), "{rules:?}");
}

/// Two attempts of one intent, and who opens its share in each: (attempt, kernel).
fn attempts(openings: &[(u8, u8)]) -> Vec<Rule> {
    let mut story = Story::new();
    for attempt in 1..=2 {
        let (run, view) = story.attempt(attempt, b"intent", Verdict::Allow);
        for (_, from) in openings.iter().filter(|(of, _)| *of == attempt) {
            let said = story.level(*from, (run, OPEN_LEVEL, view), &[attempt * 16 + from; 32]);
            story.send(&said);
        }
    }
    story.rules()
}

#[test]
fn two_results_of_one_intent_are_found_and_one_that_stayed_incomplete_is_none() {
    assert!(attempts(&[(1, 1), (1, 2)]).is_empty());
    // One signer of the first attempt was gone before it opened: no signature came of it.
    assert!(attempts(&[(1, 1), (2, 2)]).is_empty());
    assert_eq!(attempts(&[(1, 1), (2, 1)]), [Rule::TwoSignatures]);
    let found = attempts(&[(1, 1), (1, 2), (2, 1), (2, 2)]);
    assert_eq!(found, [Rule::TwoSignatures; 3]);

    let mut story = Story::new();
    for (result, complaints) in [(1, 0), (1, 0), (2, 1)] {
        let outcome = Outcome {
            intent: link(b"intent"),
            act_run: RUN,
            publish_run: OTHER,
            result: Bytes(vec![result]),
        };
        story.checker.message(&node(1), &wire(PeerMessage::Outcome(Box::new(outcome))));
        assert_eq!(story.checker.found.complained, complaints);
    }
    assert_eq!(story.rules(), [Rule::TwoSignatures]);
}

#[test]
fn two_boot_ids_of_one_generation_and_a_sequence_number_used_twice_are_found() {
    let mut story = Story::new();
    let open = |generation, id, vault_seq| {
        let open = Open {
            cluster: link(b"cluster"),
            node: node(1),
            boot: Boot { generation, id: B32([id; 32]) },
            vault_seq,
            head: head(),
            intent: link(b"intent"),
            admission: link(b"admission"),
            opening: 1,
            nonce: B32([id; 32]),
            time_ms: 1,
            seen: Vec::new(),
        };
        let considered = crate::wire::Considered {
            intent: link(b"intent"),
            attempt: 1,
            admission: None,
            open: Some(Signed::new(open, &key(1))),
            live: None,
            code: None,
            for_good: false,
        };
        wire(PeerMessage::Considered(Box::new(considered)))
    };
    for (bytes, complained) in
        [(open(1, 1, 1), 0), (open(2, 2, 2), 0), (open(2, 3, 3), 1), (open(2, 2, 1), 2)]
    {
        story.checker.message(&node(1), &bytes);
        assert_eq!(story.checker.found.complained, complained);
    }
    assert_eq!(story.rules(), [Rule::TwoBoots, Rule::SequenceReused]);
}

#[test]
fn bytes_that_are_no_message_and_statements_of_another_key_are_found() {
    let mut story = Story::new();
    story.checker.message(&node(1), b"nothing");
    let mut said = story.level(1, (RUN, 1, B32::default()), b"payload");
    let Ok(Wire { message: PeerMessage::Frame(mut envelope), .. }) = codec::decode(&said.bytes)
    else {
        panic!("a frame was made");
    };
    envelope.broadcast.payloads[0].0[0] ^= 1;
    said.bytes = wire(PeerMessage::Frame(envelope));
    story.send(&said);
    let attestation = Attestation {
        kernel_key: dvm_core::Signer::public_key(&key(2)),
        sealing_key: B32::default(),
        boot: boot(1),
        vault_seq: 1,
        binary: B32::default(),
        version: String::new(),
        layers: Layers {
            dies_with_parent: false,
            no_core_dumps: false,
            non_dumpable: false,
            memory_locked: false,
            network_namespace: false,
            no_new_privs: false,
            landlock_abi: 0,
            seccomp: false,
        },
        head: None,
        stopped: None,
    };
    let attestation = Some(Box::new(Signed::new(attestation, &key(2))));
    let hello = wire(PeerMessage::Hello { attestation, head: head() });
    story.checker.message(&node(1), &hello);
    assert_eq!(story.checker.found.complained, 3);
    story.checker.message(&node(2), &hello);
    assert_eq!(story.rules(), [Rule::Unreadable, Rule::NotAuthentic, Rule::NotAuthentic]);
}
