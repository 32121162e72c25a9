//! The services describe themselves to operators, and to nobody else.

use std::{fs, sync::Arc};

use futures::{StreamExt, stream};
use prost::Message;
use skein_rpc::{access::Role, server::Ports};
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::{
    double::Nodes,
    peer::{Authority, GOOD, Process},
};

/// A caller like any tool: it knows the certificates, and nothing of Skein.
async fn channel(authority: &Authority, role: Role, process: &Process) -> Channel {
    let config = authority.config();
    authority.sign(&config, &role.server_name(), GOOD);
    let read = |path| fs::read(path).unwrap();
    let tls = ClientTlsConfig::new()
        .domain_name(Role::Status.server_name())
        .ca_certificate(Certificate::from_pem(read(authority.authority())))
        .identity(Identity::from_pem(read(config.cert), read(config.key)));
    let endpoint = Endpoint::from_shared(format!("https://{}", process.address())).unwrap();
    endpoint.tls_config(tls).unwrap().connect().await.unwrap()
}

async fn ask(channel: &Channel, question: MessageRequest) -> Result<MessageResponse, Status> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut client = ServerReflectionClient::new(channel.clone());
    let answers = client.server_reflection_info(stream::iter([request])).await?;
    let answer = answers.into_inner().next().await.expect("one answer")?;
    Ok(answer.message_response.expect("it says something"))
}

#[tokio::test]
async fn operators_may_ask_what_there_is_and_others_may_not() {
    let authority = Authority::new();
    let ports = Ports { directory: Some(Arc::new(Nodes::default())), ..Ports::default() };
    let process = Process::start(authority.credentials(Role::Status), ports).await;
    let admin = channel(&authority, Role::Admin, &process).await;

    let listed = ask(&admin, MessageRequest::ListServices(String::new())).await.unwrap();
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let names: Vec<_> = listed.service.iter().map(|service| &*service.name).collect();
    for name in ["skein.cluster.v1.Directory", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }

    let symbol = MessageRequest::FileContainingSymbol("skein.cluster.v1.Directory".to_owned());
    let found = ask(&admin, symbol).await.unwrap();
    let MessageResponse::FileDescriptorResponse(found) = found else { panic!("{found:?}") };
    let files: Vec<_> = found.file_descriptor_proto.iter().map(|file| Named::of(file)).collect();
    let file = files.iter().find(|file| file.package == "skein.cluster.v1").expect("its file");
    assert!(file.services.iter().any(|service| service.name == "Directory"), "{file:?}");

    let gate = channel(&authority, Role::Gate, &process).await;
    let refused = ask(&gate, MessageRequest::ListServices(String::new())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
}

/// Of `google.protobuf.FileDescriptorProto`, what is looked at here.
#[derive(Message)]
struct Named {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

/// Of `google.protobuf.ServiceDescriptorProto`.
#[derive(Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

impl Named {
    fn of(bytes: &[u8]) -> Self {
        Self::decode(bytes).expect("a file descriptor")
    }
}
