//! The gate under input that no client of ours sends, and the way of a code that was mailed.

use reqwest::{Client, Method, StatusCode, header};
use serde_json::{Value, json};
use skein_testkit::{cli::PASSWORD, eventually, gate::Gate, server::Server};

use crate::scene::{Scene, in_time};

/// Registration as a server with a mail server has it; the mails stay in a folder.
const BY_CODE: &str = "[gate]\nregistration = \"code\"\n";
/// More than a request may have; small enough to be sent before the answer comes.
const LARGE_BYTES: usize = 70_000;
/// So much that the gate answers, and hangs up, before it is sent.
const HUGE_BYTES: usize = 16 * 1024 * 1024;

/// The code of an error, and its status.
async fn refusal(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = in_time(request.send()).await.expect("the gate answers");
    let status = response.status().as_u16();
    let answer: Value = in_time(response.json()).await.expect("errors are JSON");
    let error = &answer["error"];
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    (status, error["code"].as_str().expect("a code").to_owned())
}

#[tokio::test]
async fn bad_requests_have_named_errors() {
    let scene = Scene::start("").await;
    let http = Client::new();
    let url = |path: &str| format!("{}{path}", scene.server.http());
    let login = |body: &str, media_type: &str| {
        let request = http.post(url("/v1/login")).header(header::CONTENT_TYPE, media_type);
        request.body(body.to_owned())
    };
    let good = json!({
        "name": "alice", "password": PASSWORD, "device": "0f".repeat(16), "device_name": "x",
    });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    const JSON: &str = "application/json";
    let deep = "[".repeat(30_000);
    let table: Vec<(&str, reqwest::RequestBuilder, u16, &str)> = vec![
        ("no JSON", login("{", JSON), 400, "malformed"),
        ("nothing", login("", JSON), 400, "malformed"),
        ("another type", login("null", JSON), 400, "malformed"),
        ("two objects", login(&format!("{good}{good}"), JSON), 400, "malformed"),
        ("nesting", login(&deep, JSON), 400, "malformed"),
        ("half a surrogate", login(r#"{"name":"\ud800"}"#, JSON), 400, "malformed"),
        ("unknown field", login(&with("admin", json!(true)), JSON), 400, "malformed"),
        ("wrong type", login(&with("name", json!(7)), JSON), 400, "malformed"),
        ("no media type", http.post(url("/v1/login")).body(good.to_string()), 415, "malformed"),
        ("another media type", login(&good.to_string(), "text/plain"), 415, "malformed"),
        ("a form", login("name=alice", "application/x-www-form-urlencoded"), 415, "malformed"),
        (
            "large",
            login(&with("name", json!("x".repeat(LARGE_BYTES))), JSON),
            413,
            "frame_too_large",
        ),
        ("bad name", login(&with("name", json!("a\u{0}b")), JSON), 422, "invalid"),
        ("wrong password", login(&with("password", json!("no")), JSON), 401, "bad_credentials"),
        ("nobody", login(&with("name", json!("nobody")), JSON), 401, "bad_credentials"),
        ("no such path", http.get(url("/v1/nothing")), 404, "not_found"),
        ("a path out", http.get(url("/v1/..%2f..%2fetc%2fpasswd")), 404, "not_found"),
        ("wrong method", http.get(url("/v1/login")), 405, "malformed"),
        ("odd method", http.request(Method::TRACE, url("/v1/login")), 405, "malformed"),
        ("no token", http.get(url("/v1/whoami")), 401, "unauthorised"),
        (
            "garbled token",
            http.get(url("/v1/whoami")).bearer_auth("sk\u{e9}in"),
            401,
            "unauthorised",
        ),
        ("basic", http.get(url("/v1/chat")).basic_auth("alice", Some("x")), 401, "unauthorised"),
        ("no token to end", http.post(url("/v1/logout")), 401, "unauthorised"),
    ];
    for (what, request, status, code) in table {
        println!("{what}");
        assert_eq!(refusal(request).await, (status, code.to_owned()), "{what}");
    }
    println!("huge");
    match in_time(login(&"x".repeat(HUGE_BYTES), JSON).send()).await {
        Ok(response) => assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE),
        Err(error) => assert!(error.is_request(), "{error}"),
    }
    scene.still_serves().await;
}

/// The code in the newest of at least `count` mails.
async fn code_in_mail(server: &Server, count: usize) -> String {
    eventually("the mail is in the folder", async || server.mails().len() >= count).await;
    let mails = server.mails();
    let mail = mails.last().expect("at least one");
    let mut digits = mail.split(|c: char| !c.is_ascii_digit()).filter(|digits| digits.len() == 6);
    digits.next_back().expect("six digits").to_owned()
}

/// A code that is not this one.
fn wrong(code: &str) -> String {
    let number: u32 = code.parse().expect("digits");
    format!("{:06}", (number + 1) % 1_000_000)
}

async fn ask(gate: &Gate, purpose: &str, email: &str) {
    let body = json!({ "purpose": purpose, "email": email });
    let (status, answer) = gate.post("/v1/codes", &body).await;
    assert_eq!((status, answer), (StatusCode::ACCEPTED, json!({ "expires_in_seconds": 300 })));
}

async fn register(gate: &Gate, name: &str, code: Option<&str>) -> Result<(), String> {
    let email = format!("{name}@example.org");
    let body = json!({ "name": name, "email": email, "password": PASSWORD, "code": code });
    let (status, answer) = gate.post("/v1/accounts", &body).await;
    if status.is_success() { Ok(()) } else { Err(name_of(&answer)) }
}

async fn reset(gate: &Gate, email: &str, code: &str) -> Result<(), String> {
    let body = json!({ "email": email, "code": code, "password": "another passphrase" });
    let (status, answer) = gate.post("/v1/password", &body).await;
    if status.is_success() { Ok(()) } else { Err(name_of(&answer)) }
}

fn name_of(answer: &Value) -> String {
    answer["error"]["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn a_mailed_code_registers_once_and_bears_five_guesses() {
    let server = Server::with_config(BY_CODE);
    let gate = Gate::new(server.http());
    let err = |name: &str| Err(name.to_owned());
    assert_eq!(register(&gate, "alice", None).await, err("code_required"));
    assert_eq!(register(&gate, "alice", Some("123456")).await, err("expired_code"));

    ask(&gate, "register", "alice@example.org").await;
    let code = code_in_mail(&server, 1).await;
    // For another address, another purpose, or with one digit wrong it is no code.
    assert_eq!(register(&gate, "bob", Some(&code)).await, err("expired_code"));
    assert_eq!(reset(&gate, "alice@example.org", &code).await, err("expired_code"));
    assert_eq!(register(&gate, "alice", Some(&wrong(&code))).await, err("wrong_code"));
    assert_eq!(register(&gate, "alice", Some(&code)).await, Ok(()));
    // The name is taken before the code is looked at; under another name the code has been used.
    assert_eq!(register(&gate, "alice", Some(&code)).await, err("name_taken"));
    let body = json!({
        "name": "alice2", "email": "alice@example.org", "password": PASSWORD, "code": code,
    });
    let (_, answer) = gate.post("/v1/accounts", &body).await;
    assert_eq!(name_of(&answer), "expired_code");

    ask(&gate, "register", "bob@example.org").await;
    let code = code_in_mail(&server, 2).await;
    for _ in 0..5 {
        assert_eq!(register(&gate, "bob", Some(&wrong(&code))).await, err("wrong_code"));
    }
    assert_eq!(register(&gate, "bob", Some(&code)).await, err("expired_code"), "five guesses");
    // A new code is a new chance; asking again while it is good mails the same one.
    ask(&gate, "register", "bob@example.org").await;
    let third = code_in_mail(&server, 3).await;
    ask(&gate, "register", "bob@example.org").await;
    let fourth = code_in_mail(&server, 4).await;
    assert_eq!(third, fourth);
    assert_eq!(register(&gate, "bob", Some(&fourth)).await, Ok(()));
    gate.login("bob").await;
}

#[tokio::test]
async fn a_reset_answers_alike_whoever_asks() {
    let server = Server::with_config(BY_CODE);
    let gate = Gate::new(server.http());
    ask(&gate, "register", "alice@example.org").await;
    let code = code_in_mail(&server, 1).await;
    assert_eq!(register(&gate, "alice", Some(&code)).await, Ok(()));
    let login = gate.login("alice").await;

    for email in ["alice@example.org", "nobody@example.org"] {
        ask(&gate, "reset_password", email).await;
    }
    let code = code_in_mail(&server, 2).await;
    let guess = wrong(&code);
    for email in ["alice@example.org", "nobody@example.org"] {
        assert_eq!(reset(&gate, email, &guess).await, Err("wrong_code".to_owned()), "{email}");
    }
    // The address without an account got no mail, and its code fits nothing.
    assert_eq!(server.mails().len(), 2);
    assert!(server.mails().iter().all(|mail| !mail.contains("nobody@example.org")));
    assert_eq!(reset(&gate, "alice@example.org", &code).await, Ok(()));
    assert_eq!(reset(&gate, "alice@example.org", &code).await, Err("expired_code".to_owned()));
    // The old password and the old token have ended.
    let (status, answer) = gate.get("/v1/whoami", &login.token).await;
    assert_eq!((status.as_u16(), name_of(&answer)), (401, "unauthorised".to_owned()));
    let body = json!({
        "name": "alice", "password": PASSWORD, "device": "0f".repeat(16), "device_name": "x",
    });
    let (_, answer) = gate.post("/v1/login", &body).await;
    assert_eq!(name_of(&answer), "bad_credentials");
    // A line begins with its time, whose digits may be any.
    let log = server.log();
    let said = log.lines().filter_map(|line| line.split_once(' ')).map(|(_, said)| said);
    for said in said {
        assert!(!said.contains(&code) && !said.contains(&guess), "codes are secret: {said}");
    }
    assert!(!log.contains("example.org"), "addresses are nobody's business");
}
