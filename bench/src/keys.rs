//! Keys to sign with: made by distributed key generation, activated by two governors, as in life.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dvm_core::authority::{ApprovalRule, ClusterManifest, Floor, ReleaseRule};
use dvm_core::codec::{self, Artifact};
use dvm_core::governance::{EventKind, HeadCertificate, LogEntry, SignedDecision};
use dvm_core::intent::{ActClass, Backend};
use dvm_core::{B32, KeyId};
use dvm_governance::{AuthorityState, Terms, adopt, attach, draft_decision, sign_decision};
use rand_core::{OsRng, RngCore};
use serde_json::{Value, json};

use crate::Outcome;
use crate::client::{Client, text, until};
use crate::cluster::{APPROVERS, Cluster};
use crate::load::Asked;

/// Longest wait for one step of a key's life.
const STEP_TIME: Duration = Duration::from_secs(30);
const STEP_MS: u64 = 30_000;
const HOUR_MS: u64 = 3_600_000;
/// More openings in an hour than any benchmark makes.
const PER_HOUR: u32 = 10_000_000;

/// Milliseconds since the epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

/// Makes and activates a 2-of-3 key for what will be asked of it: Ed25519 for messages, ECDSA for transactions.
///
/// # Errors
/// A step that was refused or did not end.
pub fn make(cluster: &Cluster, name: &str, asked: Asked) -> Outcome<()> {
    let client = cluster.clients.first().ok_or("a cluster without nodes")?;
    let backend = match asked {
        Asked::Message | Asked::Approved => Backend::FrostEd25519,
        Asked::Transaction => Backend::Dkls23Secp256k1,
    };
    let act = json!({
        "type": "key.generate", "key_id": name, "backend": backend.name(), "threshold": 2,
    });
    let request = json!({ "idempotency_key": format!("key-{name}"), "act": act,
        "wait_ms": STEP_MS });
    let view = client.post("operator", "/v1/executions", &request)?;
    if text(&view, "state") != "Published" {
        return Err(format!("key generation: {view}").into());
    }
    wait_for_state(client, name, None)?;
    decide(cluster, client, name, asked)?;
    for client in &cluster.clients {
        wait_for_state(client, name, Some("Active"))?;
    }
    Ok(())
}

fn wait_for_state(client: &Client, name: &str, state: Option<&str>) -> Outcome<()> {
    until(STEP_TIME, "the key in the log", || {
        let keys = client.get("client", "/v1/keys")?;
        let keys = keys.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_it = |k: &Value| {
            text(k, "key_id") == name && state.is_none_or(|state| text(k, "state") == state)
        };
        Ok(keys.iter().any(is_it).then_some(()))
    })
}

fn floor(asked: Asked) -> Outcome<Floor> {
    let approvals = asked == Asked::Approved;
    let act = match asked {
        Asked::Message | Asked::Approved => ActClass::SignMessage,
        Asked::Transaction => ActClass::SignEvmTransaction,
    };
    let set = APPROVERS.parse().map_err(|_| "the approver set's name")?;
    let rule = ApprovalRule { set, k: 1 };
    Ok(Floor {
        admit: approvals.then(|| rule.clone()),
        release: if approvals { ReleaseRule::Approvals(rule) } else { ReleaseRule::Auto },
        acts: vec![act, ActClass::PresignBatch],
        executions_per_hour: PER_HOUR,
        failures_to_freeze: 5,
    })
}

fn decide(cluster: &Cluster, client: &Client, name: &str, asked: Asked) -> Outcome<()> {
    let key_id: KeyId = name.parse().map_err(|_| "the key's name")?;
    let proposer = cluster.governors.first().ok_or("nobody governs")?;
    let mut nonce = B32::default();
    OsRng.fill_bytes(&mut nonce.0);
    let terms = Terms {
        floor: Some(floor(asked)?),
        proposer: proposer.person.clone(),
        not_before_ms: now_ms().saturating_sub(60_000),
        expires_ms: now_ms().saturating_add(HOUR_MS),
        nonce,
    };
    let state = authority(client)?;
    let decision = draft_decision(&state, EventKind::KeyActivated { key_id }, terms);
    let mut signed = SignedDecision { decision, signatures: Vec::new() };
    for governor in &cluster.governors {
        let signature = sign_decision(&signed.decision, governor.person.clone(), &governor.key);
        attach(&mut signed, signature);
    }
    client.hand_in("operator", "/v1/governance/decisions", &signed)?;
    Ok(())
}

fn artifact<T: Artifact>(value: Option<&Value>) -> Outcome<T> {
    let text = value.and_then(Value::as_str).ok_or("the log is not of its form")?;
    Ok(codec::decode(&hex::decode(text)?)?)
}

/// The authority state, folded from the node's log and checked on the way.
fn authority(client: &Client) -> Outcome<AuthorityState> {
    let log = client.get("client", "/v1/governance/log")?;
    let manifest: ClusterManifest = artifact(log.get("manifest_hex"))?;
    let events = log.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
    let entries: Outcome<Vec<LogEntry>> =
        events.iter().map(|e| artifact(e.get("entry_hex"))).collect();
    let certificate: HeadCertificate = artifact(log.get("certificate_hex"))?;
    let genesis = AuthorityState::genesis(&manifest).map_err(|e| e.to_string())?;
    Ok(adopt(&genesis, &entries?, &certificate)?)
}
