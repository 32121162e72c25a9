//! The port of the status role over gRPC, both ends.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use skein_core::{
    port::directory::{ChatNode, Directory, NodeReport, Reported, Term, Trust},
    refusal::Refusal,
};
use tonic::{Request, Response, Status};

use crate::{
    access::Role,
    call::{ASSIGN, DRAIN, LEAVE, MESSAGE_BYTES_MAX, NODES, REPORT},
    credentials::Credentials,
    pb::{self, directory_client::DirectoryClient},
    peer::BadPeer,
    peers::{Peers, Try},
    refusal::{Malformed, refused},
};

/// The status role, wherever it runs.
pub struct Client {
    peers: Peers,
}

impl Client {
    /// Calls the processes at these addresses, `host:port` each. Connects when it is first needed.
    ///
    /// # Errors
    /// [`BadPeer`].
    pub fn new(addresses: &[String], credentials: &Arc<Credentials>) -> Result<Self, BadPeer> {
        Ok(Self { peers: Peers::new(Role::Status, addresses, credentials)? })
    }
}

#[async_trait]
impl Directory for Client {
    async fn assign(&self, except: Option<&str>) -> Result<ChatNode, Refusal> {
        let message = pb::AssignRequest { except: except.unwrap_or_default().to_owned() };
        let send = |attempt: Try| {
            let request = attempt.request(message.clone());
            async move { Ok(node_of(stub(attempt).assign(request).await?.into_inner())?) }
        };
        self.peers.call(ASSIGN, self.peers.preferred(), send).await
    }

    async fn report(&self, report: NodeReport, term: Option<Term>) -> Result<Reported, Refusal> {
        let report = Some(report_to(report));
        let message = pb::ReportRequest { report, term: term.map(|term| term.0) };
        let send = |attempt: Try| {
            let request = attempt.request(message.clone());
            async move { Ok(stub(attempt).report(request).await?.into_inner()) }
        };
        let answer = self.peers.call(REPORT, self.peers.preferred(), send).await?;
        let drain = answer.drain_ms.map(Duration::from_millis);
        Ok(Reported { term: Term(answer.term), drain })
    }

    async fn leave(&self, node: &str, term: Term) -> Result<(), Refusal> {
        let message = pb::LeaveRequest { node: node.to_owned(), term: term.0 };
        let send = |attempt: Try| {
            let request = attempt.request(message.clone());
            async move { Ok(stub(attempt).leave(request).await?.into_inner()) }
        };
        let pb::LeaveAnswer {} = self.peers.call(LEAVE, self.peers.preferred(), send).await?;
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<NodeReport>, Refusal> {
        let send = |attempt: Try| {
            let request = attempt.request(pb::NodesRequest {});
            async move {
                let answer = stub(attempt).nodes(request).await?.into_inner();
                let nodes = answer.nodes.into_iter().map(report_of);
                Ok(nodes.collect::<Result<Vec<_>, _>>()?)
            }
        };
        self.peers.call(NODES, self.peers.preferred(), send).await
    }

    async fn drain(&self, node: &str, over: Duration) -> Result<Duration, Refusal> {
        let message = pb::DrainRequest { node: node.to_owned(), over_ms: millis(over) };
        let send = |attempt: Try| {
            let request = attempt.request(message.clone());
            async move { Ok(stub(attempt).drain(request).await?.into_inner()) }
        };
        let answer = self.peers.call(DRAIN, self.peers.preferred(), send).await?;
        // A process of the version before does not say.
        Ok(answer.over_ms.map_or(over, Duration::from_millis))
    }
}

fn stub(attempt: Try) -> DirectoryClient<tonic::transport::Channel> {
    DirectoryClient::new(attempt.channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// Serves a directory.
pub(crate) struct Served(pub(crate) Arc<dyn Directory>);

#[async_trait]
impl pb::directory_server::Directory for Served {
    async fn assign(
        &self,
        request: Request<pb::AssignRequest>,
    ) -> Result<Response<pb::ChatNode>, Status> {
        let pb::AssignRequest { except } = request.into_inner();
        let except = (!except.is_empty()).then_some(&*except);
        let node = self.0.assign(except).await.map_err(refused(Role::Status))?;
        Ok(Response::new(node_to(node)))
    }

    async fn report(
        &self,
        request: Request<pb::ReportRequest>,
    ) -> Result<Response<pb::ReportAnswer>, Status> {
        let pb::ReportRequest { report, term } = request.into_inner();
        let answer = async {
            let report = report_of(report.ok_or(Malformed("report"))?)?;
            self.0.report(report, term.map(Term)).await
        };
        let Reported { term, drain } = answer.await.map_err(refused(Role::Status))?;
        Ok(Response::new(pb::ReportAnswer { term: term.0, drain_ms: drain.map(millis) }))
    }

    async fn leave(
        &self,
        request: Request<pb::LeaveRequest>,
    ) -> Result<Response<pb::LeaveAnswer>, Status> {
        let pb::LeaveRequest { node, term } = request.into_inner();
        self.0.leave(&node, Term(term)).await.map_err(refused(Role::Status))?;
        Ok(Response::new(pb::LeaveAnswer {}))
    }

    async fn nodes(
        &self,
        _: Request<pb::NodesRequest>,
    ) -> Result<Response<pb::NodesAnswer>, Status> {
        let nodes = self.0.nodes().await.map_err(refused(Role::Status))?;
        let nodes = nodes.into_iter().map(report_to).collect();
        Ok(Response::new(pb::NodesAnswer { nodes }))
    }

    async fn drain(
        &self,
        request: Request<pb::DrainRequest>,
    ) -> Result<Response<pb::DrainAnswer>, Status> {
        let pb::DrainRequest { node, over_ms } = request.into_inner();
        let over = Duration::from_millis(over_ms);
        let holds = self.0.drain(&node, over).await.map_err(refused(Role::Status))?;
        Ok(Response::new(pb::DrainAnswer { over_ms: Some(millis(holds)) }))
    }
}

fn node_to(node: ChatNode) -> pb::ChatNode {
    let (server_name, fingerprints) = match node.trust {
        Trust::Authority { server_name } => (server_name, Vec::new()),
        Trust::Fingerprints(all) => {
            (String::new(), all.iter().map(|one| Bytes::copy_from_slice(one)).collect())
        }
    };
    pb::ChatNode { name: node.name, address: node.address, server_name, fingerprints }
}

fn node_of(node: pb::ChatNode) -> Result<ChatNode, Malformed> {
    let trust = if node.server_name.is_empty() {
        let all = node.fingerprints.iter().map(|one| <[u8; 32]>::try_from(&one[..]));
        Trust::Fingerprints(all.collect::<Result<_, _>>().map_err(|_| Malformed("fingerprints"))?)
    } else {
        Trust::Authority { server_name: node.server_name }
    };
    Ok(ChatNode { name: node.name, address: node.address, trust })
}

fn report_to(report: NodeReport) -> pb::NodeReport {
    pb::NodeReport {
        node: Some(node_to(report.node)),
        sessions: report.sessions,
        sessions_max: report.sessions_max,
        draining: report.draining,
        memory_bytes: report.memory_bytes,
        cpu_permille: report.cpu_permille,
    }
}

fn report_of(report: pb::NodeReport) -> Result<NodeReport, Malformed> {
    Ok(NodeReport {
        node: node_of(report.node.ok_or(Malformed("node"))?)?,
        sessions: report.sessions,
        sessions_max: report.sessions_max,
        draining: report.draining,
        memory_bytes: report.memory_bytes,
        cpu_permille: report.cpu_permille,
    })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
