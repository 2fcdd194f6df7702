//! The world of one seed: three nodes, a witness, a network, people, and virtual time.
//!
//! Always true: everything that happens is an event of one queue, ordered by (time, number); every
//! event is fed to a running hash and to the judge. Effects are performed as the node's driver
//! performs them: kernel calls at once, sends and replies only after the writes before them.
//!
//! Not here: which faults happen (`plan`), what people do (`people`), what must hold (`judge`).

use std::collections::BTreeMap;
use std::path::Path;

use dvm_core::admission::Approval;
use dvm_core::authority::ClusterManifest;
use dvm_core::{Link, NodeId, Signed, codec};
use dvm_node::engine::{ApiCall, ApiReply, Effect, Input, Token};
use dvm_node::wire::{PeerMessage, Wire};
use dvm_node::witness::Witness;
use dvm_policy::PolicySet;
use sha2::{Digest as _, Sha256};

use crate::cast::{self, NODES, WITNESS};
use crate::coverage::{Coverage, Kind};
use crate::dice::Dice;
use crate::disk::{Tables, VaultFiles};
use crate::host::{Alive, Asked, Host, Item};
use crate::hostile::Memory;
use crate::judge::{Complaint, Fact, Judge};
use crate::liar::Liar;
use crate::network::Network;
use crate::people::People;
use crate::plan::{Fault, Plan};
use crate::story::Story;
use crate::{SimError, disk, limit, watch};

/// How often time alone is an input.
const TICK_MS: u64 = 50;
/// A kernel call takes so long.
const KERNEL_MS: u64 = 1;

/// An event of the queue.
pub(crate) enum Event {
    Deliver { from: usize, to: usize, line: u64, bytes: Vec<u8> },
    ToWitness { from: usize, message: Box<PeerMessage> },
    FromWitness { to: usize, message: Box<PeerMessage> },
    KernelTurn { node: usize, life: u64 },
    KernelSays { node: usize, life: u64, token: Token, reply: Box<dvm_core::call::KernelReply> },
    JournalTurn { node: usize, life: u64 },
    Tick { node: usize, life: u64 },
    Line { node: usize, life: u64, peer: usize, up: bool },
    Person(usize),
    Fault(Fault),
    Restart(usize),
}

/// Why a world stopped.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// A checker complains.
    #[error("{}: {}", .0.checker, .0.what)]
    Complaint(Complaint),
    /// The simulation itself failed.
    #[error(transparent)]
    Sim(#[from] SimError),
}

impl From<Complaint> for Halt {
    fn from(complaint: Complaint) -> Self {
        Self::Complaint(complaint)
    }
}

pub(crate) type Done = Result<(), Halt>;

/// What a world starts from.
pub(crate) struct Origin<'a> {
    pub seed: u64,
    pub manifest: ClusterManifest,
    pub policy: &'a PolicySet,
    pub witness: Witness,
    pub plan: Plan,
    pub people: People,
    pub judge: Judge,
    pub told: bool,
}

/// The world of one seed.
pub struct World {
    pub(crate) now_ms: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) manifest: ClusterManifest,
    pub(crate) policy: PolicySet,
    pub(crate) dice: Dice,
    pub(crate) plan: Plan,
    pub(crate) network: Network,
    pub(crate) people: People,
    pub(crate) judge: Judge,
    pub(crate) liar: Option<Liar>,
    pub(crate) coverage: Coverage,
    pub(crate) story: Story,
    /// Faults are over; what is well must come to an end.
    pub(crate) healed: bool,
    pub(crate) copies: BTreeMap<usize, (VaultFiles, Tables)>,
    pub(crate) witness_tables: Tables,
    /// Every approval that a person has signed: once signed, anybody may carry it.
    pub(crate) signed_approvals: Vec<Signed<Approval>>,
    pub(crate) hostile: Memory,
    /// Evidence bundles verified.
    pub(crate) bundles: u64,
    /// What is asked of keys, by intent, for whoever verifies a signature.
    pub(crate) asked: BTreeMap<Link, watch::Asked>,
    witness: Witness,
    queue: BTreeMap<(u64, u64), Event>,
    next: u64,
    hash: Sha256,
    events: u64,
}

impl World {
    pub(crate) fn new(origin: Origin<'_>, hosts: Vec<Host>) -> Self {
        let Origin { seed, manifest, policy, witness, plan, people, judge, told } = origin;
        let mut world = Self {
            now_ms: 0,
            hosts,
            manifest,
            policy: policy.clone(),
            dice: Dice::new(seed, "world"),
            network: Network::new(NODES.len()),
            people,
            judge,
            liar: None,
            coverage: Coverage::default(),
            story: Story::new(told),
            healed: false,
            copies: BTreeMap::new(),
            witness_tables: Tables::default(),
            asked: BTreeMap::new(),
            signed_approvals: Vec::new(),
            hostile: Memory::default(),
            bundles: 0,
            witness,
            queue: BTreeMap::new(),
            next: 0,
            hash: Sha256::new(),
            events: 0,
            plan,
        };
        for fault in world.plan.scheduled.clone() {
            world.at(fault.at_ms, Event::Fault(fault.what));
        }
        for index in 0..world.people.count() {
            let at = world.people.begins_ms(index);
            world.at(at, Event::Person(index));
        }
        world
    }

    pub(crate) fn at(&mut self, at_ms: u64, event: Event) {
        self.next = self.next.saturating_add(1);
        self.queue.insert((at_ms.max(self.now_ms), self.next), event);
    }

    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now_ms.saturating_add(ms), event);
    }

    /// Feeds what happened to the hash.
    pub(crate) fn note(&mut self, what: &str, who: usize, bytes: &[u8]) {
        self.events = self.events.saturating_add(1);
        self.hash.update(self.now_ms.to_be_bytes());
        self.hash.update([u8::try_from(who).unwrap_or(u8::MAX)]);
        self.hash.update((what.len() as u64).to_be_bytes());
        self.hash.update(what.as_bytes());
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
    }

    /// The hash of everything so far, and how many events it covers.
    pub fn digest(&self) -> ([u8; 32], u64) {
        (self.hash.clone().finalize().into(), self.events)
    }

    pub(crate) fn host(&mut self, node: usize) -> Result<&mut Host, SimError> {
        self.hosts.get_mut(node).ok_or(SimError::Shape("no such node"))
    }

    pub(crate) fn lives(&self, node: usize, life: u64) -> bool {
        self.hosts.get(node).is_some_and(|h| h.life == life && h.alive.is_some())
    }

    pub(crate) fn is_up(&self, node: usize) -> bool {
        self.hosts.get(node).is_some_and(|h| h.alive.is_some())
    }

    /// Starts every node that is not running.
    pub(crate) fn start_all(&mut self) -> Done {
        for node in 0..self.hosts.len() {
            self.restart(node)?;
        }
        Ok(())
    }

    /// Performs events until this time, or until the people have all they asked for.
    pub(crate) fn run_until(&mut self, end_ms: u64) -> Done {
        while let Some(entry) = self.queue.first_entry() {
            let (at_ms, _) = *entry.key();
            if at_ms > end_ms || self.people.content() {
                break;
            }
            let event = entry.remove();
            self.now_ms = at_ms;
            self.perform_event(event)?;
        }
        Ok(())
    }

    /// Performs events for so long, whoever is content.
    pub(crate) fn pass(&mut self, ms: u64) -> Done {
        let end_ms = self.now_ms.saturating_add(ms);
        while let Some(entry) = self.queue.first_entry() {
            let (at_ms, _) = *entry.key();
            if at_ms > end_ms {
                break;
            }
            let event = entry.remove();
            self.now_ms = at_ms;
            self.perform_event(event)?;
        }
        self.now_ms = end_ms;
        Ok(())
    }

    fn perform_event(&mut self, event: Event) -> Done {
        match event {
            Event::Deliver { from, to, line, bytes } => self.deliver(from, to, line, &bytes),
            Event::ToWitness { from, message } => {
                self.tell_witness(from, *message);
                Ok(())
            }
            Event::FromWitness { to, message } => {
                let input = Input::Peer { from: cast::id(WITNESS), commits: 0, message: *message };
                self.input(to, input)
            }
            Event::KernelTurn { node, life } if self.lives(node, life) => self.kernel_turn(node),
            Event::KernelSays { node, life, token, reply } if self.lives(node, life) => {
                self.input(node, Input::Kernel { token, reply: *reply })
            }
            Event::JournalTurn { node, life } if self.lives(node, life) => self.journal_turn(node),
            Event::Tick { node, life } if self.lives(node, life) => {
                self.after(TICK_MS, Event::Tick { node, life });
                self.input(node, Input::Tick)
            }
            Event::Line { node, life, peer, up } if self.lives(node, life) => {
                let peer = cast::node(peer);
                self.input(node, if up { Input::Up(peer) } else { Input::Down(peer) })
            }
            Event::Person(index) => self.person_turn(index),
            Event::Fault(fault) => self.fault(fault),
            Event::Restart(node) => self.restart(node),
            Event::KernelTurn { .. }
            | Event::KernelSays { .. }
            | Event::JournalTurn { .. }
            | Event::Tick { .. }
            | Event::Line { .. } => Ok(()),
        }
    }

    /// Gives a node's engine one input and performs what follows.
    pub(crate) fn input(&mut self, node: usize, input: Input) -> Done {
        let now_ms = self.now_ms;
        let Some(host) = self.hosts.get_mut(node) else { return Ok(()) };
        let clock_ms = host.clock_ms(now_ms);
        let Some(alive) = &mut host.alive else { return Ok(()) };
        let said = matches!(input, Input::Api { .. } | Input::Peer { .. });
        let effects = alive.engine.handle(clock_ms, input);
        if said {
            self.watch_effects(node, &effects)?;
        }
        self.perform(node, effects);
        Ok(())
    }

    pub(crate) fn ask(&mut self, node: usize, token: Token, call: ApiCall) -> Done {
        self.note("ask", node, format!("{token}").as_bytes());
        self.input(node, Input::Api { token, call })
    }

    fn perform(&mut self, node: usize, effects: Vec<Effect>) {
        let Some(host) = self.hosts.get_mut(node) else { return };
        let (life, clock) = (host.life, self.now_ms);
        for effect in effects {
            match effect {
                Effect::Write(batch) => {
                    host.written = host.written.saturating_add(1);
                    if !batch.is_empty() {
                        host.journal.push_back(Item::Write(batch));
                    }
                }
                Effect::Send { to, commits, message } => {
                    let (to, message) = (to.as_str().to_owned(), Box::new(message));
                    host.journal.push_back(Item::Send { to, commits, message });
                }
                Effect::Reply { token, reply } => {
                    host.journal.push_back(Item::Reply { token, reply });
                }
                Effect::Kernel { token, call, after } => {
                    let asked = Asked { token, call };
                    if after <= host.durable {
                        host.calls.push_back(asked);
                    } else {
                        host.journal.push_back(Item::Ask(asked));
                    }
                }
                Effect::Log { event, subject, code } => {
                    self.story.log(clock, node, event, &subject, code);
                }
            }
        }
        let journal = !host.journal.is_empty() && !host.journal_busy;
        host.journal_busy |= journal;
        if journal {
            let ms = self.dice.between(0, 3);
            self.after(ms, Event::JournalTurn { node, life });
        }
        self.wake_kernel(node);
    }

    /// A kernel that is asked something takes its turn.
    fn wake_kernel(&mut self, node: usize) {
        let Some(host) = self.hosts.get_mut(node) else { return };
        let life = host.life;
        let kernel = !host.calls.is_empty() && !host.kernel_busy;
        host.kernel_busy |= kernel;
        if kernel {
            self.after(KERNEL_MS, Event::KernelTurn { node, life });
        }
    }

    /// A release of the journal: what the outside sees.
    pub(crate) fn release(&mut self, node: usize, item: Item) -> Done {
        match item {
            Item::Send { to, commits, message } => self.send(node, &to, commits, *message),
            Item::Reply { token, reply } => self.answered(node, token, reply),
            Item::Ask(asked) => {
                self.host(node)?.calls.push_back(asked);
                self.wake_kernel(node);
                Ok(())
            }
            Item::Write(_) => Ok(()),
        }
    }

    fn answered(&mut self, node: usize, token: Token, reply: ApiReply) -> Done {
        let text = match &reply {
            ApiReply::Json(value) => value.to_string(),
            ApiReply::Car(car) => hex::encode(dvm_core::digest::sha256(car).0),
            ApiReply::Error { code, message } => format!("{code} {message}"),
        };
        self.note("answer", node, text.as_bytes());
        self.person_hears(node, token, reply)
    }

    /// A message leaves a node; whoever lies, lies here.
    fn send(&mut self, node: usize, to: &str, commits: u32, message: PeerMessage) -> Done {
        self.see_said(node, &message)?;
        if to == WITNESS {
            self.after(1, Event::ToWitness { from: node, message: Box::new(message) });
            return Ok(());
        }
        let Some(to) = NODES.iter().position(|name| *name == to) else { return Ok(()) };
        let told = self.lie(node, to, message);
        for (delay_ms, message) in told {
            let bytes = codec::encode(&Wire { commits, message });
            self.note("send", node, &bytes);
            self.transmit(node, to, delay_ms, bytes);
        }
        Ok(())
    }

    fn deliver(&mut self, from: usize, to: usize, line: u64, bytes: &[u8]) -> Done {
        if self.network.line(from, to) != line || !self.is_up(to) {
            return Ok(());
        }
        self.note("deliver", to, &dvm_core::digest::sha256(bytes).0);
        let Ok(wire) = codec::decode::<Wire>(bytes) else { return Ok(()) };
        self.story.message(self.now_ms, from, to, &wire.message);
        let Wire { commits, message } = wire;
        self.input(to, Input::Peer { from: cast::node(from), commits, message })
    }

    fn tell_witness(&mut self, from: usize, message: PeerMessage) {
        let now_ms = cast::START_MS.saturating_add(self.now_ms);
        let step = self.witness.handle(now_ms, &cast::node(from), message);
        self.witness_tables.apply(step.writes);
        for (to, message) in step.sends {
            if let Some(to) = cast::index_of(&to) {
                self.after(1, Event::FromWitness { to, message: Box::new(message) });
            }
        }
    }

    /// Starts a node over what is on its disk.
    pub(crate) fn restart(&mut self, node: usize) -> Done {
        if self.is_up(node) {
            return Ok(());
        }
        let now_ms = self.now_ms;
        let shared = limit::writes();
        let (manifest, policy) = (self.manifest.clone(), self.policy.clone());
        let host = self.host(node)?;
        let booted = host.boot_kernel(now_ms).and_then(|kernel| {
            let (engine, effects) = host.boot_engine(&manifest, &policy, now_ms)?;
            Ok((kernel, engine, effects))
        });
        let (mut kernel, engine, effects) = booted.map_err(|error| Complaint {
            checker: "starts-again",
            what: format!("{}: {error}", cast::node(node)),
        })?;
        let reply = kernel.handle(dvm_core::call::KernelCall::Attest);
        drop(shared);
        host.alive = Some(Alive { kernel, engine });
        let life = host.life;
        self.note("boot", node, &codec::encode(&reply));
        if let dvm_core::call::KernelReply::Attested(attested) = reply {
            let vault_seq = attested.body.vault_seq;
            self.story.line(now_ms, node, || format!("starts, vault_seq {vault_seq}"));
            self.judge.see(Fact::Booted { node: cast::node(node), vault_seq })?;
        }
        self.perform(node, effects);
        let phase = self.dice.between(1, TICK_MS);
        self.after(phase, Event::Tick { node, life });
        self.connect(node);
        Ok(())
    }

    /// A node's processes end now; they are started again after a while.
    pub(crate) fn crash(&mut self, node: usize, files: Option<VaultFiles>, kind: Kind) -> Done {
        if !self.is_up(node) {
            return Ok(());
        }
        self.coverage.took_effect(kind);
        let now_ms = self.now_ms;
        self.story.fault(now_ms, node, kind);
        self.note("crash", node, kind.name().as_bytes());
        self.host(node)?.die(files)?;
        self.person_loses(node);
        self.disconnect(node);
        let down_ms = self.dice.between(50, 2500);
        self.after(down_ms, Event::Restart(node));
        Ok(())
    }

    /// A node's vault and journal as a power cut would leave them now.
    pub(crate) fn copy_of(&self, node: usize) -> Result<(VaultFiles, Tables), SimError> {
        let host = self.hosts.get(node).ok_or(SimError::Shape("no such node"))?;
        Ok((VaultFiles::read(&host.dir)?, host.tables.clone()))
    }

    /// Which node this is, as the artifacts name it.
    pub(crate) fn name(&self, node: usize) -> NodeId {
        cast::node(node)
    }
}

/// Fresh hosts over directories below `parent`, with these disks.
pub(crate) fn hosts(
    parent: &Path,
    seed: u64,
    disks: &[(VaultFiles, Tables)],
) -> Result<Vec<Host>, SimError> {
    let mut hosts = Vec::new();
    for (index, name) in NODES.iter().enumerate() {
        let dir = disk::vault_dir(parent, name)?;
        let mut tables = Tables::default();
        if let Some((files, journal)) = disks.get(index) {
            files.write(&dir)?;
            tables = journal.clone();
        }
        hosts.push(Host::new(index, dir, tables, seed));
    }
    Ok(hosts)
}
