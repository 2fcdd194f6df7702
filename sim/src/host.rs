//! One node: a real kernel over real vault files, a real engine, and the queues between them.
//!
//! Source: the node's driver. Kernel calls go at once and are answered in order; writes and whatever
//! the outside sees go through one queue, whose turn makes all queued writes durable and then
//! releases, in order. Engine and kernel die together, as the kernel dies with its node.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dvm_core::authority::ClusterManifest;
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::{B32, digest};
use dvm_kernel::unseal::MasterKey;
use dvm_kernel::vault::Vault;
use dvm_kernel::{About, Kernel, Surroundings};
use dvm_node::engine::{ApiReply, Effect, Engine, PoolMarks, Setup, Timing, Token};
use dvm_node::journal::WriteBatch;
use dvm_node::wire::PeerMessage;
use dvm_policy::PolicySet;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

use crate::cast::{self, NODES, START_MS};
use crate::disk::{Tables, VaultFiles};
use crate::{SimError, limit};

/// What waits for the journal.
pub(crate) enum Item {
    Write(WriteBatch),
    Send {
        to: String,
        commits: u32,
        message: Box<PeerMessage>,
    },
    Reply {
        token: Token,
        reply: ApiReply,
    },
    /// A call that waits for writes ahead of it.
    Ask(Asked),
}

/// A call that waits for the kernel.
pub(crate) struct Asked {
    pub token: Token,
    pub call: Box<KernelCall>,
}

/// What lives only while the process does.
pub(crate) struct Alive {
    pub kernel: Kernel,
    pub engine: Engine,
}

/// One node.
pub(crate) struct Host {
    pub index: usize,
    pub dir: PathBuf,
    pub tables: Tables,
    pub alive: Option<Alive>,
    /// Raised at every crash: what was under way for an earlier life is void.
    pub life: u64,
    /// How often its kernel was started.
    pub starts: u64,
    pub calls: VecDeque<Asked>,
    pub kernel_busy: bool,
    pub journal: VecDeque<Item>,
    pub journal_busy: bool,
    /// Writes of this life's engine, and those of them that are durable.
    pub written: u64,
    pub durable: u64,
    /// How far its clock is off.
    pub skew_ms: i64,
    /// Commits of its kernel and groups of its journal, over all lives.
    pub kernel_commits: u64,
    pub journal_commits: u64,
    /// An injected fault of the disk is not over.
    pub disk_broken: bool,
    wall: Arc<AtomicU64>,
    seed: u64,
}

impl Drop for Host {
    /// A kernel that ends may write.
    fn drop(&mut self) {
        let _shared = limit::writes();
        self.alive = None;
    }
}

/// The random source of one start of a kernel, and with it what that kernel draws.
pub(crate) fn kernel_rng(seed: u64, name: &str, start: u64) -> ChaCha20Rng {
    ChaCha20Rng::from_seed(digest::sha256(format!("kernel/{seed}/{name}/{start}").as_bytes()).0)
}

impl Host {
    pub(crate) fn new(index: usize, dir: PathBuf, tables: Tables, seed: u64) -> Self {
        Self {
            index,
            dir,
            tables,
            alive: None,
            life: 0,
            starts: 0,
            calls: VecDeque::new(),
            kernel_busy: false,
            journal: VecDeque::new(),
            journal_busy: false,
            written: 0,
            durable: 0,
            skew_ms: 0,
            kernel_commits: 0,
            journal_commits: 0,
            disk_broken: false,
            wall: Arc::new(AtomicU64::new(START_MS)),
            seed,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        NODES.get(self.index).copied().unwrap_or("n1")
    }

    /// The time by its own clock.
    pub(crate) fn clock_ms(&self, now_ms: u64) -> u64 {
        START_MS.saturating_add(now_ms).saturating_add_signed(self.skew_ms)
    }

    /// Starts the kernel over its files.
    pub(crate) fn boot_kernel(&mut self, now_ms: u64) -> Result<Kernel, SimError> {
        let _shared = limit::writes();
        self.starts = self.starts.saturating_add(1);
        self.wall.store(self.clock_ms(now_ms), Ordering::SeqCst);
        let rng = kernel_rng(self.seed, self.name(), self.starts);
        let master = MasterKey::from_bytes(Zeroizing::new([7; 32]));
        let vault = Vault::open(&self.dir, master, Box::new(rng.clone()))?;
        let mut rng = rng;
        rng.set_stream(1);
        let wall = self.wall.clone();
        let around = Surroundings {
            rng: Box::new(rng),
            wall_ms: Box::new(move || wall.load(Ordering::SeqCst)),
        };
        let about = About { binary: B32::default(), layers: cast::layers() };
        Ok(Kernel::start(vault, around, about)?)
    }

    /// Starts the engine over its journal; its first effects are given back.
    pub(crate) fn boot_engine(
        &self,
        manifest: &ClusterManifest,
        policy: &PolicySet,
        now_ms: u64,
    ) -> Result<(Engine, Vec<Effect>), SimError> {
        let salt = digest::sha256(
            format!("salt/{}/{}/{}", self.seed, self.name(), self.starts).as_bytes(),
        );
        let setup = Setup {
            me: cast::id(self.name()),
            manifest: manifest.clone(),
            policy_key: cast::key(&format!("{}/policy", self.name())),
            policy: policy.clone(),
            salt_seed: salt,
            timing: Timing::default(),
            pool: PoolMarks::default(),
        };
        let mut engine = Engine::new(setup, self.tables.recovered()).map_err(SimError::Engine)?;
        let effects = engine.start(self.clock_ms(now_ms));
        Ok((engine, effects))
    }

    /// One call into the kernel, at this time.
    pub(crate) fn call(&mut self, call: KernelCall, now_ms: u64) -> Option<(KernelReply, u64)> {
        let _shared = limit::writes();
        self.wall.store(self.clock_ms(now_ms), Ordering::SeqCst);
        let alive = self.alive.as_mut()?;
        let before = alive.kernel.commits();
        let reply = alive.kernel.handle(call);
        let made = alive.kernel.commits().saturating_sub(before);
        self.kernel_commits = self.kernel_commits.saturating_add(made);
        Some((reply, made))
    }

    /// The process ends. What is on disk is what was there, not what an orderly end would leave.
    pub(crate) fn die(&mut self, files: Option<VaultFiles>) -> Result<(), SimError> {
        let _shared = limit::writes();
        let files = match files {
            Some(files) => files,
            None => VaultFiles::read(&self.dir)?,
        };
        self.alive = None;
        files.write(&self.dir)?;
        self.life = self.life.saturating_add(1);
        self.calls.clear();
        self.journal.clear();
        self.kernel_busy = false;
        self.journal_busy = false;
        self.written = 0;
        self.durable = 0;
        self.disk_broken = false;
        Ok(())
    }
}
