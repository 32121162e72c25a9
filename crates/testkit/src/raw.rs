//! The wire without a client around it: for what a well-behaved client would not do, and for
//! measuring without the client's disk.

use bytes::Bytes;
use skein_net::{
    Connection,
    connection::Closed,
    dial::{DialConfig, DialError, Dialer},
    priority::Priority,
    stream::{Receiver, Sender},
};
use skein_wire::pb::{self, open, reply, request, server_frame};

use crate::gate::Login;

/// A session that has been welcomed.
pub struct RawSession {
    /// Keeps the socket, unless that is shared.
    _dialer: Option<Dialer>,
    /// The connection.
    pub connection: Connection,
    /// The session stream, to the server.
    pub sender: Sender,
    /// The session stream, from the server.
    pub receiver: Receiver,
    /// What the server said first.
    pub welcome: pb::Welcome,
    /// Events that came while a reply was awaited.
    pub events: Vec<pb::Event>,
    next_request: u64,
}

/// Connects without saying anything.
///
/// # Errors
/// As [`Dialer::dial`].
pub async fn connect(login: &Login, config: DialConfig) -> Result<(Dialer, Connection), DialError> {
    let dialer = Dialer::new(config)?;
    let connection = dialer.dial(&login.chat).await?;
    Ok((dialer, connection))
}

impl RawSession {
    /// Connects and says hello.
    ///
    /// # Errors
    /// How the server closed the connection instead of welcoming it.
    pub async fn open(login: &Login) -> Result<Self, Closed> {
        Self::open_with(login, DialConfig::default()).await
    }

    /// Connects with these limits and says hello.
    ///
    /// # Errors
    /// How the server closed the connection instead of welcoming it.
    pub async fn open_with(login: &Login, config: DialConfig) -> Result<Self, Closed> {
        let (dialer, connection) = connect(login, config).await.expect("the chat server answers");
        Self::hello(dialer, connection, &login.token).await
    }

    /// Says hello on a connection.
    ///
    /// # Errors
    /// How the server closed the connection instead of welcoming it.
    pub async fn hello(
        dialer: Dialer,
        connection: Connection,
        token: &str,
    ) -> Result<Self, Closed> {
        let session = Self::over(connection, token).await?;
        Ok(Self { _dialer: Some(dialer), ..session })
    }

    /// Says hello on a connection whose socket is shared with others and kept by the caller.
    ///
    /// # Errors
    /// How the server closed the connection instead of welcoming it.
    pub async fn over(connection: Connection, token: &str) -> Result<Self, Closed> {
        let (mut sender, mut receiver) = connection.open(Priority::Session).await?;
        let hello =
            pb::SessionOpen { token: token.to_owned(), cursors: Vec::new(), client: "raw".into() };
        let open = pb::Open { kind: Some(open::Kind::Session(hello)) };
        if sender.frame(&open).await.is_err() {
            return Err(connection.closed().await);
        }
        match receiver.frame::<pb::Welcome>().await {
            Ok(Some(welcome)) => Ok(Self {
                _dialer: None,
                connection,
                sender,
                receiver,
                welcome,
                events: Vec::new(),
                next_request: 1,
            }),
            Ok(None) | Err(_) => Err(connection.closed().await),
        }
    }

    /// Whose session it is.
    #[must_use]
    pub const fn account(&self) -> u64 {
        self.welcome.account
    }

    /// Asks without waiting for the reply; gives the request's number.
    pub async fn ask(&mut self, kind: request::Kind) -> u64 {
        let id = self.next_request;
        self.next_request += 1;
        let request = pb::Request { id, kind: Some(kind) };
        self.sender.frame(&request).await.expect("the session goes on");
        id
    }

    /// Asks and waits for the reply. Events that come before it are kept.
    pub async fn request(&mut self, kind: request::Kind) -> reply::Kind {
        let id = self.ask(kind).await;
        loop {
            match self.next().await {
                server_frame::Kind::Reply(reply) if reply.request == id => {
                    return reply.kind.expect("a reply says something");
                }
                server_frame::Kind::Reply(reply) => panic!("a reply to {}", reply.request),
                server_frame::Kind::Event(event) => self.events.push(event),
            }
        }
    }

    /// The next frame of the server.
    pub async fn next(&mut self) -> server_frame::Kind {
        let frame = self.receiver.frame::<pb::ServerFrame>().await.expect("the session goes on");
        frame.and_then(|frame| frame.kind).expect("the session goes on")
    }

    /// Sends a text with this id.
    pub async fn send_text(&mut self, conversation: u64, id: [u8; 16], text: &str) -> reply::Kind {
        self.request(request::Kind::Append(text_draft(conversation, id, text))).await
    }

    /// Asks another account to become contacts.
    pub async fn request_contact(&mut self, account: u64) {
        let ask = pb::RequestContact { account, greeting: "hello".into(), id: random_id() };
        let reply = self.request(request::Kind::RequestContact(ask)).await;
        assert!(matches!(reply, reply::Kind::Step(_)), "{reply:?}");
    }

    /// Accepts; gives the conversation.
    pub async fn accept_contact(&mut self, account: u64) -> u64 {
        let accept = pb::AcceptContact { account, remark: String::new(), id: random_id() };
        match self.request(request::Kind::AcceptContact(accept)).await {
            reply::Kind::Step(step) => step.conversation,
            other => panic!("{other:?}"),
        }
    }

    /// Opens a stream for one piece of work.
    pub async fn work(&self, kind: open::Kind) -> (Sender, Receiver) {
        let (mut sender, receiver) =
            self.connection.open(Priority::Bulk).await.expect("the session goes on");
        sender.frame(&pb::Open { kind: Some(kind) }).await.expect("the stream goes on");
        (sender, receiver)
    }
}

/// A text to append.
#[must_use]
pub fn text_draft(conversation: u64, id: [u8; 16], text: &str) -> pb::Draft {
    pb::Draft {
        conversation,
        id: id.to_vec().into(),
        content: Some(pb::draft::Content::Text(pb::Text { text: text.to_owned() })),
    }
}

/// Sixteen random bytes.
#[must_use]
pub fn random_id() -> Bytes {
    rand::random::<[u8; 16]>().to_vec().into()
}
