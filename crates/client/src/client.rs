//! The client itself: who it is, and its connection.

mod messages;
mod people;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use skein_core::{
    account::Profile,
    name::{DeviceName, Email, Password, Username},
    port::verifier::Purpose,
    refusal::{Code, Refusal},
    sync::{INITIAL_HISTORY_ENTRIES, KEEP_ALIVE, Session, Start},
};
use skein_net::{
    dial::{DialConfig, Dialer},
    transport::UNREAD_BYTES_DOWN,
};
use skein_wire::pb;
use tokio::sync::{Notify, Semaphore, broadcast, oneshot};

pub use self::{messages::Delivery, people::Peer};
use crate::{
    Error, Event, Events, Status,
    driver::{self, Command, Handle},
    event::EVENTS_WAITING_MAX,
    gate::Gate,
    home::{Home, Login},
};

/// How long a request waits for a connection and its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How soon a request that was not taken is tried again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long a handshake with one address may take. Short, because a node that moved is found by
/// asking again.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long [`Client::close`] waits for messages that are still being sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// A client in its home. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) home: Home,
    pub(crate) events: broadcast::Sender<Event>,
    /// Told when this process has changed the queue of transfers.
    pub(crate) queue_changed: Arc<Notify>,
    /// Bytes that the ranges of files which are asked for may come to unread, all together.
    pub(crate) unread: Arc<Semaphore>,
    handle: Arc<Mutex<Option<Handle>>>,
    /// What connects, once something has connected. It outlives its connections, because nodes have
    /// given it tickets, and networks have shown whether they let QUIC through.
    dialer: Arc<Mutex<Option<Arc<Dialer>>>>,
}

impl Client {
    /// Opens the home in `folder`; makes one if there is none. Connects to nothing yet.
    ///
    /// # Errors
    /// If the folder or what is in it cannot be used.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let (events, _) = broadcast::channel(EVENTS_WAITING_MAX);
        let home = Home::open(folder)?;
        let (queue_changed, handle, dialer) = (Arc::default(), Arc::default(), Arc::default());
        let unread = Arc::new(Semaphore::new(UNREAD_BYTES_DOWN as usize));
        Ok(Self { home, events, queue_changed, unread, handle, dialer })
    }

    /// The server that was used last from this home.
    ///
    /// # Errors
    /// If the home cannot be read.
    pub async fn server(&self) -> Result<Option<String>, Error> {
        self.home.server().await
    }

    /// Who is logged in here, without asking the server.
    ///
    /// # Errors
    /// If the home cannot be read.
    pub async fn account(&self) -> Result<Option<Profile>, Error> {
        Ok(self.home.login().await?.map(|login| login.account))
    }

    /// Asks the server to mail a code. Answers how long it will be good.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub async fn request_code(
        &self,
        server: &str,
        purpose: Purpose,
        email: &Email,
    ) -> Result<Duration, Error> {
        Gate::new(server)?.request_code(purpose, email).await
    }

    /// Makes an account. Log in next.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses: `code_required` where it wants a mailed code,
    /// `name_taken`, `email_taken`, `wrong_code` and others.
    pub async fn register(
        &self,
        server: &str,
        name: &Username,
        email: &Email,
        password: &Password,
        code: Option<&str>,
    ) -> Result<(), Error> {
        Gate::new(server)?.register(name, email, password, code).await
    }

    /// Sets a new password with a mailed code. All logins of the account end.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub async fn reset_password(
        &self,
        server: &str,
        email: &Email,
        code: &str,
        password: &Password,
    ) -> Result<(), Error> {
        Gate::new(server)?.reset_password(email, code, password).await
    }

    /// Logs in on this home, which becomes a device of the account, called `device_name`.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses; [`Error::HomeTaken`] if the home holds unsent
    /// messages of another account, or for a server that was at this URL before.
    pub async fn log_in(
        &self,
        server: &str,
        name: &Username,
        password: &str,
        device_name: &DeviceName,
    ) -> Result<Profile, Error> {
        let gate = Gate::new(server)?;
        let device = self.home.device().await?;
        let (login, server_id) = gate.log_in(name, password, device, device_name).await?;
        let account = login.account.clone();
        self.home.log_in(login, server_id).await?;
        Ok(account)
    }

    /// Ends the login. What is in the home stays there for the next one.
    ///
    /// # Errors
    /// If the server cannot be reached. A login that it did not know any more counts as ended.
    pub async fn log_out(&self) -> Result<(), Error> {
        let login = self.login().await?;
        match Gate::new(&login.server)?.log_out(&login.token).await {
            Err(Error::Refused(Refusal { code: Code::Unauthorised, .. })) | Ok(()) => {}
            Err(error) => return Err(error),
        }
        self.home.log_out().await
    }

    /// Asks the server whom the login speaks for, and on which device.
    ///
    /// # Errors
    /// If the server cannot be reached or does not know the login any more.
    pub async fn who_am_i(&self) -> Result<(Profile, DeviceName), Error> {
        let login = self.login().await?;
        Gate::new(&login.server)?.who_am_i(&login.token).await
    }

    /// Connects, and stays connected until [`close`](Self::close): reconnects, sends what waits and
    /// reads what is missing. Returns at once; [`live`](Self::live) waits for the connection.
    ///
    /// # Errors
    /// If nobody is logged in, or the home or a socket cannot be used.
    pub async fn connect(&self) -> Result<(), Error> {
        let login = self.login().await?;
        let start = Start {
            account: login.account.id,
            cursors: self.home.cursors(login.account.id).await?,
            // The driver reads them, when whatever is written from then on is handed to it as well.
            drafts: Vec::new(),
            history_entries: INITIAL_HISTORY_ENTRIES,
            seed: rand::random(),
        };
        let parts = driver::Parts {
            session: Session::new(start)?,
            home: self.home.clone(),
            gate: Gate::new(&login.server)?,
            dialer: self.dialer()?,
            login,
            events: self.events.clone(),
        };
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if handle.as_ref().is_none_or(|handle| handle.commands.is_closed()) {
            *handle = Some(driver::start(parts));
        }
        Ok(())
    }

    fn dialer(&self) -> Result<Arc<Dialer>, Error> {
        let mut dialer = self.dialer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dialer) = dialer.as_ref().filter(|dialer| !dialer.is_over()) {
            return Ok(Arc::clone(dialer));
        }
        let config = DialConfig {
            handshake_timeout: HANDSHAKE_TIMEOUT,
            keep_alive: KEEP_ALIVE,
            ..DialConfig::default()
        };
        let made = Dialer::new(config).map_err(|error| Error::Unreachable(error.to_string()))?;
        Ok(Arc::clone(dialer.insert(Arc::new(made))))
    }

    /// The state of the connection.
    #[must_use]
    pub fn status(&self) -> Status {
        self.handle().map_or_else(|_| Status::not_asked(), |handle| handle.status.borrow().clone())
    }

    /// Listens to what happens from now on. Begin before [`connect`](Self::connect) to hear of all
    /// that was written since this home was connected last.
    ///
    /// # Errors
    /// If the home cannot be read.
    pub async fn events(&self) -> Result<Events, Error> {
        let account = self.account().await?.map(|account| account.id);
        let cursors = match account {
            Some(account) => self.home.cursors(account).await?,
            None => Vec::new(),
        };
        // In this order: an entry that comes in between shows as a gap, and is read from the home.
        Ok(Events::new(self.events.subscribe(), self.home.clone(), account, cursors))
    }

    /// Waits until the session is live.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it ended for good, [`Error::Unreachable`] after `patience`.
    pub async fn live(&self, patience: Duration) -> Result<(), Error> {
        self.wait_for(patience, Status::has_session).await
    }

    /// Waits until the session is live and everything that is known to exist is here.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it ended for good, [`Error::Unreachable`] after `patience`.
    pub async fn caught_up(&self, patience: Duration) -> Result<(), Error> {
        self.wait_for(patience, Status::is_caught_up).await
    }

    /// Tries to connect now, if it was waiting to. Call it when a person looks.
    pub async fn nudge(&self) {
        self.tell(Command::Nudge).await;
    }

    /// The device has another network: moves the connection there at once. Programs on Linux, macOS
    /// and Windows need not call it, because the client notices by itself; on phones the system
    /// tells the program, and this is how to pass it on. Calling it too often does no harm.
    pub async fn network_changed(&self) {
        self.tell(Command::NetworkChanged).await;
    }

    /// Disconnects, after giving what is being sent a moment to arrive. What does not is kept.
    pub async fn close(&self) {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(handle) = handle else { return };
        if handle.status.borrow().has_session() {
            let flushed = async {
                let mut events = self.events.subscribe();
                while self.home.drafts().await.is_ok_and(|drafts| !drafts.is_empty()) {
                    if matches!(events.recv().await, Ok(Event::Status(_)) | Err(_)) {
                        break;
                    }
                }
            };
            if tokio::time::timeout(FLUSH_TIMEOUT, flushed).await.is_err() {
                tracing::debug!("messages are still waiting to be sent");
            }
        }
        handle.commands.send(Command::Close).await.ok();
        handle.commands.closed().await;
    }

    async fn tell(&self, command: Command) {
        if let Ok(handle) = self.handle() {
            // A driver that has ended needs to know nothing.
            handle.commands.send(command).await.ok();
        }
    }

    pub(crate) async fn login(&self) -> Result<Login, Error> {
        self.home.login().await?.ok_or(Error::NotLoggedIn)
    }

    pub(crate) fn handle(&self) -> Result<Handle, Error> {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        handle.clone().ok_or(Error::NotConnected)
    }

    pub(crate) async fn wait_for(
        &self,
        patience: Duration,
        reached: impl Fn(&Status) -> bool,
    ) -> Result<(), Error> {
        let mut status = self.handle()?.status;
        let mut reason = "there is no connection".to_owned();
        let waited = tokio::time::timeout(patience, async {
            loop {
                match &*status.borrow_and_update() {
                    reached_now if reached(reached_now) => return Ok(()),
                    Status::Stopped(reason) => return Err(Error::Stopped(reason.clone())),
                    Status::Broken { reason } => return Err(Error::home(reason.clone())),
                    Status::Offline { reason: why } => reason.clone_from(why),
                    Status::Online { .. } | Status::Slow { .. } | Status::Reconnecting { .. } => {}
                }
                if status.changed().await.is_err() {
                    return Err(Error::NotConnected);
                }
            }
        });
        waited.await.unwrap_or_else(|_| Err(Error::Unreachable(reason)))
    }

    /// Asks the server, over as many connections as it takes. Each request is one that may be
    /// repeated: it only reads, or carries an id.
    pub(crate) async fn ask(&self, kind: pb::request::Kind) -> Result<pb::reply::Kind, Error> {
        let deadline = tokio::time::Instant::now() + REQUEST_TIMEOUT;
        loop {
            self.live(deadline.saturating_duration_since(tokio::time::Instant::now())).await?;
            let (answer_in, answer) = oneshot::channel();
            let command = Command::Ask(kind.clone(), answer_in);
            let handle = self.handle()?;
            handle.commands.send(command).await.map_err(|_| Error::NotConnected)?;
            match tokio::time::timeout_at(deadline, answer).await {
                Ok(Ok(Ok(pb::reply::Kind::Error(error)))) => {
                    return Err(Error::Refused(error.into()));
                }
                Ok(Ok(Ok(reply))) => return Ok(reply),
                // The connection was lost: wait for the next.
                Ok(Ok(Err(driver::NotAsked))) => tokio::time::sleep(ASK_AGAIN_AFTER).await,
                Ok(Err(_)) => return Err(Error::NotConnected),
                Err(_) => return Err(Error::TimedOut("the server's answer")),
            }
        }
    }
}

/// The server answered something else than was asked.
pub(crate) fn bad_answer(expected: &str) -> Error {
    Error::BadAnswer(format!("expected {expected}"))
}
