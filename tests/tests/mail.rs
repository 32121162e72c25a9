//! Verification codes through a real SMTP server, and through the outbox folder.

use std::{fs, path::Path};

use reqwest::StatusCode;
use serde_json::{Value, json};
use skein_testkit::{cli::PASSWORD, eventually, gate::Gate, server::Server, smtp::SmtpServer};

/// The six digits that stand alone on a line of a mail.
fn code_in(mail: &str) -> String {
    let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit());
    let code = mail.lines().map(str::trim).find(is_code);
    code.expect("a mail holds a code").to_owned()
}

fn account(name: &str, code: Option<&str>) -> Value {
    let email = format!("{name}@example.org");
    let mut body = json!({ "name": name, "email": email, "password": PASSWORD });
    if let Some(code) = code {
        body["code"] = code.into();
    }
    body
}

#[tokio::test]
async fn registration_takes_a_code_once_smtp_is_configured() {
    let smtp = SmtpServer::start();
    let server = Server::with_config(&format!(
        "[verify.smtp]\nhost = \"127.0.0.1\"\nport = {}\nsecurity = \"none\"\n\
         from = \"Skein <skein@example.org>\"\n",
        smtp.port()
    ));
    let gate = Gate::new(server.http());

    let (status, answer) = gate.post("/v1/accounts", &account("alice", None)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(answer["error"]["code"], "code_required");

    let ask = json!({ "purpose": "register", "email": "alice@example.org" });
    let (status, answer) = gate.post("/v1/codes", &ask).await;
    assert_eq!((status, &answer["expires_in_seconds"]), (StatusCode::ACCEPTED, &json!(300)));
    let mail = smtp.mail();
    assert_eq!(mail.from, "skein@example.org");
    assert_eq!(mail.to, ["alice@example.org"]);
    let code = code_in(&mail.data);

    let wrong = if code == "000000" { "000001" } else { "000000" };
    let (_, answer) = gate.post("/v1/accounts", &account("alice", Some(wrong))).await;
    assert_eq!(answer["error"]["code"], "wrong_code");
    let (status, answer) = gate.post("/v1/accounts", &account("alice", Some(&code))).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let mut again = account("alice2", Some(&code));
    again["email"] = "alice@example.org".into();
    let (status, _) = gate.post("/v1/accounts", &again).await;
    assert_ne!(status, StatusCode::CREATED, "a code is good for once");
    gate.login("alice").await;
    assert!(!server.log().contains(&code), "a code is a secret");
    assert!(!server.log().contains("alice@example.org"), "so is an address");
}

#[tokio::test]
async fn mail_goes_out_over_starttls_with_a_login() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the folder takes files");
        path
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = file("smtp.cert", made.cert.pem());
    let key = file("smtp.key", made.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("another one");
    let other = file("other.cert", other.cert.pem());
    let smtp = SmtpServer::with_login(&certificate, &key, ("skein", "correct horse"));
    let config = |password: &str, ca: &Path| {
        format!(
            "[verify.smtp]\nhost = \"localhost\"\nport = {}\nusername = \"skein\"\n\
             password = \"{password}\"\nca = {ca:?}\nfrom = \"skein@example.org\"\n",
            smtp.port()
        )
    };

    let ask = json!({ "purpose": "register", "email": "alice@example.org" });
    let good = Server::with_config(&config("correct horse", &certificate));
    Gate::new(good.http()).post("/v1/codes", &ask).await;
    let mail = smtp.mail();
    assert_eq!(mail.to, ["alice@example.org"]);
    code_in(&mail.data);

    for (password, ca, reason) in [
        ("wrong horse", &certificate, "refused the login with status 535"),
        ("correct horse", &other, "its certificate is not trusted"),
    ] {
        let server = Server::with_config(&config(password, ca));
        Gate::new(server.http()).post("/v1/codes", &ask).await;
        eventually(reason, || async { server.log().contains(reason) }).await;
        assert!(!server.log().contains(password), "a password is a secret");
    }
}

#[tokio::test]
async fn a_reset_needs_a_code_and_answers_alike_for_strangers() {
    let server = Server::start();
    let gate = Gate::new(server.http());
    let login = gate.newcomer("alice").await;

    let ask = |email: &str| json!({ "purpose": "reset_password", "email": email });
    let known = gate.post("/v1/codes", &ask("alice@example.org")).await;
    let unknown = gate.post("/v1/codes", &ask("nobody@example.org")).await;
    assert_eq!(known, unknown);
    eventually("the mail is in the outbox", || async { server.mails().len() == 1 }).await;
    let code = code_in(&server.mails()[0]);

    let reset = |email: &str, code: &str| json!({ "email": email, "code": code, "password": "another long password" });
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let known = gate.post("/v1/password", &reset("alice@example.org", wrong)).await;
    let unknown = gate.post("/v1/password", &reset("nobody@example.org", wrong)).await;
    assert_eq!(known, unknown);

    let (status, answer) = gate.post("/v1/password", &reset("alice@example.org", &code)).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    let (status, _) = gate.get("/v1/whoami", &login.token).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "a reset ends every login");
}
