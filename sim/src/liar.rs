//! A lying peer: it holds its own kernel's key, and says what it likes.
//!
//! The node below runs as it should, so its lies fit the situation; they are told where its messages
//! leave. Its kernel's key is known because the simulator chose the randomness that it was drawn
//! from. At most one node of three lies: below that threshold every rule must hold.
//!
//! Not here: lies within the rounds of a protocol (`cheat`), a hostile runtime over an honest kernel (`hostile`).

use dvm_core::admission::Verdict;
use dvm_core::frame::{Envelope, OutTree, Outgoing};
use dvm_core::receipt::PublicationReceipt;
use dvm_core::run::RunKind;
use dvm_core::{B32, Bytes, ReasonCode, Signed, codec};
use dvm_node::wire::PeerMessage;
use ed25519_dalek::SigningKey;

use crate::cast;
use crate::cheat::{Secrets, Told};
use crate::coverage::Kind;
use crate::dice::Dice;
use crate::plan::Lie;
use crate::world::World;

/// Old messages kept to be said again.
const MEMORY_MAX: usize = 200;

/// The one who lies.
pub(crate) struct Liar {
    pub node: usize,
    pub lie: Lie,
    pub key: SigningKey,
    /// Half of the lies go to this one only.
    victim: usize,
    /// How often it lies, in a thousand.
    rate: u64,
    memory: Vec<(usize, PeerMessage)>,
    active: bool,
    pub dice: Dice,
    pub secrets: Secrets,
    pub told: Told,
}

impl Liar {
    pub(crate) fn new(
        seed: u64,
        (node, lie): (usize, Lie),
        (key, secrets): (SigningKey, Secrets),
    ) -> Self {
        let mut dice = Dice::new(seed, "liar");
        let victim = (node + 1 + dice.index(2)) % 3;
        let rate = dice.one_of(&[100, 250, 500, 1000]).unwrap_or(250);
        let (memory, told) = (Vec::new(), Told::default());
        Self { node, lie, key, victim, rate, memory, active: true, dice, secrets, told }
    }

    /// From now on it lies whenever it can.
    pub(crate) fn always(&mut self) {
        self.rate = 1000;
    }

    /// It lies no more.
    pub(crate) fn stop(&mut self) {
        self.active = false;
    }

    /// Whether it lies now.
    pub(crate) fn lies(&mut self) -> bool {
        self.active && self.dice.permille(self.rate)
    }

    /// What it says instead of `message`, each with a delay; none if it says the truth.
    fn tell(&mut self, to: usize, message: &PeerMessage) -> Option<Vec<(u64, PeerMessage)>> {
        if self.memory.len() < MEMORY_MAX {
            self.memory.push((to, message.clone()));
        }
        if !self.lies() {
            return None;
        }
        match self.lie {
            Lie::Equivocate => self.equivocate(to, message),
            Lie::Mutate => self.mutate(message),
            Lie::Withhold => (to == self.victim || self.rate > 400).then(Vec::new),
            Lie::Replay => {
                let old = self.memory.get(self.dice.index(self.memory.len()))?.1.clone();
                Some(vec![(0, message.clone()), (self.dice.below(300), old)])
            }
            Lie::Misjudge => self.misjudge(message),
            Lie::Cheat | Lie::Runtime => None,
        }
    }

    /// One level, two roots: to the victim another one, or both to everybody.
    fn equivocate(&mut self, to: usize, message: &PeerMessage) -> Option<Vec<(u64, PeerMessage)>> {
        let PeerMessage::Frame(envelope) = message else { return None };
        let other = self.signed_anew(envelope, |_| {}, |_| {});
        let other = PeerMessage::Frame(Box::new(other));
        if self.rate == 1000 {
            return Some(vec![(0, message.clone()), (1, other)]);
        }
        (to == self.victim).then(|| vec![(0, other)])
    }

    /// An envelope with other contents, under this kernel's signature.
    pub(crate) fn signed_anew(
        &mut self,
        envelope: &Envelope,
        edit: impl FnOnce(&mut Outgoing),
        edit_header: impl FnOnce(&mut dvm_core::frame::FrameHeader),
    ) -> Envelope {
        let parts = |carried: &dvm_core::frame::Carried| -> Vec<(u16, Bytes)> {
            let steps = carried.leaf.parts.iter().map(|p| p.step);
            steps.zip(carried.payloads.iter().cloned()).collect()
        };
        let mut out = Outgoing { broadcast: parts(&envelope.broadcast), ..Outgoing::default() };
        out.private.insert(envelope.to.clone(), parts(&envelope.private));
        edit(&mut out);
        let dice = &mut self.dice;
        let to = std::slice::from_ref(&envelope.to);
        let tree = OutTree::lay_out(out, to, || B32(dice.bytes32()));
        let mut header = envelope.header.body.clone();
        header.out_root = tree.out_root;
        edit_header(&mut header);
        let header = Signed::new(header, &self.key);
        tree.envelopes(&header).into_iter().next().unwrap_or_else(|| envelope.clone())
    }

    /// A frame that says something else.
    fn mutate(&mut self, message: &PeerMessage) -> Option<Vec<(u64, PeerMessage)>> {
        let PeerMessage::Frame(envelope) = message else { return None };
        let (at, way) = (self.dice.index(64), self.dice.below(10));
        let random = B32(self.dice.bytes32());
        let flip = |bytes: &mut Bytes| {
            let at = at.checked_rem(bytes.0.len()).unwrap_or(0);
            if let Some(byte) = bytes.0.get_mut(at) {
                *byte ^= 1;
            }
        };
        let key = self.key.clone();
        let altered = match way {
            0 => self.signed_anew(
                envelope,
                |o| o.broadcast.iter_mut().for_each(|(_, b)| flip(b)),
                |_| {},
            ),
            1 => self.signed_anew(
                envelope,
                |o| o.private.values_mut().flatten().for_each(|(_, b)| flip(b)),
                |_| {},
            ),
            2 => self.signed_anew(envelope, |o| o.broadcast.clear(), |_| {}),
            3 => self.signed_anew(envelope, |_| {}, |h| h.prev_view = random),
            4 => self.signed_anew(envelope, |_| {}, |h| h.level = h.level.saturating_add(1)),
            5 => self.signed_anew(envelope, |_| {}, |h| h.boot.generation += 1),
            6 | 7 => self.signed_anew(
                envelope,
                |o| o.broadcast.iter_mut().for_each(|(_, b)| other_grant(b, &key)),
                |_| {},
            ),
            8 => {
                let old = self.old_payload(envelope)?;
                self.signed_anew(
                    envelope,
                    |o| o.broadcast.iter_mut().for_each(|(_, b)| *b = old.clone()),
                    |_| {},
                )
            }
            _ => {
                let mut altered = (**envelope).clone();
                altered.binding_hash = random;
                altered
            }
        };
        Some(vec![(0, PeerMessage::Frame(Box::new(altered)))])
    }

    /// What it said in the same place of an earlier run.
    fn old_payload(&self, now: &Envelope) -> Option<Bytes> {
        self.memory.iter().find_map(|(_, message)| match message {
            PeerMessage::Frame(old)
                if old.header.body.level == now.header.body.level
                    && old.header.body.execution_id != now.header.body.execution_id =>
            {
                old.broadcast.payloads.first().cloned()
            }
            _ => None,
        })
    }

    /// Wrong answers to whatever is asked.
    fn misjudge(&mut self, message: &PeerMessage) -> Option<Vec<(u64, PeerMessage)>> {
        let way = self.dice.below(3);
        let said = match message {
            PeerMessage::Considered(answer) => {
                let mut answer = answer.clone();
                match way {
                    0 => (answer.open, answer.code) = (None, Some(ReasonCode::PolicyDenied)),
                    1 => answer.live = Some(B32(self.dice.bytes32())),
                    _ => answer.attempt += 1,
                }
                PeerMessage::Considered(answer)
            }
            PeerMessage::Propose(proposal) => {
                let mut fork = proposal.clone();
                if let RunKind::Act { attempt, .. } = &mut fork.header.kind {
                    *attempt += 1;
                }
                if way == 0 {
                    fork.header.hard_deadline_ms += 1;
                }
                PeerMessage::Propose(fork)
            }
            PeerMessage::Outcome(outcome) => {
                let mut outcome = outcome.clone();
                if let Some(byte) = outcome.result.0.last_mut() {
                    *byte ^= 1;
                }
                PeerMessage::Outcome(outcome)
            }
            PeerMessage::Frame(envelope) => {
                let (execution_id, level) =
                    (envelope.header.body.execution_id, envelope.header.body.level);
                let extra = match way {
                    0 => PeerMessage::Stopped { execution_id, code: ReasonCode::RemoteTimeout },
                    1 => PeerMessage::Headers {
                        execution_id,
                        level,
                        headers: Some(vec![envelope.header.clone(); 2]),
                    },
                    _ => PeerMessage::Resend { execution_id, level: 0 },
                };
                return Some(vec![(0, message.clone()), (2, extra)]);
            }
            _ => return None,
        };
        Some(vec![(0, said)])
    }
}

/// A grant turned into its opposite, or to another result, and signed again.
fn other_grant(payload: &mut Bytes, key: &SigningKey) {
    let Ok(grant) = codec::decode::<Signed<PublicationReceipt>>(&payload.0) else { return };
    let mut body = grant.body;
    if body.vault_seq.is_multiple_of(2) {
        body.verdict = Verdict::Deny;
        body.codes = vec![ReasonCode::PublicationDenied];
    } else {
        body.result_ref = B32([9; 32]);
    }
    *payload = Bytes(codec::encode(&Signed::new(body, key)));
}

impl World {
    /// What a node says, with delays: the truth, unless it is the liar.
    pub(crate) fn lie(
        &mut self,
        node: usize,
        to: usize,
        message: PeerMessage,
    ) -> Vec<(u64, PeerMessage)> {
        if self.liar.as_ref().is_some_and(|liar| liar.lie == Lie::Cheat) {
            return vec![(0, self.cheated(node, to, message))];
        }
        let liar = self.liar.as_mut().filter(|liar| liar.node == node);
        let Some(told) = liar.and_then(|liar| liar.tell(to, &message)) else {
            return vec![(0, message)];
        };
        if let Some((_, lie)) = self.plan.liar {
            self.coverage.took_effect(lie.kind());
            self.story.fault(self.now_ms, node, lie.kind());
        }
        told
    }

    /// What a node says where somebody cheats.
    fn cheated(&mut self, node: usize, to: usize, message: PeerMessage) -> PeerMessage {
        let (PeerMessage::Frame(envelope), Some(liar)) = (&message, &mut self.liar) else {
            return message;
        };
        liar.told.hear(envelope);
        if liar.node != node {
            return message;
        }
        let Some((told, lied)) = liar.cheat(envelope) else { return message };
        if lied {
            self.coverage.took_effect(Kind::Cheat);
            self.story.fault(self.now_ms, node, Kind::Cheat);
            let header = &envelope.header.body;
            self.judge.lied_to(cast::node(to), header.execution_id, header.level);
        }
        PeerMessage::Frame(Box::new(told))
    }
}
