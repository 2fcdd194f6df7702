//! `dvm kernel attest`: what a kernel says of itself, and whether its sandbox holds when tried.
//!
//! A running node's kernel is asked through its API. With `--local` or `--config` a kernel is started
//! here: the shipped binary in its shipped sandbox, on a throw-away vault or on a stopped node's own.

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

use clap::{Args, Subcommand};
use dvm_core::call::{Attestation, KernelCall, KernelReply, ProbeKind};
use dvm_core::reason::ReasonCode;
use dvm_node::config::{KernelConfig, NodeConfig, Unseal};
use dvm_node::kernel_link::{KernelExit, KernelLink, KernelSpawn};
use dvm_node::setup::{ask_kernel, private_dir, start_kernel, write_new};
use rand_core::{OsRng, RngCore};
use serde_json::{Value, json};

use super::Global;
use super::exit::{Exit, Failure};
use crate::client::As;
use crate::show;

/// Kernel commands.
#[derive(Debug, Subcommand)]
pub(crate) enum KernelCommand {
    /// Print a kernel's keys, boot, binary hash and isolation layers; with --probe, try them.
    #[command(after_help = "Examples:
  dvm kernel attest --token-file tokens.json
  dvm kernel attest --local --probe
  dvm kernel attest --config /etc/dvm/node.toml")]
    Attest(AttestArgs),
}

/// `dvm kernel attest`.
#[derive(Debug, Args)]
pub(crate) struct AttestArgs {
    /// Start a kernel here on a throw-away vault.
    #[arg(long, conflicts_with = "config")]
    local: bool,
    /// Start the kernel of this node here; the node must be stopped.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Try what the sandbox forbids, each in a kernel of its own; implies --local.
    #[arg(long)]
    probe: bool,
}

/// What a probe tries, with its name.
const PROBES: [(ProbeKind, &str); 7] = [
    (ProbeKind::OpenElsewhere, "open a file outside the vault"),
    (ProbeKind::Socket, "make a socket"),
    (ProbeKind::Exec, "execute a program"),
    (ProbeKind::Fork, "fork"),
    (ProbeKind::Ptrace, "trace another process"),
    (ProbeKind::IoUring, "set up io_uring"),
    (ProbeKind::ProcMem, "write its own memory through /proc"),
];

/// The signal by which seccomp ends a process.
const SIGSYS: i32 = 31;
/// Longest time until the end of a kernel is known.
const END_TIME: Duration = Duration::from_secs(5);

/// Runs it.
pub(crate) fn run(global: &Global, command: &KernelCommand) -> Result<Exit, Failure> {
    let KernelCommand::Attest(args) = command;
    if !args.local && !args.probe && args.config.is_none() {
        let attestation = global.client()?.get(As::Operator, "/v1/kernel/attestation")?;
        show::print(global.json, &attestation, text);
        return Ok(Exit::Done);
    }
    let scratch = Scratch::new()?;
    let spawn = match &args.config {
        Some(file) => NodeConfig::load(file)?.kernel.spawn()?,
        None => scratch.spawn()?,
    };
    let mut shown = attest(&spawn)?;
    let mut held = true;
    if args.probe {
        let (rows, all) = probe(&scratch.spawn()?)?;
        held = all;
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("probes".to_owned(), rows);
        }
    }
    show::print(global.json, &shown, text);
    if held {
        return Ok(Exit::Done);
    }
    Err(Failure::refused(ReasonCode::IsolationMissing, "a probe was not refused"))
}

/// A vault that is removed at the end.
struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let dir = tempfile::tempdir().map_err(Failure::file(&std::env::temp_dir()))?;
        let mut seed = [0; 32];
        OsRng.fill_bytes(&mut seed);
        write_new(&dir.path().join("identity"), hex::encode(seed).as_bytes(), 0o600)?;
        private_dir(&dir.path().join("vault"), false)?;
        Ok(Self { dir })
    }

    fn spawn(&self) -> Result<KernelSpawn, Failure> {
        let identity = Some(self.dir.path().join("identity"));
        let kernel = KernelConfig {
            binary: None,
            vault: self.dir.path().join("vault"),
            unseal: Unseal { identity, ..Unseal::default() },
            require_isolation: false,
        };
        Ok(kernel.spawn()?)
    }
}

fn attest(spawn: &KernelSpawn) -> Result<Value, Failure> {
    let link = start_kernel(spawn)?;
    let what = || spawn.binary.display().to_string();
    let reply = ask_kernel(&link, &KernelCall::Attest)
        .map_err(|down| Failure::Process { what: what(), problem: down.to_string() })?;
    match reply {
        Some(KernelReply::Attested(signed)) if signed.verify(signed.body.kernel_key).is_ok() => {
            Ok(attestation_json(&signed.body))
        }
        _ => Err(Failure::Process { what: what(), problem: "did not attest".to_owned() }),
    }
}

fn attestation_json(a: &Attestation) -> Value {
    json!({
        "kernel_key": a.kernel_key.to_string(), "sealing_key": a.sealing_key.hex(),
        "boot_generation": a.boot.generation, "boot_id": a.boot.id.hex(),
        "vault_seq": a.vault_seq, "binary_sha256": a.binary.hex(), "version": a.version,
        "layers": a.layers, "stopped": a.stopped.map(|code| code.to_string()),
    })
}

/// Each probe in a fresh kernel that has just attested, so that one which never ran proves nothing:
/// seccomp ends some of them, and only its own signal counts as a refusal.
fn probe(spawn: &KernelSpawn) -> Result<(Value, bool), Failure> {
    let (mut rows, mut all) = (Vec::new(), true);
    for (kind, name) in PROBES {
        let (ended, end) = channel();
        let on_down = Box::new(move |exit: KernelExit| {
            // The receiver lives until the end of this probe.
            let _ = ended.send(exit);
        });
        let link = KernelLink::spawn(spawn, on_down).map_err(Failure::file(&spawn.binary))?;
        let alive =
            matches!(ask_kernel(&link, &KernelCall::Attest), Ok(Some(KernelReply::Attested(_))));
        let answer = ask_kernel(&link, &KernelCall::Probe(kind));
        let outcome = match answer {
            _ if !alive => "NOT TRIED: the kernel did not attest",
            Ok(Some(KernelReply::Probed { refused: true })) => "refused",
            Ok(Some(KernelReply::Probed { refused: false })) => "ALLOWED",
            Ok(_) => "NOT TRIED: no answer to the probe",
            Err(_) => match end.recv_timeout(END_TIME) {
                Ok(KernelExit { signal: Some(SIGSYS), .. }) => "refused: seccomp ended the kernel",
                _ => "UNCLEAR: the kernel ended for another reason",
            },
        };
        all &= outcome.starts_with("refused");
        rows.push(json!({ "probe": name, "outcome": outcome }));
    }
    Ok((Value::Array(rows), all))
}

fn text(attestation: &Value) -> String {
    let field = |name: &str| match attestation.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    };
    let mut out = format!("kernel {} (sha256 {})\n", field("version"), field("binary_sha256"));
    out += &format!(
        "  kernel key     {}\n  sealing key    {}\n",
        field("kernel_key"),
        field("sealing_key")
    );
    out += &format!("  boot           {} ({})\n", field("boot_generation"), field("boot_id"));
    out += &format!("  stopped        {}\n", field("stopped"));
    for (layer, holds) in attestation.get("layers").and_then(Value::as_object).into_iter().flatten()
    {
        out += &format!("  {layer:<20} {holds}\n");
    }
    for row in attestation.get("probes").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        out += &format!("  probe: {:<36} {}\n", part("probe"), part("outcome"));
    }
    out += "Self-reported: no hardware stands behind it.\n";
    out
}
