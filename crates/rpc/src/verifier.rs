//! The port of the verify role over gRPC, both ends.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use skein_core::{
    name::Email,
    port::verifier::{CodeSent, Purpose, Verifier},
    refusal::Refusal,
};
use tonic::{Request, Response, Status};

use crate::{
    access::Role,
    call::{CHECK_CODE, MESSAGE_BYTES_MAX, REQUEST_CODE},
    credentials::Credentials,
    pb::{self, verify_client::VerifyClient},
    peer::BadPeer,
    peers::{Peers, Try},
    refusal::{Malformed, refused},
};

/// The verify role, wherever it runs.
pub struct Client {
    peers: Peers,
}

impl Client {
    /// Calls the processes at these addresses, `host:port` each. Connects when it is first needed.
    ///
    /// # Errors
    /// [`BadPeer`].
    pub fn new(addresses: &[String], credentials: &Arc<Credentials>) -> Result<Self, BadPeer> {
        Ok(Self { peers: Peers::new(Role::Verify, addresses, credentials)? })
    }
}

#[async_trait]
impl Verifier for Client {
    async fn request(
        &self,
        purpose: Purpose,
        email: &Email,
        from: IpAddr,
        deliver: bool,
    ) -> Result<CodeSent, Refusal> {
        let message = pb::CodeRequest {
            purpose: purpose_to(purpose).into(),
            email: email.as_str().to_owned(),
            from: match from {
                IpAddr::V4(v4) => Bytes::copy_from_slice(&v4.octets()),
                IpAddr::V6(v6) => Bytes::copy_from_slice(&v6.octets()),
            },
            deliver,
        };
        let send = |attempt: Try| {
            let request = attempt.request(message.clone());
            async move { Ok(stub(attempt).request(request).await?.into_inner()) }
        };
        let order = self.peers.preferred();
        let sent = self.peers.call(REQUEST_CODE, order, send).await?;
        Ok(CodeSent { expires_in: Duration::from_millis(sent.expires_in_ms) })
    }

    async fn check(&self, purpose: Purpose, email: &Email, code: &str) -> Result<(), Refusal> {
        let message = pb::CodeCheck {
            purpose: purpose_to(purpose).into(),
            email: email.as_str().to_owned(),
            code: code.to_owned(),
        };
        let send = |attempt: Try| {
            let request = attempt.request(message.clone());
            async move { Ok(stub(attempt).check(request).await?.into_inner()) }
        };
        let pb::CodeRight {} = self.peers.call(CHECK_CODE, self.peers.preferred(), send).await?;
        Ok(())
    }
}

fn stub(attempt: Try) -> VerifyClient<tonic::transport::Channel> {
    VerifyClient::new(attempt.channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// Serves a verifier.
pub(crate) struct Served(pub(crate) Arc<dyn Verifier>);

#[async_trait]
impl pb::verify_server::Verify for Served {
    async fn request(
        &self,
        request: Request<pb::CodeRequest>,
    ) -> Result<Response<pb::CodeSent>, Status> {
        let asked = request.into_inner();
        let answer = async {
            let (purpose, email) = (purpose_of(asked.purpose)?, Email::parse(asked.email)?);
            let from = address(&asked.from)?;
            self.0.request(purpose, &email, from, asked.deliver).await
        };
        let sent = answer.await.map_err(refused(Role::Verify))?;
        let expires_in_ms = u64::try_from(sent.expires_in.as_millis()).unwrap_or(u64::MAX);
        Ok(Response::new(pb::CodeSent { expires_in_ms }))
    }

    async fn check(
        &self,
        request: Request<pb::CodeCheck>,
    ) -> Result<Response<pb::CodeRight>, Status> {
        let asked = request.into_inner();
        let answer = async {
            let (purpose, email) = (purpose_of(asked.purpose)?, Email::parse(asked.email)?);
            self.0.check(purpose, &email, &asked.code).await
        };
        answer.await.map_err(refused(Role::Verify))?;
        Ok(Response::new(pb::CodeRight {}))
    }
}

fn purpose_to(purpose: Purpose) -> pb::Purpose {
    match purpose {
        Purpose::Register => pb::Purpose::Register,
        Purpose::ResetPassword => pb::Purpose::ResetPassword,
    }
}

fn purpose_of(number: i32) -> Result<Purpose, Malformed> {
    match pb::Purpose::try_from(number) {
        Ok(pb::Purpose::Register) => Ok(Purpose::Register),
        Ok(pb::Purpose::ResetPassword) => Ok(Purpose::ResetPassword),
        Ok(pb::Purpose::Unspecified) | Err(_) => Err(Malformed("purpose")),
    }
}

fn address(bytes: &[u8]) -> Result<IpAddr, Malformed> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).map_err(|_| Malformed("from"))?;
    Ok(Ipv6Addr::from(octets).into())
}
