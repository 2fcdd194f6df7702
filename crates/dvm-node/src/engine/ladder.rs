//! The ingress ladder: five rungs, a type per rung, each made only by the rung before.
//!
//! bytes → [`SignedEnvelope`] → [`AdmittedFrame`] → [`GraphFacts`] → [`DvmFact`] → the VM's slot.
//!
//! Always true: a frame that fails a rung touches no slot, counter or run; no byte of it reaches the
//! kernel before the last rung.

use std::collections::BTreeMap;

use dvm_core::authority::ClusterManifest;
use dvm_core::bytes::B32;
use dvm_core::codec;
use dvm_core::frame::{Authentic, Envelope};
use dvm_core::ids::NodeId;
use dvm_core::reason::ReasonCode;
use dvm_core::run::Boot;
use dvm_core::trace::FrameFact;
use dvm_score::Plan;

/// Rung 1: bounded, canonical, signed by a member's kernel, bound hash right.
#[derive(Debug)]
pub struct SignedEnvelope(Authentic);

/// Rung 2: and it is for this node.
#[derive(Debug)]
pub struct AdmittedFrame(Authentic);

/// Rung 3: and it belongs to a run that is live here, at a level that can be taken now.
#[derive(Debug)]
pub struct GraphFacts(Authentic);

/// Rung 4: and it carries exactly what the plan expects of this peer at this level.
#[derive(Debug)]
pub struct DvmFact(Authentic);

/// What rung 3 needs to know of a run.
pub struct Session<'a> {
    /// The run.
    pub execution_id: B32,
    /// Each participant's kernel run, as its opening named it; empty for a publication.
    pub boots: &'a BTreeMap<NodeId, Boot>,
    /// The participants.
    pub participants: &'a [NodeId],
    /// The level whose frames are awaited.
    pub level: u16,
}

impl SignedEnvelope {
    /// From bytes: bounded decode, kernel signature, binding hash.
    ///
    /// # Errors
    /// `BINDING_MISMATCH` for anything else.
    pub fn read(bytes: &[u8], manifest: &ClusterManifest) -> Result<Self, ReasonCode> {
        let envelope: Envelope = codec::decode(bytes).map_err(|_| ReasonCode::BindingMismatch)?;
        Self::check(envelope, manifest)
    }

    /// The same, for an envelope that came inside a decoded message.
    ///
    /// # Errors
    /// `BINDING_MISMATCH`.
    pub fn check(envelope: Envelope, manifest: &ClusterManifest) -> Result<Self, ReasonCode> {
        let from = &envelope.header.body.from;
        let key = manifest.passport(from).ok_or(ReasonCode::BindingMismatch)?.kernel_key;
        envelope.authenticate(key).map(Self)
    }

    /// The envelope, for keeping until its run is known.
    pub fn envelope(&self) -> &Envelope {
        self.0.envelope()
    }

    /// Rung 2.
    ///
    /// # Errors
    /// `WRONG_RECIPIENT`.
    pub fn admit(self, me: &NodeId) -> Result<AdmittedFrame, ReasonCode> {
        if self.0.envelope().to == *me {
            Ok(AdmittedFrame(self.0))
        } else {
            Err(ReasonCode::WrongRecipient)
        }
    }
}

impl AdmittedFrame {
    /// The run that the frame claims.
    pub fn execution_id(&self) -> B32 {
        self.0.header().execution_id
    }

    /// The envelope, for keeping until its run is known.
    pub fn envelope(&self) -> &Envelope {
        self.0.envelope()
    }

    /// Rung 3: run, sender, sender's kernel run, level window.
    ///
    /// # Errors
    /// `SESSION_MISMATCH`, and `SPLIT_BRAIN_FENCED` for a frame of an older kernel run.
    pub fn enter(self, session: &Session<'_>) -> Result<GraphFacts, ReasonCode> {
        let header = self.0.header();
        let known = header.execution_id == session.execution_id
            && session.participants.contains(&header.from);
        let window = header.level >= 1 && header.level <= session.level.saturating_add(1);
        if !known || !window {
            return Err(ReasonCode::SessionMismatch);
        }
        match session.boots.get(&header.from) {
            Some(boot) if boot.generation > header.boot.generation => {
                Err(ReasonCode::SplitBrainFenced)
            }
            Some(boot) if *boot != header.boot => Err(ReasonCode::SessionMismatch),
            _ => Ok(GraphFacts(self.0)),
        }
    }
}

impl GraphFacts {
    /// Rung 4: steps, kinds and sizes that the plan expects.
    ///
    /// # Errors
    /// `PAYLOAD_REJECTED`.
    pub fn expect(self, plan: &Plan) -> Result<DvmFact, ReasonCode> {
        let envelope = self.0.envelope();
        let level = self.0.header().level;
        dvm_vm::expects(plan, level, &envelope.broadcast.leaf, Some(&envelope.private.leaf))?;
        Ok(DvmFact(self.0))
    }
}

impl DvmFact {
    /// What the VM is told: names only.
    pub fn fact(&self) -> FrameFact {
        let envelope = self.0.envelope();
        FrameFact {
            header: envelope.header.clone(),
            broadcast: envelope.broadcast.leaf.clone(),
            private: Some(envelope.private.leaf.clone()),
        }
    }

    /// The bytes, for the kernel.
    pub fn into_envelope(self) -> Envelope {
        self.0.envelope().clone()
    }
}
