//! Claims about judgements, over a small cluster with one active key.

mod evm;
mod presign;

use std::collections::{BTreeMap, BTreeSet};

use dvm_act::{ParsedAct, display, parse};
use dvm_core::admission::{Approval, Purpose, Verdict};
use dvm_core::authority::*;
use dvm_core::codec::{decode, encode, link_of};
use dvm_core::digest::sha256;
use dvm_core::governance::*;
use dvm_core::intent::{Act, ActClass, Backend, CanonicalIntent, Scope};
use dvm_core::sign::sign_link;
use dvm_core::{Artifact, B32, Link, NodeId, ReasonCode, Signed, Signer};
use dvm_governance::{
    AuthorityState, Terms, apply, attach, draft_decision, draft_event, sign_decision,
};
use ed25519_dalek::SigningKey;

use crate::{
    JudgeInput, Judgement, Ledger, LoadRefused, PolicyBundle, PolicySet, Role, admission_receipt,
    admit, release,
};

const NOW: u64 = 1_800_000_000_000;
const CONTENT: &[u8] = b"hello";

fn key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&sha256(name.as_bytes()).0)
}

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    name.parse().unwrap()
}

fn person(name: &str) -> Person {
    Person { person: id(name), key: key(name).public_key() }
}

fn passport(node: &str) -> NodePassport {
    let of = |purpose: &str| key(&format!("{node}/{purpose}")).public_key();
    NodePassport {
        node: id(node),
        org: id("org"),
        node_key: of("node"),
        kernel_key: of("kernel"),
        sealing_key: of("sealing").0,
        policy_key: of("policy"),
        generation: 1,
    }
}

fn floor(acts: &[ActClass]) -> Floor {
    let rule = |k| ApprovalRule { set: id("officers"), k };
    Floor {
        admit: Some(rule(1)),
        release: ReleaseRule::Approvals(rule(2)),
        acts: acts.to_vec(),
        executions_per_hour: 2,
        failures_to_freeze: 3,
    }
}

/// A cluster under these policies, with key `k` published, and active if asked.
fn cluster(policies: &PolicySet, acts: &[ActClass], active: bool) -> AuthorityState {
    let key = Key { backend: Backend::FrostEd25519, public_key: vec![7; 32], chain_code: None };
    cluster_with(policies, acts, active, key)
}

/// What sets keys apart.
struct Key {
    backend: Backend,
    public_key: Vec<u8>,
    chain_code: Option<B32>,
}

fn cluster_with(
    policies: &PolicySet,
    acts: &[ActClass],
    active: bool,
    facts: Key,
) -> AuthorityState {
    let manifest = ClusterManifest {
        name: id("test"),
        nonce: B32([1; 32]),
        nodes: ["n1", "n2", "n3"].map(passport).to_vec(),
        witnesses: Vec::new(),
        faults: 1,
        sequencer: id("n1"),
        governors: Governors { threshold: 1, members: vec![person("g1")], proposer_counts: true },
        approvers: vec![ApproverSet {
            name: id("officers"),
            members: ["a1", "a2", "a3"].map(person).to_vec(),
        }],
        policy_root: policies.policy_root(),
        keygen_floor: floor(&[ActClass::KeyGenerate]),
    };
    let mut state = AuthorityState::genesis(&manifest).unwrap();
    push(&mut state, EventKind::ClusterFormed { manifest: link_of(&manifest) }, None, None);
    let ready = KeyReady {
        cluster: state.cluster(),
        key_id: id("k"),
        key_epoch: 1,
        backend: facts.backend,
        threshold: 2,
        roster: ["n1", "n2", "n3"].map(id).to_vec(),
        public_key: facts.public_key.into(),
        package: vec![1].into(),
        intent: Link::of_raw(b"keygen"),
        execution_id: B32([2; 32]),
        transcript: B32([3; 32]),
        chain_code: facts.chain_code,
    };
    let key_ready_cid = link_of(&ready);
    let sign =
        |n: &NodeId| sign_link(&key(&format!("{n}/kernel")), KeyReady::SCHEMA, &key_ready_cid);
    let signatures = ready.roster.iter().map(sign).collect();
    let certificate = KeyReadyCertificate { ready, signatures };
    let published = EventKind::KeyObjectPublished { key_id: id("k"), key_ready_cid };
    push(&mut state, published, None, Some(certificate));
    if active {
        let activated = EventKind::KeyActivated { key_id: id("k") };
        let terms = Terms {
            floor: Some(floor(acts)),
            proposer: id("g1"),
            not_before_ms: 0,
            expires_ms: u64::MAX,
            nonce: B32([9; 32]),
        };
        let decision = draft_decision(&state, activated.clone(), terms);
        let signature = sign_decision(&decision, id("g1"), &key("g1"));
        let mut signed = SignedDecision { decision, signatures: Vec::new() };
        attach(&mut signed, signature);
        push(&mut state, EventKind::TransitionAuthorized { key_id: id("k") }, Some(signed), None);
        push(&mut state, activated, None, None);
    }
    state
}

fn push(
    state: &mut AuthorityState,
    kind: EventKind,
    decision: Option<SignedDecision>,
    key_ready: Option<KeyReadyCertificate>,
) {
    let event = draft_event(state, kind, decision.as_ref(), id("n1"));
    let event = Signed::new(event, &key("n1/policy"));
    *state = apply(state, &LogEntry { event, decision, key_ready }).unwrap();
}

/// A cluster, its policies, and one request to judge; tests change what they are about.
struct Case {
    policies: PolicySet,
    state: AuthorityState,
    intent: CanonicalIntent,
    act: ParsedAct,
    approvals: Vec<Signed<Approval>>,
    roles: BTreeSet<Role>,
    ledger: Ledger,
}

fn message() -> Act {
    let len = CONTENT.len() as u64;
    Act::SignMessage { key_id: id("k"), key_epoch: 1, message: Link::of_raw(CONTENT), len }
}

impl Case {
    fn new() -> Self {
        Self::with(PolicySet::shipped().unwrap(), &[ActClass::SignMessage], message())
    }

    fn with(policies: PolicySet, acts: &[ActClass], act: Act) -> Self {
        let state = cluster(&policies, acts, true);
        let (intent, act) = intent(&state, act);
        let roles = [Role::Client].into();
        let (approvals, ledger) = (Vec::new(), Ledger::default());
        Self { policies, state, intent, act, approvals, roles, ledger }
    }

    fn approve(mut self, who: &str, purpose: &Purpose) -> Self {
        let approval = Approval {
            cluster: self.state.cluster(),
            approver: id(who),
            purpose: purpose.clone(),
            intent: link_of(&self.intent),
            display_hash: self.intent.display_hash,
            key_id: self.intent.act.key_id().clone(),
            key_epoch: 1,
            policy_root: self.state.policy_root(),
            expires_ms: NOW,
        };
        self.approvals.push(Signed::new(approval, &key(who)));
        self
    }

    fn input(&self) -> JudgeInput<'_> {
        JudgeInput {
            state: &self.state,
            intent: &self.intent,
            approvals: &self.approvals,
            roles: &self.roles,
            now_ms: NOW,
            salt: B32([8; 32]),
        }
    }

    fn admit(&self) -> Judgement {
        admit(&self.policies, &self.input(), &self.act, &self.ledger)
    }

    fn release(&self, purpose: &Purpose) -> Judgement {
        release(&self.policies, &self.input(), purpose)
    }
}

fn intent(state: &AuthorityState, act: Act) -> (CanonicalIntent, ParsedAct) {
    let content = matches!(act, Act::SignMessage { .. }).then_some(CONTENT);
    intent_about(state, act, content)
}

fn intent_about(
    state: &AuthorityState,
    act: Act,
    content: Option<&[u8]>,
) -> (CanonicalIntent, ParsedAct) {
    let mut intent = CanonicalIntent {
        cluster: state.cluster(),
        tenant: id("t"),
        idempotency_key: id("i"),
        requester: id("c"),
        act,
        scope: Scope::Public,
        display_hash: B32::default(),
        expires_ms: NOW + 1,
    };
    intent.display_hash = display(&intent, content).unwrap().hash();
    let parsed = parse(&intent, content).unwrap();
    (intent, parsed)
}

fn gate() -> Purpose {
    Purpose::Release { execution_id: B32([5; 32]), result_ref: B32([6; 32]) }
}

fn files(extra: &[(&str, &str)]) -> BTreeMap<String, String> {
    let shipped = PolicySet::shipped().unwrap();
    let base = shipped.bundle().files.iter().map(|f| (f.name.clone(), f.text.clone()));
    base.chain(extra.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))).collect()
}

fn verdict(judgement: &Judgement) -> (Verdict, &[ReasonCode]) {
    (judgement.verdict, &judgement.codes)
}

#[test]
fn an_act_is_admitted_with_its_floor_met_and_awaits_approvals_before() {
    let waiting = Case::new();
    assert_eq!(verdict(&waiting.admit()), (Verdict::Awaiting, &[ReasonCode::ApprovalsMissing][..]));
    let met = waiting.approve("a1", &Purpose::Admit);
    let judgement = met.admit();
    assert_eq!(verdict(&judgement), (Verdict::Allow, &[][..]));
    assert_eq!(judgement.rules, ["20-sign-message/active-key"]);
    assert_eq!(judgement.approvals, [met.approvals[0].link()]);
    let receipt = admission_receipt(&judgement, &met.input(), Purpose::Admit, id("n1"));
    assert_eq!(receipt.policy_receipt, link_of(&judgement.policy_receipt));
    assert_eq!((receipt.head, receipt.policy_root), (met.state.head(), met.policies.policy_root()));
}

#[test]
fn whoever_has_no_role_is_denied_and_no_approval_changes_that() {
    let mut case = Case::new().approve("a1", &Purpose::Admit);
    for roles in [BTreeSet::new(), [Role::Approver, Role::Auditor].into()] {
        case.roles = roles;
        let judgement = case.admit();
        assert_eq!(verdict(&judgement), (Verdict::Deny, &[ReasonCode::PolicyDenied][..]));
        assert!(judgement.rules.is_empty(), "default deny has no rule");
    }
    case.roles = [Role::Operator].into();
    assert_eq!(case.admit().verdict, Verdict::Allow);
}

#[test]
fn a_key_without_authority_is_refused_by_policy_too() {
    let mut case = Case::new().approve("a1", &Purpose::Admit);
    case.state = cluster(&case.policies, &[ActClass::SignMessage], false);
    let judgement = case.admit();
    assert_eq!(verdict(&judgement), (Verdict::Deny, &[ReasonCode::KeyNotActive][..]));
    assert_eq!(judgement.rules, ["authority"]);
    assert_eq!(case.release(&gate()).codes, [ReasonCode::KeyNotActive]);
}

#[test]
fn a_release_needs_release_approvals_and_admissions_never_count() {
    let purpose = gate();
    let one = Case::new()
        .approve("a1", &Purpose::Admit)
        .approve("a2", &Purpose::Admit)
        .approve("a1", &purpose);
    let waiting = one.release(&purpose);
    assert_eq!(verdict(&waiting), (Verdict::Awaiting, &[ReasonCode::ApprovalsMissing][..]));
    let two = one.approve("a2", &purpose);
    assert_eq!(two.release(&purpose).rules, ["30-release/floor-met"]);
    assert_eq!(two.release(&purpose).verdict, Verdict::Allow);
    let other = Purpose::Release { execution_id: B32([5; 32]), result_ref: B32([7; 32]) };
    assert_eq!(two.release(&other).verdict, Verdict::Awaiting);
    assert_eq!(two.release(&Purpose::Admit).codes, [ReasonCode::BindingMismatch]);
}

#[test]
fn a_floor_that_the_requester_alone_blocks_is_a_denial_not_a_wait() {
    let mut case = Case::new();
    case.intent.requester = id("a1");
    let purpose = gate();
    assert_eq!(case.release(&purpose).verdict, Verdict::Awaiting, "a2 and a3 could");
    let raise = FloorRaise { k: 3 };
    case.state = raise.apply(&case.state);
    let denied = case.release(&purpose);
    let codes = [ReasonCode::PublicationDenied, ReasonCode::PolicyDenied];
    assert_eq!(verdict(&denied), (Verdict::Deny, &codes[..]));
}

/// Raises the release rule of `k` by decision.
struct FloorRaise {
    k: u16,
}

impl FloorRaise {
    fn apply(&self, state: &AuthorityState) -> AuthorityState {
        let mut floor = floor(&[ActClass::SignMessage]);
        floor.release = ReleaseRule::Approvals(ApprovalRule { set: id("officers"), k: self.k });
        let kind = EventKind::FloorChanged { key_id: id("k"), floor };
        let terms = Terms {
            floor: None,
            proposer: id("g1"),
            not_before_ms: 0,
            expires_ms: u64::MAX,
            nonce: B32([9; 32]),
        };
        let decision = draft_decision(state, kind.clone(), terms);
        let signature = sign_decision(&decision, id("g1"), &key("g1"));
        let signed = SignedDecision { decision, signatures: vec![signature] };
        let mut next = state.clone();
        push(&mut next, kind, Some(signed), None);
        next
    }
}

#[test]
fn a_raw_digest_needs_a_policy_and_a_floor_that_name_it() {
    let digest = || Act::SignDigest { key_id: id("k"), key_epoch: 1, digest: B32([1; 32]) };
    let permit = r#"@id("digests-for-k")
        permit (principal, action == Dvm::Action::"sign.digest", resource == Dvm::Key::"k")
        when { context.floor_met };"#;
    let named = || PolicySet::load(files(&[("90-digest", permit)])).unwrap();
    let judge = |policies, acts: &[ActClass]| {
        Case::with(policies, acts, digest()).approve("a1", &Purpose::Admit).admit()
    };
    let shipped = || PolicySet::shipped().unwrap();
    let both = judge(named(), &[ActClass::SignDigest]);
    assert_eq!(
        (both.verdict, both.rules),
        (Verdict::Allow, vec!["90-digest/digests-for-k".into()])
    );
    assert_eq!(judge(shipped(), &[ActClass::SignDigest]).codes, [ReasonCode::PolicyDenied]);
    let no_floor = judge(named(), &[ActClass::SignMessage]);
    assert_eq!(
        (no_floor.codes, no_floor.rules),
        (vec![ReasonCode::PolicyDenied], vec!["floor".into()])
    );
}

#[test]
fn a_forbid_wins_and_is_named() {
    let forbid = r#"@id("no-big-messages")
        forbid (principal, action == Dvm::Action::"sign.message", resource)
        when { context.bytes > LIMIT };"#;
    let judge = |limit: &str| {
        let text = forbid.replace("LIMIT", limit);
        let policies = PolicySet::load(files(&[("50-size", &text)])).unwrap();
        let case = Case::with(policies, &[ActClass::SignMessage], message());
        case.approve("a1", &Purpose::Admit).admit()
    };
    assert_eq!(judge("5").verdict, Verdict::Allow);
    let denied = judge("4");
    assert_eq!(verdict(&denied), (Verdict::Deny, &[ReasonCode::PolicyDenied][..]));
    assert_eq!(denied.rules, ["50-size/no-big-messages"]);
}

#[test]
fn a_forbid_that_errs_denies_instead_of_being_skipped() {
    // 2^63 - 1 + bytes overflows: the engine skips the policy, and would allow.
    let forbid = r#"@id("overflows")
        forbid (principal, action == Dvm::Action::"sign.message", resource)
        when { context.bytes + ADD > 9223372036854775806 };"#;
    let judge = |add: &str| {
        let text = forbid.replace("ADD", add);
        let policies = PolicySet::load(files(&[("50-err", &text)])).unwrap();
        let case = Case::with(policies, &[ActClass::SignMessage], message());
        case.approve("a1", &Purpose::Admit).admit()
    };
    assert_eq!(judge("1").verdict, Verdict::Allow);
    let denied = judge("9223372036854775807");
    assert_eq!(verdict(&denied), (Verdict::Deny, &[ReasonCode::PolicyDenied][..]));
    assert_eq!(denied.policy_receipt.errors.len(), 1);
}

#[test]
fn a_policy_can_ask_for_more_approvals_than_the_floor() {
    let text = r#"@id("three-officers")
        forbid (principal, action == Dvm::Action::"sign.message", resource)
        unless { context.approvals.hasTag("officers") && context.approvals.getTag("officers") >= 3 };"#;
    let policies = PolicySet::load(files(&[("50-more", text)])).unwrap();
    let case = Case::with(policies, &[ActClass::SignMessage], message());
    let two = case.approve("a1", &Purpose::Admit).approve("a2", &Purpose::Admit);
    assert_eq!(two.admit().verdict, Verdict::Awaiting);
    assert_eq!(two.approve("a3", &Purpose::Admit).admit().verdict, Verdict::Allow);
}

#[test]
fn the_hourly_limit_counts_other_intents_up_to_the_cap() {
    let mut case = Case::new().approve("a1", &Purpose::Admit);
    let own = link_of(&case.intent);
    case.ledger.reserve(&id("k"), Link::of_raw(b"1"), 2, NOW).unwrap();
    assert_eq!(case.admit().verdict, Verdict::Allow);
    case.ledger.reserve(&id("k"), own, 2, NOW).unwrap();
    assert_eq!(case.admit().verdict, Verdict::Allow, "its own reservation is not another's");
    case.ledger.give_back(&id("k"), &own).unwrap();
    case.ledger.reserve(&id("k"), Link::of_raw(b"2"), 2, NOW).unwrap();
    let judgement = case.admit();
    assert_eq!(verdict(&judgement), (Verdict::Deny, &[ReasonCode::ResourceLimit][..]));
    assert_eq!(judgement.rules, ["executions-per-hour"]);
}

#[test]
fn files_that_are_not_those_of_the_root_in_force_admit_nothing() {
    let mut case = Case::new().approve("a1", &Purpose::Admit);
    let text = r#"@id("all") permit (principal, action, resource);"#;
    case.policies = PolicySet::load(files(&[("99-all", text)])).unwrap();
    let judgement = case.admit();
    assert_eq!((judgement.verdict, judgement.rules), (Verdict::Deny, vec!["policy-root".into()]));
}

#[test]
fn an_act_that_is_not_the_intents_is_refused() {
    let mut case = Case::new().approve("a1", &Purpose::Admit);
    let digest = Act::SignDigest { key_id: id("k"), key_epoch: 1, digest: B32([1; 32]) };
    case.act = intent(&case.state, digest).1;
    assert_eq!(case.admit().codes, [ReasonCode::BindingMismatch]);
}

#[test]
fn key_generation_is_admitted_under_the_clusters_floor() {
    let keygen = |roster: &[&str]| Act::KeyGenerate {
        key_id: id("new"),
        backend: Backend::FrostEd25519,
        threshold: 2,
        roster: roster.iter().map(|n| id(n)).collect(),
    };
    let case = |roster| {
        let shipped = PolicySet::shipped().unwrap();
        Case::with(shipped, &[ActClass::SignMessage], keygen(roster))
    };
    let all = ["n1", "n2", "n3"];
    assert_eq!(case(&all).admit().verdict, Verdict::Awaiting);
    let admitted = case(&all).approve("a2", &Purpose::Admit).admit();
    assert_eq!(admitted.rules, ["10-key-generate/staff-with-approvals"]);
    assert_eq!(admitted.verdict, Verdict::Allow);
    let purpose = gate();
    let released = case(&all).approve("a1", &purpose).approve("a2", &purpose).release(&purpose);
    assert_eq!(released.verdict, Verdict::Allow);
}

#[test]
fn files_load_only_if_every_policy_is_named_typed_and_no_template() {
    let load = |text: &str| PolicySet::load(files(&[("x", text)])).err();
    assert_eq!(load(r#"@id("a") permit (principal, action, resource);"#), None);
    let unnamed = Some(LoadRefused::Unnamed { file: "x".into() });
    assert_eq!(load("permit (principal, action, resource);"), unnamed);
    let twice = r#"@id("a") permit (principal, action, resource);
        @id("a") forbid (principal, action, resource);"#;
    assert_eq!(load(twice), unnamed);
    let template = r#"@id("a") permit (principal == ?principal, action, resource);"#;
    assert_eq!(load(template), unnamed);
    assert!(matches!(load("permit"), Some(LoadRefused::Syntax { .. })));
    let untyped = r#"@id("a") permit (principal, action, resource) when { context.wei > 1 };"#;
    assert!(matches!(load(untyped), Some(LoadRefused::Invalid { .. })));
    let long = format!("// {}", "x".repeat(512 << 10));
    assert!(matches!(load(&long), Some(LoadRefused::TooLarge { .. })));
}

#[test]
fn the_root_names_every_byte_of_the_files_and_a_bundle_loads_back() {
    let shipped = PolicySet::shipped().unwrap();
    let commented = PolicySet::load(files(&[("x", "// a comment")])).unwrap();
    assert_ne!(shipped.policy_root(), commented.policy_root());
    let bundle: PolicyBundle = decode(&encode(shipped.bundle())).unwrap();
    let again = PolicySet::from_bundle(&bundle).unwrap();
    assert_eq!(again.policy_root(), shipped.policy_root());
    let other = PolicyBundle { cedar_schema: String::new(), ..bundle };
    assert_eq!(PolicySet::from_bundle(&other).err(), Some(LoadRefused::OtherSchema));
}

/// Found by fuzzing: the parser recurses, and some 140 brackets within its own bounds ended the process.
#[test]
fn a_policy_that_nests_too_deep_or_is_too_long_for_the_parser_is_refused_before_it_is_parsed() {
    let load = |condition: &str| {
        let text =
            format!("@id(\"a\")\npermit(principal, action, resource) when {{ {condition} }};");
        PolicySet::load(std::collections::BTreeMap::from([("f".to_owned(), text)]))
    };
    let nested = |n: usize| format!("{}true{}", "(".repeat(n), ")".repeat(n));
    // The braces of `when` are one bracket more.
    assert!(load(&nested(31)).is_ok());
    assert!(matches!(load(&nested(32)), Err(LoadRefused::Unbounded { .. })));
    let deep = load(&nested(100_000));
    assert!(matches!(deep, Err(LoadRefused::Unbounded { .. })));
    // Closing brackets in strings and comments do not hide the opening ones.
    for hidden in ["\"))\" == \"))\" && ", "// ))\n", "\"\\\"))\" == \"a\" && "] {
        let inner = format!("({hidden}").repeat(32);
        let text = format!("{inner}true{}", ")".repeat(32));
        assert!(matches!(load(&text), Err(LoadRefused::Unbounded { .. })), "{hidden}");
        let few = format!("{}true{}", format!("({hidden}").repeat(31), ")".repeat(31));
        assert!(load(&few).is_ok(), "{hidden}");
    }
    let long = |n: usize| format!("true{}", " && true".repeat(n));
    assert!(load(&long(1_900)).is_ok());
    assert!(matches!(load(&long(2_100)), Err(LoadRefused::Unbounded { .. })));
}
