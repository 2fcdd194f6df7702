//! A witness: a member that holds no share. It verifies the log and cosigns heads, once per
//! sequence number.
//!
//! Always true: the sign-once register is on disk before a cosignature leaves (the journal's rule:
//! a send waits for every write before it).

use dvm_core::authority::ClusterManifest;
use dvm_core::codec::{self, Artifact};
use dvm_core::governance::{HeadCertificate, LogEntry};
use dvm_core::ids::NodeId;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_governance::{self as gov, AuthorityState, Register};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use crate::journal::{Loaded, Table, Write};
use crate::wire::PeerMessage;

const REGISTER: &[u8] = b"register";
const CERTIFICATE: &[u8] = b"certificate";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterRecord(Register);

impl Artifact for RegisterRecord {
    const SCHEMA: &'static str = "dvm/register/1";
}

/// What a witness does next: writes first, then sends.
#[derive(Debug, Default)]
pub struct Step {
    /// To make durable.
    pub writes: Vec<Write>,
    /// To say, after that.
    pub sends: Vec<(NodeId, PeerMessage)>,
    /// A refusal, for the log.
    pub refused: Option<ReasonCode>,
}

/// A witness's state.
pub struct Witness {
    me: NodeId,
    cluster: Link,
    sequencer: NodeId,
    key: SigningKey,
    state: AuthorityState,
    register: Register,
    log: Vec<LogEntry>,
    certificate: Option<HeadCertificate>,
}

impl Witness {
    /// A witness over what its journal held.
    ///
    /// # Errors
    /// `LOG_INCONSISTENT` if that does not hold together.
    pub fn new(
        me: NodeId,
        manifest: &ClusterManifest,
        key: SigningKey,
        loaded: &Loaded,
    ) -> Result<Self, ReasonCode> {
        let torn = |_| ReasonCode::LogInconsistent;
        let disk = |_| ReasonCode::Internal;
        let mut state = AuthorityState::genesis(manifest).map_err(|e| e.code)?;
        let rows = loaded.scan(Table::GovLog).map_err(disk)?;
        let log: Vec<LogEntry> =
            rows.iter().map(|(_, v)| codec::decode(v)).collect::<Result<_, _>>().map_err(torn)?;
        let certificate = loaded.value(Table::Meta, CERTIFICATE).map_err(disk)?;
        let certificate: Option<HeadCertificate> =
            certificate.map(|v| codec::decode(&v)).transpose().map_err(torn)?;
        if let Some(certificate) = &certificate {
            state = gov::adopt(&state, &log, certificate).map_err(|e| e.code())?;
        }
        let register = loaded.value(Table::Meta, REGISTER).map_err(disk)?;
        let register =
            register.map(|v| codec::decode::<RegisterRecord>(&v)).transpose().map_err(torn)?;
        let register = register.map_or_else(|| Register::new(&state), |r| r.0);
        let cluster = codec::link_of(manifest);
        let sequencer = manifest.sequencer.clone();
        Ok(Self { me, cluster, sequencer, key, state, register, log, certificate })
    }

    /// Takes one message.
    pub fn handle(&mut self, now_ms: u64, from: &NodeId, message: PeerMessage) -> Step {
        match message {
            PeerMessage::Hello { head, .. } => self.on_hello(from, head.size),
            PeerMessage::Entry(entry) => self.on_entry(now_ms, from, &entry),
            PeerMessage::Certified { entries, certificate } => {
                self.on_certified(entries, *certificate)
            }
            PeerMessage::FetchLog { from: seq } => self.on_fetch_log(from, seq),
            // A witness takes part in nothing else.
            _ => Step::default(),
        }
    }

    /// What is said first on a connection.
    pub fn hello(&self) -> PeerMessage {
        PeerMessage::Hello { attestation: None, head: self.state.head() }
    }

    fn on_hello(&mut self, from: &NodeId, size: u64) -> Step {
        let mine = self.state.head().size;
        if size > mine {
            let fetch = PeerMessage::FetchLog { from: mine };
            return Step { sends: vec![(from.clone(), fetch)], ..Step::default() };
        }
        if size < mine { self.on_fetch_log(from, size) } else { Step::default() }
    }

    fn on_entry(&mut self, now_ms: u64, from: &NodeId, entry: &LogEntry) -> Step {
        if *from != self.sequencer {
            return Step { refused: Some(ReasonCode::NotAuthorized), ..Step::default() };
        }
        if entry.event.body.seq > self.state.next_seq() {
            let fetch = PeerMessage::FetchLog { from: self.state.next_seq() };
            return Step { sends: vec![(from.clone(), fetch)], ..Step::default() };
        }
        let allowed = match self.register.may_cosign(&self.state, entry, now_ms) {
            Ok(allowed) => allowed,
            Err(code) => return Step { refused: Some(code), ..Step::default() },
        };
        self.register = allowed.register;
        let cosignature =
            gov::cosign(&self.cluster, &allowed.head, self.me.clone(), now_ms / 1000, &self.key);
        let answer = PeerMessage::Cosigned { head: allowed.head, cosignature };
        // The register is durable before the cosignature leaves; a crash between costs nothing.
        Step {
            writes: vec![self.register_write()],
            sends: vec![(from.clone(), answer)],
            refused: None,
        }
    }

    fn register_write(&self) -> Write {
        let value = codec::encode(&RegisterRecord(self.register));
        Write::Put { table: Table::Meta, key: REGISTER.to_vec(), value }
    }

    fn on_certified(&mut self, entries: Vec<LogEntry>, certificate: HeadCertificate) -> Step {
        let next = self.state.next_seq();
        let fresh: Vec<LogEntry> =
            entries.into_iter().filter(|e| e.event.body.seq >= next).collect();
        if fresh.is_empty() {
            return Step::default();
        }
        let state = match gov::adopt(&self.state, &fresh, &certificate) {
            Ok(state) => state,
            Err(refused) => return Step { refused: Some(refused.code()), ..Step::default() },
        };
        self.state = state;
        self.register = Register::new(&self.state);
        let mut writes = vec![self.register_write()];
        let value = codec::encode(&certificate);
        writes.push(Write::Put { table: Table::Meta, key: CERTIFICATE.to_vec(), value });
        for entry in &fresh {
            let key = entry.event.body.seq.to_be_bytes().to_vec();
            writes.push(Write::Put { table: Table::GovLog, key, value: codec::encode(entry) });
        }
        self.log.extend(fresh);
        self.certificate = Some(certificate);
        Step { writes, ..Step::default() }
    }

    fn on_fetch_log(&self, to: &NodeId, from: u64) -> Step {
        let Some(certificate) = self.certificate.clone() else { return Step::default() };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let entries: Vec<LogEntry> = self.log.iter().skip(from).cloned().collect();
        if entries.is_empty() {
            return Step::default();
        }
        let message = PeerMessage::Certified { entries, certificate: Box::new(certificate) };
        Step { sends: vec![(to.clone(), message)], ..Step::default() }
    }
}
