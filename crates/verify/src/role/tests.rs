//! The role with its real keys, a double of the mail system, and a clock that tokio can turn.

use lettre::Message;
use skein_bus::local::Local;
use skein_core::time::Timestamp;
use tokio::{sync::mpsc, time};

use super::*;
use crate::mail::NotSent;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000)
    }
}

struct Inbox(mpsc::Sender<String>);

#[async_trait]
impl Mailer for Inbox {
    async fn send(&self, mail: Message) -> Result<(), NotSent> {
        let text = String::from_utf8(mail.formatted()).expect("ASCII");
        self.0.try_send(text).expect("room for each mail");
        Ok(())
    }
}

struct World {
    verify: Verify,
    mails: mpsc::Receiver<String>,
    shutdown: Shutdown,
}

impl World {
    fn new(config: &Config) -> Self {
        let (inbox, mails) = mpsc::channel(64);
        let shutdown = Shutdown::new();
        let clock = Arc::new(Still);
        let parts = Parts { keys: Arc::new(Local::new()), clock };
        let from = FOLDER_FROM.parse().expect("a mailbox");
        let verify = Verify::with_mailer(config, from, Arc::new(Inbox(inbox)), parts, &shutdown);
        Self { verify, mails, shutdown }
    }

    async fn code(&mut self, purpose: Purpose, email: &Email) -> String {
        let sent = self.verify.request(purpose, email, HOME, true).await.expect("within limits");
        assert_eq!(sent.expires_in, CODE_LIFETIME);
        code_in(&self.mails.recv().await.expect("a mail"))
    }
}

fn code_in(mail: &str) -> String {
    let is_code = |word: &&str| word.len() == 6 && word.bytes().all(|b| b.is_ascii_digit());
    mail.lines().map(str::trim).find(is_code).expect("a line with a code").to_owned()
}

fn bo() -> Email {
    Email::parse("bo@example.org").expect("an address")
}

fn wrong(code: &str) -> &'static str {
    if code == "000000" { "000001" } else { "000000" }
}

fn outcome<T>(result: Result<T, Refusal>) -> Option<Code> {
    result.err().map(|refusal| refusal.code)
}

#[tokio::test]
async fn a_mailed_code_is_good_once() {
    let mut world = World::new(&Config::default());
    let code = world.code(Purpose::Register, &bo()).await;
    let email = bo();
    let check = || world.verify.check(Purpose::Register, &email, &code);
    assert_eq!(outcome(check().await), None);
    assert_eq!(outcome(check().await), Some(Code::ExpiredCode));
}

#[tokio::test]
async fn of_two_at_once_one_wins() {
    let mut world = World::new(&Config::default());
    let code = world.code(Purpose::Register, &bo()).await;
    let email = bo();
    let check = || world.verify.check(Purpose::Register, &email, &code);
    let (a, b) = tokio::join!(check(), check());
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
}

#[tokio::test]
async fn is_void_for_another_purpose_or_address() {
    let mut world = World::new(&Config::default());
    let code = world.code(Purpose::Register, &bo()).await;
    let reset = world.verify.check(Purpose::ResetPassword, &bo(), &code).await;
    assert_eq!(outcome(reset), Some(Code::ExpiredCode), "none was asked for");
    let reset_code = world.code(Purpose::ResetPassword, &bo()).await;
    if reset_code != code {
        let reset = world.verify.check(Purpose::ResetPassword, &bo(), &code).await;
        assert_eq!(outcome(reset), Some(Code::WrongCode));
    }
    let someone = Email::parse("al@example.org").expect("an address");
    let other = world.verify.check(Purpose::Register, &someone, &code).await;
    assert_eq!(outcome(other), Some(Code::ExpiredCode));
}

#[tokio::test]
async fn five_wrong_guesses_void_it() {
    let mut world = World::new(&Config::default());
    let code = world.code(Purpose::Register, &bo()).await;
    for guess in [wrong(&code), "", "not a code", wrong(&code), wrong(&code)] {
        let result = world.verify.check(Purpose::Register, &bo(), guess).await;
        assert_eq!(outcome(result), Some(Code::WrongCode));
    }
    let right = world.verify.check(Purpose::Register, &bo(), &code).await;
    assert_eq!(outcome(right), Some(Code::ExpiredCode));

    let code = world.code(Purpose::Register, &bo()).await;
    let right = world.verify.check(Purpose::Register, &bo(), &code).await;
    assert_eq!(outcome(right), None, "a new code has new tries");
}

#[tokio::test(start_paused = true)]
async fn asking_again_voids_nothing() {
    let mut world = World::new(&Config::default());
    let code = world.code(Purpose::Register, &bo()).await;
    time::advance(CODE_LIFETIME / 2).await;
    assert_eq!(world.code(Purpose::Register, &bo()).await, code, "the same is mailed again");
    time::advance(CODE_LIFETIME * 3 / 4).await;
    assert_eq!(outcome(world.verify.check(Purpose::Register, &bo(), &code).await), None);
    let used = world.verify.check(Purpose::Register, &bo(), &code).await;
    assert_eq!(outcome(used), Some(Code::ExpiredCode));
}

#[tokio::test]
async fn asking_again_brings_no_new_tries() {
    let mut world = World::new(&Config::default());
    for _ in 0..CODE_TRIES_MAX - 1 {
        let code = world.code(Purpose::Register, &bo()).await;
        let result = world.verify.check(Purpose::Register, &bo(), wrong(&code)).await;
        assert_eq!(outcome(result), Some(Code::WrongCode));
    }
    let code = world.code(Purpose::Register, &bo()).await;
    for expected in [Code::WrongCode, Code::ExpiredCode] {
        let result = world.verify.check(Purpose::Register, &bo(), wrong(&code)).await;
        assert_eq!(outcome(result), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn it_expires() {
    let mut world = World::new(&Config::default());
    let code = world.code(Purpose::Register, &bo()).await;
    time::advance(CODE_LIFETIME).await;
    let result = world.verify.check(Purpose::Register, &bo(), &code).await;
    assert_eq!(outcome(result), Some(Code::ExpiredCode));
}

#[tokio::test]
async fn without_delivery_all_but_the_mail_happens() {
    let mut world = World::new(&Config::default());
    let sent = world.verify.request(Purpose::ResetPassword, &bo(), HOME, false).await;
    assert_eq!(sent.expect("within limits").expires_in, CODE_LIFETIME);
    let guess = world.verify.check(Purpose::ResetPassword, &bo(), "").await;
    assert_eq!(outcome(guess), Some(Code::WrongCode), "as for an address with an account");

    world.shutdown.begin();
    world.shutdown.finish(Duration::from_secs(60)).await;
    drop(world.verify);
    assert_eq!(world.mails.recv().await, None);
}

#[tokio::test]
async fn limits_addresses_and_networks() {
    let config = Config { codes_per_email_per_hour: 2, ..Config::default() };
    let world = World::new(&config);
    let request = |from: &str, email: &str| {
        let (from, email) = (from.parse().expect("an address"), Email::parse(email));
        let verify = &world.verify;
        async move {
            let email = email.expect("an address");
            verify.request(Purpose::Register, &email, from, true).await
        }
    };
    for from in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(outcome(request(from, "bo@example.org").await), None);
    }
    let refusal = request("192.0.2.3", "BO@example.org").await.expect_err("over the limit");
    assert_eq!(refusal.code, Code::RateLimited);
    assert!(refusal.retry_after.is_some_and(|wait| wait <= LIMIT_WINDOW));

    for number in 0..config.codes_per_network_per_hour {
        let from = format!("2001:db8::{number:x}");
        assert_eq!(outcome(request(&from, &format!("{number}@example.org")).await), None);
    }
    let same_network = request("2001:db8::ffff", "new@example.org").await;
    assert_eq!(outcome(same_network), Some(Code::RateLimited));
    assert_eq!(outcome(request("2001:db8:0:1::", "new@example.org").await), None);
}

#[tokio::test]
async fn one_network_leaves_codes_to_others() {
    let config = Config::default();
    let world = World::new(&config);
    let request = async |last: u8| {
        let from = IpAddr::from([192, 0, 2, last]);
        outcome(world.verify.request(Purpose::ResetPassword, &bo(), from, true).await)
    };
    for _ in 0..config.codes_per_email_and_network_per_hour {
        assert_eq!(request(7).await, None);
    }
    for _ in 0..config.codes_per_email_per_hour {
        assert_eq!(request(7).await, Some(Code::RateLimited));
    }
    assert_eq!(request(8).await, None);
}

#[tokio::test]
async fn an_unmailable_address_is_refused_alike() {
    let world = World::new(&Config::default());
    let long = format!("{}@example.org", "x".repeat(65));
    let email = Email::parse(long).expect("the domain takes what mail does not");
    for deliver in [true, false] {
        let result = world.verify.request(Purpose::Register, &email, HOME, deliver).await;
        assert_eq!(outcome(result), Some(Code::Invalid));
    }
}

#[tokio::test]
async fn says_what_is_wrong_with_its_configuration() {
    let smtp = serde_json::json!({"smtp": {"host": "localhost", "from": "nobody"}});
    let config: Config = serde_json::from_value(smtp).expect("a configuration");
    let parts = Parts { keys: Arc::new(Local::new()), clock: Arc::new(Still) };
    let started = Verify::start(&config, Path::new("unused"), parts, &Shutdown::new());
    let error = started.err().expect("an error").to_string();
    assert!(error.starts_with("verify.smtp.from: expected"), "{error}");
}
