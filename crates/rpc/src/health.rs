//! Whether a peer can be reached, trusts this process and is well: for `doctor` and for readiness.

use std::sync::Arc;

use skein_core::refusal::{Code, Refusal};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    access::Role,
    call::{HEALTH, MESSAGE_BYTES_MAX},
    credentials::Credentials,
    peer::BadPeer,
    peers::{Peers, Try},
};

/// One peer that can be asked whether it is well.
pub struct Probe {
    role: Role,
    peers: Peers,
}

impl Probe {
    /// Asks the process at `host:port`, which must have a certificate of the role.
    ///
    /// # Errors
    /// [`BadPeer`].
    pub fn new(role: Role, address: &str, credentials: &Arc<Credentials>) -> Result<Self, BadPeer> {
        Ok(Self { role, peers: Peers::new(role, &[address.to_owned()], credentials)? })
    }

    /// Asks. The log says why a peer has no answer.
    ///
    /// # Errors
    /// `unavailable` if it has none, or goes away.
    pub async fn check(&self) -> Result<(), Refusal> {
        let send = |attempt: Try| {
            let request = attempt.request(HealthCheckRequest { service: String::new() });
            let stub = HealthClient::new(attempt.channel);
            let mut stub = stub.max_decoding_message_size(MESSAGE_BYTES_MAX);
            async move { Ok(stub.check(request).await?.into_inner()) }
        };
        let answer = self.peers.call(HEALTH, self.peers.preferred(), send).await?;
        if answer.status() == ServingStatus::Serving {
            return Ok(());
        }
        let message = format!("the {} service is going away", self.role);
        Err(Refusal::new(Code::Unavailable, message))
    }
}
