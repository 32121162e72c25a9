//! Carries out what operators order, wherever it runs: in the server with everything embedded, in
//! `skeind admin` on the folder of a server that is stopped, and in `skeind admin` on the parts of
//! a cluster. What is not at hand in one of these forms says so.

mod order;

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use skein_bus::hint::{Delivery, EndReason, Hint, Hints, Topic};
use skein_core::{
    id::{AccountId, DeviceId, UploadId},
    name::Username,
    port::{
        directory::{Directory, NodeReport},
        verifier::{Purpose, Verifier},
    },
    refusal::{Code, Refusal},
    time::{Clock, Timestamp},
};
use skein_store::{Store, account::AccountRecord, upload::UploadPlace};
use tokio::time::timeout;

pub(crate) use self::order::{
    Answer, Backup, Draining, Failure, Kicked, MISSING_LISTED_MAX, Node, Order, Place, Reset,
    Session, Storage, UPLOADS_MAX, USERS_MAX, Upload, User,
};
use crate::{backup, parts::Truth};

/// How long the bus may take to pass a hint back.
const ECHO_TIMEOUT: Duration = Duration::from_secs(2);
/// Deliveries that wait meanwhile.
const ECHO_CAPACITY: usize = 8;

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
            Order::Drain { node, over_ms, force } => self.drain(node, over_ms, force).await,
            Order::Uploads { after, limit } => self.uploads(after, limit).await,
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
        tracing::info!(account.id = id.0, disabled = disable, "an operator changed an account");
        let told = !disable || self.end_sessions(id).await;
        Ok(in_time(told, Answer::User(self.account(name).await?.into())))
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
        tracing::info!(account.id = account.id.0, logins, "an operator ended logins");
        let told = self.end_sessions(account.id).await;
        Ok(in_time(told, Answer::Kicked(Kicked { name: account.name.to_string(), logins })))
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

    /// Orders a node to drain. Not one that is the last, unless `force`: its sessions would end, and
    /// a drain that has begun is not taken back. Two operators who drain the last two at the same
    /// moment are not kept from it.
    async fn drain(&self, node: String, over_ms: u64, force: bool) -> Result<Answer, Failure> {
        let directory = self.directory()?;
        if !force && is_last(&node, &directory.nodes().await?) {
            return Err(Failure::new(
                "last_node",
                format!(
                    "no other chat node takes sessions: all of {node} would end, and nobody could \
                     connect until it is started again. Start another first, or say --force"
                ),
            ));
        }
        let holds = directory.drain(&node, Duration::from_millis(over_ms)).await?;
        let over_ms = u64::try_from(holds.as_millis()).unwrap_or(u64::MAX);
        Ok(Answer::Draining(Draining { node, over_ms }))
    }

    async fn uploads(&self, after: Option<Place>, limit: usize) -> Result<Answer, Failure> {
        let after = after.map(|place| {
            let id: UploadId = place.upload.parse().map_err(|bad| {
                Failure::new(Code::Invalid.name(), format!("the upload to go on from: {bad}"))
            })?;
            let (touched, account) = (Timestamp(place.touched_ms), AccountId(place.account));
            Ok::<_, Failure>(UploadPlace { touched, account, id })
        });
        let limit = limit.min(UPLOADS_MAX);
        let uploads = self.store().open_uploads(after.transpose()?, limit).await;
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
    /// this process may be about to end. Whether it has, or nobody need be told.
    async fn end_sessions(&self, account: AccountId) -> bool {
        let Some(hints) = &self.hints else { return true };
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
        timeout(ECHO_TIMEOUT, heard).await.unwrap_or(false)
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

/// What is answered where the chat nodes were told, and where not.
fn in_time(told: bool, answer: Answer) -> Answer {
    if told { answer } else { Answer::Late(Box::new(answer)) }
}

/// Whether sessions have nowhere to go from this node, which takes some itself.
fn is_last(node: &str, nodes: &[NodeReport]) -> bool {
    let open = |report: &NodeReport| !report.draining && report.node.name == node;
    let takes = |report: &NodeReport| {
        report.node.name != node && !report.draining && report.sessions < report.sessions_max
    };
    nodes.iter().any(open) && !nodes.iter().any(takes)
}

fn not_embedded() -> Failure {
    Failure::new(
        Code::Invalid.name(),
        "this is for the embedded store; PostgreSQL is backed up with its own tools (see \
         docs/operations.md)",
    )
}

#[cfg(test)]
mod tests {
    use skein_core::port::directory::{ChatNode, Trust};

    use super::*;

    #[test]
    fn a_node_is_the_last_when_no_other_takes_its_sessions() {
        let node = |name: &str, sessions, draining| {
            let trust = Trust::Fingerprints(Vec::new());
            let node = ChatNode { name: name.to_owned(), address: String::new(), trust };
            let (memory_bytes, cpu_permille, sessions_max) = (0, 0, 10);
            NodeReport { node, sessions, sessions_max, draining, memory_bytes, cpu_permille }
        };
        let a = node("a", 3, false);
        for (others, last) in [
            (vec![], true),
            (vec![node("b", 3, true)], true),
            (vec![node("b", 10, false)], true),
            (vec![node("b", 3, true), node("c", 9, false)], false),
        ] {
            let all = [vec![a.clone()], others].concat();
            assert_eq!(is_last("a", &all), last, "{all:?}");
        }
        // Who is not there is not found, and who drains already is told so.
        assert!(!is_last("z", &[a]));
        assert!(!is_last("a", &[node("a", 3, true)]));
    }
}
