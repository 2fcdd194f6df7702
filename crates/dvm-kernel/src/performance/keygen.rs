//! Key generation and its activation probe, step by step.

use std::collections::BTreeMap;

use dvm_blame::{Fault, Rule};
use dvm_core::B32;
use dvm_microcode::dkg::{self, Agreed, Committed, Opened, Shared, Unconfirmed};
use dvm_microcode::sign::Nonces;
use dvm_microcode::{FrostSuite, KeyShare, Secret, Session};
use dvm_score::MicroOp;
use rand_core::CryptoRngCore;

use super::{Made, Mail, Said};

/// What a kernel that does not probe sends in place of a share, so that all frames look alike in kind.
const NO_PROBE_SHARE: &[u8] = &[0];

/// Where a key generation is. Each state is consumed by the round that follows.
enum State<C: FrostSuite> {
    Fresh(Session<C>),
    Committed(Committed<C>),
    Opened(Opened<C>),
    Shared(Shared<C>),
    Unconfirmed(Unconfirmed<C>),
    Agreed(Agreed<C>),
    Done(KeyShare<C>),
    Spent,
}

/// One key generation.
pub(crate) struct Keygen<C: FrostSuite> {
    state: State<C>,
    me: String,
    /// The probe's signers: the first t of the roster.
    probers: Vec<String>,
    peers: Vec<String>,
    nonces: Option<Nonces<C>>,
    probe_share: Option<Secret<Vec<u8>>>,
}

impl<C: FrostSuite> Keygen<C> {
    pub(super) fn new(session: Session<C>) -> Self {
        let t = usize::from(session.threshold());
        Self {
            me: session.me().to_owned(),
            probers: session.roster().nodes().take(t).map(str::to_owned).collect(),
            peers: session.peers().map(str::to_owned).collect(),
            state: State::Fresh(session),
            nonces: None,
            probe_share: None,
        }
    }

    pub(super) fn perform(
        &mut self,
        op: MicroOp,
        mail: Mail<'_>,
        mut rng: &mut dyn CryptoRngCore,
    ) -> Result<Said, Fault> {
        let state = std::mem::replace(&mut self.state, State::Spent);
        let mut said = Said::default();
        self.state = match (op, state) {
            (MicroOp::DkgCommit, State::Fresh(session)) => {
                let (committed, h) = dkg::commit(session, &mut rng)?;
                said.broadcast = Some(h.to_vec());
                State::Committed(committed)
            }
            (MicroOp::DkgOpen, State::Committed(committed)) => {
                let (opened, opening) = dkg::open(committed, mail.digests(MicroOp::DkgCommit)?)?;
                let copy =
                    |peer: &String| (peer.clone(), opening.expose(|o| Secret::new(o.clone())));
                said.private = self.peers.iter().map(copy).collect();
                State::Opened(opened)
            }
            (MicroOp::DkgShare, State::Opened(opened)) => {
                let openings = mail.of(MicroOp::DkgOpen);
                let verified: Result<Vec<_>, Fault> = openings
                    .map(|(from, bytes)| dkg::receive_opening(&opened, &from, bytes))
                    .collect();
                let (shared, shares) = dkg::share(opened, verified?)?;
                said.private = shares;
                State::Shared(shared)
            }
            (MicroOp::DkgFinish, State::Shared(shared)) => {
                State::Unconfirmed(dkg::finish(shared, &mail.secret(MicroOp::DkgShare))?)
            }
            (MicroOp::DkgConfirm, State::Unconfirmed(unconfirmed)) => {
                said.broadcast = Some(unconfirmed.transcript().to_vec());
                State::Unconfirmed(unconfirmed)
            }
            (MicroOp::ProbeCommit, state) => self.probe_commit(state, &mut said, rng)?,
            (MicroOp::ProbeSign, State::Unconfirmed(unconfirmed)) => {
                let agreed = dkg::agree(unconfirmed, &mail.digests(MicroOp::DkgConfirm)?)?;
                self.probe_sign(agreed, mail, &mut said)?
            }
            (MicroOp::ProbeVerify, State::Agreed(agreed)) => {
                let commitments = self.of_probers(mail.public(MicroOp::ProbeCommit));
                let mut shares = self.of_probers(mail.secret(MicroOp::ProbeSign));
                if let Some(own) = self.probe_share.take() {
                    shares.insert(self.me.clone(), own);
                }
                State::Done(dkg::probe_confirm(agreed, &commitments, &shares)?)
            }
            _ => return Err(Rule::UnexpectedMessage.into()),
        };
        Ok(said)
    }

    fn probe_commit(
        &mut self,
        state: State<C>,
        said: &mut Said,
        mut rng: &mut dyn CryptoRngCore,
    ) -> Result<State<C>, Fault> {
        if !self.probers.contains(&self.me) {
            said.broadcast = Some(NO_PROBE_SHARE.to_vec());
            return Ok(state);
        }
        let State::Unconfirmed(unconfirmed) = state else {
            return Err(Rule::UnexpectedMessage.into());
        };
        let (nonces, commitment) = unconfirmed.probe_commit(&mut rng)?;
        self.nonces = Some(nonces);
        said.broadcast = Some(commitment);
        Ok(State::Unconfirmed(unconfirmed))
    }

    fn probe_sign(
        &mut self,
        agreed: Agreed<C>,
        mail: Mail<'_>,
        said: &mut Said,
    ) -> Result<State<C>, Fault> {
        let Some(nonces) = self.nonces.take() else {
            let marker = |peer: &String| (peer.clone(), Secret::new(NO_PROBE_SHARE.to_vec()));
            said.private = self.peers.iter().map(marker).collect();
            return Ok(State::Agreed(agreed));
        };
        let commitments = self.of_probers(mail.public(MicroOp::ProbeCommit));
        let share = dkg::probe_partial(&agreed, nonces, &commitments)?;
        let copy = |peer: &String| (peer.clone(), share.expose(|s| Secret::new(s.clone())));
        said.private = self.peers.iter().map(copy).collect();
        self.probe_share = Some(share);
        Ok(State::Agreed(agreed))
    }

    fn of_probers<T>(&self, mut all: BTreeMap<String, T>) -> BTreeMap<String, T> {
        all.retain(|node, _| self.probers.contains(node));
        all
    }

    pub(super) fn made(&mut self) -> Result<Made, Fault> {
        let State::Done(key) = std::mem::replace(&mut self.state, State::Spent) else {
            return Err(Rule::UnexpectedMessage.into());
        };
        Ok(Made::Key {
            share: key.seal_bytes()?,
            pairs: BTreeMap::new(),
            public_key: key.group().public_key().as_ref().to_vec(),
            package: key.group().encode()?,
            transcript: B32(*key.transcript()),
        })
    }
}
