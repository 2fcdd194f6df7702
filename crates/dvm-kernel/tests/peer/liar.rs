//! The liar: a node whose kernel keys the test knows. It plays the key generation's microcode by itself and signs
//! whatever it is told to say.

use std::collections::BTreeMap;

use dvm_blame::layout::Writer;
use dvm_blame::{Roster, Suite};
use dvm_core::call::{KernelReply, LevelReply};
use dvm_core::digest::{Domain, Tagged, sha256};
use dvm_core::frame::{self, Envelope, FrameHeader, OutTree, Outgoing};
use dvm_core::intent::Backend;
use dvm_core::run::{Boot, Open};
use dvm_core::trace::Outcome;
use dvm_core::{B32, Bytes, NodeId, ReasonCode, Signed};
use dvm_kernel::seal::{SealingKey, seal};
use dvm_microcode::dkg::{self, Agreed, Committed, Opened, Shared, Unconfirmed};
use dvm_microcode::sign::Nonces;
use dvm_microcode::{FrostSuite, Secret, Session};
use dvm_score::{MicroOp, Step};
use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::harness::{Cluster, NODES, id};
pub(crate) use crate::messenger::retold;
use crate::messenger::{Course, level, resigned};
use crate::provision::Provision;

/// Whose kernel is played.
pub(crate) const LIAR: &str = "n2";
const THRESHOLD: u16 = 2;

/// The keys of a node's kernel, drawn again from the seed of its first start.
fn keys(node: &str) -> (SigningKey, SealingKey) {
    let mut rng = ChaCha20Rng::from_seed(sha256(format!("{node}/1").as_bytes()).0);
    rng.set_stream(1);
    (SigningKey::generate(&mut rng), SealingKey::generate(&mut rng))
}

/// Says a frame's level anew to its recipient, every word through `change`, the sealed ones as well, in the view of the
/// level before that the recipient has: as its sender's kernel would have said it.
pub(crate) fn retold_inside(
    course: &Course,
    frame: &Envelope,
    mut change: impl FnMut(MicroOp, &mut Vec<u8>),
) -> Envelope {
    let (from, to) = (&frame.header.body.from, &frame.to);
    let (_, sealing) = keys(to.as_str());
    let info = seal_info(course, frame.header.body.level, (from.as_str(), to.as_str()));
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let mut said = |carried: &frame::Carried, sealed: bool| -> Vec<(u16, Bytes)> {
        let parts = carried.leaf.parts.iter().zip(&carried.payloads);
        let changed = parts.map(|(part, bytes)| {
            let aad = part.step.to_be_bytes();
            let mut bytes = match sealed {
                true => sealing.open(&info, &aad, bytes).unwrap().to_vec(),
                false => bytes.0.clone(),
            };
            change(course.plan.steps[usize::from(part.step)].op, &mut bytes);
            if sealed {
                bytes = seal(&sealing.public(), &info, &aad, &bytes, &mut rng).unwrap();
            }
            (part.step, Bytes(bytes))
        });
        changed.collect()
    };
    let broadcast = said(&frame.broadcast, false);
    let private = BTreeMap::from([(to.clone(), said(&frame.private, true))]);
    let outgoing = Outgoing { broadcast, private };
    let tree = OutTree::lay_out(outgoing, std::slice::from_ref(to), || B32([6; 32]));
    let seen = course.replies[to].header.as_ref().unwrap().body.prev_view;
    let header = frame.header.body.clone();
    let header = FrameHeader { out_root: tree.out_root, prev_view: seen, ..header };
    resigned(header, &tree).remove(0)
}

/// What a sealed word is bound to.
fn seal_info(course: &Course, level: u16, (from, to): (&str, &str)) -> [u8; 32] {
    let header = &course.header;
    let tagged = Tagged::new(Domain::Seal)
        .part(&header.cluster.to_bytes())
        .number(header.key_epoch.into())
        .part(&course.execution_id.0)
        .number(level.into())
        .part(from.as_bytes())
        .part(to.as_bytes());
    tagged.finish().0
}

/// One word of the liar, before it is sealed: the step, for whom (none: for all), and what.
pub(crate) struct Word {
    pub(crate) op: MicroOp,
    pub(crate) to: Option<NodeId>,
    pub(crate) bytes: Vec<u8>,
}

enum State<C: FrostSuite> {
    Fresh(Session<C>),
    Committed(Committed<C>),
    Opened(Opened<C>),
    Shared(Shared<C>),
    Unconfirmed(Unconfirmed<C>, Nonces<C>),
    Agreed(Agreed<C>),
    Spent,
}

/// The backend whose keys are of this suite.
fn backend<C: FrostSuite>() -> Backend {
    match C::SUITE {
        Suite::FrostEd25519 => Backend::FrostEd25519,
        Suite::FrostSecp256k1Tr => Backend::FrostSecp256k1Tr,
        Suite::EcdsaSecp256k1 => Backend::Dkls23Secp256k1,
    }
}

/// What one honest kernel did in the last level that ran.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// It went on.
    On,
    /// Its own check failed, and named this.
    Failed(ReasonCode, Option<NodeId>),
    /// It refused the frames, and changed nothing.
    Refused(ReasonCode),
}

/// A key generation of all nodes in which one is the liar.
pub(crate) struct Generation<C: FrostSuite> {
    pub(crate) cluster: Cluster,
    pub(crate) course: Course,
    boot: Boot,
    seq: u64,
    signing: SigningKey,
    sealing: SealingKey,
    rng: ChaCha20Rng,
    state: State<C>,
    provision: Provision,
    /// What was broadcast, by op and sender.
    broadcasts: BTreeMap<(MicroOp, String), Vec<u8>>,
    own_root: B32,
    view: B32,
    /// blind ‖ package, as the liar committed to it.
    pub(crate) opening: Vec<u8>,
}

impl<C: FrostSuite> Generation<C> {
    /// All kernels have opened and started the same run.
    pub(crate) fn started() -> Self {
        let mut cluster = Cluster::formed();
        next(backend::<C>(), &mut cluster, 0).attached(cluster)
    }

    /// One more generation by kernels that are there already.
    pub(crate) fn again(self) -> Self {
        let mut cluster = self.cluster;
        next(backend::<C>(), &mut cluster, 1).attached(cluster)
    }

    /// What a kernel has counted, as its vault has it.
    pub(crate) fn counted_by(&self, node: &str) -> Vec<Vec<u8>> {
        self.cluster.records(node, "usage").iter().map(|record| record.plaintext.to_vec()).collect()
    }

    pub(crate) fn sid(&self) -> [u8; 32] {
        let mut sid = Tagged::new(Domain::Session)
            .part(&self.course.execution_id.0)
            .number(THRESHOLD.into())
            .part(C::SUITE.name().as_bytes());
        for node in NODES {
            sid = sid.part(node.as_bytes());
        }
        sid.finish().0
    }

    fn session(&self, threshold: u16) -> Session<C> {
        Session::new(self.sid(), Roster::new(NODES).unwrap(), threshold, LIAR).unwrap()
    }

    /// The round-1 package that the liar would make with this threshold.
    pub(crate) fn package(&self, threshold: u16) -> Vec<u8> {
        opening_of(self.session(threshold), self.rng.clone())[32..].to_vec()
    }

    /// The liar commits, correctly, to this package.
    pub(crate) fn commit_to(&mut self, package: &[u8]) -> [u8; 32] {
        self.opening = [&[5; 32], package].concat();
        let commitment = Writer::new("dvm/dkg/opening-commitment/v1")
            .field(&self.sid())
            .field(C::SUITE.name().as_bytes())
            .number(THRESHOLD)
            .number(3)
            .field(LIAR.as_bytes())
            .field(package)
            .field(&[5; 32]);
        sha256(&commitment.finish()).0
    }

    fn step(&self, op: MicroOp) -> Step {
        self.course.plan.steps.iter().find(|s| s.op == op).unwrap().clone()
    }

    fn info(&self, level: u16, from: &str, to: &str) -> [u8; 32] {
        seal_info(&self.course, level, (from, to))
    }

    /// Seals a word of the liar as its kernel would.
    pub(crate) fn sealed(&mut self, op: MicroOp, to: &str, plain: &[u8]) -> Bytes {
        let (step, key) =
            (self.step(op), self.cluster.state.passport(&id(to)).unwrap().sealing_key);
        let info = self.info(step.level, LIAR, to);
        let sealed = seal(&key.0, &info, &step.index.to_be_bytes(), plain, &mut self.rng);
        Bytes(sealed.unwrap())
    }

    /// What honest kernels sealed to the liar in a step, by sender.
    fn unsealed(&self, op: MicroOp) -> BTreeMap<String, Vec<u8>> {
        let open = |f: &Envelope| (f.header.body.from.to_string(), self.unsealed_from(f, op));
        self.course.inbox[&id(LIAR)].iter().map(open).collect()
    }

    pub(crate) fn unsealed_from(&self, frame: &Envelope, op: MicroOp) -> Vec<u8> {
        let step = self.step(op);
        let at = frame.private.leaf.parts.iter().position(|p| p.step == step.index).unwrap();
        let info = self.info(step.level, frame.header.body.from.as_str(), LIAR);
        let sealed = &frame.private.payloads[at];
        self.sealing.open(&info, &step.index.to_be_bytes(), sealed).unwrap().to_vec()
    }

    fn digests(&self, op: MicroOp) -> BTreeMap<String, [u8; 32]> {
        let of_op = self.broadcasts.iter().filter(|((o, _), _)| *o == op);
        let digest = |((_, from), bytes): (&(MicroOp, String), &Vec<u8>)| {
            (from.clone(), bytes.as_slice().try_into().unwrap())
        };
        of_op.map(digest).collect()
    }

    /// Ends the generation on the shares that it was sent, and commits to the probe.
    fn finish(&self, shared: dkg::Shared<C>, rng: &mut ChaCha20Rng) -> (State<C>, Vec<Word>) {
        let shares = self.unsealed(MicroOp::DkgShare);
        let shares = shares.into_iter().map(|(n, s)| (n, Secret::new(s))).collect();
        let unconfirmed = dkg::finish(shared, &shares).unwrap();
        let (nonces, commitment) = unconfirmed.probe_commit(rng).unwrap();
        let all = |op, bytes| Word { op, to: None, bytes };
        let said = vec![
            all(MicroOp::DkgConfirm, unconfirmed.transcript().to_vec()),
            all(MicroOp::ProbeCommit, commitment),
        ];
        (State::Unconfirmed(unconfirmed, nonces), said)
    }

    /// What a genuine kernel would say in the next level.
    fn words(&mut self) -> Vec<Word> {
        let all = |op, bytes| Word { op, to: None, bytes };
        let each = |op, to: &str, bytes| Word { op, to: Some(id(to)), bytes };
        let mut rng = self.rng.clone();
        let state = std::mem::replace(&mut self.state, State::Spent);
        let (state, words) = match (self.course.level + 1, state) {
            (1, State::Fresh(session)) => {
                self.opening = opening_of(self.session(THRESHOLD), rng.clone());
                let (committed, h) = dkg::commit(session, &mut rng).unwrap();
                (State::Committed(committed), vec![all(MicroOp::DkgCommit, h.to_vec())])
            }
            (3, State::Committed(committed)) => {
                let (opened, _) = dkg::open(committed, self.digests(MicroOp::DkgCommit)).unwrap();
                let said = |to: &str| each(MicroOp::DkgOpen, to, self.opening.clone());
                (State::Opened(opened), vec![said("n1"), said("n3")])
            }
            (4, State::Opened(opened)) => {
                let openings = self.unsealed(MicroOp::DkgOpen);
                let verified = openings
                    .iter()
                    .map(|(from, o)| dkg::receive_opening(&opened, from, o).unwrap());
                let verified = verified.collect();
                let (shared, shares) = dkg::share(opened, verified).unwrap();
                let said =
                    shares.iter().map(|(to, s)| each(MicroOp::DkgShare, to, s.expose(Vec::clone)));
                (State::Shared(shared), said.collect())
            }
            (5, State::Shared(shared)) => self.finish(shared, &mut rng),
            (7, State::Unconfirmed(unconfirmed, nonces)) => {
                // Once it has lied about its own part, it cannot agree with itself.
                let Ok(agreed) = dkg::agree(unconfirmed, &self.digests(MicroOp::DkgConfirm)) else {
                    return Vec::new();
                };
                let commitments = ["n1", "n2"].map(|node| {
                    (node.to_owned(), self.broadcasts[&(MicroOp::ProbeCommit, node.into())].clone())
                });
                let share = dkg::probe_partial(&agreed, nonces, &commitments.into()).unwrap();
                let share = share.expose(Vec::clone);
                let said = |to: &str| each(MicroOp::ProbeSign, to, share.clone());
                (State::Agreed(agreed), vec![said("n1"), said("n3")])
            }
            (8, State::Agreed(agreed)) => {
                let facts = dvm_core::receipt::ResultFacts {
                    execution_id: self.course.execution_id,
                    digest: B32(*agreed.transcript()),
                    public_nonce: Bytes::default(),
                    material: None,
                };
                let said = all(MicroOp::FinalizeKey, facts.result_ref().0.to_vec());
                (State::Agreed(agreed), vec![said])
            }
            (_, state) => (state, Vec::new()),
        };
        self.state = state;
        let mut words: Vec<Word> = words;
        words.extend(self.provisions(&mut rng));
        for word in words.iter().filter(|w| w.to.is_none()) {
            // What it means by it, whatever it will tell the others.
            self.broadcasts.insert((word.op, LIAR.to_owned()), word.bytes.clone());
        }
        words
    }

    /// What a genuine kernel would say of its pairs in the next level.
    fn provisions(&mut self, rng: &mut ChaCha20Rng) -> Vec<Word> {
        let speaking = self.course.plan.at_level(self.course.level + 1).map(|step| step.op);
        let mut words = Vec::new();
        for op in speaking.collect::<Vec<_>>() {
            let provision = std::mem::replace(&mut self.provision, Provision::Fresh);
            let session = self.session(THRESHOLD);
            let heard = |op| self.unsealed(op);
            let (next, said) = provision.words(op, &session, heard, rng);
            self.provision = next;
            words.extend(said);
        }
        words
    }

    /// The liar's frames of the next level, of these words.
    pub(crate) fn frames(&mut self, words: Vec<Word>) -> Vec<Envelope> {
        let mut outgoing = Outgoing::default();
        for word in words {
            let index = self.step(word.op).index;
            match word.to {
                None => outgoing.broadcast.push((index, Bytes(word.bytes))),
                Some(to) => {
                    let sealed = self.sealed(word.op, to.as_str(), &word.bytes);
                    outgoing.private.entry(to).or_default().push((index, sealed));
                }
            }
        }
        outgoing.broadcast.sort();
        outgoing.private.values_mut().for_each(|words| words.sort());
        self.seq += 1;
        let tree = OutTree::lay_out(outgoing, &[id("n1"), id("n3")], || B32([7; 32]));
        self.own_root = tree.out_root;
        let header = FrameHeader {
            execution_id: self.course.execution_id,
            boot: self.boot,
            vault_seq: self.seq,
            level: self.course.level + 1,
            from: id(LIAR),
            prev_view: self.view,
            out_root: tree.out_root,
        };
        tree.envelopes(&Signed::new(header, &self.signing))
    }

    /// Another story in the place of a frame's level, under the liar's own signature.
    pub(crate) fn instead(&mut self, of: &Envelope, outgoing: Outgoing) -> Vec<Envelope> {
        let tree = OutTree::lay_out(outgoing, &[id("n1"), id("n3")], || B32([8; 32]));
        self.own_root = tree.out_root;
        let header = FrameHeader { out_root: tree.out_root, ..of.header.body.clone() };
        tree.envelopes(&Signed::new(header, &self.signing))
    }

    /// Of two stories, the one that the liar goes on with.
    pub(crate) fn own_story(&mut self, frame: &Envelope) {
        self.own_root = frame.header.body.out_root;
    }

    /// One level of everybody, every word of the liar through `lie`.
    pub(crate) fn round(&mut self, lie: &mut dyn FnMut(&mut Word)) -> BTreeMap<NodeId, Heard> {
        self.rushed(None, lie)
    }

    /// The same, after the liar has seen one node's word of this level.
    pub(crate) fn rushed(
        &mut self,
        seen: Option<LevelReply>,
        lie: &mut dyn FnMut(&mut Word),
    ) -> BTreeMap<NodeId, Heard> {
        let mut words = self.words();
        words.iter_mut().for_each(lie);
        let told = self.frames(words);
        self.told(seen, told)
    }

    /// A level in which the liar has nothing to say, whatever the plan expects.
    pub(crate) fn round_without_words(&mut self) -> BTreeMap<NodeId, Heard> {
        let told = self.frames(Vec::new());
        self.told(None, told)
    }

    /// What a genuine kernel would send in this level.
    pub(crate) fn genuine(&mut self) -> Vec<Envelope> {
        let words = self.words();
        self.frames(words)
    }

    /// n1's word of this level, before anybody else's.
    pub(crate) fn first_word(&mut self) -> LevelReply {
        let call = Cluster::step_call(&self.course, &id("n1"));
        level(self.cluster.call("n1", call))
    }

    /// One level of everybody, in which the liar sends these frames.
    pub(crate) fn told(
        &mut self,
        mut seen: Option<LevelReply>,
        told: Vec<Envelope>,
    ) -> BTreeMap<NodeId, Heard> {
        let mut inbox = BTreeMap::<NodeId, Vec<Envelope>>::new();
        let (mut heard, mut roots) = (BTreeMap::new(), BTreeMap::new());
        for node in ["n1", "n3"] {
            let before = self.cluster.standing(node);
            let reply = match seen.take() {
                Some(reply) => KernelReply::Level(Box::new(reply)),
                None => {
                    let call = Cluster::step_call(&self.course, &id(node));
                    self.cluster.call(node, call)
                }
            };
            if let KernelReply::Refused { code, .. } = reply {
                assert_eq!(self.cluster.standing(node), before);
                heard.insert(id(node), Heard::Refused(code));
                continue;
            }
            let reply = level(reply);
            let verdict = verdict(&reply);
            if let (Heard::On, Some(header)) = (&verdict, &reply.header) {
                roots.insert(id::<NodeId>(node), header.body.out_root);
            } else {
                // Nothing is sent, nothing is held, and the receipt says why the run ended.
                assert!(reply.frames.is_empty() && reply.next.is_empty());
                let receipt = reply.receipt.as_ref().unwrap();
                assert_eq!(receipt.body.aborted, Some(ReasonCode::PayloadRejected));
                assert!(self.cluster.phases(node).is_empty());
            }
            heard.insert(id(node), verdict);
            self.course.calls.insert(id(node), reply.next.clone());
            for frame in &reply.frames {
                inbox.entry(frame.to.clone()).or_default().push(frame.clone());
            }
            self.course.replies.insert(id(node), reply);
        }
        for frame in told {
            inbox.entry(frame.to.clone()).or_default().push(frame);
        }
        self.course.inbox = inbox;
        self.course.level += 1;
        self.note(roots);
        heard
    }

    fn note(&mut self, mut roots: BTreeMap<NodeId, B32>) {
        roots.insert(id(LIAR), self.own_root);
        self.view = frame::view(&self.course.execution_id, self.course.level, &roots);
        for frame in self.course.inbox.get(&id::<NodeId>(LIAR)).into_iter().flatten() {
            let from = frame.header.body.from.to_string();
            for (part, bytes) in frame.broadcast.leaf.parts.iter().zip(&frame.broadcast.payloads) {
                let op = self.course.plan.steps[usize::from(part.step)].op;
                self.broadcasts.insert((op, from.clone()), bytes.to_vec());
            }
        }
    }

    /// Runs on until an honest kernel stops, or to the end: the level in which it did, and what each did in it.
    pub(crate) fn run(mut self, lie: impl FnMut(&mut Word)) -> (u16, BTreeMap<NodeId, Heard>) {
        self.run_on(lie)
    }

    /// ... and keeps the kernels.
    pub(crate) fn run_on(
        &mut self,
        mut lie: impl FnMut(&mut Word),
    ) -> (u16, BTreeMap<NodeId, Heard>) {
        loop {
            let heard = self.round(&mut lie);
            let stopped = heard.values().any(|h| *h != Heard::On);
            if stopped || self.course.level == self.course.plan.levels() {
                return (self.course.level, heard);
            }
        }
    }
}

fn next(backend: Backend, cluster: &mut Cluster, round: u8) -> Unattached {
    let mut intent = cluster.keygen_intent(backend);
    intent.idempotency_key = id(&format!("make-{round}"));
    intent.display_hash = dvm_act::display(&intent, None).unwrap().hash();
    let opens = NODES.map(|node| cluster.open(node, &intent, None)).to_vec();
    let open: Open = opens[1].body.clone();
    let (proposal, plan) = cluster.proposal(&intent, opens, backend);
    let course = cluster.start(&proposal, plan, &BTreeMap::new());
    Unattached { course, open, round }
}

struct Unattached {
    course: Course,
    open: Open,
    round: u8,
}

impl Unattached {
    fn attached<C: FrostSuite>(self, cluster: Cluster) -> Generation<C> {
        let (signing, sealing) = keys(LIAR);
        let mut generation = Generation {
            cluster,
            view: frame::view(&self.course.execution_id, 0, &BTreeMap::new()),
            course: self.course,
            boot: self.open.boot,
            seq: self.open.vault_seq,
            signing,
            sealing,
            rng: ChaCha20Rng::seed_from_u64(self.round.into()),
            state: State::Spent,
            provision: Provision::Fresh,
            broadcasts: BTreeMap::new(),
            own_root: B32::default(),
            opening: Vec::new(),
        };
        generation.state = State::Fresh(generation.session(THRESHOLD));
        generation
    }
}

fn opening_of<C: FrostSuite>(session: Session<C>, mut rng: ChaCha20Rng) -> Vec<u8> {
    let roster: Vec<String> = session.roster().nodes().map(str::to_owned).collect();
    let (committed, h) = dkg::commit(session, &mut rng).unwrap();
    let all = roster.into_iter().map(|node| {
        let own = if node == LIAR { h } else { [0; 32] };
        (node, own)
    });
    let (_, opening) = dkg::open(committed, all.collect()).unwrap();
    opening.expose(Vec::clone)
}

/// What a level's reply says of its end.
pub(crate) fn verdict(reply: &LevelReply) -> Heard {
    match reply.results.last().map(|r| &r.outcome) {
        Some(Outcome::Fault { code, blame }) => Heard::Failed(*code, blame.clone()),
        _ => Heard::On,
    }
}
