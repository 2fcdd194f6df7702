//! A node and a witness from their configuration to an orderly end.
//!
//! Order at the start: configuration, journal, kernel, transport, engine, API. At the end the other
//! way round: the API stops taking calls, the engine stops, the journal makes durable what is
//! queued, the kernel's pipe closes and the kernel ends.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use dvm_core::bytes::B32;
use dvm_core::codec;
use dvm_core::reason::ReasonCode;
use rand_core::{OsRng, RngCore};
use tokio::sync::watch;

use crate::api::client::{EngineClient, Facts};
use crate::config::{ConfigError, NodeConfig, WitnessConfig};
use crate::driver::{self, Parts, now_ms};
use crate::engine::{Input, Setup};
use crate::journal::{Journal, JournalFault, JournalThread, Loaded};
use crate::kernel_link::KernelLink;
use crate::transport::{Inbound, Recorder, Transport, TransportConfig, TransportFault};
use crate::wire::{PeerMessage, Wire};
use crate::witness::{Step, Witness};

/// Why a node did not start, or ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum NodeFault {
    /// The configuration.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The store.
    #[error("journal: {0}")]
    Journal(#[from] JournalFault),
    /// The network.
    #[error("transport: {0}")]
    Transport(#[from] TransportFault),
    /// The kernel's process or the API's socket.
    #[error("{part}: {error}")]
    Io {
        /// Which.
        part: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
    /// What the journal held does not hold together.
    #[error("recovery: {0}")]
    Recovery(ReasonCode),
    /// The journal failed while running: nothing may become visible any more.
    #[error("the journal failed while running; see the log")]
    JournalLost,
    /// The kernel ended while running.
    #[error("the kernel ended while running; see its log beside the vault")]
    KernelLost,
}

/// What ends a node from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    None,
    Journal,
    Kernel,
}

fn open_journal(dir: &Path) -> Result<Loaded, NodeFault> {
    let made = std::fs::create_dir_all(dir);
    made.map_err(|error| NodeFault::Io { part: "data directory", error })?;
    Ok(Journal::open(&dir.join("journal.db"))?)
}

fn start_journal(
    loaded: Loaded,
    lost: &watch::Sender<Loss>,
) -> Result<(Journal, JournalThread), NodeFault> {
    let lost = lost.clone();
    let started = loaded.start(Box::new(move |fault| {
        tracing::error!(%fault, code = ReasonCode::Internal.name(), "journal failed");
        // Nobody to tell means that the node is already ending.
        let _ = lost.send(Loss::Journal);
    }));
    Ok(started?)
}

/// Runs a node until `shutdown` completes.
///
/// # Errors
/// [`NodeFault`].
pub async fn run_node(
    config: NodeConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), NodeFault> {
    let parts = config.parts()?;
    let (lost, mut loss) = watch::channel(Loss::None);
    let loaded = open_journal(&config.data_dir)?;
    let found = driver::recovered(&loaded)?;
    let (journal, journal_thread) = start_journal(loaded, &lost)?;
    let on_down = lost.clone();
    let kernel = KernelLink::spawn(
        &parts.kernel,
        Box::new(move |exit| {
            tracing::error!(code = exit.code, signal = exit.signal, "kernel ended");
            // Nobody to tell means that the node is already ending.
            let _ = on_down.send(Loss::Kernel);
        }),
    )
    .map_err(|error| NodeFault::Io { part: "kernel", error })?;
    let transport = TransportConfig {
        self_id: config.node.to_string(),
        listen: config.peer_listen,
        key: parts.tls_key,
        peers: parts.peers,
        record: recorder(&config)?,
    };
    let (transport, inbound) = Transport::start(transport).await?;
    let (client, asked) = EngineClient::new(Arc::new(facts(&kernel, &journal)));
    let setup = Setup {
        me: config.node.clone(),
        manifest: parts.manifest,
        policy_key: parts.policy_key,
        policy: parts.policy,
        salt_seed: fresh_seed(),
        timing: parts.timing,
        pool: parts.pool,
    };
    let engine_parts = Parts { journal, kernel, transport: transport.clone(), inbound };
    let running = driver::start(setup, found, engine_parts, asked).map_err(NodeFault::Recovery)?;
    let listener = tokio::net::TcpListener::bind(config.api_listen)
        .await
        .map_err(|error| NodeFault::Io { part: "API", error })?;
    tracing::info!(node = %config.node, api = %config.api_listen, peers = %config.peer_listen, "node runs");
    let (stop, mut stopped) = watch::channel(false);
    let ending = async move {
        // A dropped sender ends the API as well.
        let _ = stopped.changed().await;
    };
    let api = tokio::spawn(crate::api::serve(listener, client, parts.tokens, ending));
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        _ = loss.changed() => Err(match *loss.borrow() {
            Loss::Kernel => NodeFault::KernelLost,
            Loss::Journal | Loss::None => NodeFault::JournalLost,
        }),
    };
    stop.send_replace(true);
    // An API that has already ended with an error has logged it.
    let _ = api.await;
    running.stop();
    transport.shutdown().await;
    let closing = tokio::task::spawn_blocking(|| journal_thread.close());
    // A panic in the journal's thread was reported by its own fatal callback.
    let _ = closing.await;
    tracing::info!(node = %config.node, "node ended");
    outcome
}

fn facts(kernel: &KernelLink, journal: &Journal) -> Facts {
    let counted = journal.clone();
    Facts {
        kernel_pid: AtomicU32::new(kernel.pid()),
        journal_commits: Box::new(move || counted.metrics().commits),
    }
}

fn recorder(config: &NodeConfig) -> Result<Option<Recorder>, NodeFault> {
    let file = config.diagnostics.as_ref().and_then(|d| d.record_wire.as_deref());
    let open = |path| Recorder::open(path, config.node.clone());
    file.map(open).transpose().map_err(|error| NodeFault::Io { part: "wire capture", error })
}

fn fresh_seed() -> B32 {
    let mut seed = B32::default();
    OsRng.fill_bytes(&mut seed.0);
    seed
}

/// Runs a witness until `shutdown` completes.
///
/// # Errors
/// [`NodeFault`].
pub async fn run_witness(
    config: WitnessConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), NodeFault> {
    let parts = config.parts()?;
    let (lost, mut loss) = watch::channel(Loss::None);
    let loaded = open_journal(&config.data_dir)?;
    let made = Witness::new(config.witness.clone(), &parts.manifest, parts.cosign_key, &loaded);
    let mut witness = made.map_err(NodeFault::Recovery)?;
    let (journal, journal_thread) = start_journal(loaded, &lost)?;
    let transport = TransportConfig {
        self_id: config.witness.to_string(),
        listen: config.peer_listen,
        key: parts.tls_key,
        peers: parts.peers,
        record: None,
    };
    let (transport, mut inbound) = Transport::start(transport).await?;
    tracing::info!(witness = %config.witness, peers = %config.peer_listen, "witness runs");
    let mut shutdown = std::pin::pin!(shutdown);
    let outcome = loop {
        let event = tokio::select! {
            () = &mut shutdown => break Ok(()),
            _ = loss.changed() => break Err(NodeFault::JournalLost),
            event = inbound.recv() => event,
        };
        let step = match event {
            None => break Ok(()),
            Some(Inbound::Down(_)) => continue,
            Some(Inbound::Up(peer)) => {
                let sends = peer.parse().map(|p| vec![(p, witness.hello())]).unwrap_or_default();
                Step { sends, ..Step::default() }
            }
            Some(Inbound::Message { from, bytes }) => match driver::read_message(&from, &bytes) {
                Some(Input::Peer { from, message, .. }) => witness.handle(now_ms(), &from, message),
                _ => continue,
            },
        };
        if perform(&journal, &transport, step).is_err() {
            break Err(NodeFault::JournalLost);
        }
    };
    transport.shutdown().await;
    let closing = tokio::task::spawn_blocking(|| journal_thread.close());
    // A panic in the journal's thread was reported by its own fatal callback.
    let _ = closing.await;
    outcome
}

fn perform(
    journal: &Journal,
    transport: &Transport,
    step: Step,
) -> Result<(), crate::journal::JournalStopped> {
    if let Some(code) = step.refused {
        tracing::warn!(code = code.name(), "refused");
    }
    if !step.writes.is_empty() {
        journal.write(step.writes)?;
    }
    for (to, message) in step.sends {
        let message: PeerMessage = message;
        let bytes = codec::encode(&Wire { commits: 0, message });
        let transport = transport.clone();
        journal.release(Box::new(move || {
            // A peer that is away asks again when it is back.
            if let Err(error) = transport.send(to.as_str(), bytes) {
                tracing::debug!(%to, %error, "not sent");
            }
        }))?;
    }
    Ok(())
}
