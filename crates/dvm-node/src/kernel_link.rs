//! The node's side of the pipe to the secret kernel: one child process, one call at a time.
//!
//! Source: `kernel.md`. The child's standard input is one end of a socket pair; both directions carry
//! frames of a big-endian `u32` length and that many bytes.
//!
//! Always true: calls are answered in the order made, each exactly once; the kernel starts with an empty
//! environment and no other descriptor of this process; the first sign of its end (EOF, a frame out of
//! turn or over the bound, no answer in time) kills it and is final: a link never restarts a kernel,
//! because every execution it ran has lost its one-time material.
//!
//! Not here: what the bytes mean, the vault, isolation (the kernel does that to itself).

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest request or reply: a node frame of 8 MiB and its envelope fit.
pub const MAX_KERNEL_FRAME: usize = 16 * 1024 * 1024;
/// Calls waiting for their turn; more are refused, so a slow kernel cannot fill memory.
pub const MAX_WAITING_CALLS: usize = 256;
/// File name of the kernel, looked for beside this process's own binary.
pub const KERNEL_BINARY: &str = "dvm-kernel";
/// Where systemd puts credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Receives the answer to one call, on the link's thread; must not block.
pub type Reply = Box<dyn FnOnce(Result<Vec<u8>, LinkDown>) + Send>;

/// How to start the kernel.
#[derive(Clone, Debug)]
pub struct KernelSpawn {
    /// The kernel's binary.
    pub binary: PathBuf,
    /// Its arguments; never a secret, since other users can read them.
    pub args: Vec<String>,
    /// Longest time one call may take; after it the kernel counts as stuck and is killed.
    pub call_timeout: Duration,
}

impl KernelSpawn {
    /// The binary beside this process's own.
    ///
    /// # Errors
    /// If the path of this process's binary is unknown.
    pub fn beside_current_exe(call_timeout: Duration) -> std::io::Result<Self> {
        let own = std::env::current_exe()?;
        let binary = own.parent().unwrap_or(Path::new("/")).join(KERNEL_BINARY);
        Ok(Self { binary, args: Vec::new(), call_timeout })
    }
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkDown {
    /// The kernel is gone. The call may have run.
    #[error("the kernel is gone")]
    Gone,
    /// [`MAX_WAITING_CALLS`] are waiting. The call was not made.
    #[error("more than {MAX_WAITING_CALLS} kernel calls are waiting")]
    Busy,
    /// The request is over [`MAX_KERNEL_FRAME`]. The call was not made.
    #[error("kernel request of {len} bytes is over the bound of {MAX_KERNEL_FRAME}")]
    TooLarge {
        /// Its length.
        len: usize,
    },
}

/// How the kernel ended: one of the two is set if the system knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelExit {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it: 31 is seccomp's, 9 is what this link sends.
    pub signal: Option<i32>,
}

struct Call {
    request: Vec<u8>,
    reply: Reply,
}

struct Shared {
    child: Mutex<Child>,
    /// A handle to close the socket with, so that a blocked read or write returns.
    stream: UnixStream,
    /// Set while a request is out: a reply at any other time is out of turn.
    awaiting: AtomicBool,
    /// Set when this side ends the link on purpose.
    closing: AtomicBool,
}

impl Shared {
    fn end_kernel(&self) -> KernelExit {
        // Both fail only if it is gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let status = child.wait().ok();
        KernelExit {
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
        }
    }
}

/// The running kernel. Dropping it kills the kernel and waits for its end.
pub struct KernelLink {
    calls: SyncSender<Call>,
    shared: Arc<Shared>,
    pid: u32,
}

impl KernelLink {
    /// Starts the kernel. `on_down` runs at most once, on a thread of the link, when the kernel is found
    /// dead; not when the link is dropped.
    ///
    /// # Errors
    /// The system's, if the binary, the socket pair or a thread cannot be had.
    pub fn spawn(
        spawn: &KernelSpawn,
        on_down: Box<dyn FnOnce(KernelExit) + Send>,
    ) -> std::io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let (for_reading, for_closing) = (ours.try_clone()?, ours.try_clone()?);
        ours.set_write_timeout(Some(spawn.call_timeout))?;
        // The one variable a kernel may see is a path: where systemd put its credential.
        let credentials = std::env::var_os(CREDENTIALS).map(|dir| (CREDENTIALS, dir));
        let child = Command::new(&spawn.binary)
            .args(&spawn.args)
            .env_clear()
            .envs(credentials)
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pid = child.id();
        let shared = Arc::new(Shared {
            child: Mutex::new(child),
            stream: for_closing,
            awaiting: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        });
        let (calls, waiting) = sync_channel(MAX_WAITING_CALLS);
        let (answers, answered) = sync_channel(1);
        // From here on the drop of `link` ends the kernel if a thread cannot be started.
        let link = Self { calls, shared: Arc::clone(&shared), pid };
        std::thread::Builder::new().name("kernel-replies".into()).spawn({
            let shared = Arc::clone(&shared);
            move || read_replies(for_reading, &shared, answers, on_down)
        })?;
        let call_timeout = spawn.call_timeout;
        std::thread::Builder::new()
            .name("kernel-calls".into())
            .spawn(move || make_calls(ours, &shared, &waiting, &answered, call_timeout))?;
        Ok(link)
    }

    /// Makes a call. `reply` gets the answer, or why there is none: at once on the caller's thread if the
    /// call was not made, else on the link's.
    pub fn call(&self, request: Vec<u8>, reply: Reply) {
        if request.len() > MAX_KERNEL_FRAME {
            return reply(Err(LinkDown::TooLarge { len: request.len() }));
        }
        match self.calls.try_send(Call { request, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(call)) => (call.reply)(Err(LinkDown::Busy)),
            Err(TrySendError::Disconnected(call)) => (call.reply)(Err(LinkDown::Gone)),
        }
    }

    /// The kernel's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for KernelLink {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.end_kernel();
    }
}

/// Makes the calls, one at a time; after the first failure answers `Gone` to all until the link is dropped.
fn make_calls(
    mut stream: UnixStream,
    shared: &Shared,
    waiting: &Receiver<Call>,
    answered: &Receiver<Vec<u8>>,
    call_timeout: Duration,
) {
    let mut gone = false;
    while let Ok(call) = waiting.recv() {
        if gone {
            (call.reply)(Err(LinkDown::Gone));
            continue;
        }
        // Before the request is out: the answer cannot come earlier than that.
        shared.awaiting.store(true, Ordering::SeqCst);
        let answer = write_frame(&mut stream, &call.request)
            .ok()
            .and_then(|()| answered.recv_timeout(call_timeout).ok());
        if let Some(bytes) = answer {
            (call.reply)(Ok(bytes));
        } else {
            gone = true;
            // A stuck kernel's late answer would be taken for the next call's: it must end.
            shared.end_kernel();
            (call.reply)(Err(LinkDown::Gone));
        }
    }
}

/// Reads replies until the kernel ends or breaks the rules, then ends it and reports.
fn read_replies(
    mut stream: UnixStream,
    shared: &Shared,
    answers: SyncSender<Vec<u8>>,
    on_down: Box<dyn FnOnce(KernelExit) + Send>,
) {
    while let Ok(frame) = read_frame(&mut stream) {
        // The flag falls before the answer is handed on, so a second frame for one call is out of turn.
        if !shared.awaiting.swap(false, Ordering::SeqCst) || answers.send(frame).is_err() {
            break;
        }
    }
    drop(answers);
    let exit = shared.end_kernel();
    if !shared.closing.load(Ordering::SeqCst) {
        on_down(exit);
    }
}

fn write_frame(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    stream.write_all(&len.to_be_bytes())?;
    stream.write_all(bytes)
}

fn read_frame(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut len = [0_u8; 4];
    stream.read_exact(&mut len)?;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > MAX_KERNEL_FRAME {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const SOON: Duration = Duration::from_secs(10);

    /// A stand-in for the kernel: perl speaks on its standard input, as the kernel does.
    fn stand_in(program: &str, call_timeout: Duration) -> (KernelLink, Receiver<KernelExit>) {
        let prelude = "open(my $s, '+<&=', 0); binmode $s;
            sub get { my ($n, $b) = (shift, ''); while (length $b < $n) {
                sysread($s, $b, $n - length $b, length $b) or exit 7 } $b }
            sub req { get(unpack('N', get(4))) }
            sub put { my $d = pack('N', length $_[0]) . $_[0];
                my $o = 0; while ($o < length $d) { $o += syswrite($s, $d, length($d) - $o, $o) } }";
        let spawn = KernelSpawn {
            binary: "/usr/bin/perl".into(),
            args: vec!["-e".into(), format!("{prelude} {program}")],
            call_timeout,
        };
        let (down, downs) = channel();
        let on_down = Box::new(move |exit| down.send(exit).unwrap());
        (KernelLink::spawn(&spawn, on_down).unwrap(), downs)
    }

    fn call(link: &KernelLink, request: &[u8]) -> Receiver<Result<Vec<u8>, LinkDown>> {
        let (answer, answers) = channel();
        link.call(request.to_vec(), Box::new(move |it| drop(answer.send(it))));
        answers
    }

    #[test]
    fn calls_are_answered_in_order_with_their_own_replies() {
        let (link, downs) = stand_in("while (1) { put(req() . '!') }", SOON);
        let answers: Vec<_> =
            (0..100).map(|number| call(&link, format!("{number}").as_bytes())).collect();
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(answer.recv().unwrap(), Ok(format!("{number}!").into_bytes()));
        }
        assert!(downs.try_recv().is_err());
    }

    #[test]
    fn kernel_starts_with_an_empty_environment_and_no_inherited_descriptor() {
        let program = "req(); put(join ',', sort keys %ENV);
            req(); opendir(my $d, '/proc/self/fd'); put(join ',', sort grep {
                (readlink(\"/proc/self/fd/$_\") // '') =~ /dvm-link-probe/ } readdir $d)";
        let dir = tempfile::tempdir().unwrap();
        let _open = std::fs::File::create(dir.path().join("dvm-link-probe")).unwrap();
        let (link, _downs) = stand_in(program, SOON);
        assert_eq!(call(&link, b"").recv().unwrap(), Ok(Vec::new()));
        assert_eq!(call(&link, b"").recv().unwrap(), Ok(Vec::new()));
    }

    #[test]
    fn death_of_an_idle_kernel_is_reported_once_with_how_it_ended() {
        let (link, downs) = stand_in("req(); put('ok'); exit 5", SOON);
        assert_eq!(call(&link, b"").recv().unwrap(), Ok(b"ok".to_vec()));
        let exit = downs.recv_timeout(SOON).unwrap();
        assert_eq!(exit, KernelExit { code: Some(5), signal: None });
        assert_eq!(call(&link, b"").recv().unwrap(), Err(LinkDown::Gone));
        assert_eq!(call(&link, b"").recv().unwrap(), Err(LinkDown::Gone));
        assert!(downs.recv_timeout(SOON).is_err(), "reported twice");
    }

    #[test]
    fn kernel_that_dies_during_a_call_fails_that_call_and_those_behind_it() {
        let (link, downs) = stand_in("req(); req(); kill 'KILL', $$; sleep 9", SOON);
        let answers: Vec<_> = (0..3).map(|_| call(&link, b"x")).collect();
        // The stand-in answers nothing to the first call; the link never sends the second.
        std::thread::sleep(Duration::from_millis(50));
        assert!(answers[1].try_recv().is_err(), "two calls were out at once");
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(link.pid()).unwrap()),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        for answer in answers {
            assert_eq!(answer.recv().unwrap(), Err(LinkDown::Gone));
        }
        assert_eq!(downs.recv_timeout(SOON).unwrap().signal, Some(9));
    }

    #[test]
    fn reply_out_of_turn_ends_the_kernel() {
        let (link, downs) = stand_in("req(); put('one'); put('two'); sleep 9", SOON);
        assert_eq!(call(&link, b"").recv().unwrap(), Ok(b"one".to_vec()));
        assert_eq!(downs.recv_timeout(SOON).unwrap().signal, Some(9));
    }

    #[test]
    fn frames_at_the_bound_pass_and_one_byte_more_is_refused_on_both_sides() {
        let echo_then_exceed = format!(
            "req(); put('x' x {MAX_KERNEL_FRAME}); req(); syswrite($s, pack('N', {MAX_KERNEL_FRAME} + 1)); sleep 9"
        );
        let (link, downs) = stand_in(&echo_then_exceed, SOON);
        let too_large = vec![0; MAX_KERNEL_FRAME + 1];
        let refused = LinkDown::TooLarge { len: MAX_KERNEL_FRAME + 1 };
        assert_eq!(call(&link, &too_large).recv().unwrap(), Err(refused));
        let reply = call(&link, &too_large[1..]).recv().unwrap().unwrap();
        assert_eq!(reply.len(), MAX_KERNEL_FRAME);
        assert_eq!(call(&link, b"").recv().unwrap(), Err(LinkDown::Gone));
        assert_eq!(downs.recv_timeout(SOON).unwrap().signal, Some(9));
    }

    #[test]
    fn stuck_kernel_is_killed_when_the_call_times_out() {
        let (link, downs) = stand_in("req(); sleep 60", Duration::from_millis(100));
        assert_eq!(call(&link, b"").recv().unwrap(), Err(LinkDown::Gone));
        assert_eq!(downs.recv_timeout(SOON).unwrap().signal, Some(9));
    }

    #[test]
    fn calls_over_the_waiting_bound_are_refused_and_the_others_kept() {
        let (link, _downs) = stand_in("req(); sleep 1; put('1'); while (1) { put(req()) }", SOON);
        let first = call(&link, b"first");
        let others: Vec<_> = (0..MAX_WAITING_CALLS + 2).map(|_| call(&link, b"x")).collect();
        assert_eq!(first.recv().unwrap(), Ok(b"1".to_vec()));
        let answers: Vec<_> = others.iter().map(|answer| answer.recv().unwrap()).collect();
        let refused = answers.iter().filter(|answer| **answer == Err(LinkDown::Busy)).count();
        // The first call may or may not have left the queue when the queue filled.
        assert!((2..=3).contains(&refused), "{refused}");
        assert_eq!(answers[0], Ok(b"x".to_vec()));
    }

    #[test]
    fn dropped_link_takes_its_kernel_along_and_reports_nothing() {
        let (link, downs) = stand_in("req()", SOON);
        let pid = nix::unistd::Pid::from_raw(i32::try_from(link.pid()).unwrap());
        assert!(nix::sys::signal::kill(pid, None).is_ok());
        drop(link);
        assert!(nix::sys::signal::kill(pid, None).is_err());
        assert!(downs.recv_timeout(SOON).is_err());
    }
}
