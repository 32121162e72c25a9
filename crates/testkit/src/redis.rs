//! A real Redis server, or three that are a cluster. It keeps nothing: one that is killed comes
//! back empty.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use crate::{
    folder, port,
    process::{Process, Program},
};

/// Servers in a cluster: the fewest that Redis makes one of.
const CLUSTER_SERVERS: usize = 3;
/// How long a server that accepts may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// A running Redis. It ends when dropped.
#[derive(Debug)]
pub struct Redis {
    servers: Vec<Server>,
    password: Option<String>,
}

#[derive(Debug)]
struct Server {
    process: Process,
    port: u16,
}

impl Redis {
    /// Starts a server on a free port of 127.0.0.1.
    #[must_use]
    pub fn start() -> Self {
        Self { servers: vec![Server::start(None, false)], password: None }.ready()
    }

    /// Starts a server that wants a password.
    #[must_use]
    pub fn with_password(password: &str) -> Self {
        let servers = vec![Server::start(Some(password), false)];
        Self { servers, password: Some(password.to_owned()) }.ready()
    }

    /// Starts three servers that are a cluster.
    #[must_use]
    pub fn cluster() -> Self {
        let servers = (0..CLUSTER_SERVERS).map(|_| Server::start(None, true)).collect();
        let redis = Self { servers, password: None }.ready();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create", "--cluster-yes", "--cluster-replicas", "0"]);
        create.args(redis.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)));
        let output = create.stdin(Stdio::null()).output();
        let output = output.expect("redis-cli is missing: run `make tools`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        // Each server finds out by itself that all slots are served.
        for server in 0..CLUSTER_SERVERS {
            crate::process::patiently("the cluster is whole", || {
                redis.command_on(server, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
            });
        }
        redis
    }

    /// The server that all tests of this process share; they need prefixes of their own.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The URL: `redis://` for one server, `redis-cluster://` for three, of which it names one and
    /// the others as `node` parameters.
    #[must_use]
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map_or(String::new(), |text| format!(":{text}@"));
        let [first, others @ ..] = self.servers.as_slice() else { unreachable!("at least one") };
        if others.is_empty() {
            return format!("redis://{password}127.0.0.1:{}", first.port);
        }
        let others: Vec<_> =
            others.iter().map(|server| format!("node=127.0.0.1:{}", server.port)).collect();
        format!("redis-cluster://{password}127.0.0.1:{}?{}", first.port, others.join("&"))
    }

    /// The ports on 127.0.0.1.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(|server| server.port).collect()
    }

    /// Ends it at once, as `kill -9` does. What it had is gone.
    pub fn kill(&mut self) {
        for server in &mut self.servers {
            server.process.kill();
        }
    }

    /// Starts it again on the same port, empty, after it was killed.
    pub fn resume(&mut self) {
        for server in &mut self.servers {
            server.process.restart();
        }
        let password = self.password.clone();
        for server in &mut self.servers {
            server.await_ready(password.as_deref());
        }
    }

    /// Kills it and starts it again, empty.
    pub fn restart(&mut self) {
        self.kill();
        self.resume();
    }

    /// Stops it where it is: connections stay open and nobody answers.
    pub fn freeze(&self) {
        for server in &self.servers {
            server.process.freeze();
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        for server in &self.servers {
            server.process.thaw();
        }
    }

    /// Runs a command on the first server with `redis-cli`; gives what that prints.
    pub fn command(&self, arguments: &[&str]) -> String {
        self.command_on(0, arguments)
    }

    fn command_on(&self, server: usize, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        if let Some(password) = &self.password {
            command.args(["--no-auth-warning", "-a", password]);
        }
        command.args(["-p", &self.servers[server].port.to_string()]).args(arguments);
        let output = command.output().expect("redis-cli is missing: run `make tools`");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn ready(mut self) -> Self {
        let password = self.password.clone();
        for server in &mut self.servers {
            server.await_ready(password.as_deref());
        }
        self
    }
}

impl Server {
    fn start(password: Option<&str>, cluster: bool) -> Self {
        let folder = folder::new("redis");
        let port = port::free();
        let mut program = Program::new(program(), folder.join("log"))
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .args(["--dir".as_ref(), folder.as_os_str()]);
        if let Some(password) = password {
            program = program.args(["--requirepass", password]);
        }
        if cluster {
            let bus = port::free().to_string();
            program = program.args(["--cluster-enabled", "yes", "--cluster-port", &bus]);
        }
        Self { process: program.start(), port }
    }

    fn await_ready(&mut self, password: Option<&str>) {
        let (port, password) = (self.port, password.map(str::to_owned));
        self.process.until("it answers a ping", || {
            answers_ping(port, password.as_deref()).unwrap_or(false)
        });
    }
}

/// Speaks the protocol itself: `redis-cli` would cost a process for each look.
fn answers_ping(port: u16, password: Option<&str>) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PING_TIMEOUT))?;
    if let Some(password) = password {
        write!(stream, "AUTH {password}\r\n")?;
    }
    write!(stream, "PING\r\nQUIT\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains("+PONG"))
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("redis-server"));
    let found = found.chain([PathBuf::from("/usr/bin/redis-server")]).find(|path| path.is_file());
    found.expect("redis-server is missing: run `make tools`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_empty_after_a_kill() {
        let mut redis = Redis::with_password("secret");
        assert_eq!(redis.command(&["SET", "key", "value"]), "OK");
        redis.freeze();
        redis.thaw();
        assert_eq!(redis.command(&["GET", "key"]), "value");
        redis.restart();
        assert_eq!(redis.command(&["GET", "key"]), "");
    }

    #[test]
    fn three_are_a_cluster() {
        let redis = Redis::cluster();
        assert!(redis.url().starts_with("redis-cluster://127.0.0.1:"));
        assert!(redis.command(&["CLUSTER", "INFO"]).contains("cluster_slots_ok:16384"));
    }
}
