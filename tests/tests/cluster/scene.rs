//! What the stages share.

use std::{sync::Arc, time::Duration};

use reqwest::StatusCode;
use serde_json::json;
use skein_client::{Client, ConversationId, DeviceName, Note, Username};
use skein_testkit::{PATIENCE, cli::PASSWORD, cluster::Cluster, gate::Gate};
use tempfile::TempDir;

/// How long a person waits for the first connection.
pub(crate) const LIVE_MAX: Duration = PATIENCE;

/// A cluster, and homes for its clients.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) gate: Gate,
    pub(crate) folder: TempDir,
}

impl Scene {
    pub(crate) fn new(cluster: Cluster) -> Self {
        let gate = Gate::new(&cluster.http());
        let folder = TempDir::new().expect("the temporary folder takes folders");
        Self { cluster, gate, folder }
    }

    /// Makes an account with a code that is mailed.
    pub(crate) async fn register(&self, name: &str) {
        let email = format!("{name}@example.org");
        let ask = json!({ "purpose": "register", "email": email });
        let (status, answer) = self.gate.post("/v1/codes", &ask).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        let code = self.code_for(&email);
        let account = json!({ "name": name, "email": email, "password": PASSWORD, "code": code });
        let (status, answer) = self.gate.post("/v1/accounts", &account).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    /// The code in the next mail for this address. Others may lie before it: what the gate could not
    /// say in time to be mailed may have been mailed all the same.
    pub(crate) fn code_for(&self, email: &str) -> String {
        let mut mail = self.cluster.mail.mail();
        while mail.to != [email] {
            mail = self.cluster.mail.mail();
        }
        let is_code =
            |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit());
        let code = mail.data.lines().map(str::trim).find(is_code);
        code.expect("a mail holds a code").to_owned()
    }

    /// A client of an account that exists, logged in on a device of this name, and not connected.
    pub(crate) async fn client(&self, name: &str, device: &str) -> Client {
        let client = Client::open(&self.folder.path().join(format!("{name}-{device}")));
        let client = client.expect("a home");
        let username = Username::parse(name).expect("a name");
        let device = DeviceName::parse(device).expect("a device name");
        let http = self.cluster.http();
        client.log_in(&http, &username, PASSWORD, &device).await.expect("logged in");
        client
    }

    /// Two new accounts that are contacts; both clients are live.
    pub(crate) async fn pair(&self, left: &str, right: &str) -> Pair {
        let mut clients = Vec::new();
        for name in [left, right] {
            self.register(name).await;
            let client = self.client(name, "laptop").await;
            client.connect().await.expect("connecting");
            client.live(LIVE_MAX).await.expect("live");
            clients.push(client);
        }
        let [a, b] = clients.try_into().expect("two");
        let find = |name: &str| Username::parse(name).expect("a name");
        let other = a.person(&find(right)).await.expect("there").id;
        a.request_contact(other, Note::parse("hello").expect("a note")).await.expect("asked");
        let other = b.person(&find(left)).await.expect("there").id;
        b.accept_contact(other, Note::parse("").expect("a note")).await.expect("accepted");
        let (conversation, _) = a.conversation_with(&find(right)).await.expect("a conversation");
        Pair { left: Arc::new(a), right: Arc::new(b), conversation }
    }
}

/// Two clients with a conversation.
pub(crate) struct Pair {
    pub(crate) left: Arc<Client>,
    pub(crate) right: Arc<Client>,
    pub(crate) conversation: ConversationId,
}
