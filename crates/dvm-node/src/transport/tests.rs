//! Claims about the wire: who is let in, what is refused, and what arrives in which order.

use std::time::Instant;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

const SOON: Duration = Duration::from_secs(15);

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The same key once more: keys are not `Clone`, but a node restarts with its own.
fn again(key: &NodeKey) -> NodeKey {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.pem");
    std::fs::write(&path, key.pem()).unwrap();
    NodeKey::load_or_create(&path).unwrap()
}

fn peer(id: &str, addr: SocketAddr, key: &NodeKey) -> PeerAddr {
    PeerAddr { id: id.into(), addr: addr.to_string(), tls_key: key.public().unwrap() }
}

async fn start(
    id: &str,
    listen: SocketAddr,
    key: &NodeKey,
    peers: Vec<PeerAddr>,
) -> (Transport, InboundReceiver) {
    let config =
        TransportConfig { self_id: id.into(), listen, key: again(key), peers, record: None };
    Transport::start(config).await.unwrap()
}

/// The next message, skipping what is said about connections.
async fn message(events: &mut InboundReceiver) -> (NodeName, Vec<u8>) {
    let next = async {
        loop {
            if let Inbound::Message { from, bytes } = events.recv().await.unwrap() {
                return (from, bytes);
            }
        }
    };
    timeout(SOON, next).await.unwrap()
}

async fn event(events: &mut InboundReceiver) -> Inbound {
    timeout(SOON, events.recv()).await.unwrap().unwrap()
}

/// A port nobody listens on for now.
async fn free_addr() -> SocketAddr {
    TcpListener::bind(anywhere()).await.unwrap().local_addr().unwrap()
}

/// A hand-made connection, to say what `Transport` never would.
async fn raw(
    addr: SocketAddr,
    own: &NodeKey,
    server: &NodeKey,
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = tls::client_config(own, server.public().unwrap()).unwrap();
    let socket = TcpStream::connect(addr).await.unwrap();
    TlsConnector::from(config).connect(ServerName::try_from("x").unwrap(), socket).await
}

/// Whether the server closes the connection instead of beating on it.
async fn refused(mut stream: TlsStream<TcpStream>) -> bool {
    let mut byte = [0; 1];
    !matches!(timeout(SOON, stream.read(&mut byte)).await.unwrap(), Ok(1))
}

#[tokio::test]
async fn messages_arrive_in_order_under_the_senders_name() {
    let (a_key, b_key) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let (a_addr, b_addr) = (free_addr().await, free_addr().await);
    let (a, mut from_b) = start("a", a_addr, &a_key, vec![peer("b", b_addr, &b_key)]).await;
    // Queued before the peer exists.
    a.send("b", b"early".to_vec()).unwrap();
    let (b, mut from_a) = start("b", b_addr, &b_key, vec![peer("a", a_addr, &a_key)]).await;
    assert_eq!(message(&mut from_a).await, ("a".into(), b"early".to_vec()));
    for number in 0..500_u32 {
        a.send("b", number.to_be_bytes().to_vec()).unwrap();
        b.send("a", number.to_be_bytes().to_vec()).unwrap();
    }
    for number in 0..500_u32 {
        let expected = number.to_be_bytes().to_vec();
        assert_eq!(message(&mut from_a).await, ("a".into(), expected.clone()));
        assert_eq!(message(&mut from_b).await, ("b".into(), expected));
    }
    assert_eq!(a.send("c", vec![]), Err(NotSent::UnknownPeer));
    a.shutdown().await;
    assert_eq!(a.send("b", vec![]), Err(NotSent::Stopped));
}

#[tokio::test]
async fn stranger_with_an_unknown_key_is_refused_and_a_pinned_peer_is_not() {
    let (a_key, b_key) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let stranger = NodeKey::generate().unwrap();
    let nowhere = free_addr().await;
    let peers = vec![peer("b", nowhere, &b_key)];
    let (a, mut events) = start("a", anywhere(), &a_key, peers).await;
    // In TLS 1.3 the client may finish before the server has judged its certificate.
    if let Ok(mut stream) = raw(a.local_addr(), &stranger, &a_key).await {
        let _ = frame::write_message(&mut stream, b"let me in").await;
        assert!(refused(stream).await);
    }
    let mut stream = raw(a.local_addr(), &b_key, &a_key).await.unwrap();
    frame::write_message(&mut stream, b"it is me").await.unwrap();
    assert_eq!(message(&mut events).await, ("b".into(), b"it is me".to_vec()));
    assert!(!refused(stream).await);
}

#[tokio::test]
async fn caller_refuses_a_server_that_is_another_peer_of_the_roster() {
    let keys: Vec<_> = (0..3).map(|_| NodeKey::generate().unwrap()).collect();
    let nowhere = free_addr().await;
    let c_peers = vec![peer("a", nowhere, &keys[0])];
    let (c, mut at_c) = start("c", anywhere(), &keys[2], c_peers).await;
    // a is told that b lives where c does; c would accept a.
    let peers = vec![peer("b", c.local_addr(), &keys[1])];
    let (a, _events) = start("a", anywhere(), &keys[0], peers).await;
    a.send("b", b"for b alone".to_vec()).unwrap();
    assert!(timeout(Duration::from_millis(500), at_c.recv()).await.is_err());
    assert!(!a.connected("b"));
    assert!(raw(c.local_addr(), &keys[0], &keys[1]).await.is_err());
    assert!(raw(c.local_addr(), &keys[0], &keys[2]).await.is_ok());
}

#[tokio::test]
async fn a_server_or_client_without_our_protocol_name_is_refused() {
    let (a_key, b_key) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let peers = vec![peer("b", free_addr().await, &b_key)];
    let (a, mut events) = start("a", anywhere(), &a_key, peers).await;
    for names in [vec![], vec![b"h2".to_vec()]] {
        let config = tls::client_config(&b_key, a_key.public().unwrap()).unwrap();
        let mut config = Arc::unwrap_or_clone(config);
        config.alpn_protocols = names;
        let socket = TcpStream::connect(a.local_addr()).await.unwrap();
        let name = ServerName::try_from("x").unwrap();
        if let Ok(mut stream) = TlsConnector::from(Arc::new(config)).connect(name, socket).await {
            let _ = frame::write_message(&mut stream, b"hello").await;
            assert!(refused(stream).await);
        }
    }
    assert!(timeout(Duration::from_millis(200), events.recv()).await.is_err());
}

#[tokio::test]
async fn frame_over_the_bound_is_refused_and_the_peers_next_connection_serves_as_before() {
    let (a_key, b_key) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let peers = vec![peer("b", free_addr().await, &b_key)];
    let (a, mut events) = start("a", anywhere(), &a_key, peers).await;
    let over = u32::try_from(MAX_MESSAGE + 2).unwrap().to_be_bytes();
    let unknown_kind = [0, 0, 0, 1, 9];
    let empty = [0, 0, 0, 0, 0];
    for head in [[over[0], over[1], over[2], over[3], 0], unknown_kind, empty] {
        let mut stream = raw(a.local_addr(), &b_key, &a_key).await.unwrap();
        let mut beat = [0; 5];
        stream.read_exact(&mut beat).await.unwrap();
        stream.write_all(&head).await.unwrap();
        stream.flush().await.unwrap();
        assert!(refused(stream).await, "{head:?}");
    }
    // Many times the budget, one message after the other: refusals cost none of it.
    let mut stream = raw(a.local_addr(), &b_key, &a_key).await.unwrap();
    let longest = vec![7; MAX_MESSAGE];
    for _ in 0..=INCOMING_BUDGET / MAX_MESSAGE {
        frame::write_message(&mut stream, &longest).await.unwrap();
        assert_eq!(message(&mut events).await, ("b".into(), longest.clone()));
    }
    assert_eq!(a.send("b", vec![0; MAX_MESSAGE + 1]), Err(NotSent::TooLarge));
    assert_eq!(a.send("b", longest), Ok(()));
}

#[tokio::test]
async fn peer_that_restarts_is_reported_down_and_up_and_gets_what_waited() {
    let (a_key, b_key) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let (a_addr, b_addr) = (free_addr().await, free_addr().await);
    let (a, mut at_a) = start("a", a_addr, &a_key, vec![peer("b", b_addr, &b_key)]).await;
    let (b, mut at_b) = start("b", b_addr, &b_key, vec![peer("a", a_addr, &a_key)]).await;
    a.send("b", b"one".to_vec()).unwrap();
    assert_eq!(message(&mut at_b).await.1, b"one");
    assert_eq!(event(&mut at_a).await, Inbound::Up("b".into()));
    assert!(a.connected("b"));
    b.shutdown().await;
    assert_eq!(event(&mut at_a).await, Inbound::Down("b".into()));
    assert!(!a.connected("b"));
    a.send("b", b"two".to_vec()).unwrap();
    drop((b, at_b));
    let (_b, mut at_b) = start("b", b_addr, &b_key, vec![peer("a", a_addr, &a_key)]).await;
    assert_eq!(message(&mut at_b).await, ("a".into(), b"two".to_vec()));
    assert_eq!(event(&mut at_a).await, Inbound::Up("b".into()));
}

#[tokio::test]
async fn newer_connection_of_a_peer_ends_the_older() {
    let (a_key, b_key) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let peers = vec![peer("b", free_addr().await, &b_key)];
    let (a, mut events) = start("a", anywhere(), &a_key, peers).await;
    let mut older = raw(a.local_addr(), &b_key, &a_key).await.unwrap();
    frame::write_message(&mut older, b"older").await.unwrap();
    assert_eq!(message(&mut events).await.1, b"older");
    let mut newer = raw(a.local_addr(), &b_key, &a_key).await.unwrap();
    frame::write_message(&mut newer, b"newer").await.unwrap();
    assert_eq!(message(&mut events).await.1, b"newer");
    let mut rest = Vec::new();
    timeout(SOON, older.read_to_end(&mut rest)).await.unwrap().ok();
}

#[tokio::test]
async fn full_queue_is_busy_and_drops_nothing() {
    let (a_key, b_key) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let (a_addr, b_addr) = (free_addr().await, free_addr().await);
    let (a, _at_a) = start("a", a_addr, &a_key, vec![peer("b", b_addr, &b_key)]).await;
    let fitting = OUTGOING_BUDGET / MAX_MESSAGE;
    for number in 0..fitting {
        a.send("b", vec![u8::try_from(number).unwrap(); MAX_MESSAGE]).unwrap();
    }
    assert_eq!(a.send("b", b"one byte too many".to_vec()), Err(NotSent::Busy));
    let (_b, mut at_b) = start("b", b_addr, &b_key, vec![peer("a", a_addr, &a_key)]).await;
    for number in 0..fitting {
        assert_eq!(message(&mut at_b).await.1[0], u8::try_from(number).unwrap());
    }
    a.send("b", b"room again".to_vec()).unwrap();
    assert_eq!(message(&mut at_b).await.1, b"room again");
}

#[tokio::test]
async fn peer_that_floods_is_held_back_at_its_budget_and_others_are_served() {
    let keys: Vec<_> = (0..3).map(|_| NodeKey::generate().unwrap()).collect();
    let nowhere = free_addr().await;
    let peers = vec![peer("b", nowhere, &keys[1]), peer("c", nowhere, &keys[2])];
    let (a, mut events) = start("a", anywhere(), &keys[0], peers).await;
    let mut flood = raw(a.local_addr(), &keys[1], &keys[0]).await.unwrap();
    let messages = 2 * INCOMING_BUDGET / MAX_MESSAGE;
    let flooding = tokio::spawn(async move {
        for _ in 0..messages {
            frame::write_message(&mut flood, &vec![1; MAX_MESSAGE]).await.unwrap();
        }
        flood
    });
    sleep(Duration::from_millis(1500)).await;
    assert!(!flooding.is_finished(), "nothing held the flood back");
    let mut quiet = raw(a.local_addr(), &keys[2], &keys[0]).await.unwrap();
    frame::write_message(&mut quiet, b"me too").await.unwrap();
    let (mut from_b, mut from_c) = (0, 0);
    while from_b < messages || from_c < 1 {
        match message(&mut events).await.0.as_str() {
            "b" => from_b += 1,
            _ => from_c += 1,
        }
    }
    assert_eq!((from_b, from_c), (messages, 1));
}

#[tokio::test]
async fn strangers_who_say_nothing_lose_their_place_in_time_for_a_peer() {
    let (a_key, b_key) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let peers = vec![peer("b", free_addr().await, &b_key)];
    let (a, _events) = start("a", anywhere(), &a_key, peers).await;
    let mut silent = Vec::new();
    for _ in 0..MAX_UNAUTHENTICATED {
        silent.push(TcpStream::connect(a.local_addr()).await.unwrap());
    }
    sleep(Duration::from_millis(200)).await;
    assert!(raw(a.local_addr(), &b_key, &a_key).await.is_err(), "a place over the bound");
    let began = Instant::now();
    sleep(HANDSHAKE_TIME).await;
    assert!(!refused(raw(a.local_addr(), &b_key, &a_key).await.unwrap()).await);
    assert!(began.elapsed() < HANDSHAKE_TIME * 2);
}

#[tokio::test]
async fn silent_peer_is_dropped_after_the_idle_time_and_a_beating_one_is_kept() {
    let keys: Vec<_> = (0..3).map(|_| NodeKey::generate().unwrap()).collect();
    let nowhere = free_addr().await;
    let peers = vec![peer("b", nowhere, &keys[1]), peer("c", nowhere, &keys[2])];
    let (a, mut events) = start("a", anywhere(), &keys[0], peers).await;
    let mut silent = raw(a.local_addr(), &keys[1], &keys[0]).await.unwrap();
    let mut beating = raw(a.local_addr(), &keys[2], &keys[0]).await.unwrap();
    let silent_end = tokio::spawn(async move {
        let began = Instant::now();
        let mut beats = Vec::new();
        timeout(SOON, silent.read_to_end(&mut beats)).await.unwrap().ok();
        began.elapsed()
    });
    for _ in 0..7 {
        sleep(frame::BEAT_EVERY).await;
        frame::write_beat(&mut beating).await.unwrap();
    }
    let lasted = silent_end.await.unwrap();
    assert!(lasted >= frame::IDLE - frame::BEAT_EVERY && lasted < frame::IDLE * 2, "{lasted:?}");
    frame::write_message(&mut beating, b"still here").await.unwrap();
    assert_eq!(message(&mut events).await, ("c".into(), b"still here".to_vec()));
}

#[tokio::test]
async fn shutdown_sends_what_is_queued_first() {
    let (a_key, b_key) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let (a_addr, b_addr) = (free_addr().await, free_addr().await);
    let (a, mut at_a) = start("a", a_addr, &a_key, vec![peer("b", b_addr, &b_key)]).await;
    let (_b, mut at_b) = start("b", b_addr, &b_key, vec![peer("a", a_addr, &a_key)]).await;
    while event(&mut at_a).await != Inbound::Up("b".into()) {}
    for number in 0..100_u8 {
        a.send("b", vec![number; 10_000]).unwrap();
    }
    a.shutdown().await;
    for number in 0..100_u8 {
        assert_eq!(message(&mut at_b).await.1[0], number);
    }
    assert!(TcpStream::connect(a_addr).await.is_err(), "still listening");
}

#[tokio::test]
async fn roster_with_one_id_or_key_twice_is_refused() {
    let keys: Vec<_> = (0..3).map(|_| NodeKey::generate().unwrap()).collect();
    let at = anywhere();
    let ambiguous = [
        vec![peer("b", at, &keys[1]), peer("b", at, &keys[2])],
        vec![peer("b", at, &keys[1]), peer("c", at, &keys[1])],
        vec![peer("a", at, &keys[1])],
        vec![peer("b", at, &keys[0])],
    ];
    for peers in ambiguous {
        let config = TransportConfig {
            self_id: "a".into(),
            listen: at,
            key: again(&keys[0]),
            peers,
            record: None,
        };
        let refused = Transport::start(config).await.map(drop);
        assert!(matches!(refused, Err(TransportFault::AmbiguousRoster { .. })));
    }
    start("a", at, &keys[0], vec![peer("b", at, &keys[1]), peer("c", at, &keys[2])]).await;
}

#[test]
fn node_key_is_made_once_for_its_owner_alone_and_read_back() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.pem");
    let made = NodeKey::load_or_create(&path).unwrap().public().unwrap();
    assert_eq!(NodeKey::load_or_create(&path).unwrap().public().unwrap(), made);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&path, "not a key").unwrap();
    assert!(matches!(NodeKey::load_or_create(&path), Err(TransportFault::Key)));
}
