//! Connections that peers open to us: the only ones their messages arrive on.
//!
//! Always true: until its handshake has shown a pinned key, a connection costs one place of a bounded
//! number, for a bounded time, and nothing it says reaches anyone. A peer has one connection: a newer one
//! ends the older (which a restarted peer may have left half open) and reads only after it has ended, so
//! order holds across the two.
//!
//! Not here: sending; the answering side only beats.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::tls::certificate_key;
use super::{
    ALPN, Events, HANDSHAKE_TIME, INCOMING_BUDGET, Inbound, MAX_UNAUTHENTICATED, NodeName,
    PeerAddr, frame, stop_wanted,
};

/// Pause after the system refused to accept (out of descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is shared by all connections of one peer.
struct Slot {
    id: NodeName,
    budget: Arc<Semaphore>,
    /// Number of the newest connection: an older one sees it change and ends.
    newest: watch::Sender<u64>,
    /// Held by the one connection that reads.
    reading: Mutex<()>,
}

pub(super) struct Incoming {
    acceptor: TlsAcceptor,
    slots: BTreeMap<[u8; 32], Arc<Slot>>,
    events: Events,
    stopped: watch::Receiver<bool>,
}

impl Incoming {
    pub(super) fn new(
        tls: Arc<ServerConfig>,
        peers: Vec<PeerAddr>,
        events: Events,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let slot = |peer: PeerAddr| {
            let slot = Slot {
                id: peer.id,
                budget: Arc::new(Semaphore::new(INCOMING_BUDGET)),
                newest: watch::Sender::new(0),
                reading: Mutex::new(()),
            };
            (peer.tls_key, Arc::new(slot))
        };
        let slots = peers.into_iter().map(slot).collect();
        Self { acceptor: TlsAcceptor::from(tls), slots, events, stopped }
    }

    /// Accepts until the transport stops; then ends every connection.
    pub(super) async fn run(self, listener: TcpListener) {
        let this = Arc::new(self);
        let places = Arc::new(Semaphore::new(MAX_UNAUTHENTICATED));
        let mut stopped = this.stopped.clone();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop_wanted(&mut stopped) => break,
                Some(_ended) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let Ok((socket, from)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(%from, "too many connections in their handshake");
                continue;
            };
            let this = Arc::clone(&this);
            connections.spawn(async move {
                let admitted = timeout(HANDSHAKE_TIME, this.admit(socket)).await;
                drop(place);
                match admitted {
                    Ok(Ok((slot, stream))) => this.serve(&slot, stream).await,
                    Ok(Err(error)) => tracing::warn!(%from, %error, "connection refused"),
                    Err(_) => tracing::warn!(%from, "handshake took too long"),
                }
            });
        }
        connections.shutdown().await;
    }

    /// The handshake: whose connection is this?
    async fn admit(&self, socket: TcpStream) -> Result<(Arc<Slot>, TlsStream<TcpStream>)> {
        socket.set_nodelay(true)?;
        let stream = self.acceptor.accept(socket).await?;
        let tls = stream.get_ref().1;
        if tls.alpn_protocol() != Some(ALPN) {
            return Err(ErrorKind::InvalidData.into());
        }
        let slot = tls
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(|certificate| certificate_key(certificate).ok())
            .and_then(|key| self.slots.get(&key).cloned())
            .ok_or(ErrorKind::PermissionDenied)?;
        Ok((slot, stream))
    }

    async fn serve(&self, slot: &Slot, stream: TlsStream<TcpStream>) {
        let mut newest = slot.newest.subscribe();
        let mut mine = 0;
        slot.newest.send_modify(|number| {
            *number += 1;
            mine = *number;
        });
        let (mut from_peer, mut to_peer) = tokio::io::split(stream);
        let in_turn = async {
            let _reading = slot.reading.lock().await;
            tokio::select! {
                read = self.read(slot, &mut from_peer) => read,
                beaten = beat(&mut to_peer) => beaten,
            }
        };
        tokio::select! {
            ended = in_turn => if let Err(error) = ended {
                tracing::debug!(peer = slot.id, %error, "incoming connection ended");
            },
            _newer = newest.wait_for(|number| *number != mine) => {}
        }
    }

    async fn read(
        &self,
        slot: &Slot,
        from_peer: &mut ReadHalf<TlsStream<TcpStream>>,
    ) -> Result<()> {
        loop {
            let (bytes, permit) = frame::read_message(from_peer, &slot.budget).await?;
            let message = Inbound::Message { from: slot.id.clone(), bytes };
            if !self.events.report(message, Some(permit)) {
                return Ok(());
            }
        }
    }
}

/// Says at once, and every second, that we live. Does not wait for a peer that never reads.
async fn beat(to_peer: &mut WriteHalf<TlsStream<TcpStream>>) -> Result<()> {
    loop {
        timeout(frame::IDLE, frame::write_beat(to_peer)).await??;
        sleep(frame::BEAT_EVERY).await;
    }
}
