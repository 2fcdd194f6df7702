//! Isolation of the kernel process on Linux, layer by layer, and the report of what holds.
//!
//! Order of a start: read the master key's file and the binary's hash; `enter`; open the vault; serve. So no record is
//! decrypted before the layers hold, and `require_isolation` refuses to unseal when one is missing.
//! Always true after `enter`: no descriptor above 2 was left open; opening a file outside the vault was tried and
//! refused if Landlock is reported; a system call off the list kills the process if seccomp is reported.
//! Not here: protection from root (root reads the pages of any process) and from the machine's owner.
//! The only file with unsafe code.

use dvm_core::call::{Layers, ProbeKind};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

/// What `enter` is to do.
#[derive(Debug, Clone)]
pub struct SandboxPlan {
    /// The only directory that stays reachable.
    pub vault_dir: PathBuf,
    /// Refuse when any layer is missing.
    pub require_isolation: bool,
}

/// One layer of the isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The kernel dies with the node that started it.
    ParentDeathSignal,
    /// No core file.
    CoreDumpsOff,
    /// No ptrace and no `/proc` memory for other processes of the same user.
    NonDumpable,
    /// Pages are never swapped out.
    MemoryLocked,
    /// An own, empty network namespace (and IPC and UTS namespaces).
    NetworkNamespace,
    /// No privilege can be gained by exec.
    NoNewPrivs,
    /// Landlock: the vault directory only.
    Landlock,
    /// The allow-list of system calls.
    Seccomp,
}

/// The layers that do not hold. What is not known to hold is reported as missing.
pub fn missing(layers: &Layers) -> Vec<Layer> {
    [
        (layers.dies_with_parent, Layer::ParentDeathSignal),
        (layers.no_core_dumps, Layer::CoreDumpsOff),
        (layers.non_dumpable, Layer::NonDumpable),
        (layers.memory_locked, Layer::MemoryLocked),
        (layers.network_namespace, Layer::NetworkNamespace),
        (layers.no_new_privs, Layer::NoNewPrivs),
        (layers.landlock_abi != 0, Layer::Landlock),
        (layers.seccomp, Layer::Seccomp),
    ]
    .into_iter()
    .filter_map(|(holds, layer)| (!holds).then_some(layer))
    .collect()
}

/// Why the sandbox was not entered. The process must end.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Isolation is required and this layer does not hold.
    #[error("isolation is required, and this layer is missing: {0:?}")]
    Missing(Layer),
    /// Landlock and seccomp bind threads; there must be one.
    #[error("{0} threads run; the sandbox must be entered by the only one")]
    Threads(usize),
    /// The vault directory cannot be opened, or `/proc` not be read.
    #[error("sandbox: {0}")]
    Io(#[from] io::Error),
    /// Landlock was reported as enforced, and yet a file outside the vault opened.
    #[error("a file outside the vault still opens")]
    NotConfined,
    /// The list of system calls does not compile for this machine.
    #[error("seccomp: {0}")]
    Filter(#[from] seccompiler::BackendError),
}

/// `capability.h`: exempt from the limit on locked memory.
const CAP_IPC_LOCK: u32 = 14;

/// The kernel's log inside the vault directory: places of panics, and why a start failed.
pub const LOG_FILE: &str = "kernel.log";

/// Sends descriptors 1 and 2 to the vault's log, so that nothing outside the vault stays open, and makes a panic write
/// only its place before it aborts: a message could carry what was being worked on. Called before `enter`.
pub fn log_to_vault(vault_dir: &Path) -> io::Result<()> {
    let log =
        OpenOptions::new().append(true).create(true).mode(0o600).open(vault_dir.join(LOG_FILE))?;
    nix::unistd::dup2_stdout(&log)?;
    nix::unistd::dup2_stderr(&log)?;
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            // Not eprintln: it panics when the disk is full.
            let _written = writeln!(io::stderr(), "panic at {place}");
        }
        std::process::abort();
    }));
    Ok(())
}

/// Enters the sandbox. Call once, from the only thread, before anything is opened: descriptors above 2 are closed.
pub fn enter(plan: &SandboxPlan) -> Result<Layers, SandboxError> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(SandboxError::Threads(threads));
    }
    close_descriptors()?;
    let filter = filter()?;
    // The signal follows the thread that started us; the node starts the kernel from a thread that lives as long as it.
    // If it died before this line, descriptor 0 is at its end, and the kernel ends by that.
    let dies_with_parent = prctl::set_pdeathsig(Signal::SIGKILL).is_ok();
    let no_core_dumps = setrlimit(Resource::RLIMIT_CORE, 0, 0).is_ok();
    let non_dumpable =
        prctl::set_dumpable(false).is_ok() && prctl::get_dumpable().is_ok_and(|dumpable| !dumpable);
    let limit = lock_limit()?;
    let namespaces = leave_namespaces();
    let memory_locked = lock_memory(limit, namespaces);
    let network_namespace = namespaces != Namespaces::Inherited;
    let no_new_privs = prctl::set_no_new_privs().is_ok();
    let landlock_abi = confine_files(&plan.vault_dir)?;
    let mut layers = Layers {
        dies_with_parent,
        no_core_dumps,
        non_dumpable,
        memory_locked,
        network_namespace,
        no_new_privs,
        landlock_abi,
        seccomp: false,
    };
    // Seccomp last: the calls above are not on its list.
    layers.seccomp = apply_filter_all_threads(&filter).is_ok();
    match missing(&layers).first() {
        Some(layer) if plan.require_isolation => Err(SandboxError::Missing(*layer)),
        _ => Ok(layers),
    }
}

#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
fn close_descriptors() -> io::Result<()> {
    // SAFETY: close_range touches no memory. By the contract of `enter` no Rust value owns a descriptor above 2 at this
    // point, so none is closed under its owner.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether locked memory has no limit for us: under one, a later allocation would fail and abort the kernel.
enum LockLimit {
    /// There is none.
    None,
    /// There is one, and CAP_IPC_LOCK in the initial user namespace exempts us; so we must stay in that namespace.
    Exempt,
    /// There is one.
    Binding,
}

fn lock_limit() -> io::Result<LockLimit> {
    // Best effort: without the privilege the limit stays as it is, and the next line sees that.
    let _raised = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    if getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == RLIM_INFINITY) {
        return Ok(LockLimit::None);
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    // Only the initial namespace maps all user ids to themselves; elsewhere a capability does not count for locking.
    let map = std::fs::read_to_string("/proc/self/uid_map")?;
    let initial = map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    let exempt = initial && capabilities >> CAP_IPC_LOCK & 1 == 1;
    Ok(if exempt { LockLimit::Exempt } else { LockLimit::Binding })
}

/// Locks present and future pages where no limit can strike later.
fn lock_memory(limit: LockLimit, namespaces: Namespaces) -> bool {
    let unlimited = match limit {
        LockLimit::None => true,
        LockLimit::Exempt => namespaces != Namespaces::OwnWithUser,
        LockLimit::Binding => false,
    };
    unlimited && mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).is_ok()
}

/// How the network, IPC and UTS namespaces were left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Namespaces {
    /// By privilege.
    Own,
    /// Through an own user namespace.
    OwnWithUser,
    /// Not.
    Inherited,
}

/// Own, empty network, IPC and UTS namespaces; without privilege through an own user namespace, where permitted.
fn leave_namespaces() -> Namespaces {
    let wanted = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if unshare(wanted).is_ok() {
        Namespaces::Own
    } else if unshare(wanted | CloneFlags::CLONE_NEWUSER).is_ok() {
        Namespaces::OwnWithUser
    } else {
        Namespaces::Inherited
    }
}

/// Landlock: files of the vault directory only. The ABI in force if that rule is fully enforced, 0 if not.
fn confine_files(vault_dir: &Path) -> Result<u8, SandboxError> {
    let vault = PathFd::new(vault_dir).map_err(io::Error::other)?;
    let Ok(status) = restrict_files(vault) else { return Ok(0) };
    let LandlockStatus::Available { effective_abi, .. } = status.landlock else { return Ok(0) };
    // Partial is accepted: what newer ABIs add (network, signals, device ioctls) is best effort; the file rule was a
    // hard requirement.
    if status.ruleset == RulesetStatus::NotEnforced {
        return Ok(0);
    }
    // Believe the refusal, not the status.
    match probe(ProbeKind::OpenElsewhere) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => Ok(effective_abi as u8),
        _ => Err(SandboxError::NotConfined),
    }
}

fn restrict_files(vault: PathFd) -> Result<RestrictionStatus, landlock::RulesetError> {
    let needed = AccessFs::ReadFile
        | AccessFs::WriteFile
        | AccessFs::ReadDir
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::Truncate;
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V3))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .add_rule(PathBeneath::new(vault, needed))?
        .restrict_self()
}

/// Calls allowed whatever their arguments: vault file I/O, the inherited socket, memory, time, exit. Files are opened
/// under Landlock's rule; nothing here makes a socket, a process or executable memory.
const ALLOWED: &[libc::c_long] = &[
    // the socket and the log: already open
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_ppoll,
    // SQLite
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fchown,
    libc::SYS_fchmod,
    libc::SYS_unlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    // memory
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // randomness, time, waiting
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // panic, abort, end
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The older forms of calls above that glibc still uses where they exist.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD_FORMS: &[libc::c_long] = &[
    libc::SYS_poll,
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_unlink,
    libc::SYS_readlink,
];
/// aarch64 never had the older forms.
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD_FORMS: &[libc::c_long] = &[];

fn filter() -> Result<BpfProgram, SandboxError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in ALLOWED.iter().chain(ALLOWED_OLD_FORMS) {
        rules.insert(*call, vec![]);
    }
    let not_executable = condition(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0)?;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![SeccompRule::new(vec![not_executable.clone()])?]);
    }
    // A connected socket's send and receive; an address would make it a datagram to somewhere.
    for call in [libc::SYS_sendto, libc::SYS_recvfrom] {
        let no_address = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
        rules.insert(call, vec![SeccompRule::new(vec![no_address])?]);
    }
    let mut fcntl = Vec::new();
    for command in [
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_GETLK,
        libc::F_SETLK,
        libc::F_DUPFD_CLOEXEC,
    ] {
        fcntl.push(SeccompRule::new(vec![condition(1, SeccompCmpOp::Eq, command as u64)?])?);
    }
    rules.insert(libc::SYS_fcntl, fcntl);
    // abort() signals itself; nobody else may be signalled.
    let ourselves = condition(0, SeccompCmpOp::Eq, u64::from(std::process::id()))?;
    let aborting = condition(2, SeccompCmpOp::Eq, libc::SIGABRT as u64)?;
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![ourselves, aborting])?]);

    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?;
    Ok(BpfProgram::try_from(filter)?)
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// Attempts what the sandbox forbids, for whoever wants to see it refused. `OpenElsewhere` and `ProcMem` are answered with
/// EACCES by Landlock; every other kind kills the process. `Ok` says that it was permitted; a permitted `Exec` does not return.
pub fn probe(what: ProbeKind) -> io::Result<()> {
    match what {
        ProbeKind::OpenElsewhere => File::open("/proc/self/status").map(drop),
        ProbeKind::Socket => {
            use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
            Ok(socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).map(drop)?)
        }
        ProbeKind::Exec => {
            match nix::unistd::execve::<_, &std::ffi::CStr>(c"/bin/true", &[c"true"], &[]) {
                Ok(never) => match never {},
                Err(error) => Err(error.into()),
            }
        }
        ProbeKind::Fork => fork_and_reap(),
        ProbeKind::Ptrace => raw_traceme(),
        ProbeKind::IoUring => raw_io_uring_setup(),
        ProbeKind::ProcMem => write_own_memory(),
    }
}

#[expect(unsafe_code, reason = "fork is unsafe by its nature")]
fn fork_and_reap() -> io::Result<()> {
    // SAFETY: the child calls only _exit, which is async-signal-safe.
    match unsafe { nix::unistd::fork() }? {
        // SAFETY: _exit ends the child at once; no destructor or handler runs.
        nix::unistd::ForkResult::Child => unsafe { libc::_exit(0) },
        nix::unistd::ForkResult::Parent { child } => {
            Ok(nix::sys::wait::waitpid(child, None).map(drop)?)
        }
    }
}

#[expect(unsafe_code, reason = "ptrace has no safe wrapper in the enabled features")]
fn raw_traceme() -> io::Result<()> {
    // SAFETY: PTRACE_TRACEME ignores its other arguments and touches no memory.
    let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    if traced == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "io_uring_setup has no safe wrapper")]
fn raw_io_uring_setup() -> io::Result<()> {
    // struct io_uring_params: 120 bytes, zero is a valid request.
    let mut params = [0u8; 120];
    // SAFETY: the kernel writes at most sizeof(struct io_uring_params) = 120 bytes into the buffer, which lives on.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1u32, params.as_mut_ptr()) };
    if ring >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn write_own_memory() -> io::Result<()> {
    // Atomic, because it is changed behind the compiler's back.
    let target = AtomicU8::new(0);
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    memory.write_all_at(&[7], target.as_ptr() as u64)?;
    if target.load(Ordering::SeqCst) == 7 {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_names_exactly_the_layers_that_do_not_hold() {
        let mut layers = Layers {
            dies_with_parent: true,
            no_core_dumps: true,
            non_dumpable: true,
            memory_locked: true,
            network_namespace: true,
            no_new_privs: true,
            landlock_abi: 3,
            seccomp: true,
        };
        assert_eq!(missing(&layers), []);
        layers.landlock_abi = 0;
        layers.memory_locked = false;
        assert_eq!(missing(&layers), [Layer::MemoryLocked, Layer::Landlock]);
    }

    #[test]
    fn enter_refuses_while_another_thread_runs() {
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        let plan = SandboxPlan { vault_dir: PathBuf::from("/"), require_isolation: false };
        assert!(matches!(enter(&plan), Err(SandboxError::Threads(2..))));
        drop(stop);
        assert!(other.join().unwrap().is_err());
    }
}
