//! Starts the roles of a process, each on its parts: the only place that decides whether a call
//! between roles stays in the process or goes over gRPC.

use std::{net::SocketAddr, sync::Arc};

use futures::{
    FutureExt,
    future::{ready, select_ok},
};
use skein_bus::{Bus, hint::Hints};
use skein_chat::hub::Hub;
use skein_core::{
    port::{directory::Directory, resource::Resource, verifier::Verifier},
    refusal::Refusal,
    time::Clock,
};
use skein_ops::{disk, health::Health, lifecycle::Shutdown};
use skein_resource::ResourceRole;
use skein_rpc::{access, credentials::Credentials, health::Probe, server::Ports};
use skein_status::Status;
use skein_verify::Verify;

use crate::{
    Config, Role, certificate::certificate, folder::DataFolder, operator::Operator, parts::Truth,
    routing::secret, sentence, server::StartError,
};

/// What roles are started with. A part is there if the role needs it.
pub(crate) struct Start<'a> {
    pub(crate) role: Role,
    pub(crate) config: Config,
    pub(crate) folder: Option<&'a DataFolder>,
    pub(crate) truth: Option<&'a Truth>,
    pub(crate) bus: Option<Arc<dyn Bus>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) health: &'a Health,
    pub(crate) shutdown: &'a Shutdown,
}

/// What was started, and where it listens.
#[derive(Default)]
pub(crate) struct Started {
    /// The gate's URL.
    pub(crate) http: Option<String>,
    /// Where the chat role listens.
    pub(crate) quic: Option<SocketAddr>,
    /// Where other roles call.
    pub(crate) rpc: Option<SocketAddr>,
    /// The chat role's sessions.
    pub(crate) hub: Option<Arc<Hub>>,
    /// In a process that has all roles, whoever carries out what operators want.
    pub(crate) operator: Option<Arc<Operator>>,
}

impl Start<'_> {
    /// Starts what the role says. When it returns, everything accepts.
    pub(crate) async fn run(self) -> Result<Started, StartError> {
        let credentials = match &self.config.rpc {
            Some(rpc) if self.role != Role::All => {
                Some(Credentials::load(rpc, Arc::clone(&self.clock))?)
            }
            _ => None,
        };
        let credentials = credentials.as_ref();
        let verifier = self.verifier(credentials)?;
        let directory = self.directory(credentials)?;
        let resource = self.resource(credentials)?;
        let mut started = Started::default();
        if self.role.is_called()
            && let (Some(rpc), Some(credentials)) = (&self.config.rpc, credentials)
            && let Some(listen) = rpc.listen
        {
            let ports = Ports {
                verifier: verifier.clone(),
                directory: directory.clone(),
                resource: resource.clone(),
            };
            let credentials = Arc::clone(credentials);
            let bound = skein_rpc::server::bind(listen, credentials, ports, self.shutdown).await?;
            started.rpc = Some(bound.addr);
        }
        if self.role.does(Role::Chat)
            && let (Some(directory), Some(resource)) = (&directory, resource)
        {
            let running = self.chat(Arc::clone(directory), resource).await?;
            if let Some(skein_chat::Running { addr, hub, standing }) = running {
                self.health.register("directory", move || ready(standing.check()));
                (started.quic, started.hub) = (Some(addr), Some(hub));
            }
        }
        if self.role.does(Role::Gate)
            && let (Some(directory), Some(verifier)) = (&directory, &verifier)
        {
            let running = self.gate(Arc::clone(verifier), Arc::clone(directory)).await?;
            started.http = running.map(|running| running.url);
        }
        if self.role == Role::All {
            started.operator = self.operator(verifier, directory);
        }
        Ok(started)
    }

    /// The verify role, here or elsewhere.
    fn verifier(
        &self,
        credentials: Option<&Arc<Credentials>>,
    ) -> Result<Option<Arc<dyn Verifier>>, StartError> {
        if self.role.does(Role::Verify)
            && let Some(bus) = &self.bus
        {
            let parts = skein_verify::Parts { keys: bus.clone(), clock: self.clock.clone() };
            let outbox = self.folder.map(DataFolder::outbox).unwrap_or_default();
            return Ok(Some(Verify::start(&self.config.verify, &outbox, parts, self.shutdown)?));
        }
        match (self.role, &self.config.rpc, credentials) {
            (Role::Gate, Some(rpc), Some(credentials)) => {
                self.watch(access::Role::Verify, &rpc.verify, credentials)?;
                let client = skein_rpc::verifier::Client::new(&rpc.verify, credentials)?;
                Ok(Some(Arc::new(client)))
            }
            _ => Ok(None),
        }
    }

    /// The status role, here or elsewhere.
    fn directory(
        &self,
        credentials: Option<&Arc<Credentials>>,
    ) -> Result<Option<Arc<dyn Directory>>, StartError> {
        if self.role.does(Role::Status)
            && let Some(bus) = &self.bus
        {
            return Ok(Some(Arc::new(Status::new(bus.clone()))));
        }
        match (self.role, &self.config.rpc, credentials) {
            (Role::Gate | Role::Chat, Some(rpc), Some(credentials)) => {
                self.watch(access::Role::Status, &rpc.status, credentials)?;
                let client = skein_rpc::directory::Client::new(&rpc.status, credentials)?;
                Ok(Some(Arc::new(client)))
            }
            _ => Ok(None),
        }
    }

    /// The resource role, here or elsewhere.
    fn resource(
        &self,
        credentials: Option<&Arc<Credentials>>,
    ) -> Result<Option<Arc<dyn Resource>>, StartError> {
        if self.role.does(Role::Resource)
            && let (Some(truth), Some(folder)) = (self.truth, self.folder)
        {
            let role = ResourceRole::start(
                self.config.resource.clone(),
                Arc::clone(&truth.records),
                self.config.blobs(folder),
                self.clock.clone(),
                self.shutdown,
            )?;
            self.watch_disk(folder);
            if self.config.blobs.is_some() {
                let reached = Arc::clone(&role);
                let check = move || {
                    let role = Arc::clone(&reached);
                    async move { role.reach().await.map_err(|error| sentence(&error)) }
                };
                if self.role == Role::Resource {
                    self.health.register("blobs", check);
                } else {
                    // Logins and messages need no bucket.
                    self.health.advise("blobs", check);
                }
            }
            return Ok(Some(role));
        }
        match (self.role, &self.config.rpc, credentials) {
            (Role::Chat, Some(rpc), Some(credentials)) => {
                self.watch(access::Role::Resource, &rpc.resource, credentials)?;
                let client = skein_rpc::resource::Client::new(&rpc.resource, credentials)?;
                Ok(Some(Arc::new(client)))
            }
            _ => Ok(None),
        }
    }

    /// Starts the chat role.
    async fn chat(
        &self,
        directory: Arc<dyn Directory>,
        resource: Arc<dyn Resource>,
    ) -> Result<Option<skein_chat::Running>, StartError> {
        let (Some(truth), Some(bus), Some(folder)) = (self.truth, &self.bus, self.folder) else {
            return Ok(None);
        };
        let (chat, quic) = (self.config.chat.clone(), self.config.quic);
        let certificate = certificate(&chat, quic, &folder.certificates())?;
        let parts = skein_chat::Parts {
            store: truth.store.clone(),
            hints: bus.clone(),
            presence: bus.clone(),
            resource,
            directory,
            certificate,
            secret: secret(&chat, &folder.certificates())?,
            clock: self.clock.clone(),
            deadline: self.config.shutdown.deadline(),
        };
        Ok(Some(skein_chat::bind(chat, quic, parts, self.shutdown).await?))
    }

    /// Starts the gate.
    async fn gate(
        &self,
        verifier: Arc<dyn Verifier>,
        directory: Arc<dyn Directory>,
    ) -> Result<Option<skein_gate::Running>, StartError> {
        let (Some(truth), Some(bus)) = (self.truth, &self.bus) else { return Ok(None) };
        let parts = skein_gate::Parts {
            instance: truth.store.clone(),
            accounts: truth.store.clone(),
            tokens: truth.store.clone(),
            verifier,
            directory,
            hints: bus.clone(),
            keys: bus.clone(),
            clock: self.clock.clone(),
            health: self.health.clone(),
        };
        let (gate, http) = (self.config.gate.clone(), self.config.http);
        Ok(Some(skein_gate::bind(gate, http, parts, self.shutdown).await?))
    }

    /// Whoever carries out what operators want of this process.
    fn operator(
        &self,
        verifier: Option<Arc<dyn Verifier>>,
        directory: Option<Arc<dyn Directory>>,
    ) -> Option<Arc<Operator>> {
        let hints = self.bus.clone().map(|bus| bus as Arc<dyn Hints>);
        let blobs = self.folder.filter(|_| self.config.blobs.is_none()).map(DataFolder::blobs);
        Some(Arc::new(Operator {
            truth: self.truth?.clone(),
            hints,
            directory,
            verifier,
            blobs,
            clock: self.clock.clone(),
        }))
    }

    /// Adds the check that there is room for uploads.
    fn watch_disk(&self, folder: &DataFolder) {
        let path = if self.config.blobs.is_some() { folder.staging() } else { folder.blobs() };
        let check = move || {
            let path = path.clone();
            // A disk that hangs is to keep nobody waiting.
            let checked = tokio::task::spawn_blocking(move || disk::check(&path));
            checked.map(|ended| ended.unwrap_or_else(|error| Err(error.to_string())))
        };
        if self.role == Role::Resource {
            self.health.register("disk", check);
        } else {
            // What is full for files may have room for messages.
            self.health.advise("disk", check);
        }
    }

    /// Adds the check that at least one process of a role that this one calls is well.
    fn watch(
        &self,
        role: access::Role,
        addresses: &[String],
        credentials: &Arc<Credentials>,
    ) -> Result<(), StartError> {
        let probes: Result<Vec<_>, _> = addresses
            .iter()
            .map(|address| Probe::new(role, address, credentials).map(Arc::new))
            .collect();
        let probes = Arc::new(probes?);
        let check = move || {
            let probes = Arc::clone(&probes);
            async move {
                // Tasks, so that one which is answered later than another gets its connection.
                let asked = probes.iter().map(|probe| {
                    let probe = Arc::clone(probe);
                    tokio::spawn(async move { probe.check().await })
                        .map(|ended| ended.unwrap_or_else(|_| Err(Refusal::internal())))
                });
                let answered = select_ok(asked).await;
                answered.map(drop).map_err(|refusal| refusal.message)
            }
        };
        // Without verify nobody registers, and without the resource role no file moves, but logins
        // and messages go on. Without status the gate has no node for a login, and a chat node gets
        // no session.
        match role {
            access::Role::Verify | access::Role::Resource => {
                self.health.advise(role.name(), check);
            }
            _ => self.health.register(role.name(), check),
        }
        Ok(())
    }
}
