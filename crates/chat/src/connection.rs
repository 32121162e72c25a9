//! One connection: a session stream first, then a stream for each further piece of work.

use std::{future::Future, sync::Arc, time::Duration};

use skein_core::{
    account::Identity,
    id::AccountId,
    refusal::{Code, Refusal},
};
use skein_net::{
    Connection,
    connection::Closed,
    stream::{Receiver, Sender},
};
use skein_ops::{lifecycle::Shutdown, trace};
use skein_wire::{
    close::CloseCode,
    pb::{self, open::Kind},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, field::Empty};

use crate::{
    answer::Answerer,
    config::Config,
    metric,
    session::{Refused, Session},
};

/// What serving a connection takes.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) config: Arc<Config>,
    pub(crate) answerer: Answerer,
    pub(crate) ending: CancellationToken,
    pub(crate) shutdown: Shutdown,
}

impl Service {
    /// Serves a connection to its end.
    pub(crate) async fn serve(self, connection: Connection) {
        let hello = self.hello(&connection);
        let (session, sender, receiver) = match hello.await {
            Ok(opened) => {
                metric::hello("welcomed");
                opened
            }
            Err(Refused { code, message }) => {
                metric::hello(code.name());
                tracing::debug!(close.code = %code, "a connection was refused: {message}");
                connection.close(code, &message);
                return;
            }
        };
        connection.raise_limits();
        let identity = Arc::clone(&session.identity);
        // The lines of one session have one id, in whatever part they are written.
        let account = identity.account.id;
        let span = tracing::info_span!("session", trace_id = Empty, account = account.0);
        trace::begin(&span, None);
        let number = session.number();
        span.in_scope(|| tracing::debug!(session.number = number, "a session begins"));
        let stall = self.config.stall_timeout();
        let running =
            session.run(&connection, sender, receiver, stall, &self.ending, &self.shutdown);
        // The streams live in this task, so that they end with the session.
        let serving = async {
            tokio::select! {
                () = running => {}
                closed = self.serve_streams(&connection, identity) => {
                    // The session notices the same end and gives back what it holds.
                    tracing::trace!(reason = %closed, "no more streams");
                }
            }
        };
        serving.instrument(span).await;
    }

    async fn hello(&self, connection: &Connection) -> Result<(Session, Sender, Receiver), Refused> {
        if self.answerer.hub.is_draining() {
            return Err(Refused::draining());
        }
        let opened = in_time(self.config.hello_timeout(), async {
            let (sender, mut receiver) = connection
                .accept()
                .await
                .map_err(|closed| Refused::new(CloseCode::Normal, &closed.message))?;
            let open = receiver.frame::<pb::Open>().await.map_err(|error| {
                let refusal = Refusal::from(error);
                Refused::new(CloseCode::Protocol, &format!("{}: {refusal}", refusal.code))
            })?;
            Ok::<_, Refused>((sender, receiver, open.and_then(|open| open.kind)))
        });
        let opened = tokio::select! {
            opened = opened => opened,
            () = self.ending.cancelled() => return Err(Refused::draining()),
        };
        let (mut sender, receiver, open) = opened.map_err(|refusal| {
            Refused::new(CloseCode::TimedOut, &format!("{}: {refusal}", refusal.code))
        })??;
        let Some(Kind::Session(hello)) = open else {
            return Err(Refused::new(
                CloseCode::Protocol,
                "protocol: the first stream of a connection is the session stream",
            ));
        };
        let (answerer, patience) = (self.answerer.clone(), self.config.hello_timeout());
        let opening =
            Session::open(hello, connection, &mut sender, answerer, patience, &self.ending);
        let session = opening.await?;
        Ok((session, sender, receiver))
    }

    async fn serve_streams(&self, connection: &Connection, identity: Arc<Identity>) -> Closed {
        // Bounded by the streams that the transport lets the client open.
        let mut streams = JoinSet::new();
        let closed = loop {
            match connection.accept().await {
                Ok((sender, receiver)) => {
                    let (service, identity) = (self.clone(), Arc::clone(&identity));
                    let serving =
                        async move { service.serve_stream(sender, receiver, &identity).await };
                    streams.spawn(serving.in_current_span());
                    while streams.try_join_next().is_some() {}
                }
                Err(closed) => break closed,
            }
        };
        streams.shutdown().await;
        // Ends only with the session, which has more to give back.
        std::future::pending::<()>().await;
        closed
    }

    async fn serve_stream(&self, mut sender: Sender, mut receiver: Receiver, identity: &Identity) {
        let served = self.serve_work(&mut sender, &mut receiver, identity).await;
        match served {
            Ok(()) => sender.finish(),
            Err(refusal) => {
                tracing::debug!(error.code = %refusal.code, "a stream was given up: {refusal}");
                receiver.stop(refusal.code);
                sender.reset(refusal.code);
            }
        }
    }

    /// A stream is refused where a request would wait: it holds more than a request does.
    fn take_request(&self, account: AccountId) -> Result<(), Refusal> {
        let taken = self.answerer.hub.take_request(account);
        taken.map_err(|wait| Refusal::limited("this account opens too many streams", wait))
    }

    async fn serve_work(
        &self,
        sender: &mut Sender,
        receiver: &mut Receiver,
        identity: &Identity,
    ) -> Result<(), Refusal> {
        let (account, config) = (identity.account.id, &*self.config);
        let opening = in_time(config.hello_timeout(), receiver.frame::<pb::Open>());
        let open = opening.await??.and_then(|open| open.kind);
        match open {
            Some(Kind::Upload(open)) => {
                if let Err(refusal) = self.take_request(account) {
                    return crate::upload::refuse(refusal, config, sender, receiver).await;
                }
                let _counted = metric::Transfer::begin("upload");
                let answerer = &self.answerer;
                crate::upload::serve(open, account, answerer, config, sender, receiver).await
            }
            Some(Kind::Download(open)) => {
                if let Err(refusal) = self.take_request(account) {
                    return crate::download::refuse(refusal, config, sender).await;
                }
                let _counted = metric::Transfer::begin("download");
                crate::download::serve(open, account, &self.answerer, config, sender).await
            }
            Some(Kind::Session(_)) => {
                Err(Refusal::new(Code::Protocol, "a connection has one session stream"))
            }
            None => Err(Refusal::new(Code::Malformed, "the stream does not say what it is for")),
        }
    }
}

/// Waits no longer than `limit`.
pub(crate) async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Refusal> {
    tokio::time::timeout(limit, work).await.map_err(|_| {
        let seconds = limit.as_secs();
        Refusal::new(Code::TimedOut, format!("nothing arrived for {seconds} seconds"))
    })
}
