//! Our connection to one peer: opened, kept, opened again; the only one our messages travel on.
//!
//! Always true: messages leave in queue order; one that was not wholly written is written again on the
//! next connection. The peer counts as connected from its first beat (in TLS 1.3 the handshake alone does
//! not show that the peer accepted our key) until the connection ends.
//!
//! Not here: whether a message arrived. Only an answer of the peer's engine tells that.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{ALPN, Events, HANDSHAKE_TIME, Inbound, PeerAddr, Queued, frame, stop_wanted};

/// Wait before the second attempt; doubles up to [`LAST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LAST_WAIT: Duration = Duration::from_secs(2);
/// The name TLS insists on having; no certificate is checked against it.
const ANY_NAME: &str = "dvm-node";

pub(super) struct Outgoing {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) peer: PeerAddr,
    pub(super) connected: Arc<AtomicBool>,
    pub(super) events: Events,
    pub(super) stopped: watch::Receiver<bool>,
}

/// The queue, and the message taken out of it but not wholly written.
struct Pending {
    queue: mpsc::UnboundedReceiver<Queued>,
    current: Option<Queued>,
}

impl Outgoing {
    /// Runs until the transport stops.
    pub(super) async fn run(mut self, queue: mpsc::UnboundedReceiver<Queued>) {
        let mut pending = Pending { queue, current: None };
        let mut wait = FIRST_WAIT;
        loop {
            let mut stopped = self.stopped.clone();
            let opened = tokio::select! {
                () = stop_wanted(&mut stopped) => return,
                opened = timeout(HANDSHAKE_TIME, self.connect()) => opened,
            };
            match opened {
                Ok(Ok(stream)) => {
                    if self.keep(stream, &mut pending).await {
                        wait = FIRST_WAIT;
                    }
                }
                Ok(Err(error)) => tracing::debug!(peer = self.peer.id, %error, "not connected"),
                Err(_) => tracing::debug!(peer = self.peer.id, "connecting took too long"),
            }
            tokio::select! {
                () = stop_wanted(&mut self.stopped) => return,
                () = sleep(wait) => wait = (wait * 2).min(LAST_WAIT),
            }
        }
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(&self.peer.addr).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(ANY_NAME).map_err(|_| Error::from(ErrorKind::Other))?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, socket).await?;
        // A server that knows no ALPN would otherwise pass for one that agreed.
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(stream)
    }

    /// Uses a connection until it ends. Says whether the peer ever accepted it.
    async fn keep(&self, stream: TlsStream<TcpStream>, pending: &mut Pending) -> bool {
        let (mut from_peer, mut to_peer) = tokio::io::split(stream);
        let ended = tokio::select! {
            heard = self.hear(&mut from_peer) => heard,
            written = self.write(&mut to_peer, pending) => written,
        };
        if let Err(error) = ended {
            tracing::debug!(peer = self.peer.id, %error, "connection ended");
        }
        let was_up = self.connected.swap(false, Ordering::Relaxed);
        if was_up {
            self.events.report(Inbound::Down(self.peer.id.clone()), None);
        }
        was_up
    }

    async fn hear(&self, from_peer: &mut ReadHalf<TlsStream<TcpStream>>) -> Result<()> {
        frame::hear_beats(from_peer, || {
            self.connected.store(true, Ordering::Relaxed);
            self.events.report(Inbound::Up(self.peer.id.clone()), None);
        })
        .await
    }

    /// Writes messages as they come and beats between them; after the stop, what is queued and no more.
    async fn write(
        &self,
        to_peer: &mut WriteHalf<TlsStream<TcpStream>>,
        pending: &mut Pending,
    ) -> Result<()> {
        let mut stopped = self.stopped.clone();
        loop {
            if pending.current.is_none() {
                tokio::select! {
                    biased;
                    Some(message) = pending.queue.recv() => pending.current = Some(message),
                    () = stop_wanted(&mut stopped) => break,
                    () = sleep(frame::BEAT_EVERY) => frame::write_beat(to_peer).await?,
                }
            }
            // It stays in `pending` while it is written: if the connection ends here, it is not lost.
            if let Some(message) = &pending.current {
                frame::write_message(to_peer, &message.bytes).await?;
                pending.current = None;
            }
        }
        // Closing a socket with unread beats would reset it and lose what the peer has not read yet: say
        // that we are done and let the peer close; `hear` ends then.
        to_peer.shutdown().await?;
        std::future::pending().await
    }
}
