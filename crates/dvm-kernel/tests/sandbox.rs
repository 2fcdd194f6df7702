//! The sandbox, from outside: a child process enters it, and either works as the kernel does or tries what is forbidden.
//!
//! The child is this program run again with `DVM_SANDBOX_CASE` set. The sandbox wants a process of one thread, which the
//! usual test harness does not give; so this file has its own `main`, which speaks as much of that harness's command line
//! as `cargo test` and `cargo nextest` use.

#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this file is a test")]

use dvm_core::call::ProbeKind;
use dvm_kernel::pipe::Pipe;
use dvm_kernel::sandbox::{
    LOG_FILE, Layer, SandboxError, SandboxPlan, enter, log_to_vault, missing, probe,
};
use dvm_kernel::unseal::MasterKey;
use dvm_kernel::vault::{Vault, VaultError, VaultRule};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, geteuid, setgid, setuid};
use rand_core::OsRng;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use zeroize::Zeroizing;

const NOBODY: u32 = 65534;
const SIGABRT: i32 = 6;
const SIGSYS: i32 = 31;

const PROBES: [(&str, ProbeKind); 7] = [
    ("open", ProbeKind::OpenElsewhere),
    ("socket", ProbeKind::Socket),
    ("exec", ProbeKind::Exec),
    ("fork", ProbeKind::Fork),
    ("ptrace", ProbeKind::Ptrace),
    ("io_uring", ProbeKind::IoUring),
    ("procmem", ProbeKind::ProcMem),
];

fn probe_named(name: &str) -> ProbeKind {
    PROBES.iter().find(|(known, _)| *known == name).unwrap().1
}

fn master_key() -> MasterKey {
    MasterKey::from_bytes(Zeroizing::new([9; 32]))
}

macro_rules! tests {
    ($($name:ident)*) => { &[$((stringify!($name), $name)),*] };
}

const TESTS: &[(&str, fn())] = tests! {
    every_probe_succeeds_outside_the_sandbox
    every_probe_is_killed_or_refused_inside_the_sandbox
    vault_commits_checkpoints_and_grows_inside_the_sandbox
    vault_works_inside_the_sandbox_of_an_unprivileged_user
    required_isolation_names_the_layer_that_is_missing
    required_isolation_is_met_with_the_privileges_for_every_layer
    panic_leaves_only_its_place_in_the_log_of_the_vault
    frames_are_served_over_the_inherited_socket_inside_the_sandbox
    vault_directory_is_refused_while_another_process_has_it_and_free_once_it_died
};

fn main() {
    if let Ok(case) = std::env::var("DVM_SANDBOX_CASE") {
        std::process::exit(child(&case, PathBuf::from(std::env::var("DVM_SANDBOX_DIR").unwrap())));
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if given("--list") {
        // None is ignored, so the list of the ignored is empty.
        for (name, _) in TESTS.iter().filter(|_| !given("--ignored")) {
            println!("{name}: test");
        }
        return;
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let fits = |name: &str| match wanted {
        Some(wanted) if given("--exact") => name == wanted,
        Some(part) => name.contains(part),
        None => true,
    };
    let chosen: Vec<_> = TESTS.iter().filter(|(name, _)| fits(name)).collect();
    for (name, test) in &chosen {
        test();
        println!("{name} ... ok");
    }
    // A name that fits nothing would otherwise look like a pass.
    assert!(!given("--exact") || chosen.len() == 1, "no such test");
}

/// The child's side: what it saw, as an exit code.
fn child(case: &str, dir: PathBuf) -> i32 {
    match case.split_once(':').unwrap() {
        ("free", name) => observed(probe_named(name)),
        ("confined", name) => {
            sandbox(&dir);
            observed(probe_named(name))
        }
        ("layers", _) => {
            let required = SandboxPlan { vault_dir: dir, require_isolation: true };
            assert_eq!(missing(&enter(&required).unwrap()), []);
            40
        }
        ("unlocked", _) => {
            become_unprivileged();
            let required = SandboxPlan { vault_dir: dir, require_isolation: true };
            match enter(&required) {
                Err(SandboxError::Missing(Layer::MemoryLocked)) => 40,
                other => panic!("{other:?}"),
            }
        }
        ("work", who) => {
            if who == "unprivileged" {
                become_unprivileged();
            }
            sandbox(&dir);
            work(&dir);
            40
        }
        ("serve", _) => {
            sandbox(&dir);
            let mut pipe = Pipe::inherited();
            while let Some(frame) = pipe.receive().unwrap() {
                pipe.send(&frame).unwrap();
            }
            40
        }
        ("panic", _) => {
            log_to_vault(&dir).unwrap();
            sandbox(&dir);
            panic!("this text could hold a secret");
        }
        ("hold", _) => {
            sandbox(&dir);
            let _vault = Vault::open(&dir, master_key(), Box::new(OsRng)).unwrap();
            let mut pipe = Pipe::inherited();
            pipe.send(b"open").unwrap();
            let _end = pipe.receive();
            40
        }
        other => panic!("{other:?}"),
    }
}

/// A user without privileges and with a limit on locked memory that it cannot raise, as most services have.
fn become_unprivileged() {
    let limit = 8 * 1024 * 1024;
    setrlimit(Resource::RLIMIT_MEMLOCK, limit, limit).unwrap();
    if geteuid().is_root() {
        setgid(Gid::from_raw(NOBODY)).unwrap();
        setuid(Uid::from_raw(NOBODY)).unwrap();
    }
}

fn sandbox(dir: &Path) {
    let layers =
        enter(&SandboxPlan { vault_dir: dir.to_owned(), require_isolation: false }).unwrap();
    assert!(layers.seccomp && layers.landlock_abi != 0, "{layers:?}");
}

/// 41: permitted; 42: EACCES; 43: refused otherwise.
fn observed(what: ProbeKind) -> i32 {
    match probe(what) {
        Ok(()) => 41,
        Err(error) if error.raw_os_error() == Some(13) => 42,
        Err(error) => {
            eprintln!("{error}");
            43
        }
    }
}

/// Everything the kernel asks of the operating system: commits, checkpoints, growth of file and memory, reopening.
fn work(dir: &Path) {
    for round in 0u8..2 {
        let mut vault = Vault::open(dir, master_key(), Box::new(OsRng)).unwrap();
        assert_eq!(vault.boot_gen(), u64::from(round) + 1);
        // Past the 1000 pages at which SQLite checkpoints the WAL by itself.
        for at in 0u16..24 {
            vault
                .txn(|t| t.put("share", &at.to_be_bytes(), 1, &vec![round; 192 * 1024]).map(drop))
                .unwrap_or_else(|error: VaultError| panic!("{error}"));
        }
        let ballast = vec![round; 256 * 1024 * 1024];
        let shares = vault.scan("share").unwrap();
        assert_eq!(shares.len(), 24);
        assert!(shares.iter().all(|share| share.plaintext.iter().all(|byte| *byte == round)));
        assert_eq!(ballast.len(), 256 * 1024 * 1024);
        vault.txn::<_, VaultError>(|t| t.delete("share", &0u16.to_be_bytes()).map(drop)).unwrap();
        drop(vault);
    }
}

fn vault_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

fn command(case: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env_clear().env("DVM_SANDBOX_CASE", case).env("DVM_SANDBOX_DIR", dir);
    command
}

fn run(case: &str) -> Output {
    let dir = vault_dir();
    command(case, dir.path()).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{:?}\n{}", output.status, String::from_utf8_lossy(&output.stderr))
}

fn every_probe_succeeds_outside_the_sandbox() {
    for (name, what) in PROBES {
        let output = run(&format!("free:{name}"));
        // A permitted exec replaces the child by a program that exits with 0.
        let permitted = if what == ProbeKind::Exec { 0 } else { 41 };
        assert_eq!(output.status.code(), Some(permitted), "{name}: {}", said(&output));
    }
}

fn every_probe_is_killed_or_refused_inside_the_sandbox() {
    for (name, what) in PROBES {
        let output = run(&format!("confined:{name}"));
        if matches!(what, ProbeKind::OpenElsewhere | ProbeKind::ProcMem) {
            assert_eq!(output.status.code(), Some(42), "{name}: {}", said(&output));
        } else {
            assert_eq!(output.status.signal(), Some(SIGSYS), "{name}: {}", said(&output));
        }
    }
}

fn vault_commits_checkpoints_and_grows_inside_the_sandbox() {
    let output = run("work:");
    assert_eq!(output.status.code(), Some(40), "{}", said(&output));
}

fn vault_works_inside_the_sandbox_of_an_unprivileged_user() {
    let dir = vault_dir();
    if geteuid().is_root() {
        std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let output = command("work:unprivileged", dir.path()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(40), "{}", said(&output));
}

fn required_isolation_names_the_layer_that_is_missing() {
    let output = run("unlocked:");
    assert_eq!(output.status.code(), Some(40), "{}", said(&output));
}

fn required_isolation_is_met_with_the_privileges_for_every_layer() {
    if !geteuid().is_root() {
        return; // an unprivileged user cannot lock memory without limit
    }
    let output = run("layers:");
    assert_eq!(output.status.code(), Some(40), "{}", said(&output));
}

fn panic_leaves_only_its_place_in_the_log_of_the_vault() {
    let dir = vault_dir();
    let output = command("panic:", dir.path()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.signal(), Some(SIGABRT), "{}", said(&output));
    assert!(output.stderr.is_empty() && output.stdout.is_empty(), "{}", said(&output));
    let log = std::fs::read_to_string(dir.path().join(LOG_FILE)).unwrap();
    assert!(log.contains("sandbox.rs:") && !log.contains("secret"), "{log}");
}

fn frames_are_served_over_the_inherited_socket_inside_the_sandbox() {
    let dir = vault_dir();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut child = command("serve:", dir.path()).stdin(OwnedFd::from(theirs)).spawn().unwrap();
    let mut pipe = Pipe::new(ours);
    for length in [1usize, 70_000] {
        pipe.send(&vec![3; length]).unwrap();
        assert_eq!(pipe.receive().unwrap().unwrap(), vec![3; length]);
    }
    drop(pipe);
    assert_eq!(child.wait().unwrap().code(), Some(40));
}

fn vault_directory_is_refused_while_another_process_has_it_and_free_once_it_died() {
    let dir = vault_dir();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut holder = command("hold:", dir.path()).stdin(OwnedFd::from(theirs)).spawn().unwrap();
    let mut pipe = Pipe::new(ours);
    assert_eq!(pipe.receive().unwrap().unwrap(), b"open");
    let refused = Vault::open(dir.path(), master_key(), Box::new(OsRng));
    assert!(matches!(refused.err(), Some(VaultError::Refused(VaultRule::InUse))));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let vault = Vault::open(dir.path(), master_key(), Box::new(OsRng)).unwrap();
    assert_eq!(vault.boot_gen(), 2);
}
