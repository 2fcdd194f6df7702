//! The engine: every decision a node takes, as a pure transition from inputs to effects.
//!
//! Source: the design's life of a signature and life of a key. A driver performs the effects; the
//! simulator performs them too. Time is an argument; randomness is in the kernel.
//!
//! Always true:
//! - effects are performed in order, and a `Send` or `Reply` becomes visible only after every `Write`
//!   before it is durable (the journal's rule);
//! - a frame leaves only as the kernel signed it, and the kernel had it on disk first: the kernel's
//!   vault is the outbox, so the node's own record of a level may follow its frame;
//! - a kernel opens its share only once what its grant rests on is durable: no crash leaves a result that may be out
//!   without the verdict that let it out;
//! - input that is refused changes nothing.
//!
//! Not here: secrets, sockets, files, clocks.

mod approvals;
mod collect;
mod consider;
mod culprits;
mod drive;
mod early;
mod ending;
mod forget;
mod gate;
mod ladder;
mod operation;
mod order;
mod peers;
mod pool;
mod propose;
mod query;
mod records;
mod refill;
mod routes;
mod sightings;
mod submit;
mod tally;
mod timers;

use std::collections::{BTreeMap, BTreeSet};

use dvm_core::authority::ClusterManifest;
use dvm_core::bytes::B32;
use dvm_core::call::{Attestation, KernelCall, KernelReply};
use dvm_core::governance::{HeadCertificate, HeadRef, LogEntry};
use dvm_core::ids::{IdempotencyKey, NodeId, Tenant};
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::run::Boot;
use dvm_core::sighting::FencingRecord;
use dvm_core::sign::Signed;
use dvm_governance::AuthorityState;
use dvm_policy::{Ledger, PolicySet};
use ed25519_dalek::SigningKey;

pub use ladder::{AdmittedFrame, GraphFacts, SignedEnvelope};
pub use operation::{Operation, State};
pub use pool::PoolMarks;
pub use records::Recovered;
pub use refill::SYSTEM_TENANT;
pub use submit::Submission;

use crate::journal::WriteBatch;
use crate::wire::PeerMessage;
use drive::Run;
use early::Early;
use order::Ordering;

/// Names a call or request until its answer comes.
pub type Token = u64;

/// Deadlines, in milliseconds. Named so that a simulator and a slow site can set them.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Ask again for a missing verdict.
    pub consider_retry_ms: u64,
    /// ... and, of what has waited for long, at least so often.
    pub consider_retry_max_ms: u64,
    /// Report `REMOTE_TIMEOUT` when fewer than t have opened.
    pub consider_deadline_ms: u64,
    /// A level open this long is re-sent and reported.
    pub soft_ms: u64,
    /// An act's level open this long aborts the run.
    pub hard_ms: u64,
    /// A publication that waits this long for a peer that is down is tried anew with others.
    pub publish_retry_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            consider_retry_ms: 500,
            consider_retry_max_ms: 60_000,
            consider_deadline_ms: 4_000,
            soft_ms: 1_000,
            hard_ms: 4_000,
            publish_retry_ms: 3_000,
        }
    }
}

/// What a caller of the API asked, already authenticated.
#[derive(Debug)]
pub enum ApiCall {
    /// Perform an act.
    Submit(Box<Submission>),
    /// Count this approval.
    Approve(Box<dvm_core::sign::Signed<dvm_core::admission::Approval>>),
    /// A human no.
    Deny(Box<dvm_core::sign::Signed<dvm_core::admission::Denial>>),
    /// Try the gate again now.
    Release(String),
    /// Order this decision's events.
    Decide(Box<dvm_core::governance::SignedDecision>),
    /// One operation, by intent CID or execution id; waits if asked to.
    Execution {
        /// Which.
        id: String,
        /// How long to wait for it to settle.
        wait_ms: u64,
    },
    /// All operations.
    Executions,
    /// The trace of one operation at this node.
    Trace(String),
    /// All keys.
    Keys,
    /// The certified log.
    Log,
    /// This node and its peers.
    Status,
    /// The bundle of one operation.
    Evidence(String),
    /// What this node counted, and what its kernel has in stock.
    Metrics,
    /// The kernel's word on itself.
    Attestation,
    /// What an approver or governor needs to sign: head, policy root, facts.
    Context,
}

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// An API call.
    Api {
        /// Names the answer.
        token: Token,
        /// The call.
        call: ApiCall,
    },
    /// A peer's message.
    Peer {
        /// By its TLS key.
        from: NodeId,
        /// Serial commits behind it.
        commits: u32,
        /// The message.
        message: PeerMessage,
    },
    /// The kernel answered.
    Kernel {
        /// Which call.
        token: Token,
        /// The answer.
        reply: KernelReply,
    },
    /// A connection came up.
    Up(NodeId),
    /// A connection went down.
    Down(NodeId),
    /// Time passed.
    Tick,
}

/// What an API call gives back.
#[derive(Debug)]
pub enum ApiReply {
    /// A JSON document.
    Json(serde_json::Value),
    /// A CAR file.
    Car(Vec<u8>),
    /// An error.
    Error {
        /// The reason code.
        code: ReasonCode,
        /// For people.
        message: String,
    },
}

/// Something to do.
#[derive(Debug)]
pub enum Effect {
    /// Make this durable before anything visible that follows.
    Write(WriteBatch),
    /// Tell a peer.
    Send {
        /// Whom.
        to: NodeId,
        /// Serial commits behind it.
        commits: u32,
        /// What.
        message: PeerMessage,
    },
    /// Ask the kernel.
    Kernel {
        /// Names the answer.
        token: Token,
        /// The call.
        call: Box<KernelCall>,
        /// Not before so many of this engine's `Write`s are durable.
        after: u64,
    },
    /// Answer an API call.
    Reply {
        /// Which.
        token: Token,
        /// The answer.
        reply: ApiReply,
    },
    /// A structured log line.
    Log {
        /// What happened.
        event: &'static str,
        /// To what.
        subject: String,
        /// Why, if it was refused.
        code: Option<ReasonCode>,
    },
}

/// Why the kernel was asked.
#[derive(Debug)]
enum Want {
    Attest,
    Status,
    Stock { token: Option<Token> },
    Pin,
    Open { intent: Link },
    Start { run: B32 },
    Level { run: B32 },
    Abort { run: B32 },
    Deny { denial: Box<Signed<dvm_core::admission::Denial>> },
    Cosign { entry: Box<LogEntry> },
    Adopt { entries: Vec<LogEntry>, certificate: Box<HeadCertificate> },
    Sight { node: NodeId },
    Show { by: NodeId },
    Fences,
    Greeting { to: NodeId },
    Standing,
}

/// What is known of a peer.
#[derive(Debug, Default)]
struct Peer {
    up: bool,
    boot: Option<Boot>,
    head: Option<HeadRef>,
    /// Its kernel's word on itself, not judged yet.
    attestation: Option<Signed<Attestation>>,
    /// Why the own kernel does no work with its boot.
    refused: Option<ReasonCode>,
    /// Whether its kernel has said, to this boot, what it saw of the own one.
    spoken: bool,
}

/// Who this node is and what it works under.
pub struct Setup {
    /// This node.
    pub me: NodeId,
    /// The cluster.
    pub manifest: ClusterManifest,
    /// Signs this node's control-plane statements.
    pub policy_key: SigningKey,
    /// The policy files in force.
    pub policy: PolicySet,
    /// Random at every start: salts of private receipts come from it.
    pub salt_seed: B32,
    /// Deadlines.
    pub timing: Timing,
    /// What is kept in stock.
    pub pool: PoolMarks,
}

/// A node's whole control-plane state.
pub struct Engine {
    me: NodeId,
    cluster: Link,
    manifest: ClusterManifest,
    policy_key: SigningKey,
    policy: PolicySet,
    ledger: Ledger,
    salt_seed: B32,
    salts: u64,
    timing: Timing,
    /// The time of day. A clock that was set back stands still here until it is past its mark.
    now_ms: u64,
    /// What deadlines are told by: it runs on, from where this engine started, when the clock is set back.
    running_ms: u64,
    /// What the clock said last.
    clock_ms: u64,
    authority: AuthorityState,
    certificate: Option<HeadCertificate>,
    log: Vec<LogEntry>,
    adopting: bool,
    ordering: Ordering,
    attestation: Option<Signed<Attestation>>,
    kernel_ready: bool,
    next_token: Token,
    wants: BTreeMap<Token, Want>,
    operations: BTreeMap<Link, Operation>,
    gathering: BTreeMap<Link, operation::Gathering>,
    by_key: BTreeMap<(Tenant, IdempotencyKey), Link>,
    runs: BTreeMap<B32, Run>,
    /// Act runs that were live when the journal was read, until the kernel says what became of them.
    before_start: BTreeSet<B32>,
    /// Act runs whose share was still in the kernel when this node started, by the kernel's own word.
    unopened: BTreeSet<B32>,
    early: Early,
    /// Which signers go together.
    routes: routes::Routes,
    /// What is to be kept in stock, what is, and what is being made.
    marks: PoolMarks,
    pool: pool::Pool,
    refill: refill::Refill,
    tally: tally::Tally,
    /// When this node last looked for what it need not keep.
    forgot_ms: u64,
    peers: BTreeMap<NodeId, Peer>,
    /// Nodes whose kernels run twice, as the own kernel keeps it.
    fences: Vec<FencingRecord>,
    chain: Vec<dvm_core::sign::Signed<dvm_core::receipt::ChainEntry>>,
    waiters: Vec<query::Waiter>,
    collections: BTreeMap<Link, collect::Collection>,
    out: Vec<Effect>,
    /// Count of `Write`s so far.
    written: u64,
    /// What will be written at which place in `out`.
    owed: Vec<(usize, records::Owed)>,
    /// Where in `out` the frames of the level being taken belong.
    emit_at: Option<usize>,
}

impl Engine {
    /// An engine over what the journal held. The first effects ask the kernel who it is.
    pub fn new(setup: Setup, recovered: Recovered) -> Result<Self, ReasonCode> {
        let cluster = dvm_core::codec::link_of(&setup.manifest);
        let mut peers = BTreeMap::new();
        for member in setup.manifest.members() {
            if member != setup.me {
                peers.insert(member, Peer::default());
            }
        }
        let mut engine = Self {
            authority: AuthorityState::genesis(&setup.manifest).map_err(|e| e.code)?,
            me: setup.me,
            cluster,
            manifest: setup.manifest,
            policy_key: setup.policy_key,
            policy: setup.policy,
            ledger: Ledger::default(),
            salt_seed: setup.salt_seed,
            salts: 0,
            timing: setup.timing,
            now_ms: 0,
            running_ms: 0,
            clock_ms: 0,
            certificate: None,
            log: Vec::new(),
            adopting: false,
            ordering: Ordering::default(),
            attestation: None,
            kernel_ready: false,
            next_token: 1,
            wants: BTreeMap::new(),
            operations: BTreeMap::new(),
            gathering: BTreeMap::new(),
            by_key: BTreeMap::new(),
            runs: BTreeMap::new(),
            before_start: BTreeSet::new(),
            unopened: BTreeSet::new(),
            early: Early::default(),
            routes: routes::Routes::default(),
            marks: setup.pool,
            pool: pool::Pool::default(),
            refill: refill::Refill::default(),
            tally: tally::Tally::default(),
            forgot_ms: 0,
            peers,
            fences: Vec::new(),
            chain: Vec::new(),
            waiters: Vec::new(),
            collections: BTreeMap::new(),
            out: Vec::new(),
            written: 0,
            owed: Vec::new(),
            emit_at: None,
        };
        engine.recover(recovered)?;
        Ok(engine)
    }

    /// Asks the kernel who it is; called once, before any other input.
    pub fn start(&mut self, now_ms: u64) -> Vec<Effect> {
        (self.now_ms, self.running_ms, self.clock_ms) = (now_ms, now_ms, now_ms);
        self.recover_stock(now_ms);
        self.ask(KernelCall::Attest, Want::Attest);
        std::mem::take(&mut self.out)
    }

    /// Takes one input and gives the effects it has.
    pub fn handle(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        self.now_ms = self.now_ms.max(now_ms);
        self.running_ms += now_ms.saturating_sub(self.clock_ms);
        self.clock_ms = now_ms;
        match input {
            Input::Api { token, call } => self.on_api(token, call),
            Input::Peer { from, commits, message } => self.on_peer(&from, commits, message),
            Input::Kernel { token, reply } => self.on_kernel(token, reply),
            Input::Up(node) => self.on_up(&node),
            Input::Down(node) => self.on_down(&node),
            Input::Tick => self.on_tick(),
        }
        self.settle();
        std::mem::take(&mut self.out)
    }

    fn on_api(&mut self, token: Token, call: ApiCall) {
        match call {
            ApiCall::Submit(submission) => self.submit(token, *submission),
            ApiCall::Approve(approval) => self.api_approve(token, *approval),
            ApiCall::Deny(denial) => self.api_deny(token, *denial),
            ApiCall::Release(id) => self.api_release(token, &id),
            ApiCall::Decide(decision) => self.api_decide(token, *decision),
            ApiCall::Execution { id, wait_ms } => self.api_execution(token, &id, wait_ms),
            ApiCall::Evidence(id) => self.api_evidence(token, &id),
            ApiCall::Metrics => self.api_metrics(token),
            other => self.api_query(token, &other),
        }
    }

    fn on_kernel(&mut self, token: Token, reply: KernelReply) {
        let Some(want) = self.wants.remove(&token) else { return };
        match want {
            Want::Attest => self.on_attested(reply),
            Want::Pin => self.on_pinned(reply),
            Want::Status => self.on_status(reply),
            Want::Stock { token } => self.on_stock(token, reply),
            Want::Open { intent } => self.on_opened(&intent, token, reply),
            Want::Start { run } => self.on_started(&run, reply),
            Want::Level { run } => self.on_level(&run, reply),
            Want::Abort { run } => self.on_aborted(&run, reply),
            Want::Deny { denial } => self.on_denied(&denial, reply),
            Want::Cosign { entry } => self.on_cosigned(&entry, reply),
            Want::Adopt { entries, certificate } => self.on_adopted(entries, *certificate, reply),
            Want::Sight { node } => self.on_sighted(&node, reply),
            Want::Show { by } => self.on_shown(&by, reply),
            Want::Fences => self.on_fences(reply),
            Want::Greeting { to } => self.on_greeting(&to, reply),
            Want::Standing => self.on_standing(reply),
        }
        self.let_levels_go();
    }

    fn ask(&mut self, call: KernelCall, want: Want) -> Token {
        self.ask_after(0, call, want)
    }

    /// Asks the kernel once so many writes are durable.
    fn ask_after(&mut self, after: u64, call: KernelCall, want: Want) -> Token {
        let token = self.next_token;
        self.next_token += 1;
        self.wants.insert(token, want);
        self.out.push(Effect::Kernel { token, call: Box::new(call), after });
        token
    }

    fn send(&mut self, to: &NodeId, commits: u32, message: PeerMessage) {
        self.out.push(Effect::Send { to: to.clone(), commits, message });
    }

    fn reply(&mut self, token: Token, reply: ApiReply) {
        self.out.push(Effect::Reply { token, reply });
    }

    fn refuse(&mut self, token: Token, code: ReasonCode, message: impl Into<String>) {
        self.reply(token, ApiReply::Error { code, message: message.into() });
    }

    fn log(&mut self, event: &'static str, subject: impl Into<String>, code: Option<ReasonCode>) {
        self.out.push(Effect::Log { event, subject: subject.into(), code });
    }

    /// This node's certified head.
    pub fn head(&self) -> HeadRef {
        self.authority.head()
    }
}
