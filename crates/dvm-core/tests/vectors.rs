//! One pinned encoding per artifact: a change of any wire format shows here first.
//!
//! `vectors/artifacts.txt` has a line per artifact: its schema, its CID, its bytes in hex.
//! `DVM_BLESS=1 cargo test -p dvm-core --test vectors` writes it anew.

use dvm_core::admission::*;
use dvm_core::authority::*;
use dvm_core::call::*;
use dvm_core::codec::{decode, encode, link_of};
use dvm_core::frame::*;
use dvm_core::governance::*;
use dvm_core::intent::*;
use dvm_core::receipt::*;
use dvm_core::run::*;
use dvm_core::sighting::*;
use dvm_core::trace::*;
use dvm_core::*;
use ed25519_dalek::SigningKey;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/artifacts.txt");

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

#[expect(clippy::unwrap_used, reason = "test data")]
fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn link() -> Link {
    Link::of_raw(b"content")
}

fn b32(byte: u8) -> B32 {
    B32([byte; 32])
}

fn head() -> HeadRef {
    HeadRef { size: 3, root: b32(3) }
}

fn seen() -> Seen {
    Seen { kernel: key().public_key(), boot: boot(), vault_seq: 7 }
}

fn boot() -> Boot {
    Boot { generation: 2, id: b32(2) }
}

/// One line of the file, after the artifact went through its codec and back.
fn line<T: Artifact + PartialEq + std::fmt::Debug>(value: &T) -> String {
    let bytes = encode(value);
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(value), "{} round trip", T::SCHEMA);
    format!("{} {} {}\n", T::SCHEMA, link_of(value), hex::encode(&bytes))
}

fn intent(act: Act) -> CanonicalIntent {
    CanonicalIntent {
        cluster: link(),
        tenant: id("acme"),
        idempotency_key: id("order-1"),
        requester: id("alice"),
        act,
        scope: Scope::Public,
        display_hash: b32(1),
        expires_ms: 1_800_000_000_000,
    }
}

fn intents() -> String {
    let (key_id, key_epoch) = (id("demo"), 1);
    let roster = vec![id("n1"), id("n2"), id("n3")];
    let backend = Backend::FrostEd25519;
    let acts = [
        Act::KeyGenerate { key_id: id("demo"), backend, threshold: 2, roster },
        Act::SignMessage { key_id: id("demo"), key_epoch, message: link(), len: 7 },
        Act::SignDigest { key_id: id("demo"), key_epoch, digest: b32(9) },
        Act::SignEvmTransaction {
            key_id: id("demo"),
            key_epoch,
            path: vec![0, 7],
            from: Address20([8; 20]),
            transaction: link(),
            len: 7,
        },
        Act::PresignBatch {
            key_id,
            key_epoch,
            path: vec![0, 7],
            signers: vec![id("n1"), id("n2")],
            count: 32,
        },
    ];
    acts.map(|act| line(&intent(act))).concat()
}

fn judgements() -> String {
    let purpose = Purpose::Release { execution_id: b32(4), result_ref: b32(5) };
    let receipt = AdmissionReceipt {
        cluster: link(),
        node: id("n1"),
        intent: link(),
        purpose: Purpose::Admit,
        verdict: Verdict::Awaiting,
        codes: vec![ReasonCode::ApprovalsMissing],
        rules: vec!["20-sign-message/active-key".to_owned()],
        policy_root: link(),
        policy_receipt: link(),
        approvals: vec![link()],
        key_id: id("demo"),
        key_epoch: 1,
        head: head(),
        time_ms: 1,
    };
    let approval = Approval {
        cluster: link(),
        approver: id("bob"),
        purpose,
        intent: link(),
        display_hash: b32(1),
        key_id: id("demo"),
        key_epoch: 1,
        policy_root: link(),
        expires_ms: 2,
    };
    let denial = Denial {
        cluster: link(),
        approver: id("bob"),
        intent: link(),
        display_hash: b32(1),
        key_id: id("demo"),
        key_epoch: 1,
    };
    line(&receipt) + &line(&Signed::new(approval, &key())) + &line(&denial)
}

fn runs() -> String {
    let open = Open {
        cluster: link(),
        node: id("n1"),
        boot: boot(),
        vault_seq: 8,
        head: head(),
        intent: link(),
        admission: link(),
        opening: 1,
        nonce: b32(6),
        time_ms: 1,
        seen: vec![seen()],
    };
    let header = |kind, hard_deadline_ms| RunHeader {
        cluster: link(),
        intent: link(),
        kind,
        plan_id: b32(7),
        key_epoch: 1,
        participants: vec![id("n1"), id("n2")],
        soft_deadline_ms: 1000,
        hard_deadline_ms,
    };
    let act =
        header(RunKind::Act { attempt: 1, opens: vec![link(), link()], material: None }, 4000);
    let material = Some(Material { batch: b32(25), index: 31 });
    let spends = header(RunKind::Act { attempt: 2, opens: vec![link(), link()], material }, 4000);
    let publish = header(RunKind::Publish { of: b32(4), result_ref: b32(5) }, 0);
    line(&open) + &line(&act) + &line(&spends) + &line(&publish)
}

fn frames() -> String {
    let recipients = [id("n2")];
    let out = Outgoing { broadcast: vec![(0, vec![1].into())], ..Outgoing::default() };
    let tree = OutTree::lay_out(out, &recipients, || b32(8));
    let header = FrameHeader {
        execution_id: b32(4),
        boot: boot(),
        vault_seq: 9,
        level: 1,
        from: id("n1"),
        prev_view: b32(0),
        out_root: tree.out_root,
    };
    let signed = Signed::new(header.clone(), &key());
    let envelopes = tree.envelopes(&signed);
    line(&header) + &envelopes.iter().map(line).collect::<String>()
}

fn receipts() -> String {
    let context = CallContext {
        execution_id: b32(4),
        plan_id: b32(7),
        site: 1,
        step: 0,
        level: 1,
        view: b32(0),
        args: args_digest(std::iter::empty()),
    };
    let event = PermitEvent { context, permit_handle: b32(10), step_permit: b32(11) };
    let permit = PermitReceipt {
        cluster: link(),
        node: id("n1"),
        boot: boot(),
        vault_seq: 10,
        execution_id: b32(4),
        header: link(),
        intent: link(),
        admission: link(),
        permit_handle: b32(10),
        permits_root: b32(12),
        permits: 5,
        microtrace_root: b32(13),
        view: b32(14),
        result_ref: Some(b32(5)),
        aborted: None,
        time_ms: 1,
    };
    line(&event) + &line(&permit)
}

fn publications() -> String {
    let facts = ResultFacts {
        execution_id: b32(4),
        digest: b32(15),
        public_nonce: vec![16; 32].into(),
        material: None,
    };
    let publication = PublicationReceipt {
        cluster: link(),
        node: id("n1"),
        boot: boot(),
        vault_seq: 11,
        execution_id: b32(17),
        intent: link(),
        permit: link(),
        judgement: Some(link()),
        result_ref: facts.result_ref(),
        facts,
        scope: Scope::Public,
        verdict: Verdict::Deny,
        codes: vec![ReasonCode::PublicationDenied],
        destroyed: false,
        approvals: Vec::new(),
        head: head(),
        time_ms: 1,
    };
    let material = Some(Material { batch: b32(25), index: 31 });
    let facts = ResultFacts { material, ..publication.facts.clone() };
    let spent = PublicationReceipt { result_ref: facts.result_ref(), facts, ..publication.clone() };
    line(&publication) + &line(&spent)
}

fn ban_and_place() -> String {
    let ban = BanRecord {
        cluster: link(),
        node: id("n1"),
        boot: boot(),
        vault_seq: 12,
        key_id: id("demo"),
        key_epoch: 1,
        culprit: id("n2"),
        execution_id: b32(4),
        level: 3,
        step: 5,
        header: link(),
        time_ms: 1,
    };
    let chain = ChainEntry {
        cluster: link(),
        node: id("n1"),
        seq: 4,
        prev: None,
        same_intent: Some(link()),
        receipt: link(),
    };
    line(&ban) + &line(&chain)
}

fn traces() -> String {
    let outcome = Outcome::Ok { handle: b32(18), sends: Vec::new(), public: Some(vec![1].into()) };
    let result = CallResult { step: 0, context: link(), outcome };
    let events = vec![
        TraceEvent::Start,
        TraceEvent::Result(result),
        TraceEvent::Tick { kind: TickKind::Soft, level: 1 },
        TraceEvent::Cancel(ReasonCode::RemoteTimeout),
    ];
    let trace = Trace { execution_id: b32(4), self_peer: id("n1"), events };
    let root = TraceRoot {
        cluster: link(),
        self_peer: id("n1"),
        execution_id: b32(4),
        header: link(),
        score_id: b32(19),
        plan_id: b32(7),
        vm_version: 1,
        facts_root: b32(20),
        facts: 4,
        results_root: b32(21),
        confirmed_level: 1,
        view_root: b32(22),
        terminal: Some(Terminal::Benign(ReasonCode::RemoteTimeout)),
    };
    line(&trace) + &line(&root)
}

fn governance() -> String {
    let floor = Floor {
        admit: None,
        release: ReleaseRule::Approvals(ApprovalRule { set: id("treasury"), k: 2 }),
        acts: vec![ActClass::SignMessage],
        executions_per_hour: 10,
        failures_to_freeze: 3,
    };
    let decision = GovernanceDecision {
        cluster: link(),
        transition: EventKind::KeyActivated { key_id: id("demo") },
        key_epoch: 1,
        key_ready_cid: Some(link()),
        floor: Some(floor),
        prev_head: head(),
        not_before_ms: 1,
        expires_ms: 2,
        nonce: b32(23),
        proposer: id("g1"),
    };
    let event = Event {
        cluster: link(),
        seq: 3,
        prev_event_cid: Some(link()),
        key_epoch: 1,
        kind: EventKind::TransitionAuthorized { key_id: id("demo") },
        decision_cid: Some(link_of(&decision)),
        artifact_refs: Vec::new(),
        author: id("n1"),
    };
    let schnorr = KeyReady {
        cluster: link(),
        key_id: id("demo"),
        key_epoch: 1,
        backend: Backend::FrostEd25519,
        threshold: 2,
        roster: vec![id("n1"), id("n2"), id("n3")],
        public_key: vec![26; 32].into(),
        package: vec![27].into(),
        intent: link(),
        execution_id: b32(4),
        transcript: b32(15),
        chain_code: None,
    };
    let ecdsa = KeyReady {
        backend: Backend::Dkls23Secp256k1,
        public_key: vec![2; 33].into(),
        chain_code: Some(b32(28)),
        ..schnorr.clone()
    };
    let cosignature = Cosignature { member: id("w1"), time_s: 1, signature: vec![24; 64].into() };
    let certificate =
        HeadCertificate { cluster: link(), head: head(), cosignatures: vec![cosignature] };
    line(&decision) + &line(&event) + &line(&schnorr) + &line(&ecdsa) + &line(&certificate)
}

fn kernel_calls() -> String {
    let reply = KernelReply::Refused {
        code: ReasonCode::WrongPhase,
        rule: "r".to_owned(),
        publication: None,
    };
    let batch = StashedBatch {
        batch: b32(25),
        key_id: id("demo"),
        key_epoch: 1,
        path: vec![0, 7],
        backend: Backend::Dkls23Secp256k1,
        signers: vec![id("n1"), id("n2")],
        free: vec![0, 2],
        made_ms: 1,
    };
    let status = KernelReply::Status { held: Vec::new(), stash: vec![batch] };
    line(&KernelCall::Attest)
        + &line(&KernelCall::Abort { execution_id: b32(4), code: ReasonCode::Expired })
        + &line(&reply)
        + &line(&status)
}

fn sightings() -> String {
    let header = |vault_seq| FrameHeader {
        execution_id: b32(4),
        boot: boot(),
        vault_seq,
        level: 1,
        from: id("n1"),
        prev_view: b32(9),
        out_root: b32(8),
    };
    let frame = |vault_seq| Statement::Frame(Box::new(Signed::new(header(vault_seq), &key())));
    let layers = Layers {
        dies_with_parent: true,
        no_core_dumps: true,
        non_dumpable: true,
        memory_locked: true,
        network_namespace: true,
        no_new_privs: true,
        landlock_abi: 4,
        seccomp: true,
    };
    let attestation = Attestation {
        kernel_key: key().public_key(),
        sealing_key: b32(10),
        boot: boot(),
        vault_seq: 7,
        binary: b32(11),
        version: "0".to_owned(),
        layers,
        head: Some(head()),
        stopped: Some(ReasonCode::SplitBrainFenced),
    };
    let attestation = Box::new(Signed::new(attestation, &key()));
    let (cluster, kernel) = (link(), key().public_key());
    let sighting = Sighting { cluster, by: id("n2"), kernel, to: boot(), seen: Some(frame(7)) };
    let record = FencingRecord {
        cluster,
        node: id("n1"),
        kernel,
        first: Statement::Attestation(attestation.clone()),
        second: frame(8),
    };
    line(&attestation.body) + &line(&sighting) + &line(&record)
}

#[test]
fn every_artifact_has_the_pinned_bytes() {
    let now = [
        intents(),
        judgements(),
        runs(),
        frames(),
        receipts(),
        publications(),
        ban_and_place(),
        traces(),
        governance(),
        kernel_calls(),
        sightings(),
    ]
    .concat();
    if std::env::var_os("DVM_BLESS").is_some() {
        std::fs::write(FILE, &now).unwrap();
    }
    let pinned = std::fs::read_to_string(FILE).unwrap();
    for (line, (now, pinned)) in now.lines().zip(pinned.lines()).enumerate() {
        assert_eq!(now, pinned, "line {}", line + 1);
    }
    assert_eq!(now, pinned);
}
