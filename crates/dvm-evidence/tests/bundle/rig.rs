//! The cluster: kernels, governance, people, and each node's own records on one intent.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use dvm_core::admission::*;
use dvm_core::authority::*;
use dvm_core::call::*;
use dvm_core::codec::link_of;
use dvm_core::governance::*;
use dvm_core::intent::*;
use dvm_core::receipt::ChainEntry;
use dvm_core::{B32, Bytes, Link, NodeId, ReasonCode, Signed, Signer};
use dvm_evidence::BundleInput;
use dvm_evidence::peer::PeerEvidence;
use dvm_governance::*;
use dvm_kernel::unseal::MasterKey;
use dvm_kernel::vault::Vault;
use dvm_kernel::{About, Kernel, Surroundings};
use dvm_policy::PolicySet;
use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::runs::Live;

pub(crate) const NODES: [&str; 3] = ["n1", "n2", "n3"];
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;

/// The key of a name: everything in tests is derived from names.
pub(crate) fn key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&dvm_core::digest::sha256(name.as_bytes()).0)
}

pub(crate) fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    name.parse().unwrap()
}

pub(crate) fn policy_key(node: &NodeId) -> SigningKey {
    key(&format!("{node}/policy"))
}

fn person(name: &str) -> Person {
    Person { person: id(name), key: key(name).public_key() }
}

fn rule(k: u16) -> ApprovalRule {
    ApprovalRule { set: id("officers"), k }
}

fn sign_floor() -> Floor {
    Floor {
        admit: Some(rule(1)),
        release: ReleaseRule::Approvals(rule(2)),
        acts: vec![ActClass::SignMessage, ActClass::SignEvmTransaction, ActClass::PresignBatch],
        executions_per_hour: 40,
        failures_to_freeze: 2,
    }
}

fn keygen_floor() -> Floor {
    Floor {
        admit: None,
        release: ReleaseRule::Auto,
        acts: vec![ActClass::KeyGenerate],
        ..sign_floor()
    }
}

/// One node: its kernel and what it recorded on the intent at hand.
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) kernel: Kernel,
    pub(crate) chain: Vec<Signed<ChainEntry>>,
    pub(crate) admissions: Vec<Signed<AdmissionReceipt>>,
    pub(crate) approvals: Vec<Signed<Approval>>,
    pub(crate) denials: Vec<Signed<Denial>>,
    pub(crate) runs: Vec<Live>,
    chain_from: usize,
    _dir: TempDir,
}

impl Peer {
    fn start(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let mut rng = ChaCha20Rng::from_seed(dvm_core::digest::sha256(name.as_bytes()).0);
        let master = MasterKey::from_bytes(Zeroizing::new([7; 32]));
        let vault = Vault::open(dir.path(), master, Box::new(rng.clone())).unwrap();
        rng.set_stream(1);
        let around = Surroundings { rng: Box::new(rng), wall_ms: Box::new(|| NOW_MS) };
        let layers = Layers {
            dies_with_parent: false,
            no_core_dumps: false,
            non_dumpable: false,
            memory_locked: false,
            network_namespace: false,
            no_new_privs: false,
            landlock_abi: 0,
            seccomp: false,
        };
        let kernel = Kernel::start(vault, around, About { binary: B32::default(), layers });
        Self {
            id: id(name),
            kernel: kernel.unwrap(),
            chain: vec![],
            admissions: vec![],
            approvals: vec![],
            denials: vec![],
            runs: vec![],
            chain_from: 0,
            _dir: dir,
        }
    }

    fn passport(&mut self) -> NodePassport {
        let KernelReply::Attested(attested) = self.kernel.handle(KernelCall::Attest) else {
            panic!("no attestation");
        };
        NodePassport {
            node: self.id.clone(),
            org: id("org"),
            node_key: key(&format!("{}/node", self.id)).public_key(),
            kernel_key: attested.body.kernel_key,
            sealing_key: attested.body.sealing_key,
            policy_key: policy_key(&self.id).public_key(),
            generation: 1,
        }
    }

    /// A place in the node's chain.
    pub(crate) fn chain_receipt(&mut self, cluster: Link, receipt: Link) {
        let entry = ChainEntry {
            cluster,
            node: self.id.clone(),
            seq: self.chain.len() as u64,
            prev: self.chain.last().map(Signed::link),
            same_intent: self.chain[self.chain_from..].last().map(Signed::link),
            receipt,
        };
        self.chain.push(Signed::new(entry, &policy_key(&self.id)));
    }

    fn part(&self) -> PeerEvidence {
        PeerEvidence {
            node: self.id.clone(),
            admissions: self.admissions.clone(),
            approvals: self.approvals.clone(),
            denials: self.denials.clone(),
            runs: self.runs.iter().map(Live::evidence).collect(),
            chain: self.chain[self.chain_from..].to_vec(),
        }
    }
}

/// Everything.
pub(crate) struct Rig {
    pub(crate) genesis: ClusterManifest,
    pub(crate) state: AuthorityState,
    pub(crate) peers: Vec<Peer>,
    pub(crate) intent: Option<CanonicalIntent>,
    pub(crate) content: Option<Bytes>,
    pub(crate) result: Option<Bytes>,
    log: Vec<LogEntry>,
    certificate: Option<HeadCertificate>,
}

impl Rig {
    /// Three pinned kernels under a formed cluster.
    pub(crate) fn formed() -> Self {
        let mut peers: Vec<Peer> = NODES.iter().map(|name| Peer::start(name)).collect();
        let genesis = ClusterManifest {
            name: id("test"),
            nonce: B32([1; 32]),
            nodes: peers.iter_mut().map(Peer::passport).collect(),
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
            policy_root: PolicySet::shipped().unwrap().policy_root(),
            keygen_floor: keygen_floor(),
        };
        for peer in &mut peers {
            let manifest = Box::new(genesis.clone());
            let reply = peer.kernel.handle(KernelCall::Pin { manifest, node: peer.id.clone() });
            assert!(matches!(reply, KernelReply::Head(_)));
        }
        let state = AuthorityState::genesis(&genesis).unwrap();
        let manifest = state.cluster();
        let (log, certificate) = (vec![], None);
        let (intent, content, result) = (None, None, None);
        let mut rig = Self { genesis, state, peers, intent, content, result, log, certificate };
        rig.govern(EventKind::ClusterFormed { manifest }, None);
        rig
    }

    /// ... with an active key of this backend.
    pub(crate) fn active(backend: Backend) -> Self {
        let mut rig = Self::formed();
        rig.make_key(backend);
        let ready: KeyReadyCertificate =
            dvm_core::codec::decode(rig.result.as_ref().unwrap()).unwrap();
        let (key_id, key_ready_cid) = (ready.ready.key_id.clone(), link_of(&ready.ready));
        let published = EventKind::KeyObjectPublished { key_id: key_id.clone(), key_ready_cid };
        rig.govern(published, Some(ready));
        rig.govern(EventKind::TransitionAuthorized { key_id: key_id.clone() }, None);
        rig.govern(EventKind::KeyActivated { key_id }, None);
        rig
    }

    pub(crate) fn cluster(&self) -> Link {
        link_of(&self.genesis)
    }

    pub(crate) fn peer(&mut self, node: &NodeId) -> &mut Peer {
        self.peers.iter_mut().find(|p| p.id == *node).unwrap()
    }

    fn entry(&self, kind: EventKind, ready: Option<KeyReadyCertificate>) -> LogEntry {
        let decided = match &kind {
            EventKind::TransitionAuthorized { key_id } => {
                EventKind::KeyActivated { key_id: key_id.clone() }
            }
            other => other.clone(),
        };
        let activates = matches!(decided, EventKind::KeyActivated { .. });
        let terms = Terms {
            floor: activates.then(sign_floor),
            proposer: id("g1"),
            not_before_ms: 0,
            expires_ms: NOW_MS + HOUR_MS,
            nonce: B32([9; 32]),
        };
        let decision = (needed(&kind) == Needed::Quorum).then(|| {
            let decision = draft_decision(&self.state, decided, terms);
            let mut signed = SignedDecision { decision, signatures: vec![] };
            for governor in ["g2", "g3"] {
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
        let entry = self.entry(kind, ready);
        self.state = apply(&self.state, &entry).unwrap();
        let time_s = NOW_MS / 1_000;
        let mut cosignatures = vec![];
        for peer in &mut self.peers[..2] {
            let call = KernelCall::Cosign { entry: Box::new(entry.clone()), time_s };
            match peer.kernel.handle(call) {
                KernelReply::Cosigned(cosignature) => cosignatures.push(cosignature),
                other => panic!("not cosigned: {other:?}"),
            }
        }
        let (cluster, head) = (self.state.cluster(), self.state.head());
        cosignatures.push(cosign(&cluster, &head, id("w1"), time_s, &key("w1/cosign")));
        let certificate = HeadCertificate { cluster, head, cosignatures };
        for peer in &mut self.peers {
            let (entries, certificate) = (vec![entry.clone()], Box::new(certificate.clone()));
            let reply = peer.kernel.handle(KernelCall::Adopt { entries, certificate });
            assert_eq!(reply, KernelReply::Head(head));
        }
        self.log.push(entry);
        self.certificate = Some(certificate);
    }

    /// A new intent: the nodes' records on it are empty.
    pub(crate) fn ask(&mut self, act: Act, content: Option<&[u8]>, name: &str) {
        let mut intent = CanonicalIntent {
            cluster: self.state.cluster(),
            tenant: id("tenant"),
            idempotency_key: id(name),
            requester: id("alice"),
            act,
            scope: Scope::Public,
            display_hash: B32::default(),
            expires_ms: NOW_MS + HOUR_MS,
        };
        intent.display_hash = dvm_act::display(&intent, content).unwrap().hash();
        self.intent = Some(intent);
        self.content = content.map(Bytes::from);
        self.result = None;
        for peer in &mut self.peers {
            peer.admissions.clear();
            peer.approvals.clear();
            peer.denials.clear();
            peer.runs.clear();
            peer.chain_from = peer.chain.len();
        }
    }

    pub(crate) fn ask_signature(&mut self, content: &[u8], name: &str) {
        let act = Act::SignMessage {
            key_id: id("treasury"),
            key_epoch: 1,
            message: Link::of_raw(content),
            len: content.len() as u64,
        };
        self.ask(act, Some(content), name);
    }

    pub(crate) fn asked(&self) -> CanonicalIntent {
        self.intent.clone().unwrap()
    }

    /// People approve; every node sees it.
    pub(crate) fn approve(&mut self, purpose: &Purpose, by: &[&str]) {
        let intent = self.asked();
        for name in by {
            let approval = Approval {
                cluster: self.state.cluster(),
                approver: id(name),
                purpose: purpose.clone(),
                intent: link_of(&intent),
                display_hash: intent.display_hash,
                key_id: intent.act.key_id().clone(),
                key_epoch: intent.act.key_epoch(),
                policy_root: self.state.policy_root(),
                expires_ms: NOW_MS + HOUR_MS,
            };
            let signed = Signed::new(approval, &key(name));
            for peer in &mut self.peers {
                peer.approvals.push(signed.clone());
            }
        }
    }

    /// A node's verdict; an allowing one lists the approvals that the floor counts.
    pub(crate) fn judge(
        &mut self,
        node: &NodeId,
        purpose: &Purpose,
        codes: &[ReasonCode],
    ) -> Signed<AdmissionReceipt> {
        let intent = self.asked();
        let state = self.state.clone();
        let peer = self.peer(node);
        let floor = authority_for(&state, &intent, NOW_MS).unwrap().floor();
        let context = ApprovalContext::of(&state, &intent, purpose, NOW_MS);
        let (sets, approvals) = (state.sets(), &peer.approvals);
        let counted = match purpose {
            Purpose::Admit => {
                check_floor_admit(floor, intent.act.class(), sets, approvals, &context)
            }
            Purpose::Release { .. } => check_floor_release(floor, sets, approvals, &context),
        };
        let verdict = match codes {
            [] => Verdict::Allow,
            [ReasonCode::ApprovalsMissing] => Verdict::Awaiting,
            _ => Verdict::Deny,
        };
        let receipt = AdmissionReceipt {
            cluster: state.cluster(),
            node: node.clone(),
            intent: link_of(&intent),
            purpose: purpose.clone(),
            verdict,
            codes: codes.to_vec(),
            rules: vec!["20-sign-message/allowed".into()],
            policy_root: state.policy_root(),
            policy_receipt: Link::of_artifact(b"private"),
            approvals: counted.unwrap_or_default(),
            key_id: intent.act.key_id().clone(),
            key_epoch: intent.act.key_epoch(),
            head: state.head(),
            time_ms: NOW_MS,
        };
        let signed = Signed::new(receipt, &policy_key(node));
        peer.admissions.push(signed.clone());
        peer.chain_receipt(state.cluster(), signed.link());
        signed
    }

    /// Ends the kernels and takes their signing keys out of their vaults: what the worst liar has.
    pub(crate) fn steal(self) -> BTreeMap<NodeId, SigningKey> {
        let steal = |peer: Peer| {
            let Peer { id, kernel, _dir: dir, .. } = peer;
            drop(kernel);
            let master = MasterKey::from_bytes(Zeroizing::new([7; 32]));
            let rng = ChaCha20Rng::from_seed([1; 32]);
            let mut vault = Vault::open(dir.path(), master, Box::new(rng)).unwrap();
            let own = vault.get("own-keys", b"own").unwrap().unwrap();
            (id, SigningKey::from_bytes(own.plaintext[..32].try_into().unwrap()))
        };
        self.peers.into_iter().map(steal).collect()
    }

    /// What `n1` exports.
    pub(crate) fn input(&self) -> BundleInput {
        BundleInput {
            manifest: self.genesis.clone(),
            log: self.log.clone(),
            certificate: self.certificate.clone(),
            intent: self.asked(),
            content: self.content.clone(),
            policy: PolicySet::shipped().unwrap().bundle().clone(),
            parts: self.peers.iter().map(Peer::part).collect(),
            result: self.result.clone(),
            exporter: id("n1"),
        }
    }

    pub(crate) fn bundle(&self) -> Vec<u8> {
        write(self.input())
    }
}

pub(crate) fn write(input: BundleInput) -> Vec<u8> {
    let signer = policy_key(&input.exporter);
    dvm_evidence::write_bundle(input, &signer).unwrap()
}
