//! Carries out what operators order, wherever it runs: in the server with everything embedded, in
//! `skeind admin` on the folder of a server that is stopped, and in `skeind admin` on the parts of
//! a cluster. What is not at hand in one of these forms says so.

mod order;

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use skein_bus::hint::{Delivery, EndReason, Hint, Hints, Topic};
use skein_core::{
    id::{AccountId, DeviceId},
    name::Username,
    port::{
        directory::Directory,
        verifier::{Purpose, Verifier},
    },
    refusal::{Code, Refusal},
    time::Clock,
};
use skein_store::{Store, account::AccountRecord};
use tokio::time::timeout;

pub(crate) use self::order::{
    Answer, Backup, Draining, Failure, Kicked, MISSING_LISTED_MAX, Node, Order, Reset, Session,
    Storage, USERS_MAX, Upload, User,
};
use crate::{backup, parts::Truth};

/// How long the bus may take to pass a hint back.
const ECHO_TIMEOUT: Duration = Duration::from_secs(2);
/// Deliveries that wait meanwhile.
const ECHO_CAPACITY: usize = 8;
/// Uploads in one answer at most.
const UPLOADS_MAX: usize = 500;

/// What an operator works with.
pub(crate) struct Operator {
    pub(crate) truth: Truth,
    /// Ends the sessions of those who lose their login. Not where no server can be running.
    pub(crate) hints: Option<Arc<dyn Hints>>,
    /// Knows the chat nodes.
    pub(crate) directory: Option<Arc<dyn Directory>>,
    /// Mails codes.
    pub(crate) verifier: Option<Arc<dyn Verifier>>,
    /// The folder of the blobs, if that is where they are.
    pub(crate) blobs: Option<PathBuf>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Operator {
    /// Does it.
    pub(crate) async fn perform(&self, order: Order) -> Answer {
        match self.carry_out(order).await {
            Ok(answer) => answer,
            Err(failure) => Answer::Failed(failure),
        }
    }

    async fn carry_out(&self, order: Order) -> Result<Answer, Failure> {
        match order {
            Order::Users { after, limit } => {
                let limit = limit.min(USERS_MAX);
                let found = self.store().list_accounts(after.map(AccountId), limit).await;
                let found = found.map_err(|error| error.into_refusal())?;
                Ok(Answer::Users(found.into_iter().map(User::from).collect()))
            }
            Order::User { name } => Ok(Answer::User(self.account(&name).await?.into())),
            Order::Disable { name } => self.set_disabled(&name, true).await,
            Order::Enable { name } => self.set_disabled(&name, false).await,
            Order::Reset { name } => self.reset(&name).await,
            Order::Sessions { name } => self.sessions(&name).await,
            Order::Kick { name, device } => self.kick(&name, device.as_deref()).await,
            Order::Nodes => self.nodes().await,
            Order::Drain { node, over_ms } => {
                let over = Duration::from_millis(over_ms);
                let holds = self.directory()?.drain(&node, over).await?;
                let over_ms = u64::try_from(holds.as_millis()).unwrap_or(u64::MAX);
                Ok(Answer::Draining(Draining { node, over_ms }))
            }
            Order::Uploads => self.uploads().await,
            Order::Storage => self.storage().await,
            Order::Backup { to } => {
                let store = self.truth.sqlite().ok_or_else(not_embedded)?;
                let made = backup::make(store, self.blobs.as_deref(), to, self.clock.now());
                Ok(Answer::Backup(made.await?))
            }
        }
    }

    async fn set_disabled(&self, name: &str, disable: bool) -> Result<Answer, Failure> {
        let id = self.account(name).await?.profile.id;
        let since = disable.then(|| self.clock.now());
        self.store().set_disabled(id, since).await.map_err(|error| error.into_refusal())?;
        if disable {
            self.end_sessions(id).await;
        }
        tracing::info!(account.id = id.0, disabled = disable, "an operator changed an account");
        Ok(Answer::User(self.account(name).await?.into()))
    }

    async fn reset(&self, name: &str) -> Result<Answer, Failure> {
        let Some(verifier) = &self.verifier else {
            return Err(Failure::new(
                "no_server",
                "codes are mailed by a running server: start it, or configure `[rpc] verify`",
            ));
        };
        let account = self.account(name).await?;
        let from = Ipv4Addr::LOCALHOST.into();
        let sent = verifier.request(Purpose::ResetPassword, &account.email, from, true).await?;
        let name = account.profile.name.to_string();
        Ok(Answer::Reset(Reset { name, expires_in_seconds: sent.expires_in.as_secs() }))
    }

    async fn sessions(&self, name: &str) -> Result<Answer, Failure> {
        let id = self.account(name).await?.profile.id;
        let logins = self.store().logins(id).await.map_err(|error| error.into_refusal())?;
        let sessions = logins.into_iter().map(|login| Session {
            device: login.device.to_string(),
            device_name: login.device_name.to_string(),
            issued_ms: login.issued.0,
            expires_ms: login.expires.0,
        });
        Ok(Answer::Sessions(sessions.collect()))
    }

    async fn kick(&self, name: &str, device: Option<&str>) -> Result<Answer, Failure> {
        let account = self.account(name).await?.profile;
        let device: Option<DeviceId> = device
            .map(str::parse)
            .transpose()
            .map_err(|bad| Failure::new("invalid", format!("the device: {bad}")))?;
        let ended = self.store().revoke_logins(account.id, device).await;
        let logins = ended.map_err(|error| error.into_refusal())?;
        if device.is_some() && logins == 0 {
            return Err(Failure::new("not_found", "that device has no login"));
        }
        self.end_sessions(account.id).await;
        tracing::info!(account.id = account.id.0, logins, "an operator ended logins");
        Ok(Answer::Kicked(Kicked { name: account.name.to_string(), logins }))
    }

    async fn nodes(&self) -> Result<Answer, Failure> {
        let nodes = self.directory()?.nodes().await?;
        let nodes = nodes.into_iter().map(|report| Node {
            node: report.node.name,
            address: report.node.address,
            sessions: report.sessions,
            sessions_max: report.sessions_max,
            draining: report.draining,
            memory_bytes: report.memory_bytes,
            cpu_permille: report.cpu_permille,
        });
        Ok(Answer::Nodes(nodes.collect()))
    }

    async fn uploads(&self) -> Result<Answer, Failure> {
        let uploads = self.store().open_uploads(UPLOADS_MAX).await;
        let uploads = uploads.map_err(|error| error.into_refusal())?;
        let uploads = uploads.into_iter().map(|upload| Upload {
            account: upload.account.0,
            upload: upload.id.to_string(),
            blob: upload.blob.to_string(),
            size: upload.size,
            durable: upload.durable,
            completing: upload.completing,
            touched_ms: upload.touched.0,
        });
        Ok(Answer::Uploads(uploads.collect()))
    }

    async fn storage(&self) -> Result<Answer, Failure> {
        let used = self.store().storage_use().await.map_err(|error| error.into_refusal())?;
        Ok(Answer::Storage(Storage {
            blobs: used.blobs,
            blob_bytes: used.blob_bytes,
            open_uploads: used.open_uploads,
            open_bytes: used.open_bytes,
        }))
    }

    /// The account of this name.
    async fn account(&self, name: &str) -> Result<AccountRecord, Failure> {
        let name = Username::parse(name).map_err(Refusal::from)?;
        let missing = || Failure::from(Refusal::not_found("account"));
        let known = self.store().credentials(&name).await.map_err(|error| error.into_refusal())?;
        let id = known.ok_or_else(missing)?.profile.id;
        // The list begins after an account, and numbers begin at one.
        let before = AccountId(id.0.saturating_sub(1));
        let found = self.store().list_accounts(Some(before), 1).await;
        let found = found.map_err(|error| error.into_refusal())?;
        found.into_iter().find(|record| record.profile.id == id).ok_or_else(missing)
    }

    /// Tells the chat nodes that sessions have lost their login, and waits until the bus has it:
    /// this process may be about to end.
    async fn end_sessions(&self, account: AccountId) {
        let Some(hints) = &self.hints else { return };
        let topic = Topic::Account(account);
        let mut echo = hints.subscribe(ECHO_CAPACITY);
        echo.topics.watch(&[topic]).await;
        hints.publish(topic, Hint::SessionsEnded { account, reason: EndReason::Revoked }).await;
        let heard = async {
            while let Some(delivery) = echo.deliveries.recv().await {
                if matches!(delivery, Delivery::Hint(_, Hint::SessionsEnded { .. })) {
                    return true;
                }
            }
            false
        };
        if !timeout(ECHO_TIMEOUT, heard).await.unwrap_or(false) {
            tracing::warn!("the bus is away: sessions that are live end once it is back");
        }
    }

    fn store(&self) -> &dyn Store {
        &*self.truth.store
    }

    fn directory(&self) -> Result<&dyn Directory, Failure> {
        self.directory.as_deref().ok_or_else(|| {
            Failure::new(
                "no_server",
                "no server is running on this data folder: there are no nodes",
            )
        })
    }
}

impl From<AccountRecord> for User {
    fn from(record: AccountRecord) -> Self {
        Self {
            account: record.profile.id.0,
            name: record.profile.name.to_string(),
            email: record.email.to_string(),
            created_ms: record.created.0,
            disabled_ms: record.disabled.map(|since| since.0),
            storage_bytes: record.storage_bytes,
            logins: record.logins,
        }
    }
}

fn not_embedded() -> Failure {
    Failure::new(
        Code::Invalid.name(),
        "this is for the embedded store; PostgreSQL is backed up with its own tools (see \
         docs/operations.md)",
    )
}
