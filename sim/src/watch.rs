//! What the world tells the judge: kernels' calls and replies, wires, journals and engines' logs.

use dvm_core::admission::Verdict;
use dvm_core::authority::KeyReady;
use dvm_core::call::{KernelCall, KernelReply, LevelReply};
use dvm_core::frame::Envelope;
use dvm_core::intent::{Act, CanonicalIntent, Scheme};
use dvm_core::receipt::PublishedResult;
use dvm_core::run::{Proposal, RunKind};
use dvm_core::trace::{Outcome, TraceRoot};
use dvm_core::{B32, Link, NodeId, ReasonCode, Signed, codec};
use dvm_node::engine::Effect;
use dvm_node::journal::{Table, Write, WriteBatch};
use dvm_node::wire::PeerMessage;

use crate::judge::{Fact, RunFacts, Words};
use crate::world::{Done, World};

/// Log lines of an engine that refused an input as a whole.
const REFUSALS: [&str; 5] =
    ["frame refused", "outcome refused", "denial refused", "hello refused", "peer is fenced"];

/// What an intent asks of a key, and what is to be signed, if it asks that.
pub(crate) struct Asked {
    act: Act,
    bytes: Option<Vec<u8>>,
}

impl Asked {
    /// Whether these bytes are a signature of it by the key of these facts, or by its child at the act's path.
    fn is_signed(&self, ready: &KeyReady, signature: &[u8]) -> bool {
        let key = dvm_blame::signing_key(ready, self.act.path()).ok();
        let signed = key.zip(self.bytes.as_ref()).map(|(key, bytes)| {
            dvm_blame::verify_signature(ready.backend.into(), &key, bytes, signature).is_ok()
        });
        signed.unwrap_or(false)
    }
}

impl World {
    /// An engine's effects for one request or message.
    pub(crate) fn watch_effects(&mut self, node: usize, effects: &[Effect]) -> Done {
        let acts = effects.iter().any(|effect| match effect {
            Effect::Write(batch) => !batch.is_empty(),
            Effect::Send { .. } | Effect::Kernel { .. } => true,
            Effect::Reply { .. } | Effect::Log { .. } => false,
        });
        let name = self.name(node);
        for effect in effects {
            let refused = match effect {
                Effect::Log { event, code: Some(_), .. } if REFUSALS.contains(event) => *event,
                Effect::Reply { reply: dvm_node::engine::ApiReply::Error { .. }, .. } => {
                    "a request is refused"
                }
                _ => continue,
            };
            let event = refused.to_owned();
            self.judge.see(Fact::EngineRefused { node: name.clone(), event, acts })?;
        }
        Ok(())
    }

    /// What a node's journal made durable.
    pub(crate) fn watch_batch(&mut self, node: usize, batch: &WriteBatch) -> Done {
        for write in batch {
            let Write::Put { table: Table::Blocks, value, .. } = write else { continue };
            let Ok(root) = codec::decode::<Signed<TraceRoot>>(value) else { continue };
            self.note("root", node, value);
            let node = self.name(node);
            self.judge.see(Fact::Root { node, root: Box::new(root.body) })?;
        }
        Ok(())
    }

    /// A call on its way into a kernel.
    pub(crate) fn watch_call(&mut self, node: usize, call: &KernelCall) {
        // What is asked follows from what was said and answered, so its arrival is enough.
        self.note("call", node, &[]);
        match call {
            KernelCall::Start { proposal, .. } => self.learn_run(proposal),
            KernelCall::Open { intent, content, .. } => {
                self.learn_intent(intent, content.as_ref().map(|c| c.0.as_slice()));
            }
            _ => {}
        }
    }

    fn learn_intent(&mut self, intent: &CanonicalIntent, content: Option<&[u8]>) {
        let Ok(parsed) = dvm_act::parse(intent, content) else { return };
        let (link, act) = (codec::link_of(intent), intent.act.clone());
        if act.makes_key() {
            return;
        }
        let bytes = parsed.bytes_to_sign().map(<[u8]>::to_vec);
        if bytes.is_some() {
            self.judge.expect(link);
        }
        self.asked.insert(link, Asked { act, bytes });
    }

    fn learn_run(&mut self, proposal: &Proposal) {
        let header = &proposal.header;
        let publishes = match header.kind {
            RunKind::Act { .. } => None,
            RunKind::Publish { of, result_ref } => Some((of, result_ref)),
        };
        let run = RunFacts {
            execution: header.execution_id(),
            intent: header.intent,
            participants: header.participants.clone(),
            publishes,
            signs_with: self.asked.get(&header.intent).map(|of| of.act.key_id().clone()),
            multiplies: self.plan.variant.backend.scheme() == Scheme::Ecdsa,
            material: header.kind.material(),
        };
        // Runs only teach the judge; it has nothing against one.
        let _ = self.judge.see(Fact::Run(run));
    }

    /// A kernel's answer.
    pub(crate) fn watch_reply(
        &mut self,
        node: usize,
        call: &KernelCall,
        reply: &KernelReply,
        commits: u64,
    ) -> Done {
        self.note("reply", node, &codec::encode(reply));
        self.story.kernel(self.now_ms, node, call, reply);
        let name = self.name(node);
        match reply {
            KernelReply::Refused { code, rule, publication: None } => {
                let broken = self.hosts.get(node).is_some_and(|h| h.disk_broken);
                if *code == ReasonCode::Internal && !broken {
                    self.judge
                        .see(Fact::KernelInternal { node: name.clone(), rule: rule.clone() })?;
                }
                let (code, rule) = (*code, rule.clone());
                self.judge.see(Fact::KernelRefused { node: name, code, rule, commits })?;
            }
            KernelReply::Opened(open) => {
                self.judge.see(Fact::Opened { node: name, intent: open.body.intent })?;
            }
            KernelReply::Denied(_) => {
                if let KernelCall::Deny { denial } = call {
                    let intent = denial.body.intent;
                    self.judge.see(Fact::Tombstoned { node: name, intent })?;
                }
            }
            KernelReply::Started { execution_id, .. } => {
                self.judge.see(Fact::Started { node: name, execution: *execution_id })?;
            }
            KernelReply::Level(level) => self.watch_level(name, call, level)?,
            _ => {}
        }
        Ok(())
    }

    fn watch_level(&mut self, node: NodeId, call: &KernelCall, level: &LevelReply) -> Done {
        if let Some(header) = &level.header {
            let (execution, level) = (header.body.execution_id, header.body.level);
            self.judge.see(Fact::Performed { node: node.clone(), execution, level })?;
        }
        for ban in &level.bans {
            let (culprit, key) = (ban.body.culprit.clone(), ban.body.key_id.clone());
            self.judge.see(Fact::Banned { node: node.clone(), culprit, key })?;
        }
        for event in &level.permits {
            let context = codec::link_of(&event.context);
            let (node, permit) = (node.clone(), event.step_permit);
            self.judge.see(Fact::Permit { node, permit, context })?;
        }
        for result in &level.results {
            let Outcome::Fault { code, blame } = &result.outcome else { continue };
            match (blame, call) {
                (Some(culprit), _) => {
                    let (by, culprit, what) = (node.clone(), culprit.clone(), code.to_string());
                    self.judge.see(Fact::Blamed { by, culprit, what })?;
                }
                (None, KernelCall::OpenResult { execution_id, .. }) => {
                    let (node, execution) = (node.clone(), *execution_id);
                    self.judge.see(Fact::FailedUnnamed { node, execution })?;
                }
                (None, _) => {}
            }
        }
        if let Some(grant) = level.publication.as_ref().filter(|p| p.body.verdict == Verdict::Allow)
        {
            let publication = grant.body.execution_id;
            self.judge.see(Fact::Granted { node: node.clone(), publication })?;
        }
        if let Some(published) = &level.published {
            let PublishedResult { intent, result, execution_id, .. } = &published.body;
            self.see_result(&node, *intent, (&result.0, Some(*execution_id)))?;
        }
        Ok(())
    }

    /// A signature, or the facts of a key, as a node shows it.
    pub(crate) fn see_result(
        &mut self,
        node: &NodeId,
        intent: Link,
        (result, publication): (&[u8], Option<B32>),
    ) -> Done {
        let verifies = match (self.asked.get(&intent), &self.people.key) {
            (Some(asked), Some(ready)) => asked.is_signed(ready, result),
            // A key's facts are checked by the kernels that certify them into the log.
            _ => true,
        };
        let (node, result) = (node.clone(), result.to_vec());
        self.judge.see(Fact::Result { node, intent, result, publication, verifies })?;
        Ok(())
    }

    /// A message on its way out of a node, as its own kernel and engine made it.
    pub(crate) fn see_said(&mut self, node: usize, message: &PeerMessage) -> Done {
        let PeerMessage::Frame(envelope) = message else { return Ok(()) };
        let fact = said(self.name(node), envelope);
        Ok(self.judge.see(fact)?)
    }
}

fn said(node: NodeId, envelope: &Envelope) -> Fact {
    let header = &envelope.header.body;
    let broadcast = envelope.broadcast.payloads.iter().flat_map(|p| p.0.iter().copied()).collect();
    let words = Words {
        execution: header.execution_id,
        level: header.level,
        root: header.out_root,
        broadcast,
    };
    Fact::Said { node, vault_seq: header.vault_seq, words }
}
