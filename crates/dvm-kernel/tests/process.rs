//! The shipped binary as a node starts it: a child with a socket as descriptor 0, inside its sandbox.

#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this file is a test")]

use std::fs::Permissions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dvm_core::call::{Attestation, KernelCall, KernelReply, ProbeKind};
use dvm_core::{ReasonCode, Signed, codec, digest};
use dvm_kernel::VERSION;
use dvm_kernel::pipe::Pipe;

const SIGSYS: i32 = 31;

struct Process {
    child: Child,
    pipe: Pipe<UnixStream>,
}

impl Process {
    fn start(dir: &Path) -> Self {
        let vault = dir.join("vault");
        if !vault.exists() {
            std::fs::create_dir(&vault).unwrap();
            std::fs::set_permissions(&vault, Permissions::from_mode(0o700)).unwrap();
            std::fs::write(dir.join("key"), "ab".repeat(32)).unwrap();
            std::fs::set_permissions(dir.join("key"), Permissions::from_mode(0o600)).unwrap();
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_dvm-kernel"))
            .arg("--vault")
            .arg(&vault)
            .arg("--identity")
            .arg(dir.join("key"))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        Self { child, pipe: Pipe::new(ours) }
    }

    fn call(&mut self, call: &KernelCall) -> KernelReply {
        self.pipe.send(&codec::encode(call)).unwrap();
        codec::decode(&self.pipe.receive().unwrap().unwrap()).unwrap()
    }

    fn attest(&mut self) -> Signed<Attestation> {
        match self.call(&KernelCall::Attest) {
            KernelReply::Attested(attested) => *attested,
            other => panic!("no attestation: {other:?}"),
        }
    }

    /// Closes the stream, and waits for the orderly end.
    fn end(mut self) -> bool {
        drop(self.pipe);
        self.child.wait().unwrap().success()
    }
}

#[test]
fn process_attests_its_binary_and_keeps_its_keys_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    let first = process.attest();
    let body = first.verify(first.body.kernel_key).unwrap().clone();
    let binary = std::fs::read(env!("CARGO_BIN_EXE_dvm-kernel")).unwrap();
    assert_eq!((body.binary, body.version.as_str()), (digest::sha256(&binary), VERSION));
    assert!(body.layers.seccomp && body.layers.no_new_privs && body.layers.non_dumpable);
    assert!(process.end());
    let mut process = Process::start(dir.path());
    let second = process.attest().body;
    assert_eq!((second.kernel_key, second.sealing_key), (body.kernel_key, body.sealing_key));
    assert_eq!((body.boot.generation, second.boot.generation), (1, 2));
    assert_ne!(second.boot.id, body.boot.id);
    assert!(process.end());
}

#[test]
fn process_answers_what_is_no_call_and_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    process.pipe.send(b"nonsense").unwrap();
    let reply: KernelReply = codec::decode(&process.pipe.receive().unwrap().unwrap()).unwrap();
    let refused = matches!(reply, KernelReply::Refused { code: ReasonCode::PayloadRejected, .. });
    assert!(refused);
    assert_eq!(
        process.call(&KernelCall::Status),
        KernelReply::Status { held: Vec::new(), stash: Vec::new() }
    );
    assert!(process.end());
}

#[test]
fn process_is_killed_by_what_the_sandbox_forbids() {
    let kinds = [ProbeKind::Socket, ProbeKind::Exec, ProbeKind::Fork, ProbeKind::Ptrace];
    for kind in kinds {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::start(dir.path());
        process.attest();
        process.pipe.send(&codec::encode(&KernelCall::Probe(kind))).unwrap();
        assert_eq!(process.child.wait().unwrap().signal(), Some(SIGSYS), "{kind:?}");
    }
}

#[test]
fn process_refuses_a_command_line_that_it_does_not_know() {
    let output = Command::new(env!("CARGO_BIN_EXE_dvm-kernel")).arg("--key").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
