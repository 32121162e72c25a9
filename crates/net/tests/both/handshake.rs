//! What the TCP port must withstand before there is a connection, and right after.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use skein_net::{
    admission::AdmissionLimits,
    connection::Closed,
    dial::Transports,
    listen::{Arriving, ListenConfig},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::ClientRequestBuilder, http::Uri},
};

use crate::pair::{Pair, tls_client};

/// When a test is taken to hang.
const PATIENCE: Duration = Duration::from_secs(60);

async fn arriving(pair: &Pair) -> Arriving {
    pair.listener.accept().await.expect("open")
}

async fn tcp(pair: &Pair) -> TcpStream {
    TcpStream::connect(pair.listener.address().expect("bound")).await.expect("it listens")
}

/// Speaks these bytes over TLS, and answers what comes back.
async fn ask(pair: &Pair, request: &str) -> (String, Closed) {
    let client = async {
        let stream = tcp(pair).await;
        let mut stream = tls_client(pair, &[b"http/1.1"], stream).await.expect("TLS");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        // It may be cut.
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let server = async { arriving(pair).await.establish().await.expect_err("no WebSocket") };
    let both = async { tokio::join!(client, server) };
    Box::pin(tokio::time::timeout(PATIENCE, both)).await.expect("in time")
}

#[tokio::test]
async fn what_asks_for_something_else_is_told_so() {
    let pair = Pair::new("asks", Transports::WebSocket);
    let upgrade = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        .replace("\\r\\n", "\r\n");
    let ours = "Sec-WebSocket-Protocol: chat, qmux-02.skein-1\r\n";
    let other = "Sec-WebSocket-Protocol: qmux-02.skein-9\r\n";
    for (request, wanted) in [
        (format!("GET /skein/1 HTTP/1.1\r\n{upgrade}\r\n"), "HTTP/1.1 400"),
        (format!("GET /skein/1 HTTP/1.1\r\n{upgrade}{other}\r\n"), "HTTP/1.1 400"),
        (format!("GET /skein/2 HTTP/1.1\r\n{upgrade}{ours}\r\n"), "HTTP/1.1 404"),
        (format!("GET /skein/1 HTTP/1.1\r\nHost: a\r\n{ours}\r\n"), ""),
        ("\0\u{1}nonsense\r\n\r\n".to_owned(), ""),
        // Headers without an end.
        (format!("GET /skein/1 HTTP/1.1\r\nX: {}", "y".repeat(70_000)), ""),
    ] {
        let (answer, closed) = ask(&pair, &request).await;
        assert!(answer.starts_with(wanted), "{answer}");
        assert!(!answer.contains("101"), "{answer}");
        assert_eq!((closed.code, closed.by_us), (None, false));
    }
}

#[tokio::test]
async fn what_is_no_tls_or_no_http_is_refused() {
    let pair = Pair::new("no-tls", Transports::WebSocket);
    let mut stream = tcp(&pair).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    let closed = arriving(&pair).await.establish().await.expect_err("no TLS");
    assert!(closed.message.contains("TLS"), "{closed}");

    let stream = tcp(&pair).await;
    let client = tls_client(&pair, &[b"h2", b"skein/1"], stream);
    let server = async { arriving(&pair).await.establish().await };
    let (client, server) = tokio::join!(client, server);
    assert!(client.is_err() && server.is_err(), "no common ALPN");
}

#[tokio::test]
async fn silent_clients_take_bounded_places_and_hinder_nobody_else() {
    let admission = AdmissionLimits { network_unproven_max: 2, ..Default::default() };
    let config = ListenConfig { admission, ..Default::default() };
    let pair = Pair::with("silent", Transports::WebSocket, config);
    let (_one, first) = (tcp(&pair).await, arriving(&pair).await);
    let (_two, second) = (tcp(&pair).await, arriving(&pair).await);
    let mut third = tcp(&pair).await;
    let (read, listening) =
        (async { third.read(&mut [0; 1]).await }, async { arriving(&pair).await });
    tokio::select! {
        read = read => assert!(matches!(read, Ok(0) | Err(_)), "{read:?}"),
        _ = listening => panic!("a third place"),
    }
    drop(first);
    pair.connect().await;
    drop(second);
}

#[tokio::test]
async fn messages_that_are_no_records_end_the_connection() {
    let pair = Pair::new("records", Transports::WebSocket);
    for (message, told) in [
        (Message::text("hello"), "out of turn"),
        (Message::binary(vec![0x0e, 0, 0, 1, 7]), "out of turn"),
        (Message::binary(vec![0x3f; 9]), "no frame"),
        (Message::binary(vec![0; 20_000]), "failed"),
    ] {
        let client = async {
            let stream = tls_client(&pair, &[b"http/1.1"], tcp(&pair).await).await.expect("TLS");
            let uri: Uri = "wss://localhost/skein/1".parse().expect("a URI");
            let request = ClientRequestBuilder::new(uri).with_sub_protocol("qmux-02.skein-1");
            let (mut websocket, _) = client_async(request, stream).await.expect("a WebSocket");
            websocket.send(message).await.expect("sent");
            // Whatever it says, it hangs up.
            while let Some(Ok(_)) = websocket.next().await {}
        };
        let server = async {
            let connection = arriving(&pair).await.establish().await.expect("a handshake");
            connection.closed().await
        };
        let both = async { tokio::join!(client, server) };
        let ((), closed) = Box::pin(tokio::time::timeout(PATIENCE, both)).await.expect("in time");
        assert!(closed.message.contains(told), "{closed}");
    }
}
