//! Closed loops: each client asks for the next signature when it has the last one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dvm_act::evm::Fields;
use dvm_core::admission::{Approval, Purpose};
use dvm_core::{B32, Signed};
use serde_json::{Value, json};

use crate::Outcome;
use crate::client::{Client, number, text, until};
use crate::cluster::Cluster;
use crate::figures::{Aims, Figures};
use crate::keys::now_ms;
use crate::machine::{cpu_ms, loopback_bytes};
use crate::wal;

/// Longest wait for one signature; a slower one fails the run.
const WAIT_MS: u64 = 20_000;
const APPROVAL_LIFE_MS: u64 = 3_600_000;
/// After this nothing of a signature is under way any more.
const SETTLED: Duration = Duration::from_millis(60);
/// The stores in a node's directory.
const VAULT: &str = "vault/vault.db";
const JOURNAL: &str = "data/journal.db";

/// What a client asks for, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A signature over a small message.
    Message,
    /// The same, with an approval to run and one to be released.
    Approved,
    /// A payment on an EVM chain.
    Transaction,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// For the table, and part of every idempotency key.
    pub name: String,
    /// The key.
    pub key: String,
    /// Clients at once.
    pub clients: usize,
    /// Signatures that are measured.
    pub requests: usize,
    /// Signatures before that.
    pub warm_up: usize,
    /// What each of them is.
    pub asked: Asked,
    /// What is aimed at.
    pub aims: Aims,
}

/// One signature as its client saw it.
struct Sample {
    ms: f64,
    serial_commits: u64,
    intent: String,
}

/// Runs a scenario.
///
/// # Errors
/// The first signature that was not published.
pub fn run(cluster: &Cluster, scenario: &Scenario) -> Outcome<Figures> {
    drive(cluster, scenario, "warm", scenario.warm_up)?;
    cluster.wait_for_stock(&scenario.key, scenario.clients)?;
    let pids = &cluster.pids;
    let before = (cluster.journal_commits()?, cpu_ms(&pids.0), cpu_ms(&pids.1));
    let sent_before = loopback_bytes()?;
    let started = Instant::now();
    let samples = drive(cluster, scenario, "run", scenario.requests)?;
    let seconds = started.elapsed().as_secs_f64();
    let wire = loopback_bytes()?.saturating_sub(sent_before);
    let after = (cluster.journal_commits()?, cpu_ms(&pids.0), cpu_ms(&pids.1));
    let client = cluster.clients.first().ok_or("a cluster without nodes")?;
    let last = samples.last().ok_or("no signature was asked for")?;
    let bundle_bytes = client.bundle(&last.intent)?.len();
    let per = samples.len() as f64;
    Ok(Figures {
        name: scenario.name.clone(),
        aims: scenario.aims,
        clients: scenario.clients,
        seconds,
        wire_bytes: wire as f64 / per,
        journal_commits: after.0.saturating_sub(before.0) as f64 / per,
        node_cpu_ms: (after.1 - before.1) / per,
        kernel_cpu_ms: (after.2 - before.2) / per,
        bundle_bytes,
        serial_commits: samples.iter().map(|s| s.serial_commits).collect(),
        ms: samples.into_iter().map(|s| s.ms).collect(),
    })
}

/// Commits of one signature, read from the stores' logs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Commits {
    /// Of the three kernels' vaults: commits, and the pages that they wrote.
    pub vaults: (f64, f64),
    /// Of the three nodes' journals.
    pub journals: (f64, f64),
}

/// Counts what one signature makes durable, over some signatures with pauses between them. One
/// during which a log began anew is left out.
///
/// # Errors
/// A signature that was not published, or a store without a log.
pub fn commits(cluster: &Cluster, scenario: &Scenario, count: usize) -> Outcome<Commits> {
    let client = cluster.clients.first().ok_or("a cluster without nodes")?;
    let look = |part: &str| -> Outcome<Vec<wal::Log>> {
        cluster.made.nodes.iter().map(|node| wal::read(&node.dir.join(part))).collect()
    };
    let looks = || Ok::<_, crate::Failure>((look(VAULT)?, look(JOURNAL)?));
    let (mut sum, mut counted) = (Commits::default(), 0.0);
    std::thread::sleep(SETTLED);
    for number in 0..count {
        let before = looks()?;
        sign(cluster, client, scenario, ("commits", number))?;
        // The others confirm, and the node that did not sign hears of it, after the answer.
        std::thread::sleep(SETTLED);
        let after = looks()?;
        let vaults = between_all(&before.0, &after.0);
        let (Some(vaults), Some(journals)) = (vaults, between_all(&before.1, &after.1)) else {
            continue;
        };
        counted += 1.0;
        sum.vaults = (sum.vaults.0 + vaults.0, sum.vaults.1 + vaults.1);
        sum.journals = (sum.journals.0 + journals.0, sum.journals.1 + journals.1);
    }
    let mean = |(commits, pages): (f64, f64)| (commits / counted, pages / counted);
    Ok(Commits { vaults: mean(sum.vaults), journals: mean(sum.journals) })
}

fn between_all(before: &[wal::Log], after: &[wal::Log]) -> Option<(f64, f64)> {
    let mut each = before.iter().zip(after).map(|(b, a)| wal::between(*b, *a));
    each.try_fold((0.0, 0.0), |sum, next| {
        next.map(|(commits, pages)| (sum.0 + commits as f64, sum.1 + pages as f64))
    })
}

fn drive(
    cluster: &Cluster,
    scenario: &Scenario,
    phase: &str,
    count: usize,
) -> Outcome<Vec<Sample>> {
    let (next, samples) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(count)));
    let one_client = |client: &Client| -> Outcome<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            let sample = sign(cluster, client, scenario, (phase, number))?;
            samples.lock().map_err(|_| "a client panicked")?.push(sample);
        }
    };
    std::thread::scope(|scope| {
        let run = &one_client;
        // Clients spread over the nodes, so that each coordinates its part.
        let loops: Vec<_> = cluster
            .clients
            .iter()
            .cycle()
            .take(scenario.clients)
            .map(|client| scope.spawn(move || run(client)))
            .collect();
        for one in loops {
            one.join().map_err(|_| "a client panicked")??;
        }
        Ok::<(), crate::Failure>(())
    })?;
    samples.into_inner().map_err(|_| "a client panicked".into())
}

fn sign(
    cluster: &Cluster,
    client: &Client,
    scenario: &Scenario,
    (phase, place): (&str, usize),
) -> Outcome<Sample> {
    let id = format!("{}-{phase}-{place}", scenario.name);
    let act = match scenario.asked {
        Asked::Message | Asked::Approved => json!({
            "type": "sign.message", "key_id": scenario.key,
            "message_base64": STANDARD.encode(format!("a small message, number {id}\n")),
        }),
        Asked::Transaction => json!({
            "type": "sign.evm_transaction", "key_id": scenario.key,
            "transaction_hex": hex::encode(payment(place as u64)?),
        }),
    };
    let request = json!({ "idempotency_key": id, "wait_ms": WAIT_MS, "act": act });
    let started = Instant::now();
    let mut view = client.post("client", "/v1/executions", &request)?;
    if scenario.asked == Asked::Approved {
        view = approve_both(cluster, client, view)?;
    }
    let ms = started.elapsed().as_secs_f64() * 1_000.0;
    if text(&view, "state") != "Published" {
        return Err(format!("not published: {view}").into());
    }
    let serial_commits = number(&view, "serial_commits");
    Ok(Sample { ms, serial_commits, intent: text(&view, "intent").to_owned() })
}

/// An EIP-1559 payment with this nonce, unsigned.
fn payment(nonce: u64) -> Outcome<Vec<u8>> {
    let fields = json!({
        "chainId": "0x7a69", "nonce": format!("{nonce:#x}"), "value": "0xde0b6b3a7640000",
        "to": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "gas": "0x5208",
        "maxFeePerGas": "0x6fc23ac00", "maxPriorityFeePerGas": "0x59682f00",
    });
    let fields: Fields = serde_json::from_value(fields)?;
    Ok(fields.transaction().map_err(|e| e.to_string())?.payload())
}

/// The approver's part, without the time that a person takes to read.
fn approve_both(cluster: &Cluster, client: &Client, view: Value) -> Outcome<Value> {
    approve(cluster, client, &view, Purpose::Admit)?;
    let held = reached(client, &view, "Executed")?;
    let hex = |field: &str| B32::from_hex(text(&held, field));
    let (Some(execution_id), Some(result_ref)) = (hex("execution_id"), hex("result_ref")) else {
        return Err(format!("no result is held: {held}").into());
    };
    approve(cluster, client, &held, Purpose::Release { execution_id, result_ref })?;
    reached(client, &view, "Published")
}

/// The execution once it is in this state, or as it is when the time is over. A node may answer
/// early, with the reason for which it waited until just now.
fn reached(client: &Client, view: &Value, state: &str) -> Outcome<Value> {
    let path = format!("/v1/executions/{}?wait_ms={WAIT_MS}", text(view, "intent"));
    let limit = Duration::from_millis(WAIT_MS);
    until(limit, state, || {
        Ok(Some(client.get("client", &path)?).filter(|v| text(v, "state") == state))
    })
}

fn approve(cluster: &Cluster, client: &Client, view: &Value, purpose: Purpose) -> Outcome<()> {
    let parsed = |field: &str| format!("no usable `{field}`: {view}");
    let approval = Approval {
        cluster: cluster.made.cluster,
        approver: cluster.approver.person.clone(),
        purpose,
        intent: text(view, "intent").parse().map_err(|_| parsed("intent"))?,
        display_hash: B32::from_hex(text(view, "display_hash"))
            .ok_or_else(|| parsed("display_hash"))?,
        key_id: text(view, "key_id").parse().map_err(|_| parsed("key_id"))?,
        key_epoch: u32::try_from(number(view, "key_epoch"))?,
        policy_root: text(view, "policy_root").parse().map_err(|_| parsed("policy_root"))?,
        expires_ms: now_ms().saturating_add(APPROVAL_LIFE_MS),
    };
    let signed = Signed::new(approval, &cluster.approver.key);
    client.hand_in("approver", "/v1/approvals", &signed)?;
    Ok(())
}
