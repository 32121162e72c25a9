//! Peers that send more datagrams than they may, or longer ones: clients of each transport that keep
//! no pace.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use quinn::{
    ConnectionError, Endpoint, SendDatagramError, TransportConfig, crypto::rustls::QuicClientConfig,
};
use skein_net::{
    Connection,
    datagram::{DATAGRAM_BYTES_MAX, OVERHEAD_BYTES, QUEUE_DATAGRAMS_MAX, RECEIVED_BURST_BYTES},
    dial::Transports,
    listen::ListenConfig,
};
use skein_wire::close::CloseCode;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::ClientRequestBuilder, http::Uri},
};

use crate::pair::{Pair, tls_client, tls_config};

/// When a test is taken to hang.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a flood is one of empty datagrams. A machine that does not get beyond the pace with those
/// gets there with long ones.
const EMPTY_FOR: Duration = Duration::from_secs(20);
/// Empty datagrams that are no flood yet.
const BURST: u64 = RECEIVED_BURST_BYTES as u64 / OVERHEAD_BYTES as u64;

fn pair(name: &str, transports: Transports) -> Pair {
    Pair::with(name, transports, ListenConfig { datagrams: true, ..Default::default() })
}

async fn accept(pair: &Pair) -> Connection {
    let arriving = pair.listener.accept().await.expect("open");
    arriving.establish().await.expect("a handshake")
}

/// A connection of quinn alone.
async fn quinn(pair: &Pair) -> (Endpoint, quinn::Connection) {
    let tls = QuicClientConfig::try_from(tls_config(pair, &[b"skein/1"])).expect("TLS for QUIC");
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(TransportConfig::default()));
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a socket");
    let address = pair.listener.address().expect("bound");
    let connecting = endpoint.connect_with(config, address, "localhost").expect("configured");
    let connection = connecting.await.expect("a connection");
    (endpoint, connection)
}

/// A WebSocket alone.
async fn websocket(pair: &Pair) -> WebSocketStream<TlsStream<TcpStream>> {
    let address = pair.listener.address().expect("bound");
    let stream = TcpStream::connect(address).await.expect("it listens");
    let stream = tls_client(pair, &[b"http/1.1"], stream).await.expect("TLS");
    let uri: Uri = "wss://localhost/skein/1".parse().expect("a URI");
    let request = ClientRequestBuilder::new(uri).with_sub_protocol("qmux-02.skein-1");
    client_async(request, stream).await.expect("a WebSocket").0
}

fn code(error: &ConnectionError) -> Option<CloseCode> {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            CloseCode::from_number(close.error_code.into_inner())
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_flood_over_quic_is_turned_away_before_the_login_and_after() {
    let pair = pair("flood-quic", Transports::Quic);
    for logged_in in [false, true] {
        let (server, (_endpoint, client)) = tokio::join!(accept(&pair), quinn(&pair));
        if logged_in {
            server.raise_limits();
        }
        let begun = Instant::now();
        let flood = async {
            loop {
                let is_slow = begun.elapsed() > EMPTY_FOR;
                let datagram = Bytes::from(vec![0; if is_slow { DATAGRAM_BYTES_MAX } else { 0 }]);
                match client.send_datagram_wait(datagram).await {
                    Ok(()) => {}
                    Err(SendDatagramError::ConnectionLost(error)) => break error,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let flood = Box::pin(tokio::time::timeout(PATIENCE, flood));
        let ended = flood.await.expect("it is turned away");
        assert_eq!(code(&ended), Some(CloseCode::Protocol), "{ended}");
        assert!(server.closed().await.by_us);
        let (dropped, mut kept) = (server.datagrams_dropped().received, 0);
        while server.receive_datagram().await.is_ok() {
            kept += 1;
        }
        assert!(kept <= if logged_in { QUEUE_DATAGRAMS_MAX } else { 0 }, "{kept}");
        // What quinn has let go of nobody has counted.
        assert!(dropped > 0 && dropped < 100 * BURST, "{dropped}");
    }
}

#[tokio::test]
async fn a_flood_over_a_websocket_is_turned_away() {
    let pair = pair("flood-websocket", Transports::WebSocket);
    let (server, client) = tokio::join!(accept(&pair), websocket(&pair));
    server.raise_limits();
    let (mut sink, mut stream) = client.split();
    let flood = tokio::spawn(async move {
        // No parameters, then empty datagrams, a hundred in a record.
        let hello = vec![0xff, 0x51, 0x53, 0x30, 0x0d, 0x0a, 0x0d, 0x0a, 0];
        sink.send(Message::binary(hello)).await.expect("sent");
        while sink.send(Message::binary([0x31, 0].repeat(100))).await.is_ok() {}
    });
    let told = async {
        let mut told = Vec::new();
        while let Some(Ok(Message::Binary(record))) = stream.next().await {
            told.push(record);
        }
        told
    };
    let told = Box::pin(tokio::time::timeout(PATIENCE, told)).await.expect("it is turned away");
    let reason = b"these are too many datagrams";
    let farewell = [&[0x1d, CloseCode::Protocol as u8, reason.len() as u8], &reason[..]].concat();
    assert_eq!(told.last(), Some(&Bytes::from(farewell)), "as its last words");
    assert!(server.closed().await.by_us);
    assert!(server.datagrams_dropped().received > 0);
    flood.await.expect("it was cut off");
}

#[tokio::test]
async fn one_that_is_too_long_ends_the_connection() {
    let pair = pair("long-quic", Transports::Quic);
    let (server, (_endpoint, client)) = tokio::join!(accept(&pair), quinn(&pair));
    server.raise_limits();
    let long = Bytes::from(vec![0; DATAGRAM_BYTES_MAX + 1]);
    let told = async {
        // The path has to be known for wide enough; until then quinn refuses.
        loop {
            client.send_datagram(long.clone()).ok();
            if let Ok(ended) =
                tokio::time::timeout(Duration::from_millis(10), client.closed()).await
            {
                break ended;
            }
        }
    };
    let ended = Box::pin(tokio::time::timeout(PATIENCE, told)).await.expect("it is told");
    assert_eq!(code(&ended), Some(CloseCode::Protocol), "{ended}");
    assert!(server.closed().await.by_us);
}
