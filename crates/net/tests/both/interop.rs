//! Another implementation of QMux, as client: what it means by the draft is what this one does.

use std::sync::Arc;

use bytes::Bytes;
use qmux::ws::tokio_tungstenite::{
    client_async,
    tungstenite::{client::ClientRequestBuilder, http::Uri},
};
use skein_core::refusal::Code;
use skein_net::{
    datagram::DATAGRAM_BYTES_MAX, dial::Transports, listen::ListenConfig, priority::Priority,
    stream::StreamError,
};
use skein_wire::close::CloseCode;
use tokio::net::TcpStream;
use web_transport_trait::{RecvStream as _, SendStream as _, Session as _};

use crate::pair::{Pair, tls_client};

/// A session of the other implementation.
async fn session(pair: &Pair) -> qmux::Session {
    let address = pair.listener.address().expect("bound");
    let stream = TcpStream::connect(address).await.expect("it listens");
    let stream = tls_client(pair, &[b"http/1.1"], stream).await.expect("TLS");
    let uri: Uri = format!("wss://{address}/skein/1").parse().expect("a URI");
    let request = ClientRequestBuilder::new(uri).with_sub_protocol("qmux-02.skein-1");
    let (websocket, _) = client_async(request, stream).await.expect("a WebSocket");
    qmux::ws::Upgraded::new(websocket).with_alpn("qmux-02.skein-1").connect()
}

#[tokio::test]
async fn datagrams_go_to_and_from_another_implementation() {
    let config = ListenConfig { datagrams: true, ..Default::default() };
    let pair = Pair::with("interop-datagrams", Transports::WebSocket, config);
    let server = async {
        let arriving = pair.listener.accept().await.expect("open");
        arriving.establish().await.expect("a handshake")
    };
    let (server, client) = tokio::join!(server, session(&pair));
    server.raise_limits();
    // So that each has heard of the other.
    let (mut send, mut receive) = client.open_bi().await.expect("a stream");
    send.write(&[1]).await.expect("sent");
    let (mut sender, _receiver) = server.accept().await.expect("a stream");
    sender.bytes(Bytes::from_static(&[2])).await.expect("sent");
    receive.read_chunk(1).await.expect("a byte");

    assert_eq!(client.max_datagram_size(), DATAGRAM_BYTES_MAX);
    assert_eq!(server.max_datagram_bytes(), Some(DATAGRAM_BYTES_MAX));
    for length in [0, 1, 100, DATAGRAM_BYTES_MAX] {
        let datagram = Bytes::from(vec![7; length]);
        client.send_datagram(datagram.clone()).expect("open");
        assert_eq!(server.receive_datagram().await, Ok(datagram.clone()));
        server.send_datagram(datagram.clone()).expect("open");
        assert_eq!(client.recv_datagram().await.expect("open"), datagram);
    }
}

#[tokio::test]
async fn it_speaks_with_another_implementation() {
    let pair = Arc::new(Pair::new("interop", Transports::WebSocket));
    let accepting = Arc::clone(&pair);
    let server = tokio::spawn(async move {
        let arriving = accepting.listener.accept().await.expect("open");
        arriving.establish().await.expect("a handshake")
    });
    let client = session(&pair).await;
    let server = server.await.expect("it went well");

    // More than any window, there and back.
    let sent: Bytes = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
    let echo = {
        let server = server.clone();
        tokio::spawn(async move {
            let (mut sender, mut receiver) = server.accept().await.expect("a stream");
            sender.prioritise(Priority::Session);
            while let Some(bytes) = receiver.bytes(100_000).await.expect("bytes") {
                sender.bytes(bytes).await.expect("sent");
            }
            sender.finish();
            sender.delivered().await;
        })
    };
    let (mut send, mut receive) = client.open_bi().await.expect("a stream");
    let sending = async {
        let mut rest = sent.clone();
        while !rest.is_empty() {
            send.write_buf(&mut rest).await.expect("sent");
        }
        send.finish().expect("open");
    };
    let receiving = async {
        let mut got = Vec::new();
        while let Some(bytes) = receive.read_chunk(100_000).await.expect("bytes") {
            got.extend_from_slice(&bytes);
        }
        got
    };
    let ((), got) = tokio::join!(sending, receiving);
    assert!(got == sent, "{} bytes came back", got.len());
    echo.await.expect("the end arrived");

    // Codes of both halves, in both directions; and more streams than it may have open at once.
    for number in 0..20 {
        let (mut send, mut receive) = client.open_bi().await.expect("a stream");
        send.write(&[1, 2, 3]).await.expect("sent");
        let (mut sender, mut receiver) = server.accept().await.expect("a stream");
        assert_eq!(receiver.bytes(10).await, Ok(Some(Bytes::from_static(&[1, 2, 3]))), "{number}");
        send.reset(Code::Quota as u32);
        let given_up = receiver.bytes(10).await;
        assert_eq!(given_up, Err(StreamError::Abandoned(Some(Code::Quota))));
        sender.reset(Code::TimedOut);
        let error = receive.read_chunk(10).await.expect_err("given up");
        let code = web_transport_trait::Error::stream_error(&error);
        assert_eq!(code, Some(Code::TimedOut as u32));
    }

    server.close(CloseCode::Draining, "going away");
    let closed = web_transport_trait::Error::session_error(&client.closed().await);
    assert_eq!(closed, Some((CloseCode::Draining as u32, "going away".to_owned())));

    let accepting = Arc::clone(&pair);
    let server = tokio::spawn(async move {
        let arriving = accepting.listener.accept().await.expect("open");
        arriving.establish().await.expect("a handshake").closed().await
    });
    session(&pair).await.close(CloseCode::Overloaded as u32, "enough");
    let closed = server.await.expect("it went well");
    assert_eq!((closed.code, closed.message.as_str()), (Some(CloseCode::Overloaded), "enough"));
}
