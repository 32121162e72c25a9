//! The way from `skeind admin` to whoever carries out its orders: the server that uses the data
//! folder, or with none running this process, on the folder itself or on the parts of a cluster.

use std::{path::PathBuf, sync::Arc, time::Duration};

use skein_bus::hint::Hints;
use skein_core::{
    port::{directory::Directory, verifier::Verifier},
    time::Clock,
};
use skein_ops::{clock::SystemClock, health::Health, lifecycle::Shutdown};
use skein_rpc::credentials::Credentials;
use skein_status::Status;
use skein_store::postgres;

use super::{show::Show, socket, wait};
use crate::{
    Config, StartError,
    folder::{self, DataFolder, FolderError},
    operator::{Answer, Failure, Operator, Order},
    parts::{self, Truth},
    patience::Patience,
    sentence,
};

/// How long a command waits for the parts of a cluster.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an order wants of the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UseOfBus {
    /// Nothing.
    None,
    /// To tell the chat nodes at once. The store has it, and they look there each minute.
    Hints,
    /// What nobody else knows.
    Everything,
}

impl UseOfBus {
    /// That of this order.
    pub(super) const fn by(order: &Order) -> Self {
        match order {
            Order::Disable { .. } | Order::Kick { .. } => Self::Hints,
            Order::Nodes | Order::Drain { .. } => Self::Everything,
            _ => Self::None,
        }
    }
}

/// The way to whoever carries out orders.
pub(super) enum Line {
    /// A running server.
    Server(PathBuf),
    /// This process. The folder is held meanwhile, if it is on one.
    Here {
        operator: Box<Operator>,
        /// Whether there may be chat nodes that cannot be told of anything.
        untold: bool,
        _folder: Option<DataFolder>,
    },
}

impl Line {
    /// Finds out who that is.
    pub(super) async fn open(config: &Config, wanted: UseOfBus) -> Result<Self, Failure> {
        let socket = folder::socket(&config.data);
        // Nobody else can have the folder while a server has it.
        match DataFolder::take_existing(&config.data) {
            Err(FolderError::Taken(_)) if socket.exists() || config.store.is_none() => {
                Ok(Self::Server(socket))
            }
            taken => match (&config.store, taken) {
                (Some(store), _) => cluster(config, store, wanted).await,
                (None, Ok(folder)) => embedded(folder, config),
                (None, Err(error)) => Err(error.into()),
            }
            .map_err(|error| Failure::new("unavailable", sentence(&error))),
        }
    }

    /// The answer to an order. Somebody who waits for it is told that it takes its time.
    pub(super) async fn ask(&mut self, order: Order, show: Show) -> Result<Answer, Failure> {
        let doing = wait::doing(&order);
        let most = socket::patience(&order);
        wait::telling(|waited| show.waiting(doing, waited, most), self.answer(order)).await
    }

    async fn answer(&mut self, order: Order) -> Result<Answer, Failure> {
        let answer = match self {
            Self::Here { operator, untold, .. } => match operator.perform(order).await {
                answer @ Answer::Failed(_) => answer,
                answer if *untold => Answer::Late(Box::new(answer)),
                answer => answer,
            },
            Self::Server(socket) => {
                let away = |why: String| Failure::new("unavailable", why);
                let patience = socket::patience(&order);
                let answer = socket::ask(socket, &order, patience).await.map_err(|error| {
                    away(format!("the server at {} does not answer: {error}", socket.display()))
                })?;
                answer.ok_or_else(|| {
                    away(
                        "the server takes no orders: it starts or stops, or its log says why"
                            .to_owned(),
                    )
                })?
            }
        };
        match answer {
            Answer::Failed(failure) => Err(failure),
            answer => Ok(answer),
        }
    }

    /// Finishes what was submitted.
    pub(super) async fn close(self) {
        if let Self::Here { operator, .. } = self {
            operator.truth.close().await;
        }
    }
}

/// On the folder of a server that is stopped. Its store is migrated by that server, and by nobody
/// who only wants to look: an upgrade can then still be called off.
fn embedded(folder: DataFolder, config: &Config) -> Result<Line, StartError> {
    let truth = Truth::open_migrated(&folder.store())?;
    let operator = Operator {
        truth,
        hints: None,
        directory: None,
        verifier: None,
        blobs: config.blobs.is_none().then(|| folder.blobs()),
        clock: Arc::new(SystemClock),
    };
    Ok(Line::Here { operator: Box::new(operator), untold: false, _folder: Some(folder) })
}

/// On the parts of a cluster.
async fn cluster(
    config: &Config,
    store: &postgres::Config,
    wanted: UseOfBus,
) -> Result<Line, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shutdown = Shutdown::new();
    let patience = Patience::new(PATIENCE, &shutdown);
    let truth = Truth::connect(store, &patience).await?;
    let mut hints: Option<Arc<dyn Hints>> = None;
    let mut directory: Option<Arc<dyn Directory>> = None;
    let mut verifier: Option<Arc<dyn Verifier>> = None;
    if let Some(rpc) = &config.rpc {
        let credentials = Credentials::load(rpc, Arc::clone(&clock))?;
        if !rpc.status.is_empty() {
            let client = skein_rpc::directory::Client::new(&rpc.status, &credentials)?;
            directory = Some(Arc::new(client));
        }
        if !rpc.verify.is_empty() {
            let client = skein_rpc::verifier::Client::new(&rpc.verify, &credentials)?;
            verifier = Some(Arc::new(client));
        }
    }
    if wanted != UseOfBus::None && config.bus.is_some() {
        match parts::bus(config.bus.as_ref(), &patience, &Health::default()).await {
            Ok(bus) => {
                hints = Some(bus.clone());
                // Status keeps everything on the bus, so that it can be here as well as anywhere.
                directory.get_or_insert_with(|| Arc::new(Status::new(bus)));
            }
            Err(error) if wanted == UseOfBus::Hints => tracing::warn!("{}", sentence(&error)),
            Err(error) => return Err(error.into()),
        }
    }
    let untold = wanted == UseOfBus::Hints && hints.is_none();
    let operator = Operator { truth, hints, directory, verifier, blobs: None, clock };
    Ok(Line::Here { operator: Box::new(operator), untold, _folder: None })
}
