//! The cluster: kernels in-process, a witness that cosigns, policy keys, approvers; and the messenger between them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use dvm_core::admission::*;
use dvm_core::authority::*;
use dvm_core::call::*;
use dvm_core::codec::link_of;
use dvm_core::governance::*;
use dvm_core::intent::*;
use dvm_core::receipt::PublicationReceipt;
use dvm_core::sighting::Sighting;
use dvm_core::{B32, Link, NodeId, ReasonCode, Signed, Signer};
use dvm_governance::{
    AuthorityState, Needed, Terms, apply, attach, cosign, draft_decision, draft_event, needed,
    sign_decision,
};
use dvm_kernel::unseal::MasterKey;
use dvm_kernel::vault::{Record, Vault};
use dvm_kernel::{About, Kernel, Surroundings};
use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::messenger::refusal;

pub(crate) const NODES: [&str; 3] = ["n1", "n2", "n3"];
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;

pub(crate) fn key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&dvm_core::digest::sha256(name.as_bytes()).0)
}

pub(crate) fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    name.parse().unwrap()
}

fn person(name: &str) -> Person {
    Person { person: id(name), key: key(name).public_key() }
}

fn rule(k: u16) -> ApprovalRule {
    ApprovalRule { set: id("officers"), k }
}

/// The floor of this backend's keys: with the acts that their scheme has.
pub(crate) fn floor_of(backend: Backend) -> Floor {
    let mut acts = match backend.scheme() {
        Scheme::Schnorr => vec![ActClass::SignMessage],
        Scheme::Ecdsa => vec![ActClass::SignDigest, ActClass::SignEvmTransaction],
    };
    acts.push(ActClass::PresignBatch);
    Floor { acts, ..sign_floor() }
}

pub(crate) fn sign_floor() -> Floor {
    Floor {
        admit: Some(rule(1)),
        release: ReleaseRule::Approvals(rule(2)),
        acts: vec![ActClass::SignMessage],
        executions_per_hour: 4,
        failures_to_freeze: 2,
    }
}

fn keygen_floor() -> Floor {
    Floor {
        admit: None,
        release: ReleaseRule::Auto,
        acts: vec![ActClass::KeyGenerate],
        executions_per_hour: 10,
        failures_to_freeze: 3,
    }
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    dir: TempDir,
    kernel: Option<Kernel>,
    starts: u64,
}

impl Node {
    fn start(name: &str, clock: &Arc<AtomicU64>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let mut node = Self { id: id(name), dir, kernel: None, starts: 0 };
        node.boot(clock);
        node
    }

    /// The same node with a copy of its vault.
    fn copied(&self, clock: &Arc<AtomicU64>) -> Self {
        let dir = copy_of(self.dir.path());
        let mut node = Self { id: self.id.clone(), dir, kernel: None, starts: self.starts };
        node.boot(clock);
        node
    }

    fn boot(&mut self, clock: &Arc<AtomicU64>) {
        self.kernel = None;
        self.starts += 1;
        let seed = dvm_core::digest::sha256(format!("{}/{}", self.id, self.starts).as_bytes()).0;
        let rng = ChaCha20Rng::from_seed(seed);
        let master = MasterKey::from_bytes(Zeroizing::new([7; 32]));
        let vault = Vault::open(self.dir.path(), master, Box::new(rng.clone())).unwrap();
        let clock = clock.clone();
        let wall_ms = Box::new(move || clock.load(Ordering::SeqCst));
        let mut rng = rng;
        rng.set_stream(1);
        let about = About { binary: B32::default(), layers: no_layers() };
        let around = Surroundings { rng: Box::new(rng), wall_ms };
        self.kernel = Some(Kernel::start(vault, around, about).unwrap());
    }
}

/// A copy of a vault, which the kernel that uses the vault does not notice.
fn copy_of(vault: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::set_permissions(copy.path(), Permissions::from_mode(0o700)).unwrap();
    for file in ["vault.db", "vault.db-wal"] {
        std::fs::copy(vault.join(file), copy.path().join(file)).unwrap();
    }
    copy
}

/// The kernel key of a node, drawn again from the seed of its first start: for playing a corrupt kernel.
pub(crate) fn corrupt(node: &str) -> SigningKey {
    let seed = dvm_core::digest::sha256(format!("{node}/1").as_bytes()).0;
    let mut rng = ChaCha20Rng::from_seed(seed);
    rng.set_stream(1);
    SigningKey::generate(&mut rng)
}

fn no_layers() -> Layers {
    Layers {
        dies_with_parent: false,
        no_core_dumps: false,
        non_dumpable: false,
        memory_locked: false,
        network_namespace: false,
        no_new_privs: false,
        landlock_abi: 0,
        seccomp: false,
    }
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) state: AuthorityState,
    clock: Arc<AtomicU64>,
    nonce: u8,
    /// The floor that an activation sets.
    floor: Floor,
    /// Of the key that is active, if one is.
    pub(crate) backend: Backend,
    /// Everything that the kernels ever replied.
    pub(crate) said: Vec<(NodeId, KernelReply)>,
}

/// What a refused call must leave as it was: runs, commits, the kernel's own word, and the vault's files.
#[derive(Debug, PartialEq)]
pub(crate) struct Standing {
    status: KernelReply,
    commits: u64,
    attested: Attestation,
    files: Vec<(u64, SystemTime)>,
}

impl Cluster {
    /// Three pinned kernels under a formed cluster.
    pub(crate) fn formed() -> Self {
        let clock = Arc::new(AtomicU64::new(NOW_MS));
        let mut nodes: Vec<Node> = NODES.iter().map(|name| Node::start(name, &clock)).collect();
        let nodes_passports = nodes.iter_mut().map(passport).collect();
        let manifest = ClusterManifest {
            name: id("test"),
            nonce: B32([1; 32]),
            nodes: nodes_passports,
            witnesses: vec![WitnessPassport {
                node: id("w1"),
                org: id("org"),
                node_key: key("w1/node").public_key(),
                cosign_key: key("w1/cosign").public_key(),
            }],
            faults: 1,
            sequencer: id("n1"),
            governors: Governors {
                threshold: 2,
                members: ["g1", "g2", "g3"].map(person).to_vec(),
                proposer_counts: false,
            },
            approvers: vec![ApproverSet {
                name: id("officers"),
                members: ["a1", "a2", "a3"].map(person).to_vec(),
            }],
            policy_root: Link::of_raw(b"policy"),
            keygen_floor: keygen_floor(),
        };
        let state = AuthorityState::genesis(&manifest).unwrap();
        let (floor, backend) = (sign_floor(), Backend::FrostEd25519);
        let mut cluster = Self { nodes, state, clock, nonce: 0, floor, backend, said: Vec::new() };
        for name in NODES {
            let call = KernelCall::Pin { manifest: Box::new(manifest.clone()), node: id(name) };
            assert!(matches!(cluster.call(name, call), KernelReply::Head(_)));
        }
        let manifest = cluster.state.cluster();
        cluster.govern(EventKind::ClusterFormed { manifest }, None);
        cluster
    }

    /// ... with an active key.
    pub(crate) fn active(backend: Backend) -> (Self, KeyReady) {
        Self::active_under(backend, floor_of(backend))
    }

    /// ... under a floor that leaves room for many runs.
    pub(crate) fn roomy(backend: Backend) -> Self {
        let floor = Floor { executions_per_hour: 1_000_000, ..floor_of(backend) };
        Self::active_under(backend, floor).0
    }

    pub(crate) fn active_under(backend: Backend, floor: Floor) -> (Self, KeyReady) {
        let mut cluster = Self::formed();
        (cluster.floor, cluster.backend) = (floor, backend);
        let ready = cluster.published_key(backend);
        cluster.activate(&ready);
        (cluster, ready.ready)
    }

    /// The same cluster from copies of its vaults: what is done in one is not done in the other.
    pub(crate) fn again(&self) -> Self {
        let clock = Arc::new(AtomicU64::new(self.now_ms()));
        let nodes = self.nodes.iter().map(|node| node.copied(&clock)).collect();
        let (state, floor) = (self.state.clone(), self.floor.clone());
        let (nonce, backend, said) = (self.nonce, self.backend, Vec::new());
        let mut again = Self { nodes, state, clock, nonce, floor, backend, said };
        for node in NODES {
            for other in NODES.iter().filter(|other| **other != node) {
                assert_eq!(again.shown(node, other), KernelReply::Shown);
            }
        }
        again
    }

    /// The records of a kind in a node's vault.
    pub(crate) fn records(&self, node: &str, kind: &str) -> Vec<Record> {
        let copy = copy_of(&self.vault_dir(node));
        let master = MasterKey::from_bytes(Zeroizing::new([7; 32]));
        let rng = Box::new(ChaCha20Rng::seed_from_u64(1));
        Vault::open(copy.path(), master, rng).unwrap().scan(kind).unwrap()
    }

    pub(crate) fn call(&mut self, node: &str, call: KernelCall) -> KernelReply {
        let reply = self.kernel(node).handle(call);
        self.said.push((id(node), reply.clone()));
        reply
    }

    pub(crate) fn kernel(&mut self, node: &str) -> &mut Kernel {
        let node = self.nodes.iter_mut().find(|n| n.id.as_str() == node).unwrap();
        node.kernel.as_mut().unwrap()
    }

    /// The kernel starts again, and the others' kernels say what they saw of it.
    pub(crate) fn restart(&mut self, node: &str) {
        self.reboot(node);
        for other in NODES.iter().filter(|other| **other != node) {
            assert_eq!(self.shown(node, other), KernelReply::Shown);
        }
    }

    /// The kernel starts again, and nobody tells it anything.
    pub(crate) fn reboot(&mut self, node: &str) {
        let clock = self.clock.clone();
        self.nodes.iter_mut().find(|n| n.id.as_str() == node).unwrap().boot(&clock);
    }

    /// ... from the same random bytes as the last time.
    pub(crate) fn restart_with_the_same_randomness(&mut self, node: &str) {
        self.nodes.iter_mut().find(|n| n.id.as_str() == node).unwrap().starts -= 1;
        self.restart(node);
    }

    /// The kernel ends.
    pub(crate) fn halt(&mut self, node: &str) {
        self.nodes.iter_mut().find(|n| n.id.as_str() == node).unwrap().kernel = None;
    }

    pub(crate) fn attested(&mut self, node: &str) -> Box<Signed<Attestation>> {
        match self.call(node, KernelCall::Attest) {
            KernelReply::Attested(attestation) => attestation,
            other => panic!("no attestation: {other:?}"),
        }
    }

    /// What `other` says to `node`'s kernel that it saw of it.
    pub(crate) fn sighted(
        &mut self,
        node: &str,
        other: &str,
    ) -> (Box<Signed<Sighting>>, Option<ReasonCode>) {
        let attestation = self.attested(node);
        match self.call(other, KernelCall::Sight { node: id(node), attestation }) {
            KernelReply::Sighted { sighting, refused } => (sighting, refused),
            other => panic!("no sighting: {other:?}"),
        }
    }

    /// ... and what that kernel answers.
    pub(crate) fn shown(&mut self, node: &str, other: &str) -> KernelReply {
        let (sighting, _) = self.sighted(node, other);
        self.call(node, KernelCall::Show { sighting })
    }

    pub(crate) fn pass_ms(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// The boot that a node's kernel runs in.
    pub(crate) fn boot(&mut self, node: &str) -> dvm_core::run::Boot {
        let KernelReply::Attested(attested) = self.call(node, KernelCall::Attest) else {
            panic!("no attestation");
        };
        attested.body.boot
    }

    pub(crate) fn standing(&mut self, node: &str) -> Standing {
        let KernelReply::Attested(attested) = self.call(node, KernelCall::Attest) else {
            panic!("no attestation");
        };
        let written = |file: &str| {
            let file = std::fs::metadata(self.vault_dir(node).join(file)).unwrap();
            (file.len(), file.modified().unwrap())
        };
        Standing {
            files: ["vault.db", "vault.db-wal"].map(written).to_vec(),
            status: self.call(node, KernelCall::Status),
            commits: self.kernel(node).commits(),
            attested: attested.body,
        }
    }

    /// Calls, expects a refusal with this code, that nothing changed, and that nothing was given but the refusal.
    pub(crate) fn refused(&mut self, node: &str, call: KernelCall, code: ReasonCode) {
        let before = self.standing(node);
        let reply = self.call(node, call);
        let (found, rule) = refusal(&reply);
        assert_eq!(found, code, "{rule}");
        let bare = KernelReply::Refused { code, rule: rule.to_owned(), publication: None };
        assert_eq!(reply, bare);
        assert_eq!(self.standing(node), before, "{rule}");
    }

    /// Calls, and expects a signed refusal at the gate with this code.
    pub(crate) fn refused_at_the_gate(
        &mut self,
        node: &str,
        call: KernelCall,
        expected: ReasonCode,
    ) -> PublicationReceipt {
        match self.call(node, call) {
            KernelReply::Refused { code, publication: Some(receipt), .. } => {
                assert_eq!(code, expected);
                let kernel = self.state.passport(&id(node)).unwrap().kernel_key;
                receipt.verify(kernel).unwrap().clone()
            }
            other => panic!("no signed refusal: {other:?}"),
        }
    }

    /// The phases of what a kernel holds.
    pub(crate) fn phases(&mut self, node: &str) -> Vec<String> {
        match self.call(node, KernelCall::Status) {
            KernelReply::Status { held, .. } => held.into_iter().map(|r| r.phase).collect(),
            other => panic!("no status: {other:?}"),
        }
    }

    pub(crate) fn vault_dir(&self, node: &str) -> PathBuf {
        let node = self.nodes.iter().find(|n| n.id.as_str() == node).unwrap();
        node.dir.path().to_owned()
    }

    // ---- governance ------------------------------------------------------------------------

    pub(crate) fn entry(
        &mut self,
        kind: EventKind,
        ready: Option<KeyReadyCertificate>,
    ) -> LogEntry {
        self.nonce += 1;
        let activates = matches!(kind, EventKind::TransitionAuthorized { .. });
        let governors: &[&str] = match needed(&kind) {
            Needed::Nothing | Needed::Earlier => &[],
            Needed::OneGovernor => &["g1"],
            Needed::Quorum => &["g2", "g3"],
        };
        let decided = match &kind {
            EventKind::TransitionAuthorized { key_id } => {
                EventKind::KeyActivated { key_id: key_id.clone() }
            }
            other => other.clone(),
        };
        let terms = Terms {
            floor: activates.then(|| self.floor.clone()),
            proposer: id("g1"),
            not_before_ms: 0,
            expires_ms: self.now_ms() + HOUR_MS,
            nonce: B32([self.nonce; 32]),
        };
        let decision = (!governors.is_empty()).then(|| {
            let decision = draft_decision(&self.state, decided, terms);
            let mut signed = SignedDecision { decision, signatures: Vec::new() };
            for governor in governors {
                let signature = sign_decision(&signed.decision, id(governor), &key(governor));
                attach(&mut signed, signature);
            }
            signed
        });
        let event = draft_event(&self.state, kind, decision.as_ref(), id("n1"));
        LogEntry { event: Signed::new(event, &key("n1/policy")), decision, key_ready: ready }
    }

    /// Cosigned by two kernels and the witness, adopted by all.
    pub(crate) fn govern(&mut self, kind: EventKind, ready: Option<KeyReadyCertificate>) {
        let certified = self.certify(kind, ready);
        for name in NODES {
            self.adopt(name, &certified);
        }
    }

    pub(crate) fn certify(
        &mut self,
        kind: EventKind,
        ready: Option<KeyReadyCertificate>,
    ) -> (LogEntry, HeadCertificate) {
        let entry = self.entry(kind, ready);
        self.state = apply(&self.state, &entry).unwrap();
        let time_s = self.now_ms() / 1_000;
        let mut cosignatures = Vec::new();
        for name in ["n1", "n2"] {
            let call = KernelCall::Cosign { entry: Box::new(entry.clone()), time_s };
            match self.call(name, call) {
                KernelReply::Cosigned(cosignature) => cosignatures.push(cosignature),
                other => panic!("not cosigned: {other:?}"),
            }
        }
        let (cluster, head) = (self.state.cluster(), self.state.head());
        cosignatures.push(cosign(&cluster, &head, id("w1"), time_s, &key("w1/cosign")));
        (entry, HeadCertificate { cluster, head, cosignatures })
    }

    pub(crate) fn adopt(&mut self, node: &str, (entry, certificate): &(LogEntry, HeadCertificate)) {
        let (entries, certificate) = (vec![entry.clone()], Box::new(certificate.clone()));
        let reply = self.call(node, KernelCall::Adopt { entries, certificate });
        assert_eq!(reply, KernelReply::Head(self.state.head()));
    }

    pub(crate) fn activate(&mut self, ready: &KeyReadyCertificate) {
        let key_id = ready.ready.key_id.clone();
        let key_ready_cid = link_of(&ready.ready);
        let published = EventKind::KeyObjectPublished { key_id: key_id.clone(), key_ready_cid };
        self.govern(published, Some(ready.clone()));
        self.govern(EventKind::TransitionAuthorized { key_id: key_id.clone() }, None);
        self.govern(EventKind::KeyActivated { key_id }, None);
    }

    // ---- intents and judgements --------------------------------------------------------------

    pub(crate) fn intent(&self, act: Act, content: Option<&[u8]>, name: &str) -> CanonicalIntent {
        let mut intent = CanonicalIntent {
            cluster: self.state.cluster(),
            tenant: id("tenant"),
            idempotency_key: id(name),
            requester: id("alice"),
            act,
            scope: Scope::Public,
            display_hash: B32::default(),
            expires_ms: self.now_ms() + HOUR_MS,
        };
        let display = dvm_act::display(&intent, content).unwrap();
        intent.display_hash = display.hash();
        intent
    }

    pub(crate) fn keygen_intent(&self, backend: Backend) -> CanonicalIntent {
        let roster = NODES.map(id).to_vec();
        let act = Act::KeyGenerate { key_id: id("treasury"), backend, threshold: 2, roster };
        self.intent(act, None, "make")
    }

    /// A signature over the content, or over its digest where the key's scheme signs digests.
    pub(crate) fn sign_intent(&self, content: &[u8], name: &str) -> CanonicalIntent {
        let (key_id, key_epoch) = (id("treasury"), 1);
        let act = match self.backend.scheme() {
            Scheme::Schnorr => Act::SignMessage {
                key_id,
                key_epoch,
                message: Link::of_raw(content),
                len: content.len() as u64,
            },
            Scheme::Ecdsa => {
                Act::SignDigest { key_id, key_epoch, digest: dvm_core::digest::sha256(content) }
            }
        };
        let beside = act.content_link().map(|_| content);
        self.intent(act, beside, name)
    }

    pub(crate) fn judgement(
        &self,
        node: &str,
        intent: &CanonicalIntent,
        purpose: Purpose,
        verdict: Verdict,
    ) -> Box<Signed<AdmissionReceipt>> {
        let receipt = AdmissionReceipt {
            cluster: self.state.cluster(),
            node: id(node),
            intent: link_of(intent),
            purpose,
            verdict,
            codes: Vec::new(),
            rules: Vec::new(),
            policy_root: self.state.policy_root(),
            policy_receipt: Link::of_raw(b"private"),
            approvals: Vec::new(),
            key_id: intent.act.key_id().clone(),
            key_epoch: intent.act.key_epoch(),
            head: self.state.head(),
            time_ms: self.now_ms(),
        };
        Box::new(Signed::new(receipt, &key(&format!("{node}/policy"))))
    }

    pub(crate) fn approvals(
        &self,
        intent: &CanonicalIntent,
        purpose: &Purpose,
        by: &[&str],
    ) -> Vec<Signed<Approval>> {
        let one = |name: &&str| {
            let approval = Approval {
                cluster: self.state.cluster(),
                approver: id(name),
                purpose: purpose.clone(),
                intent: link_of(intent),
                display_hash: intent.display_hash,
                key_id: intent.act.key_id().clone(),
                key_epoch: intent.act.key_epoch(),
                policy_root: self.state.policy_root(),
                expires_ms: self.now_ms() + HOUR_MS,
            };
            Signed::new(approval, &key(name))
        };
        by.iter().map(one).collect()
    }
}

fn passport(node: &mut Node) -> NodePassport {
    let KernelReply::Attested(attested) = node.kernel.as_mut().unwrap().handle(KernelCall::Attest)
    else {
        panic!("no attestation");
    };
    let body = attested.verify(attested.body.kernel_key).unwrap();
    let name = node.id.as_str();
    NodePassport {
        node: node.id.clone(),
        org: id("org"),
        node_key: key(&format!("{name}/node")).public_key(),
        kernel_key: body.kernel_key,
        sealing_key: body.sealing_key,
        policy_key: key(&format!("{name}/policy")).public_key(),
        generation: 1,
    }
}
