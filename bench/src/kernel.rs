//! The kernel's price beside the work that it does: a call that does next to nothing, by every way
//! that a call can take, and one transaction of its vault.
//!
//! `Status` of a kernel that holds nothing is the emptiest call; `Attest` signs one small statement.

use std::fs::Permissions;
use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use dvm_core::call::{KernelCall, Layers};
use dvm_core::{B32, codec};
use dvm_kernel::pipe::Pipe;
use dvm_kernel::serve::answer;
use dvm_kernel::unseal::MasterKey;
use dvm_kernel::vault::{Vault, VaultError};
use dvm_kernel::{About, Kernel, Surroundings};
use dvm_node::kernel_link::{KernelLink, KernelSpawn, LinkDown};
use rand_core::OsRng;
use zeroize::Zeroizing;

use crate::cluster::binaries;
use crate::table::{Against, Row};
use crate::timing::{Effort, median};
use crate::{Outcome, machine};

const SECTION: &str = "kernel";
/// Calls in one timed batch.
const CALLS: usize = 32;
/// A record of the size of a level's.
const RECORD_BYTES: usize = 2_048;
const CALL_TIME: Duration = Duration::from_secs(10);

/// Measures, on the disk of this directory.
///
/// # Errors
/// A kernel that does not start or answer.
pub fn rows(effort: Effort, dir: &Path) -> Outcome<Vec<Row>> {
    let row = |measure: &str, us: f64| Row::new(SECTION, measure, (us, "us"), Against::Nothing);
    let mut rows = in_process(effort, &private(dir, "in-process")?)?;
    let (vault, identity) = places(dir)?;
    let mut process = Process::start(&vault, &identity)?;
    let mut process_us = |call: &KernelCall| -> Outcome<f64> {
        let request = codec::encode(call);
        process.round_trip(&request)?;
        let many = |()| (0..CALLS).filter(|_| process.round_trip(&request).is_ok()).count();
        Ok(per_call_us(median(effort, || (), many)))
    };
    rows.push(row("Status, sandboxed process over its socket", process_us(&KernelCall::Status)?));
    rows.push(row("Attest, sandboxed process over its socket", process_us(&KernelCall::Attest)?));
    drop(process);
    rows.push(row("Status, through the node's kernel link", linked(effort, &vault, &identity)?));
    let commit_ms = vault_commit_ms(effort, &private(dir, "commits")?)?;
    let sync = Against::Reference { who: "fdatasync alone", figure: machine::sync_ms(dir)? };
    let measure = format!("vault: one commit of a {RECORD_BYTES}-byte record");
    rows.push(Row::new(SECTION, measure, (commit_ms, "ms"), sync));
    Ok(rows)
}

fn per_call_us(seconds: f64) -> f64 {
    seconds * 1e6 / CALLS as f64
}

fn private(dir: &Path, name: &str) -> Outcome<PathBuf> {
    let made = dir.join(name);
    std::fs::create_dir(&made)?;
    std::fs::set_permissions(&made, Permissions::from_mode(0o700))?;
    Ok(made)
}

fn vault(dir: &Path) -> Outcome<Vault> {
    let key = MasterKey::from_bytes(Zeroizing::new([7; 32]));
    Ok(Vault::open(dir, key, Box::new(OsRng))?)
}

fn in_process(effort: Effort, dir: &Path) -> Outcome<Vec<Row>> {
    let layers = Layers {
        dies_with_parent: false,
        no_core_dumps: false,
        non_dumpable: false,
        memory_locked: false,
        network_namespace: false,
        no_new_privs: false,
        landlock_abi: 0,
        seccomp: false,
    };
    let around = Surroundings { rng: Box::new(OsRng), wall_ms: Box::new(crate::keys::now_ms) };
    let about = About { binary: B32::default(), layers };
    let mut kernel = Kernel::start(vault(dir)?, around, about)?;
    let mut us = |call: KernelCall| {
        let bytes = codec::encode(&call);
        let many = |()| {
            for _ in 0..CALLS {
                black_box(codec::encode(&answer(&mut kernel, black_box(&bytes))));
            }
        };
        per_call_us(median(effort, || (), many))
    };
    let row = |measure: &str, us| Row::new(SECTION, measure, (us, "us"), Against::Nothing);
    Ok(vec![
        row("Status, in this process, decoded and encoded", us(KernelCall::Status)),
        row("Attest, in this process, decoded and encoded", us(KernelCall::Attest)),
    ])
}

/// Where the sandboxed kernel keeps its vault, and its key.
fn places(dir: &Path) -> Outcome<(PathBuf, PathBuf)> {
    let (vault, identity) = (private(dir, "vault")?, dir.join("identity"));
    std::fs::write(&identity, "ab".repeat(32))?;
    std::fs::set_permissions(&identity, Permissions::from_mode(0o600))?;
    Ok((vault, identity))
}

/// The shipped kernel, as a node starts it.
struct Process {
    child: Child,
    pipe: Option<Pipe<UnixStream>>,
}

impl Process {
    fn start(vault: &Path, identity: &Path) -> Outcome<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(binaries()?.join("dvm-kernel"))
            .args(arguments(vault, identity))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        Ok(Self { child, pipe: Some(Pipe::new(ours)) })
    }

    fn round_trip(&mut self, request: &[u8]) -> Outcome<usize> {
        let pipe = self.pipe.as_mut().ok_or("the pipe is closed")?;
        pipe.send(request)?;
        Ok(pipe.receive()?.ok_or("the kernel ended")?.len())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its stream asks it to stop; one that has ended already is what is wanted.
        drop(self.pipe.take());
        let _ = self.child.wait();
    }
}

fn arguments(vault: &Path, identity: &Path) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    vec!["--vault".to_owned(), text(vault), "--identity".to_owned(), text(identity)]
}

/// The same, through the threads and queues of a node.
fn linked(effort: Effort, vault: &Path, identity: &Path) -> Outcome<f64> {
    let spawn = KernelSpawn {
        binary: binaries()?.join("dvm-kernel"),
        args: arguments(vault, identity),
        call_timeout: CALL_TIME,
    };
    let link = KernelLink::spawn(&spawn, Box::new(|_| ()))?;
    let request = codec::encode(&KernelCall::Status);
    let once = || {
        let (answer, answered) = sync_channel(1);
        let pass_on = move |reply: Result<Vec<u8>, LinkDown>| {
            // The receiver waits below until it has this.
            let _ = answer.send(reply.is_ok());
        };
        link.call(request.clone(), Box::new(pass_on));
        answered.recv().unwrap_or(false)
    };
    if !once() {
        return Err("the kernel does not answer through the link".into());
    }
    let many = |()| (0..CALLS).filter(|_| once()).count();
    Ok(per_call_us(median(effort, || (), many)))
}

fn vault_commit_ms(effort: Effort, dir: &Path) -> Outcome<f64> {
    let mut vault = vault(dir)?;
    let (record, mut number) = (vec![0x5a; RECORD_BYTES], 0_u64);
    let mut failed = None;
    let commit = |()| {
        number += 1;
        let id = number.to_be_bytes();
        let done: Result<(), VaultError> = vault.txn(|txn| {
            txn.next_vault_seq()?;
            txn.put("bench", &id, 0, &record)?;
            Ok(())
        });
        failed = done.err().or(failed.take());
    };
    let seconds = median(effort, || (), commit);
    failed.map_or(Ok(seconds * 1e3), |error| Err(error.into()))
}
