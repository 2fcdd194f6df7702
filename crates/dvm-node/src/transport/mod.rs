//! The wire between nodes: mutually authenticated TLS 1.3 over TCP, between the nodes of one roster.
//!
//! Source: `system.md`, "Deployment is configuration". Each node calls every other one; its messages to a
//! peer travel only on the connection it opened itself, and the answering side sends nothing but beats.
//!
//! Always true:
//! - [`Inbound::Message`] names the peer whose pinned key signed the handshake of that connection;
//! - messages of one peer arrive in the order sent, also across a reconnection, though some may be lost
//!   with a connection and the last one may come twice: senders keep what they sent and send it again;
//! - all memory is bounded: per peer, by [`OUTGOING_BUDGET`] and [`INCOMING_BUDGET`]; for strangers, by
//!   [`MAX_UNAUTHENTICATED`]. A full outgoing queue is the caller's to handle; nothing is dropped for it.
//!
//! Not here: what a message means, or any trust in it. That rests on the kernels' signatures alone.

mod frame;
mod incoming;
mod outgoing;
mod record;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::driver::now_ms;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

pub use record::Recorder;
pub use tls::{ALPN, NodeKey};

/// A node's id: its short ASCII name in the roster.
pub type NodeName = String;

/// Longest message, in bytes.
pub const MAX_MESSAGE: usize = 8 * 1024 * 1024;
/// Bytes waiting to be sent to one peer; a message counts for 4 KiB at least.
pub const OUTGOING_BUDGET: usize = 32 * 1024 * 1024;
/// Bytes received from one peer and not consumed; counted in the same way.
pub const INCOMING_BUDGET: usize = 32 * 1024 * 1024;
/// Connections in their handshake at one time; further ones are closed unread.
pub const MAX_UNAUTHENTICATED: usize = 64;
/// Longest time for a TCP connection and TLS handshake.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(3);
/// What an orderly end waits for queued messages to leave.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Where a peer is and how it is recognised.
#[derive(Clone, Debug)]
pub struct PeerAddr {
    /// Its id.
    pub id: NodeName,
    /// `host:port`, looked up anew for every connection.
    pub addr: String,
    /// Its pinned Ed25519 node key.
    pub tls_key: [u8; 32],
}

/// What a transport needs to know.
pub struct TransportConfig {
    /// This node's id.
    pub self_id: NodeName,
    /// Where to listen.
    pub listen: SocketAddr,
    /// This node's key.
    pub key: NodeKey,
    /// Every other node of the roster.
    pub peers: Vec<PeerAddr>,
    /// Keeps what leaves, if the operator wants that.
    pub record: Option<Recorder>,
}

/// Why a transport cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TransportFault {
    /// Two nodes of the roster share an id or a key.
    #[error("roster names node {id} twice, or gives it another node's key")]
    AmbiguousRoster {
        /// The second one.
        id: NodeName,
    },
    /// The node key cannot be made or read.
    #[error("node key is not a usable Ed25519 key")]
    Key,
    /// The TLS library refused the set-up.
    #[error("TLS set-up: {0}")]
    Tls(#[source] rustls::Error),
    /// The socket or key file.
    #[error("transport: {0}")]
    Io(#[source] std::io::Error),
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The roster has no such peer.
    #[error("no such peer")]
    UnknownPeer,
    /// The peer's queue is full.
    #[error("the peer's queue is full")]
    Busy,
    /// Over [`MAX_MESSAGE`].
    #[error("message is longer than {MAX_MESSAGE} bytes")]
    TooLarge,
    /// The transport has stopped.
    #[error("the transport has stopped")]
    Stopped,
    /// The capture cannot be written, and nothing leaves that is not in it.
    #[error("the wire capture cannot be written")]
    NotRecorded,
}

/// What the transport reports.
#[derive(Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A message, from the node that holds the key pinned for `from`.
    Message {
        /// The sender.
        from: NodeName,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Our connection to the peer stands and the peer has accepted it.
    Up(NodeName),
    /// That connection is lost; it is being opened again.
    Down(NodeName),
}

/// The receiving end. Taking a message out gives its sender room for another one.
pub struct InboundReceiver {
    events: mpsc::UnboundedReceiver<(Inbound, Option<OwnedSemaphorePermit>)>,
}

impl InboundReceiver {
    /// The next event; none once the transport has stopped and everything was taken out.
    pub async fn recv(&mut self) -> Option<Inbound> {
        self.events.recv().await.map(|(event, _permit)| event)
    }
}

/// Where connections report to. Unbounded as a channel; its contents are bounded by the permits.
#[derive(Clone)]
struct Events(mpsc::UnboundedSender<(Inbound, Option<OwnedSemaphorePermit>)>);

impl Events {
    /// Says whether anyone still listens.
    fn report(&self, event: Inbound, permit: Option<OwnedSemaphorePermit>) -> bool {
        self.0.send((event, permit)).is_ok()
    }
}

/// A message in a peer's queue and the room it takes.
struct Queued {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

struct PeerHandle {
    queue: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    connected: Arc<AtomicBool>,
}

struct Inner {
    peers: BTreeMap<NodeName, PeerHandle>,
    local_addr: SocketAddr,
    record: Option<Recorder>,
    /// Turns true to stop; tasks also stop when it is dropped with the last handle.
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

/// A running transport; clones share it. Stops when the last one is dropped.
#[derive(Clone)]
pub struct Transport {
    inner: Arc<Inner>,
}

impl Transport {
    /// Listens, and starts calling every peer. Needs a tokio runtime.
    ///
    /// # Errors
    /// A roster with one id or key twice, an unusable key, or a socket that cannot be bound.
    pub async fn start(config: TransportConfig) -> Result<(Self, InboundReceiver), TransportFault> {
        check_roster(&config)?;
        let listener = TcpListener::bind(config.listen).await.map_err(TransportFault::Io)?;
        let local_addr = listener.local_addr().map_err(TransportFault::Io)?;
        let (report, events) = mpsc::unbounded_channel();
        let report = Events(report);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut peers = BTreeMap::new();
        let server =
            tls::server_config(&config.key, config.peers.iter().map(|p| p.tls_key).collect())?;
        for peer in &config.peers {
            let (queue, queued) = mpsc::unbounded_channel();
            let connected = Arc::new(AtomicBool::new(false));
            let outgoing = outgoing::Outgoing {
                tls: tls::client_config(&config.key, peer.tls_key)?,
                peer: peer.clone(),
                connected: Arc::clone(&connected),
                events: report.clone(),
                stopped: stopped.clone(),
            };
            tasks.spawn(outgoing.run(queued));
            let room = Arc::new(Semaphore::new(OUTGOING_BUDGET));
            peers.insert(peer.id.clone(), PeerHandle { queue, room, connected });
        }
        let incoming = incoming::Incoming::new(server, config.peers, report, stopped);
        tasks.spawn(incoming.run(listener));
        let record = config.record;
        let inner = Inner { peers, local_addr, record, stop, tasks: Mutex::new(tasks) };
        Ok((Self { inner: Arc::new(inner) }, InboundReceiver { events }))
    }

    /// Queues a message for a peer, connected or not.
    ///
    /// # Errors
    /// [`NotSent`]; then the message was not queued, and nothing else was dropped.
    pub fn send(&self, peer: &str, bytes: Vec<u8>) -> Result<(), NotSent> {
        let (name, peer) = self.inner.peers.get_key_value(peer).ok_or(NotSent::UnknownPeer)?;
        if bytes.len() > MAX_MESSAGE {
            return Err(NotSent::TooLarge);
        }
        if *self.inner.stop.borrow() {
            return Err(NotSent::Stopped);
        }
        let room = Arc::clone(&peer.room).try_acquire_many_owned(frame::cost(bytes.len()));
        let room = room.map_err(|_| NotSent::Busy)?;
        if let Some(recorder) = &self.inner.record {
            let name = name.parse().map_err(|_| NotSent::UnknownPeer)?;
            let recorded = recorder.record(now_ms(), &name, &bytes);
            recorded.map_err(|_| NotSent::NotRecorded)?;
        }
        let queued = Queued { bytes, _room: room };
        peer.queue.send(queued).map_err(|_| NotSent::Stopped)
    }

    /// Whether our connection to the peer stands and the peer was heard on it within five seconds.
    #[must_use]
    pub fn connected(&self, peer: &str) -> bool {
        self.inner.peers.get(peer).is_some_and(|peer| peer.connected.load(Ordering::Relaxed))
    }

    /// Where this node listens: tells the port when the configuration left it to the system.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr
    }

    /// Stops: takes no new messages, sends what is queued where a connection stands (for two seconds at
    /// most), closes all connections.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        let mut tasks = self.inner.tasks.lock().await;
        let all_ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIME, all_ended).await.is_err() {
            tasks.shutdown().await;
        }
    }
}

fn check_roster(config: &TransportConfig) -> Result<(), TransportFault> {
    let mut seen = vec![(config.self_id.as_str(), config.key.public()?)];
    for peer in &config.peers {
        if seen.iter().any(|(id, key)| *id == peer.id || *key == peer.tls_key) {
            return Err(TransportFault::AmbiguousRoster { id: peer.id.clone() });
        }
        seen.push((&peer.id, peer.tls_key));
    }
    Ok(())
}

/// Returns when the transport is to stop, or has no handle left.
async fn stop_wanted(stopped: &mut watch::Receiver<bool>) {
    // An error means that the sender, and so the last handle, is gone.
    let _ = stopped.wait_for(|stop| *stop).await;
}
