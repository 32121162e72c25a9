//! What each command works with: the client in its home, the server, and how to print.

use std::{
    fs,
    io::{self, BufRead, IsTerminal},
    path::PathBuf,
    time::Duration,
};

use skein_client::{Client, ConversationId, DeviceName, Profile, Username};

use crate::{cli::DEFAULT_SERVER, failure::Failure, output::Output};

/// How long a command waits for a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Where Linux tells a machine's name; elsewhere the device has the client's.
const HOST_NAME_FILE: &str = "/proc/sys/kernel/hostname";
/// Bytes of a password line: more than any password has.
const PASSWORD_LINE_BYTES_MAX: u64 = 4096;

/// What each command works with.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) output: Output,
    server: Option<String>,
}

impl Context {
    /// Opens the home.
    pub(crate) fn open(
        home: Option<PathBuf>,
        server: Option<String>,
        json: bool,
    ) -> Result<Self, Failure> {
        let home = home.or_else(|| Some(std::env::home_dir()?.join(".skein")));
        let home = home.ok_or_else(|| {
            Failure::Usage("there is no home directory; name a folder with --home".to_owned())
        })?;
        Ok(Self { client: Client::open(&home)?, output: Output::new(json), server })
    }

    /// The server to register or log in with: the one named, else the last, else the default.
    pub(crate) async fn server(&self) -> Result<String, Failure> {
        if let Some(named) = &self.server {
            return Ok(named.clone());
        }
        Ok(self.client.server().await?.unwrap_or_else(|| DEFAULT_SERVER.to_owned()))
    }

    /// Connects, without waiting for the connection.
    pub(crate) async fn connect(&self) -> Result<&Client, Failure> {
        if let (Some(named), Some(current)) = (&self.server, self.client.server().await?)
            && named.trim_end_matches('/') != current
        {
            return Err(Failure::Usage(format!(
                "the login here is with {current}; log in with --server {named} first"
            )));
        }
        self.client.connect().await?;
        Ok(&self.client)
    }

    /// Connects, and finds someone by name.
    pub(crate) async fn person(&self, name: &Username) -> Result<(&Client, Profile), Failure> {
        let client = self.connect().await?;
        let person = client.person(name).await?;
        Ok((client, person))
    }

    /// Connects, and finds the conversation with someone.
    pub(crate) async fn conversation(
        &self,
        name: &Username,
    ) -> Result<(&Client, ConversationId, Profile), Failure> {
        let client = self.connect().await?;
        let (conversation, peer) = client.conversation_with(name).await?;
        Ok((client, conversation, peer))
    }

    /// Logs in, on a device that is called like this machine.
    pub(crate) async fn log_in(
        &self,
        server: &str,
        name: &Username,
        password: &str,
    ) -> Result<Profile, Failure> {
        let machine = fs::read_to_string(HOST_NAME_FILE).unwrap_or_default();
        let device = DeviceName::parse(machine.trim()).or_else(|_| DeviceName::parse("skein"))?;
        Ok(self.client.log_in(server, name, password, &device).await?)
    }

    /// A password: a line of stdin if asked for, else from the terminal, twice if it is new.
    pub(crate) fn password(&self, from_stdin: bool, new: bool) -> Result<String, Failure> {
        if from_stdin {
            let mut line = String::new();
            let stdin = io::stdin().lock();
            io::Read::take(stdin, PASSWORD_LINE_BYTES_MAX)
                .read_line(&mut line)
                .map_err(Failure::Output)?;
            let line = line.strip_suffix('\n').unwrap_or(&line);
            return Ok(line.strip_suffix('\r').unwrap_or(line).to_owned());
        }
        if !io::stdin().is_terminal() {
            let advice = "there is no terminal to ask for the password; use --password-stdin";
            return Err(Failure::Usage(advice.to_owned()));
        }
        let password = rpassword::prompt_password("Password: ").map_err(Failure::Output)?;
        if new {
            let again = rpassword::prompt_password("Again: ").map_err(Failure::Output)?;
            if again != password {
                return Err(Failure::Usage("the two passwords differ".to_owned()));
            }
        }
        Ok(password)
    }
}
