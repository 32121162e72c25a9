//! Mails over SMTP.

use std::{error::Error, fs, path::PathBuf, time::Duration};

use async_trait::async_trait;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};
use thiserror::Error;

use super::{Mailer, NotSent};
use crate::config::{Security, Smtp};

/// How long the server may take for each step of the conversation.
const STEP_TIME_MAX: Duration = Duration::from_secs(20);

/// What says that a login is needed, is too weak or is wrong (RFC 4954, section 6).
const LOGIN_STATUS: [u16; 3] = [530, 534, 535];

/// A client of one mail server. Each mail has a connection of its own: they are few, and a
/// connection kept open would have to be watched.
pub struct Relay {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

/// The mail server is not configured in a way that can work.
#[derive(Debug, Error)]
pub enum BadSmtp {
    /// Codes would cross the network in the clear.
    #[error(
        "verify.smtp.security: `none` is only for a server on this machine, and `{0}` is not; \
         use `starttls` or `tls`"
    )]
    Unprotected(String),
    /// Half of a login.
    #[error("verify.smtp: `username` and `password` go together")]
    HalfLogin,
    /// A password would cross the network in the clear.
    #[error("verify.smtp: a login needs `security` to be `starttls` or `tls`")]
    UnprotectedLogin,
    /// The host cannot be named in a certificate.
    #[error("verify.smtp.host: expected a host name or an address, got `{0}`")]
    Host(String),
    /// The authority's certificate cannot be used.
    #[error("verify.smtp.ca: {path} cannot be used: {reason}")]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Relay {
    /// A client of the configured server. Nothing is connected yet.
    ///
    /// # Errors
    /// [`BadSmtp`].
    pub fn new(config: &Smtp) -> Result<Self, BadSmtp> {
        let tls = match config.security {
            Security::Starttls => Tls::Required(parameters(config)?),
            Security::Tls => Tls::Wrapper(parameters(config)?),
            Security::None if config.password.is_some() => return Err(BadSmtp::UnprotectedLogin),
            Security::None if config.is_loopback() => Tls::None,
            Security::None => return Err(BadSmtp::Unprotected(config.host.clone())),
        };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
            .port(config.port())
            .tls(tls)
            .timeout(Some(STEP_TIME_MAX));
        let builder = match (&config.username, &config.password) {
            (Some(name), Some(password)) => {
                builder.credentials(Credentials::new(name.clone(), password.expose().to_owned()))
            }
            (None, None) => builder,
            (Some(_), None) | (None, Some(_)) => return Err(BadSmtp::HalfLogin),
        };
        Ok(Self { transport: builder.build() })
    }

    /// Connects as for a mail, logs in if so configured, and sends none: for operators.
    ///
    /// # Errors
    /// [`NotSent`].
    pub async fn check(&self) -> Result<(), NotSent> {
        match self.transport.test_connection().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotSent::Unreachable("it does not answer as a mail server does")),
            Err(error) => Err(not_sent(&error)),
        }
    }
}

/// How to know the server: by the configured authority alone, or by those that browsers trust.
fn parameters(config: &Smtp) -> Result<TlsParameters, BadSmtp> {
    let mut builder = TlsParameters::builder(config.host.clone());
    if let Some(path) = &config.ca {
        let cannot = |reason: String| BadSmtp::Ca { path: path.clone(), reason };
        let pem = fs::read(path).map_err(|error| cannot(error.to_string()))?;
        let ca = Certificate::from_pem(&pem).map_err(|error| cannot(error.to_string()))?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(ca);
    }
    builder.build_rustls().map_err(|_| BadSmtp::Host(config.host.clone()))
}

#[async_trait]
impl Mailer for Relay {
    async fn send(&self, mail: Message) -> Result<(), NotSent> {
        match self.transport.send(mail).await {
            Ok(_) => Ok(()),
            Err(error) => Err(not_sent(&error)),
        }
    }
}

/// Nothing of what the server said but its number.
fn not_sent(error: &lettre::transport::smtp::Error) -> NotSent {
    match error.status() {
        Some(status) if error.is_transient() => NotSent::Later(status.to_string()),
        Some(status) if LOGIN_STATUS.contains(&u16::from(status)) => {
            NotSent::Login(status.to_string())
        }
        Some(status) => NotSent::Refused(status.to_string()),
        None if error.is_timeout() => NotSent::Unreachable("it took too long"),
        None if is_about_certificate(error) => {
            NotSent::Unreachable("its certificate is not trusted; see verify.smtp.ca")
        }
        None if error.is_tls() => NotSent::Unreachable("TLS failed"),
        None if error.is_client() => {
            NotSent::Unreachable("it lacks something that is needed, such as STARTTLS")
        }
        None => NotSent::Unreachable("the connection failed"),
    }
}

/// Whether the handshake failed for the server's certificate: rustls says so in these words, and
/// lettre tells it as any broken connection.
fn is_about_certificate(error: &dyn Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string().contains("invalid peer certificate") {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use skein_ops::secret::Secret;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::{TcpListener, TcpSocket, TcpStream},
    };

    use super::*;

    fn config(host: &str, port: u16) -> Smtp {
        Smtp {
            host: host.into(),
            port: Some(port),
            security: Security::None,
            ca: None,
            username: None,
            password: None,
            from: "skein@example.org".into(),
        }
    }

    fn mail() -> Message {
        Message::builder()
            .from("skein@example.org".parse().expect("a mailbox"))
            .to("bo@example.org".parse().expect("a mailbox"))
            .subject("hello")
            .body("123456\r\n".to_owned())
            .expect("a mail")
    }

    /// Holds one conversation as a mail server; answers RCPT with `verdict`. Gives what it heard.
    async fn serve(stream: TcpStream, verdict: &str) -> String {
        let mut stream = BufReader::new(stream);
        let mut heard = String::new();
        stream.write_all(b"220 test\r\n").await.expect("a listener");
        let mut in_data = false;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.expect("text") == 0 {
                return heard;
            }
            heard.push_str(&line);
            let answer = match line.trim_end() {
                "." => {
                    in_data = false;
                    "250 taken"
                }
                _ if in_data => continue,
                "DATA" => {
                    in_data = true;
                    "354 go on"
                }
                "QUIT" => "221 bye",
                line if line.starts_with("RCPT") => verdict,
                _ => "250 fine",
            };
            stream.write_all(format!("{answer}\r\n").as_bytes()).await.expect("a listener");
        }
    }

    async fn exchange(security: Security, verdict: &str) -> (Result<(), NotSent>, String) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let config = Smtp { security, ..config("127.0.0.1", port) };
        let relay = Relay::new(&config).expect("it is on this machine");
        let server = async {
            let (stream, _) = listener.accept().await.expect("a connection");
            serve(stream, verdict).await
        };
        tokio::join!(relay.send(mail()), server)
    }

    #[tokio::test]
    async fn hands_the_mail_over() {
        let (sent, heard) = exchange(Security::None, "250 fine").await;
        sent.expect("the server took it");
        assert!(heard.contains("RCPT TO:<bo@example.org>"), "{heard}");
        assert!(heard.contains("\r\n123456\r\n"), "{heard}");
    }

    #[tokio::test]
    async fn keeps_the_address_out_of_the_error() {
        let (sent, _) = exchange(Security::None, "550 <bo@example.org>: no such user").await;
        let error = sent.expect_err("the server refused it").to_string();
        assert_eq!(error, "the mail server refused the mail with status 550");
    }

    #[tokio::test]
    async fn tells_what_passes_and_what_a_login_lacks() {
        let (later, _) = exchange(Security::None, "451 greylisted <bo@example.org>").await;
        assert!(matches!(&later, Err(NotSent::Later(status)) if status == "451"), "{later:?}");
        let (login, _) = exchange(Security::None, "530 log in first").await;
        assert!(matches!(&login, Err(NotSent::Login(status)) if status == "530"), "{login:?}");
    }

    #[tokio::test]
    async fn says_nothing_in_the_clear_where_it_must_not() {
        let (sent, heard) = exchange(Security::Starttls, "250 fine").await;
        let error = sent.expect_err("the server knows no STARTTLS").to_string();
        assert!(error.contains("STARTTLS"), "{error}");
        assert!(!heard.contains("MAIL") && !heard.contains("123456"), "{heard}");
    }

    #[tokio::test]
    async fn says_when_nobody_is_there() {
        // It is held, so that nobody else gets the port, and does not listen.
        let held = TcpSocket::new_v4().expect("a socket");
        held.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let port = held.local_addr().expect("an address").port();
        let relay = Relay::new(&config("127.0.0.1", port)).expect("it is on this machine");
        assert!(matches!(relay.send(mail()).await, Err(NotSent::Unreachable(_))));
    }

    #[test]
    fn refuses_what_cannot_work() {
        let error = |config| Relay::new(&config).err().map(|error| error.to_string());
        let far = error(config("mail.example.org", 25)).expect("an error");
        assert!(far.contains("verify.smtp.security"), "{far}");
        let half = Smtp { username: Some("skein".into()), ..config("localhost", 25) };
        assert!(error(half).expect("an error").contains("go together"));
        let whole = Smtp {
            security: Security::Starttls,
            username: Some("skein".into()),
            password: Some(Secret::new("hunter2")),
            ..config("mail.example.org", 587)
        };
        assert_eq!(error(whole.clone()), None);
        let plain = Smtp { host: "localhost".into(), security: Security::None, ..whole.clone() };
        assert!(error(plain).expect("an error").contains("starttls"));
        let astray = error(Smtp { ca: Some("/nowhere/ca.crt".into()), ..whole });
        assert!(astray.expect("an error").starts_with("verify.smtp.ca: /nowhere/ca.crt"));
    }
}
