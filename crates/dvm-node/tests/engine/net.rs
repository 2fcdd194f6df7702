//! The in-process cluster: engines, kernels, journals as maps, one queue of messages.

pub mod acts;
mod backup;
mod faults;
mod lies;
mod losses;
pub mod stock;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dvm_core::admission::*;
use dvm_core::authority::*;
use dvm_core::call::*;
use dvm_core::governance::*;
use dvm_core::intent::*;
use dvm_core::{B32, NodeId, ReasonCode, Signed, Signer, codec};
use dvm_kernel::unseal::MasterKey;
use dvm_kernel::vault::Vault;
use dvm_kernel::{About, Kernel, Surroundings};
use dvm_node::engine::*;
use dvm_node::journal::{Table, Write};
use dvm_node::wire::PeerMessage;
use dvm_policy::{PolicyFile, PolicySet, Role};
use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::Value;
use tempfile::TempDir;
use zeroize::Zeroizing;

pub const NODES: [&str; 3] = ["n1", "n2", "n3"];
const NOW_MS: u64 = 1_800_000_000_000;
const YEAR_MS: u64 = 365 * 86_400_000;

pub fn key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&dvm_core::digest::sha256(name.as_bytes()).0)
}

pub fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    name.parse().unwrap()
}

fn person(name: &str) -> Person {
    Person { person: id(name), key: key(name).public_key() }
}

/// A floor with so many approvals to admit and to release; 0 for none.
pub fn floor(admit: u16, release: u16) -> Floor {
    let rule = |k| ApprovalRule { set: id("treasury"), k };
    Floor {
        admit: (admit > 0).then(|| rule(admit)),
        release: if release > 0 {
            ReleaseRule::Approvals(rule(release))
        } else {
            ReleaseRule::Auto
        },
        acts: vec![ActClass::SignMessage, ActClass::SignDigest, ActClass::SignEvmTransaction],
        executions_per_hour: 100,
        failures_to_freeze: 3,
    }
}

/// What a hostile node makes of each message it sends, before it leaves: the receiver, whether a frame is of an act
/// run, and the message; gives what leaves instead.
pub type Lie = Box<dyn FnMut(&NodeId, bool, PeerMessage) -> Vec<PeerMessage>>;

type Tables = BTreeMap<u8, BTreeMap<Vec<u8>, Vec<u8>>>;

struct Host {
    dir: TempDir,
    kernel: Option<Kernel>,
    engine: Option<Engine>,
    tables: Tables,
    starts: u64,
}

pub struct Net {
    names: Vec<&'static str>,
    hosts: BTreeMap<NodeId, Host>,
    manifest: ClusterManifest,
    witness: dvm_node::witness::Witness,
    queue: VecDeque<(NodeId, Input)>,
    to_witness: VecDeque<(NodeId, PeerMessage)>,
    replies: BTreeMap<Token, ApiReply>,
    down: BTreeSet<NodeId>,
    clock: Arc<AtomicU64>,
    next: Token,
    /// Who lies, and how.
    lie: Option<(NodeId, Lie)>,
    acts: BTreeSet<B32>,
    /// Log lines with a code: where, what, why.
    pub refusals: Vec<(NodeId, &'static str, ReasonCode)>,
    /// A node whose kernel answers only when the network is quiet.
    pub slow: Option<NodeId>,
    /// A node whose kernel's disk is full.
    pub full: Option<NodeId>,
    /// A node that dies when its kernel has performed this level of an act, before its engine hears of it.
    pub dies: Option<(NodeId, u16)>,
    /// What each node keeps in stock, from its next start on.
    pub marks: PoolMarks,
    /// Levels of batches that a kernel was asked for, and how many other answers its engine waited for then.
    pub batch_levels: Vec<usize>,
    batches: BTreeSet<B32>,
    _witness_dir: TempDir,
}

fn table_index(table: Table) -> u8 {
    Table::ALL.iter().position(|t| *t == table).unwrap() as u8
}

fn boot_kernel(name: &str, starts: u64, dir: &TempDir, clock: &Arc<AtomicU64>) -> Kernel {
    let seed = dvm_core::digest::sha256(format!("{name}/{starts}").as_bytes()).0;
    let rng = ChaCha20Rng::from_seed(seed);
    let master = MasterKey::from_bytes(Zeroizing::new([7; 32]));
    let vault = Vault::open(dir.path(), master, Box::new(rng.clone())).unwrap();
    let clock = clock.clone();
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
    let mut rng = rng;
    rng.set_stream(1);
    let wall_ms = Box::new(move || clock.load(Ordering::SeqCst));
    let around = Surroundings { rng: Box::new(rng), wall_ms };
    Kernel::start(vault, around, About { binary: B32::default(), layers }).unwrap()
}

impl Net {
    /// Three nodes and a witness under a formed cluster.
    pub fn formed() -> Self {
        Self::of(&NODES)
    }

    /// These nodes and a witness under a formed cluster.
    pub fn of(names: &[&'static str]) -> Self {
        let clock = Arc::new(AtomicU64::new(NOW_MS));
        let mut hosts = BTreeMap::new();
        let mut passports = Vec::new();
        for &name in names {
            let dir = tempfile::tempdir().unwrap();
            std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
            let mut kernel = boot_kernel(name, 1, &dir, &clock);
            let KernelReply::Attested(a) = kernel.handle(KernelCall::Attest) else { panic!() };
            passports.push(NodePassport {
                node: id(name),
                org: id(name),
                node_key: key(&format!("{name}/node")).public_key(),
                kernel_key: a.body.kernel_key,
                sealing_key: a.body.sealing_key,
                policy_key: key(&format!("{name}/policy")).public_key(),
                generation: 1,
            });
            let host =
                Host { dir, kernel: Some(kernel), engine: None, tables: Tables::new(), starts: 1 };
            hosts.insert(id(name), host);
        }
        let manifest = manifest(passports);
        let witness_dir = tempfile::tempdir().unwrap();
        let loaded = dvm_node::journal::Journal::open(&witness_dir.path().join("w.db")).unwrap();
        let witness =
            dvm_node::witness::Witness::new(id("w1"), &manifest, key("w1/cosign"), &loaded)
                .unwrap();
        let mut net = Self {
            names: names.to_vec(),
            hosts,
            manifest,
            witness,
            queue: VecDeque::new(),
            to_witness: VecDeque::new(),
            replies: BTreeMap::new(),
            down: BTreeSet::new(),
            clock,
            next: 1,
            lie: None,
            acts: BTreeSet::new(),
            refusals: Vec::new(),
            slow: None,
            full: None,
            dies: None,
            marks: PoolMarks::default(),
            batch_levels: Vec::new(),
            batches: BTreeSet::new(),
            _witness_dir: witness_dir,
        };
        for name in names {
            net.start_engine(name);
        }
        for a in names {
            for b in names.iter().filter(|b| *b != a) {
                net.queue.push_back((id(a), Input::Up(id(b))));
            }
        }
        net.settle();
        net.pass_ms(100);
        assert_eq!(net.log_size("n3"), 1, "the cluster forms");
        net
    }

    /// ... with an active Ed25519 key `demo` under this floor.
    pub fn with_key(floor: Floor) -> Self {
        Self::with_key_of(Backend::FrostEd25519, floor)
    }

    /// ... with an active key `demo` of this backend.
    pub fn with_key_of(backend: Backend, floor: Floor) -> Self {
        let mut net = Self::formed();
        let view = net.make_key(backend);
        assert_eq!(view["state"], "Published", "{view:#}");
        net.activate("demo", floor);
        net
    }

    fn start_engine(&mut self, name: &str) {
        let host = self.hosts.get_mut(&id::<NodeId>(name)).unwrap();
        let rows = |t: Table| host.tables.get(&table_index(t)).cloned().unwrap_or_default();
        let values = |t: Table| rows(t).into_values().collect();
        let found = Recovered {
            intents: values(Table::Intents),
            runs: values(Table::Executions),
            events: rows(Table::TraceEvents).into_iter().collect(),
            frames: rows(Table::Outbox).into_iter().collect(),
            log: values(Table::GovLog),
            chain: values(Table::Chain),
            meta: rows(Table::Meta).into_iter().collect(),
        };
        let setup = Setup {
            me: id(name),
            manifest: self.manifest.clone(),
            policy_key: key(&format!("{name}/policy")),
            policy: policy(),
            salt_seed: B32([3; 32]),
            timing: Timing::default(),
            pool: self.marks.clone(),
        };
        let mut engine = Engine::new(setup, found).unwrap();
        let effects = engine.start(self.clock.load(Ordering::SeqCst));
        host.engine = Some(engine);
        self.perform(&id(name), effects);
    }

    fn perform(&mut self, at: &NodeId, effects: Vec<Effect>) {
        let mut records = BTreeSet::new();
        for effect in effects {
            match effect {
                Effect::Write(batch) => {
                    let host = self.hosts.get_mut(at).unwrap();
                    for write in batch {
                        if let Write::Put {
                            table: Table::Intents | Table::Executions, key, ..
                        } = &write
                        {
                            assert!(records.insert(key.clone()), "one input wrote a record twice");
                        }
                        apply(&mut host.tables, write);
                    }
                }
                Effect::Send { to, commits, message } => {
                    // Every message crosses the wire in its canonical form.
                    let wire = dvm_node::wire::Wire { commits, message };
                    let wire: dvm_node::wire::Wire = codec::decode(&codec::encode(&wire)).unwrap();
                    if self.down.contains(&to) || self.down.contains(at) {
                        continue;
                    }
                    for message in self.told(at, &to, wire.message) {
                        if to.as_str() == "w1" {
                            self.to_witness.push_back((at.clone(), message));
                        } else {
                            let input = Input::Peer { from: at.clone(), commits, message };
                            self.queue.push_back((to.clone(), input));
                        }
                    }
                }
                Effect::Kernel { token, call, .. } => {
                    self.note_batch_level(at, &call);
                    let Some(reply) = self.answered(at, *call) else { return };
                    self.queue.push_back((at.clone(), Input::Kernel { token, reply }));
                }
                Effect::Reply { token, reply } => {
                    self.replies.insert(token, reply);
                }
                Effect::Log { event, subject, code } => {
                    self.refusals.extend(code.map(|code| (at.clone(), event, code)));
                    if std::env::var_os("NET_LOG").is_some() {
                        eprintln!("{at} {event} {subject} {code:?}");
                    }
                }
            }
        }
    }

    /// Delivers until nothing is under way.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            if let Some((from, message)) = self.to_witness.pop_front() {
                let now = self.clock.load(Ordering::SeqCst);
                let step = self.witness.handle(now, &from, message);
                for (to, message) in step.sends {
                    let input = Input::Peer { from: id("w1"), commits: 0, message };
                    self.queue.push_back((to, input));
                }
                continue;
            }
            let waits = |(to, input): &(NodeId, Input)| {
                self.slow.as_ref() == Some(to) && matches!(input, Input::Kernel { .. })
            };
            let next = self.queue.iter().position(|entry| !waits(entry)).unwrap_or(0);
            let Some((to, input)) = self.queue.remove(next) else { return };
            if self.down.contains(&to) {
                continue;
            }
            let now = self.clock.load(Ordering::SeqCst);
            let Some(engine) = self.hosts.get_mut(&to).and_then(|h| h.engine.as_mut()) else {
                continue;
            };
            let effects = engine.handle(now, input);
            self.perform(&to, effects);
        }
        panic!("the network does not settle");
    }

    /// Time passes, in ticks of 50 ms.
    pub fn pass_ms(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(50) {
            self.clock.fetch_add(50, Ordering::SeqCst);
            for &name in &self.names {
                self.queue.push_back((id(name), Input::Tick));
            }
            self.settle();
        }
    }

    pub fn take_down(&mut self, name: &str) {
        self.down.insert(id(name));
        for other in self.names.iter().filter(|n| **n != name) {
            self.queue.push_back((id(other), Input::Down(id(name))));
        }
        self.settle();
    }

    pub fn bring_up(&mut self, name: &str) {
        self.down.remove(&id::<NodeId>(name));
        for other in self.names.iter().filter(|n| **n != name) {
            self.queue.push_back((id(other), Input::Up(id(name))));
            self.queue.push_back((id(name), Input::Up(id(other))));
        }
        self.settle();
    }

    /// The process dies, its kernel with it; only its disks come back.
    pub fn crash_and_restart(&mut self, name: &str) {
        self.take_down(name);
        let host = self.hosts.get_mut(&id::<NodeId>(name)).unwrap();
        host.engine = None;
        host.kernel = None;
        host.starts += 1;
        host.kernel = Some(boot_kernel(name, host.starts, &host.dir, &self.clock));
        self.queue.retain(|(to, _)| to.as_str() != name);
        self.down.remove(&id::<NodeId>(name));
        self.start_engine(name);
        self.settle();
        self.bring_up(name);
    }

    fn api(&mut self, at: &str, call: ApiCall) -> ApiReply {
        self.next += 1;
        let token = self.next;
        self.queue.push_back((id(at), Input::Api { token, call }));
        self.settle();
        for _ in 0..200 {
            if let Some(reply) = self.replies.remove(&token) {
                return reply;
            }
            self.pass_ms(50);
        }
        panic!("no answer");
    }

    fn json(&mut self, at: &str, call: ApiCall) -> Value {
        match self.api(at, call) {
            ApiReply::Json(value) => value,
            ApiReply::Error { code, message } => panic!("{code}: {message}"),
            ApiReply::Car(_) => panic!("a bundle"),
        }
    }

    fn submission(name: &str, act: Act, content: Option<Vec<u8>>) -> ApiCall {
        ApiCall::Submit(Box::new(Submission {
            tenant: id("acme"),
            requester: id("alice"),
            idempotency_key: id(name),
            roles: BTreeSet::from([Role::Client, Role::Operator]),
            act,
            content,
            expires_ms: None,
            wait_ms: 9_000,
            until_executed: false,
        }))
    }

    pub fn submit(&mut self, at: &str, name: &str, act: Act, content: Option<Vec<u8>>) -> Value {
        let view = self.json(at, Self::submission(name, act, content));
        self.settle();
        view
    }

    pub fn view(&mut self, at: &str, view: &Value) -> Value {
        let id = view["intent"].as_str().unwrap().to_owned();
        self.json(at, ApiCall::Execution { id, wait_ms: 0 })
    }

    pub fn log_size(&mut self, at: &str) -> u64 {
        self.json(at, ApiCall::Status)["log_size"].as_u64().unwrap()
    }

    pub fn key_state(&mut self, at: &str, key_id: &str) -> String {
        let keys = self.json(at, ApiCall::Keys);
        let found =
            keys["keys"].as_array().unwrap().iter().find(|k| k["key_id"] == key_id).cloned();
        found.map(|k| k["state"].as_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// Two governors decide, and the activation becomes effective.
    pub fn activate(&mut self, key_id: &str, floor: Floor) {
        self.decide(EventKind::KeyActivated { key_id: id(key_id) }, Some(floor), &["g1", "g2"]);
        assert_eq!(self.key_state("n3", key_id), "Active");
    }

    /// These governors decide at the current head, and it becomes effective.
    pub fn decide(&mut self, kind: EventKind, floor: Option<Floor>, governors: &[&str]) {
        let context = self.json("n1", ApiCall::Context);
        let mut state = dvm_governance::AuthorityState::genesis(&self.manifest).unwrap();
        for entry in context["log_hex"].as_array().unwrap() {
            let bytes = hex::decode(entry.as_str().unwrap()).unwrap();
            state = dvm_governance::apply(&state, &codec::decode(&bytes).unwrap()).unwrap();
        }
        let terms = dvm_governance::Terms {
            floor,
            proposer: id("g3"),
            not_before_ms: NOW_MS,
            expires_ms: NOW_MS + YEAR_MS,
            nonce: B32([8; 32]),
        };
        let decision = dvm_governance::draft_decision(&state, kind, terms);
        let mut signed = SignedDecision { decision, signatures: Vec::new() };
        for governor in governors {
            let signature =
                dvm_governance::sign_decision(&signed.decision, id(governor), &key(governor));
            dvm_governance::attach(&mut signed, signature);
        }
        let view = self.json("n2", ApiCall::Decide(Box::new(signed)));
        assert_eq!(view["effective"], true);
        self.settle();
    }

    fn approval(&mut self, view: &Value, person: &str, purpose: Purpose) -> Signed<Approval> {
        let approval = Approval {
            cluster: codec::link_of(&self.manifest),
            approver: id(person),
            purpose,
            intent: view["intent"].as_str().unwrap().parse().unwrap(),
            display_hash: B32::from_hex(view["display_hash"].as_str().unwrap()).unwrap(),
            key_id: id(view["key_id"].as_str().unwrap()),
            key_epoch: 1,
            policy_root: self.manifest.policy_root,
            expires_ms: NOW_MS + YEAR_MS,
        };
        Signed::new(approval, &key(person))
    }

    pub fn approve_admission(&mut self, at: &str, view: &Value, person: &str) {
        let approval = self.approval(view, person, Purpose::Admit);
        self.api(at, ApiCall::Approve(Box::new(approval)));
        self.settle();
    }

    pub fn approve_release(&mut self, at: &str, view: &Value, person: &str) {
        let hex = |name: &str| B32::from_hex(view[name].as_str().unwrap()).unwrap();
        let purpose =
            Purpose::Release { execution_id: hex("execution_id"), result_ref: hex("result_ref") };
        let approval = self.approval(view, person, purpose);
        self.api(at, ApiCall::Approve(Box::new(approval)));
        self.settle();
    }

    pub fn deny(&mut self, at: &str, view: &Value, person: &str) {
        let denial = Denial {
            cluster: codec::link_of(&self.manifest),
            approver: id(person),
            intent: view["intent"].as_str().unwrap().parse().unwrap(),
            display_hash: B32::from_hex(view["display_hash"].as_str().unwrap()).unwrap(),
            key_id: id(view["key_id"].as_str().unwrap()),
            key_epoch: 1,
        };
        self.api(at, ApiCall::Deny(Box::new(Signed::new(denial, &key(person)))));
        self.settle();
    }
}

fn apply(tables: &mut Tables, write: Write) {
    match write {
        Write::Put { table, key, value } => {
            tables.entry(table_index(table)).or_default().insert(key, value);
        }
        Write::Insert { table, key, value } => {
            let before = tables.entry(table_index(table)).or_default().insert(key, value);
            assert!(before.is_none(), "insert met an existing key");
        }
        Write::Delete { table, key } => {
            tables.entry(table_index(table)).or_default().remove(&key);
        }
    }
}

/// The shipped policies, and one for digests, which every key can sign.
fn policy() -> PolicySet {
    const DIGESTS: &str = r#"@id("digests") permit (principal, action == Dvm::Action::"sign.digest", resource)
        when { resource.state == "Active" && context.floor_met };"#;
    let shipped = PolicySet::shipped().unwrap();
    let named = |file: &PolicyFile| (file.name.clone(), file.text.clone());
    let mut files: BTreeMap<String, String> = shipped.bundle().files.iter().map(named).collect();
    files.insert("22-sign-digest".to_owned(), DIGESTS.to_owned());
    PolicySet::load(files).unwrap()
}

fn manifest(nodes: Vec<NodePassport>) -> ClusterManifest {
    let faults = (nodes.len() / 2) as u16;
    ClusterManifest {
        name: id("test"),
        nonce: B32([1; 32]),
        nodes,
        witnesses: vec![WitnessPassport {
            node: id("w1"),
            org: id("org"),
            node_key: key("w1/node").public_key(),
            cosign_key: key("w1/cosign").public_key(),
        }],
        faults,
        sequencer: id("n1"),
        governors: Governors {
            threshold: 2,
            members: ["g1", "g2", "g3"].map(person).to_vec(),
            proposer_counts: false,
        },
        approvers: vec![ApproverSet {
            name: id("treasury"),
            members: ["a1", "a2", "a3"].map(person).to_vec(),
        }],
        policy_root: policy().policy_root(),
        keygen_floor: Floor {
            admit: None,
            release: ReleaseRule::Auto,
            acts: vec![ActClass::KeyGenerate],
            executions_per_hour: 10,
            failures_to_freeze: 3,
        },
    }
}
