//! A real SMTP server: aiosmtpd, in the Python that `make tools` has prepared.

use std::{
    cell::Cell,
    ffi::OsString,
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
};

use crate::{
    folder, port,
    process::{Process, Program, patiently},
    tools,
};

/// Headers with which the server says whom a mail is from and for, whatever its own headers say.
const ENVELOPE_FROM: &str = "X-Envelope-From: ";
const ENVELOPE_TO: &str = "X-Envelope-To: ";

/// A running SMTP server. It ends when dropped.
#[derive(Debug)]
pub struct SmtpServer {
    process: Process,
    port: u16,
    inbox: PathBuf,
    /// How many mails were read.
    read: Cell<u32>,
}

/// A mail as the server took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Whom the sender says it is from.
    pub from: String,
    /// Whom it is for.
    pub to: Vec<String>,
    /// Headers and text.
    pub data: String,
}

impl SmtpServer {
    /// Starts a server that takes any mail, on a free port of 127.0.0.1.
    #[must_use]
    pub fn start() -> Self {
        Self::run(&folder::new("smtp"), &[])
    }

    /// Starts a server that shows this certificate, and takes mail only after STARTTLS and a login
    /// with this name and password.
    #[must_use]
    pub fn with_login(certificate: &Path, key: &Path, login: (&str, &str)) -> Self {
        Self::with_login_in(&folder::new("smtp"), certificate, key, login)
    }

    /// As [`with_login`](Self::with_login), with the inbox in a folder that outlives it.
    #[must_use]
    pub fn with_login_in(
        folder: &Path,
        certificate: &Path,
        key: &Path,
        login: (&str, &str),
    ) -> Self {
        let protection =
            [certificate.into(), key.into(), OsString::from(login.0), OsString::from(login.1)];
        Self::run(folder, &protection)
    }

    fn run(folder: &Path, protection: &[OsString]) -> Self {
        let inbox = folder.join("inbox");
        fs::create_dir_all(&inbox).expect("the folder is ours");
        let port = port::free();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/smtp_server.py");
        let mut process = Program::new(tools::python_program("python"), folder.join("log"))
            .args([script.into_os_string(), port.to_string().into(), inbox.clone().into()])
            .args(protection)
            .start();
        process.until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, port, inbox, read: Cell::new(0) }
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The folder with the mails, a file each.
    #[must_use]
    pub fn inbox(&self) -> &Path {
        &self.inbox
    }

    /// The next mail, once it is there.
    #[must_use]
    pub fn mail(&self) -> Mail {
        let number = self.read.get() + 1;
        let path = self.inbox.join(format!("{number:06}.eml"));
        patiently("a mail is there", || path.is_file());
        self.read.set(number);
        let text = fs::read_to_string(&path).expect("a mail is text");
        parse(&text).unwrap_or_else(|| panic!("the script writes the envelope first: {text}"))
    }

    /// Ends it at once; mails that it took stay.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, after it was stopped. Its inbox begins anew.
    pub fn resume(&mut self) {
        self.process.restart();
        let port = self.port;
        self.process.until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        self.read.set(0);
    }
}

fn parse(text: &str) -> Option<Mail> {
    let (from, rest) = text.strip_prefix(ENVELOPE_FROM)?.split_once("\r\n")?;
    let (to, data) = rest.strip_prefix(ENVELOPE_TO)?.split_once("\r\n")?;
    let to = to.split(", ").map(str::to_owned).collect();
    Some(Mail { from: from.to_owned(), to, data: data.to_owned() })
}
