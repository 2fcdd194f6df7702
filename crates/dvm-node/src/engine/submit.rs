//! A client's request becomes a canonical intent, once per idempotency key.

use std::collections::BTreeSet;

use dvm_core::bytes::{Address20, Bytes};
use dvm_core::ids::{IdempotencyKey, PersonId, Tenant};
use dvm_core::intent::{Act, CanonicalIntent, Scheme, Scope};
use dvm_core::limits;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_policy::Role;

use super::operation::{Operation, State};
use super::{Engine, Token};

/// An intent lives this long unless the client says otherwise.
pub const EXPIRY_DEFAULT_MS: u64 = 3_600_000;
/// Open operations at one node; more are refused so that honest work goes on.
pub const OPERATIONS_MAX: usize = 20_000;

/// A request, already authenticated and typed.
#[derive(Debug)]
pub struct Submission {
    /// Whose.
    pub tenant: Tenant,
    /// By whom.
    pub requester: PersonId,
    /// The client's name for it.
    pub idempotency_key: IdempotencyKey,
    /// What the requester's token allows.
    pub roles: BTreeSet<Role>,
    /// What; it already names its content. The epoch is filled in here.
    pub act: Act,
    /// The content that the act names.
    pub content: Option<Vec<u8>>,
    /// When it expires, if the client said so.
    pub expires_ms: Option<u64>,
    /// Answer only when settled, or after so long.
    pub wait_ms: u64,
    /// Whether `Executed` is settled enough.
    pub until_executed: bool,
}

impl Engine {
    pub(super) fn submit(&mut self, token: Token, submission: Submission) {
        let wait = (submission.wait_ms, submission.until_executed);
        match self.intent_of(submission) {
            Ok(intent) => {
                self.coordinate(&intent);
                self.wait_for(token, intent, wait.0, wait.1);
            }
            Err((code, message)) => self.refuse(token, code, message),
        }
    }

    /// The operation this request names: the one it named before, or a new one.
    fn intent_of(&mut self, s: Submission) -> Result<Link, (ReasonCode, &'static str)> {
        let slot = (s.tenant.clone(), s.idempotency_key.clone());
        let act = self.with_sender(self.with_epoch(s.act))?;
        self.check_scheme(&act)?;
        if let Some(known) = self.by_key.get(&slot).copied() {
            let same = self.operations.get(&known).is_some_and(|op| {
                op.intent.act == act
                    && op.intent.requester == s.requester
                    && s.expires_ms.is_none_or(|at| at == op.intent.expires_ms)
            });
            let other = "this idempotency key names another request; use a new key";
            return if same { Ok(known) } else { Err((ReasonCode::ReplayOrConflict, other)) };
        }
        if self.operations.len() >= OPERATIONS_MAX {
            return Err((
                ReasonCode::ResourceLimit,
                "too many operations at this node; retry later",
            ));
        }
        let content = s.content.filter(|c| c.len() <= limits::CONTENT_BYTES_MAX);
        let mut intent = CanonicalIntent {
            cluster: self.cluster,
            tenant: s.tenant,
            idempotency_key: s.idempotency_key,
            requester: s.requester,
            act,
            scope: Scope::Public,
            display_hash: Default::default(),
            expires_ms: s.expires_ms.unwrap_or(self.now_ms + EXPIRY_DEFAULT_MS),
        };
        let shown = dvm_act::display(&intent, content.as_deref());
        let malformed = "the act is not well formed";
        intent.display_hash = shown.map_err(|e| (e.code(), malformed))?.hash();
        self.accept(intent, content.map(Bytes), s.roles).map_err(|code| (code, malformed))
    }

    /// A key's acts name its epoch; a client need not know it.
    fn with_epoch(&self, act: Act) -> Act {
        let epoch = self.authority.key(act.key_id()).map_or(1, |k| k.epoch);
        let mut act = act.at_epoch(epoch);
        if let Act::KeyGenerate { roster, .. } = &mut act
            && roster.is_empty()
        {
            *roster = self.manifest.nodes.iter().map(|p| p.node.clone()).collect();
        }
        act
    }

    /// An act that no key of this scheme performs would wait for signers until it expires.
    fn check_scheme(&self, act: &Act) -> Result<(), (ReasonCode, &'static str)> {
        let messages = "this key is for ECDSA and signs no messages; sign a transaction, or use a \
            key of another backend";
        let scheme = self.authority.key(act.key_id()).map(|key| key.ready.backend.scheme());
        match act {
            Act::SignMessage { .. } if scheme == Some(Scheme::Ecdsa) => {
                Err((ReasonCode::PayloadRejected, messages))
            }
            _ => Ok(()),
        }
    }

    /// A transaction's act names the account that pays; a client need not know it.
    fn with_sender(&self, mut act: Act) -> Result<Act, (ReasonCode, &'static str)> {
        if let Act::SignEvmTransaction { key_id, path, from, .. } = &mut act
            && let Some(record) = self.authority.key(key_id)
        {
            let no_account = "this key has no account on EVM chains, or none at this path; \
                use a key of backend `dkls23-secp256k1`";
            let account = dvm_policy::account_of(&record.ready, path)
                .ok_or((ReasonCode::PayloadRejected, no_account))?;
            if *from == Address20::default() {
                *from = account;
            } else if *from != account {
                let other = "`from` is not the address of this key at this path";
                return Err((ReasonCode::BindingMismatch, other));
            }
        }
        Ok(act)
    }

    /// Takes an intent in, from a client or a peer: parsed, deduplicated, recorded.
    pub(super) fn accept(
        &mut self,
        intent: CanonicalIntent,
        content: Option<Bytes>,
        roles: BTreeSet<Role>,
    ) -> Result<Link, ReasonCode> {
        if intent.cluster != self.cluster {
            return Err(ReasonCode::BindingMismatch);
        }
        let slot = (intent.tenant.clone(), intent.idempotency_key.clone());
        let link = dvm_core::codec::link_of(&intent);
        match self.by_key.get(&slot) {
            Some(known) if *known == link => return Ok(link),
            Some(_) => return Err(ReasonCode::ReplayOrConflict),
            None => {}
        }
        let parsed = dvm_act::parse(&intent, content.as_deref()).map_err(|e| e.code())?;
        let display = parsed.display().text().to_owned();
        self.by_key.insert(slot, link);
        self.operations.insert(link, Operation::new(intent, content, roles, display));
        self.save(&link);
        Ok(link)
    }

    /// Becomes the node that gathers signers for this intent, unless it is settled or under way.
    pub(super) fn coordinate(&mut self, intent: &Link) {
        let Some(op) = self.operations.get_mut(intent) else { return };
        let idle = matches!(op.state, State::Proposed | State::Admitted | State::Aborted)
            || op.state == State::PendingRemote && op.act_run.is_none();
        let stranded = op.state == State::Executed && !op.coordinator;
        if op.coordinator && op.state != State::Aborted && op.attempt > 0 {
            return;
        }
        if idle {
            op.coordinator = true;
            self.begin_attempt(intent);
        } else if stranded {
            op.coordinator = true;
            self.save(intent);
        }
    }
}
