//! What performing any level has in common: its results, its signed header, its frames.
//!
//! Always true: a header is signed over everything that its frames carry, under the view that this kernel computed; it
//! takes the next `vault_seq` of the draft that makes it durable.

use std::collections::BTreeMap;

use dvm_core::call::{LevelReply, StepCall};
use dvm_core::codec::link_of;
use dvm_core::frame::{Envelope, FrameHeader, OutTree, Outgoing, PayloadRef};
use dvm_core::receipt::PermitEvent;
use dvm_core::run::Boot;
use dvm_core::trace::{CallResult, Outcome, SendRef};
use dvm_core::{B32, Bytes, NodeId, ReasonCode, Signed};
use ed25519_dalek::SigningKey;
use rand_core::CryptoRngCore;

use crate::performance;
use crate::store::Draft;

/// What comes with a call that performs a level.
pub(crate) struct Request {
    pub(crate) level: u16,
    pub(crate) calls: Vec<StepCall>,
    pub(crate) frames: Vec<Envelope>,
}

/// One step's word, ready for the wire.
#[derive(Default)]
pub(crate) struct Word {
    pub(crate) broadcast: Option<Bytes>,
    /// Sealed.
    pub(crate) private: Vec<(NodeId, Bytes)>,
    pub(crate) public: Option<Bytes>,
}

/// A level being performed.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) results: Vec<CallResult>,
    outgoing: Outgoing,
}

impl Output {
    /// Takes one step's word.
    pub(crate) fn say(&mut self, event: &PermitEvent, word: Word) {
        let context = &event.context;
        let mut sends = Vec::new();
        if let Some(bytes) = word.broadcast {
            sends.push(SendRef { to: None, payload: PayloadRef::of(&bytes) });
            self.outgoing.broadcast.push((context.step, bytes));
        }
        let private: BTreeMap<NodeId, Bytes> = word.private.into_iter().collect();
        for (to, bytes) in private {
            sends.push(SendRef { to: Some(to.clone()), payload: PayloadRef::of(&bytes) });
            self.outgoing.private.entry(to).or_default().push((context.step, bytes));
        }
        let handle = performance::handle(&context.execution_id, context.step);
        let outcome = Outcome::Ok { handle, sends, public: word.public };
        self.results.push(CallResult { step: context.step, context: link_of(context), outcome });
    }

    /// Ends the level with a fault. Nothing of it is sent.
    pub(crate) fn fail(&mut self, event: &PermitEvent, code: ReasonCode, blame: Option<NodeId>) {
        let (step, context) = (event.context.step, link_of(&event.context));
        self.results.push(CallResult { step, context, outcome: Outcome::Fault { code, blame } });
    }
}

/// Who signs a level, and where it stands.
pub(crate) struct Place<'a> {
    pub(crate) signer: &'a SigningKey,
    pub(crate) boot: Boot,
    pub(crate) from: NodeId,
    pub(crate) execution_id: B32,
    pub(crate) level: u16,
    pub(crate) prev_view: B32,
    pub(crate) recipients: &'a [NodeId],
}

/// Signs a level: the reply with its header and frames, and the level's own root.
pub(crate) fn sign(
    place: Place<'_>,
    output: Output,
    draft: &mut Draft,
    rng: &mut dyn CryptoRngCore,
) -> (LevelReply, B32) {
    let salt = || {
        let mut salt = B32::default();
        rng.fill_bytes(&mut salt.0);
        salt
    };
    let tree = OutTree::lay_out(output.outgoing, place.recipients, salt);
    let header = FrameHeader {
        execution_id: place.execution_id,
        boot: place.boot,
        vault_seq: draft.next_seq(),
        level: place.level,
        from: place.from,
        prev_view: place.prev_view,
        out_root: tree.out_root,
    };
    let header = Signed::new(header, place.signer);
    let frames = tree.envelopes(&header);
    let reply = LevelReply { results: output.results, header: Some(header), frames, ..empty() };
    (reply, tree.out_root)
}

/// A reply with nothing in it.
pub(crate) fn empty() -> LevelReply {
    LevelReply {
        results: Vec::new(),
        permits: Vec::new(),
        header: None,
        frames: Vec::new(),
        next: Vec::new(),
        receipt: None,
        publication: None,
        published: None,
        key_ready: None,
        stashed: None,
        bans: Vec::new(),
    }
}
