//! Answers: views of operations, keys, log and peers; and callers that wait for one.

use std::collections::BTreeMap;

use dvm_act::evm::{Signed, Transaction, eip55};
use dvm_core::bytes::B32;
use dvm_core::intent::Act;
use dvm_core::link::Link;
use dvm_core::reason::ReasonCode;
use dvm_core::sighting::FencingRecord;
use serde_json::{Value, json};

use super::operation::{Operation, State};
use super::{ApiCall, ApiReply, Engine, Token};
use crate::views::{ExecutionView, FenceView, KeyView, MemberView};

/// Callers that may wait at one node at once.
pub const WAITERS_MAX: usize = 10_000;

/// A caller that waits for an operation to settle.
#[derive(Debug)]
pub(super) struct Waiter {
    token: Token,
    intent: Link,
    until_ms: u64,
    until_executed: bool,
}

/// The transaction with its published signature, once it recovers to the sender that was approved.
fn signed_transaction(op: &Operation) -> Option<Signed> {
    let Act::SignEvmTransaction { from, .. } = &op.intent.act else { return None };
    let signature = op.result.as_ref()?.0.as_slice().try_into().ok()?;
    let transaction = Transaction::parse(op.content.as_ref()?).ok()?;
    transaction.signed(&from.0, signature).ok()
}

impl Engine {
    /// The operation with this intent CID or run id.
    pub(super) fn find(&self, id: &str) -> Option<Link> {
        if let Ok(link) = id.parse::<Link>() {
            return self.operations.contains_key(&link).then_some(link);
        }
        let run = B32::from_hex(id)?;
        self.operations.iter().find(|(_, op)| op.runs.contains(&run)).map(|(link, _)| *link)
    }

    pub(super) fn api_execution(&mut self, token: Token, id: &str, wait_ms: u64) {
        match self.find(id) {
            Some(intent) => self.wait_for(token, intent, wait_ms, false),
            None => self.refuse(
                token,
                ReasonCode::NotFound,
                format!("no operation `{id}` at this node"),
            ),
        }
    }

    /// Answers now if the operation is settled or nobody wants to wait; else later.
    pub(super) fn wait_for(
        &mut self,
        token: Token,
        intent: Link,
        wait_ms: u64,
        until_executed: bool,
    ) {
        let settled = self.operations.get(&intent).is_none_or(|op| settled(op, until_executed));
        if settled || wait_ms == 0 || self.waiters.len() >= WAITERS_MAX {
            let view = self.execution_view(&intent);
            return self.reply(token, ApiReply::Json(view));
        }
        let until_ms = self.running_ms + wait_ms;
        self.waiters.push(Waiter { token, intent, until_ms, until_executed });
    }

    /// Answers whoever waited for this operation, if it is settled now.
    pub(super) fn wake(&mut self, intent: &Link) {
        let Some(op) = self.operations.get(intent) else { return };
        let (state_settled, executed) = (settled(op, false), settled(op, true));
        let (ready, rest): (Vec<Waiter>, Vec<Waiter>) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|w| w.intent == *intent && (state_settled || w.until_executed && executed));
        self.waiters = rest;
        if ready.is_empty() {
            return;
        }
        // The answer is behind the write of the state that it reports.
        self.count_commit(intent);
        let view = self.execution_view(intent);
        for waiter in ready {
            self.reply(waiter.token, ApiReply::Json(view.clone()));
        }
    }

    pub(super) fn expire_waiters(&mut self) {
        let now = self.running_ms;
        let (late, rest): (Vec<Waiter>, Vec<Waiter>) =
            std::mem::take(&mut self.waiters).into_iter().partition(|w| now >= w.until_ms);
        self.waiters = rest;
        for waiter in late {
            let view = self.execution_view(&waiter.intent);
            self.reply(waiter.token, ApiReply::Json(view));
        }
    }

    pub(super) fn execution_view(&self, intent: &Link) -> Value {
        let view = self.operations.get(intent).map(|op| {
            let mut view = self.view(intent, op);
            if let Some(signed) = signed_transaction(op) {
                view.raw_transaction_hex = Some(format!("0x{}", hex::encode(signed.raw())));
                view.transaction_hash = Some(format!("0x{}", hex::encode(signed.hash())));
            }
            view
        });
        view.and_then(|v| serde_json::to_value(v).ok()).unwrap_or(Value::Null)
    }

    fn view(&self, intent: &Link, op: &Operation) -> ExecutionView {
        let act_run = op.act_run.and_then(|r| self.runs.get(&r));
        let signers = act_run.map(|r| r.ctx.participants().to_vec());
        let material = act_run.and_then(|r| r.ctx.header().kind.material());
        let trace_roots: BTreeMap<String, String> = op
            .runs
            .iter()
            .filter_map(|id| Some((id.hex(), self.runs.get(id)?.trace_root?.to_string())))
            .collect();
        let is_key = op.intent.act.makes_key();
        let purpose = |a: &dvm_core::admission::Approval| match a.purpose {
            dvm_core::admission::Purpose::Admit => "admit",
            dvm_core::admission::Purpose::Release { .. } => "release",
        };
        ExecutionView {
            intent: intent.to_string(),
            execution_id: op.act_run.map(|id| id.hex()),
            publication_id: op.publish_run.map(|id| id.hex()),
            state: op.state.event().to_owned(),
            codes: op.codes.iter().map(ToString::to_string).collect(),
            missing: op.missing.iter().map(ToString::to_string).collect(),
            culprits: op.culprits.iter().map(ToString::to_string).collect(),
            left_out: op.left_out.iter().map(ToString::to_string).collect(),
            act: op.intent.act.class().name().to_owned(),
            key_id: op.intent.act.key_id().to_string(),
            key_epoch: op.intent.act.key_epoch(),
            display: op.display.clone(),
            display_hash: op.intent.display_hash.hex(),
            tenant: op.intent.tenant.to_string(),
            requester: op.intent.requester.to_string(),
            policy_root: self.policy.policy_root().to_string(),
            attempt: op.attempt,
            signers: signers.unwrap_or_default().iter().map(ToString::to_string).collect(),
            material: material.map(|m| format!("{}/{}", m.batch.hex(), m.index)),
            result_ref: op.result_ref.map(|r| r.hex()),
            signature_hex: self.result_of(intent).filter(|_| !is_key).map(|r| hex::encode(&r.0)),
            sender: match &op.intent.act {
                Act::SignEvmTransaction { from, .. } => Some(eip55(&from.0)),
                _ => None,
            },
            raw_transaction_hex: None,
            transaction_hash: None,
            receipts: op.receipts.iter().filter_map(|seq| self.receipt_at(*seq)).collect(),
            trace_roots,
            approvals: op
                .approvals
                .iter()
                .map(|a| format!("{} {}", a.body.approver, purpose(&a.body)))
                .collect(),
            recovered: op.recovered,
            serial_commits: op.commits,
        }
    }

    fn receipt_at(&self, seq: u64) -> Option<String> {
        Some(self.chain_entry(seq)?.body.receipt.to_string())
    }

    pub(super) fn api_query(&mut self, token: Token, call: &ApiCall) {
        let body = match call {
            ApiCall::Executions => {
                let views = self.operations.iter().map(|(l, op)| self.view(l, op));
                json!({ "executions": views.collect::<Vec<_>>() })
            }
            ApiCall::Keys => json!({ "keys": self.key_views() }),
            ApiCall::Log => self.log_view(),
            ApiCall::Status => self.status_view(),
            ApiCall::Attestation => self.attestation_view(),
            ApiCall::Context => self.context_view(),
            ApiCall::Trace(id) => match self.trace_view(id) {
                Some(view) => view,
                None => {
                    let why = format!("no operation `{id}` at this node");
                    return self.refuse(token, ReasonCode::NotFound, why);
                }
            },
            _ => return self.refuse(token, ReasonCode::NotFound, "no such query"),
        };
        self.reply(token, ApiReply::Json(body));
    }

    fn key_views(&self) -> Vec<KeyView> {
        let view = |(id, record): (&dvm_core::KeyId, &dvm_governance::KeyRecord)| {
            let ready = &record.ready;
            KeyView {
                key_id: id.to_string(),
                state: record.state.name().to_owned(),
                key_epoch: record.epoch,
                backend: ready.backend.name().to_owned(),
                threshold: ready.threshold,
                roster: ready.roster.iter().map(ToString::to_string).collect(),
                public_key_hex: hex::encode(&ready.public_key.0),
                public_key_pem: dvm_blame::public_key_pem(ready.backend.into(), &ready.public_key)
                    .ok()
                    .flatten(),
                evm_address: dvm_policy::account_of(ready, &[]).map(|account| eip55(&account.0)),
                chain_code_hex: ready.chain_code.map(|code| code.hex()),
                key_ready_cid: record.key_ready_cid.to_string(),
                below: None,
            }
        };
        self.authority.keys().iter().map(view).collect()
    }

    fn log_view(&self) -> Value {
        let event = |e: &dvm_core::governance::LogEntry| {
            let body = &e.event.body;
            json!({
                "seq": body.seq,
                "cid": e.event.link().to_string(),
                "kind": format!("{:?}", body.kind).split([' ', '{']).next().unwrap_or_default(),
                "key_epoch": body.key_epoch,
                "decision_cid": body.decision_cid.map(|l| l.to_string()),
                "artifact_refs": body.artifact_refs.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "author": body.author.to_string(),
                "entry_hex": hex::encode(dvm_core::codec::encode(e)),
            })
        };
        json!({
            "cluster": self.cluster.to_string(),
            "size": self.head().size,
            "root": self.head().root.hex(),
            "events": self.log.iter().map(event).collect::<Vec<_>>(),
            "certificate_hex": self.certificate.as_ref().map(|c| hex::encode(dvm_core::codec::encode(c))),
            "manifest_hex": hex::encode(dvm_core::codec::encode(&self.manifest)),
            "note": self.certificate.as_ref().map(|c| dvm_governance::note_of(&self.manifest, c)),
        })
    }

    fn status_view(&self) -> Value {
        let named = |code: ReasonCode| code.to_string();
        let fence = |record: &FencingRecord| FenceView {
            node: record.node.to_string(),
            record_hex: hex::encode(dvm_core::codec::encode(record)),
        };
        let mut members = vec![MemberView {
            node: self.me.to_string(),
            link: "self".to_owned(),
            boot_generation: self.attestation.as_ref().map(|a| a.body.boot.generation),
            refused: self.attestation.as_ref().and_then(|a| a.body.stopped).map(named),
        }];
        members.extend(self.peers.iter().map(|(node, peer)| MemberView {
            node: node.to_string(),
            link: if peer.up { "up" } else { "down" }.to_owned(),
            boot_generation: peer.boot.map(|b| b.generation),
            refused: peer.refused.map(named),
        }));
        json!({
            "node": self.me.to_string(),
            "cluster": self.cluster.to_string(),
            "cluster_state": self.authority.cluster_state().name(),
            "log_size": self.head().size,
            "log_root": self.head().root.hex(),
            "policy_root": self.policy.policy_root().to_string(),
            "members": members,
            "fences": self.fences.iter().map(fence).collect::<Vec<_>>(),
            "operations": self.operations.len(),
        })
    }

    fn attestation_view(&self) -> Value {
        let Some(signed) = &self.attestation else { return Value::Null };
        let a = &signed.body;
        json!({
            "node": self.me.to_string(),
            "kernel_key": a.kernel_key.to_string(),
            "sealing_key": a.sealing_key.hex(),
            "boot_generation": a.boot.generation,
            "boot_id": a.boot.id.hex(),
            "vault_seq": a.vault_seq,
            "stopped": a.stopped.map(|code| code.to_string()),
            "binary_sha256": a.binary.hex(),
            "version": a.version,
            "layers": a.layers,
            "signed_hex": hex::encode(dvm_core::codec::encode(signed)),
        })
    }

    /// What approvers and governors bind their signatures to.
    fn context_view(&self) -> Value {
        json!({
            "cluster": self.cluster.to_string(),
            "head_size": self.head().size,
            "head_root": self.head().root.hex(),
            "policy_root": self.policy.policy_root().to_string(),
            "manifest_hex": hex::encode(dvm_core::codec::encode(&self.manifest)),
            "log_hex": self.log.iter().map(|e| hex::encode(dvm_core::codec::encode(e))).collect::<Vec<_>>(),
        })
    }

    fn trace_view(&self, id: &str) -> Option<Value> {
        let intent = self.find(id)?;
        let op = self.operations.get(&intent)?;
        let runs: Vec<Value> = op
            .runs
            .iter()
            .filter_map(|run_id| {
                let run = self.runs.get(run_id)?;
                let receipt = run.permit_receipt.as_ref().map(|receipt| &receipt.body);
                Some(crate::observe::run(&run.ctx, &run.sites, (&run.vm, &run.events), receipt))
            })
            .collect();
        Some(json!({ "intent": intent.to_string(), "node": self.me.to_string(), "runs": runs }))
    }
}

/// Whether nothing more is to be waited for: an end, the gate, or a reason that only people or
/// peers can lift.
fn settled(op: &Operation, until_executed: bool) -> bool {
    match op.state {
        state if state.is_final() => true,
        State::AwaitingApproval => true,
        State::PendingRemote => !op.codes.is_empty() && op.act_run.is_none(),
        State::Executed => until_executed || !op.codes.is_empty(),
        State::Opening => !op.missing.is_empty(),
        _ => false,
    }
}
