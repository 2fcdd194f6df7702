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

#[cfg(test)]
mod tests {
    use dvm_core::authority::{Floor, Governors, NodePassport, ReleaseRule};
    use dvm_core::frame::{FrameHeader, OutTree, Outgoing};
    use dvm_core::intent::{Act, Backend};
    use dvm_core::sign::{Signed, Signer as _};
    use ed25519_dalek::SigningKey;

    use super::*;

    const RUN: B32 = B32([1; 32]);

    fn node(number: u8) -> NodeId {
        format!("n{number}").parse().unwrap()
    }

    fn key(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    fn boot(generation: u64, id: u8) -> Boot {
        Boot { generation, id: B32([id; 32]) }
    }

    /// Three nodes, of which the first two sign.
    fn manifest() -> ClusterManifest {
        let passport = |number: u8| NodePassport {
            node: node(number),
            org: "acme".parse().unwrap(),
            node_key: key(number).public_key(),
            kernel_key: key(number).public_key(),
            sealing_key: B32::default(),
            policy_key: key(number).public_key(),
            generation: 1,
        };
        let floor = Floor {
            admit: None,
            release: ReleaseRule::Auto,
            acts: Vec::new(),
            executions_per_hour: 1,
            failures_to_freeze: 1,
        };
        ClusterManifest {
            name: "acme".parse().unwrap(),
            nonce: B32::default(),
            nodes: (1..4).map(passport).collect(),
            witnesses: Vec::new(),
            faults: 0,
            sequencer: node(1),
            governors: Governors { threshold: 1, members: Vec::new(), proposer_counts: true },
            approvers: Vec::new(),
            policy_root: dvm_core::link::Link::of_raw(b"policy"),
            keygen_floor: floor,
        }
    }

    fn plan() -> Plan {
        let key_id = "treasury".parse().unwrap();
        let act = Act::SignDigest { key_id, key_epoch: 1, digest: B32::default() };
        let signers = [node(1), node(2)];
        let compiled =
            dvm_score::compile(&act, dvm_score::Run::Act(None), Backend::FrostEd25519, &signers);
        compiled.unwrap().into_plan()
    }

    /// A frame of level 1 of [`RUN`] by the second node's kernel, for the first, after this change.
    fn frame(change: impl FnOnce(&mut FrameHeader)) -> Envelope {
        frame_that_says(vec![(0, vec![7; 64].into())], change)
    }

    fn frame_that_says(
        broadcast: Vec<(u16, dvm_core::Bytes)>,
        change: impl FnOnce(&mut FrameHeader),
    ) -> Envelope {
        let out = Outgoing { broadcast, ..Outgoing::default() };
        let tree = OutTree::lay_out(out, &[node(1)], || B32([5; 32]));
        let mut header = FrameHeader {
            execution_id: RUN,
            boot: boot(4, 4),
            vault_seq: 3,
            level: 1,
            from: node(2),
            prev_view: B32::default(),
            out_root: tree.out_root,
        };
        change(&mut header);
        let signer = key(header.from.as_str().as_bytes()[1] - b'0');
        tree.envelopes(&Signed::new(header, &signer)).remove(0)
    }

    fn admitted(envelope: Envelope) -> AdmittedFrame {
        SignedEnvelope::check(envelope, &manifest()).unwrap().admit(&node(1)).unwrap()
    }

    /// Rung 3 for a run of the first two nodes that awaits this level, the second at boot 4.
    fn entered(envelope: Envelope, level: u16) -> Result<GraphFacts, ReasonCode> {
        let boots = BTreeMap::from([(node(2), boot(4, 4))]);
        let participants = [node(1), node(2)];
        let session =
            Session { execution_id: RUN, boots: &boots, participants: &participants, level };
        admitted(envelope).enter(&session)
    }

    #[test]
    fn only_what_a_members_kernel_signed_is_an_envelope_and_only_its_recipient_takes_it() {
        let bytes = codec::encode(&frame(|_| {}));
        let read = SignedEnvelope::read(&bytes, &manifest()).unwrap();
        assert_eq!(*read.envelope(), frame(|_| {}));
        let refused = |bytes: &[u8]| SignedEnvelope::read(bytes, &manifest()).unwrap_err();
        assert_eq!(refused(&bytes[1..]), ReasonCode::BindingMismatch);
        let mut altered = frame(|_| {});
        altered.header.body.from = node(3);
        assert_eq!(refused(&codec::encode(&altered)), ReasonCode::BindingMismatch);
        let stranger = codec::encode(&frame(|h| h.from = node(4)));
        assert_eq!(refused(&stranger), ReasonCode::BindingMismatch);

        let for_me = read.admit(&node(1)).unwrap();
        assert_eq!((for_me.execution_id(), for_me.envelope()), (RUN, &frame(|_| {})));
        let other = SignedEnvelope::check(frame(|_| {}), &manifest()).unwrap();
        assert_eq!(other.admit(&node(3)).unwrap_err(), ReasonCode::WrongRecipient);
    }

    #[test]
    fn a_frame_enters_only_its_own_run_from_a_participant_of_it() {
        assert!(entered(frame(|_| {}), 1).is_ok());
        for stranger in [frame(|h| h.execution_id = B32([2; 32])), frame(|h| h.from = node(3))] {
            assert_eq!(entered(stranger, 1).unwrap_err(), ReasonCode::SessionMismatch);
        }
    }

    #[test]
    fn a_frame_enters_from_level_one_to_one_ahead_of_what_is_awaited() {
        let at = |level: u16, awaited| entered(frame(|h| h.level = level), awaited).err();
        for (level, awaited) in [(1, 1), (2, 1), (1, 5), (6, 5), (1, 0)] {
            assert_eq!(at(level, awaited), None, "{level} at {awaited}");
        }
        for (level, awaited) in [(0, 1), (3, 1), (7, 5), (2, 0), (0, u16::MAX)] {
            let refused = Some(ReasonCode::SessionMismatch);
            assert_eq!(at(level, awaited), refused, "{level} at {awaited}");
        }
    }

    #[test]
    fn a_frame_of_another_boot_is_refused_and_of_an_older_one_fenced() {
        let by = |said: Boot| entered(frame(|h| h.boot = said), 1).err();
        assert_eq!(by(boot(4, 4)), None);
        assert_eq!(by(boot(3, 4)), Some(ReasonCode::SplitBrainFenced));
        assert_eq!(by(boot(4, 5)), Some(ReasonCode::SessionMismatch));
        assert_eq!(by(boot(5, 4)), Some(ReasonCode::SessionMismatch));
        // A publication outlives restarts: no boot is named, and the kernel judges them.
        let (boots, participants) = (BTreeMap::new(), [node(1), node(2)]);
        let session =
            Session { execution_id: RUN, boots: &boots, participants: &participants, level: 1 };
        let of_any_boot = admitted(frame(|h| h.boot = boot(3, 9))).enter(&session);
        assert!(of_any_boot.is_ok());
    }

    #[test]
    fn a_frame_that_carries_what_the_plan_expects_is_told_to_the_interpreter_by_name() {
        let plan = plan();
        let step = plan.at_level(1).next().unwrap().index;
        let right = frame_that_says(vec![(step, vec![7; 64].into())], |_| {});
        let fact = entered(right.clone(), 1).unwrap().expect(&plan).unwrap();
        let told = fact.fact();
        assert_eq!(
            (told.header, told.broadcast),
            (right.header.clone(), right.broadcast.leaf.clone())
        );
        assert_eq!(told.private, Some(right.private.leaf.clone()));
        assert_eq!(fact.into_envelope(), right);
        for wrong in [Vec::new(), vec![(step + 1, vec![7; 64].into())]] {
            let wrong = entered(frame_that_says(wrong, |_| {}), 1).unwrap().expect(&plan);
            assert_eq!(wrong.unwrap_err(), ReasonCode::PayloadRejected);
        }
    }
}
