//! The raw quinn process as its parent has it.

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use data_encoding::HEXLOWER;
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, TokioRuntime,
    crypto::rustls::QuicClientConfig,
};
use rustls::{RootCertStore, pki_types::CertificateDer, version::TLS13};

use super::{
    provider,
    server::{ALPN, Ready},
    socket, transport,
};
use crate::failure::Failure;

/// A running raw quinn process. It is ended when dropped.
pub(crate) struct Baseline {
    child: Child,
    address: SocketAddr,
    config: ClientConfig,
}

impl Baseline {
    /// Starts this binary once more. What the process persists goes into `folder`.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn start(folder: &Path) -> Result<Self, Failure> {
        let program = env::current_exe().map_err(Failure::machine("find this program's file"))?;
        let mut child = Command::new(program)
            .args(["baseline".as_ref(), "--folder".as_ref(), folder.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::machine("start the raw quinn process"))?;
        let ready = read_ready(&mut child);
        let (address, config) = ready.and_then(|ready| {
            let config = client_config(&ready).map_err(Failure::baseline("show a certificate"))?;
            Ok((SocketAddr::from(([127, 0, 0, 1], ready.port)), config))
        })?;
        Ok(Self { child, address, config })
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A socket for connections to it.
    ///
    /// # Errors
    /// If the machine has none.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, Failure> {
        let socket = socket().map_err(Failure::machine("open a UDP socket"))?;
        let runtime = Arc::new(TokioRuntime);
        let mut endpoint = Endpoint::new(EndpointConfig::default(), None, socket, runtime)
            .map_err(Failure::machine("use a UDP socket"))?;
        endpoint.set_default_client_config(self.config.clone());
        Ok(endpoint)
    }

    /// Connects to it.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Failure> {
        self.connect_at(endpoint, self.address).await
    }

    /// Connects to it at another address than its own: that of a relay.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) async fn connect_at(
        &self,
        endpoint: &Endpoint,
        address: SocketAddr,
    ) -> Result<Connection, Failure> {
        let connecting = endpoint.connect(address, "localhost");
        let connecting = connecting.map_err(Failure::baseline("be connected to"))?;
        connecting.await.map_err(Failure::baseline("accept a connection"))
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        // It may have ended by itself, which is all that is wanted here.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn read_ready(child: &mut Child) -> Result<Ready, Failure> {
    let mut line = String::new();
    if let Some(output) = &mut child.stdout {
        let read = BufReader::new(output).read_line(&mut line);
        read.map_err(Failure::machine("read from the raw quinn process"))?;
    }
    serde_json::from_str(&line).map_err(Failure::baseline("start"))
}

fn client_config(ready: &Ready) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(HEXLOWER.decode(ready.certificate.as_bytes())?))?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport(true));
    Ok(config)
}
