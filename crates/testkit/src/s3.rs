//! A real S3 server: SeaweedFS, as `make tools` installs it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use serde_json::json;

use crate::{
    folder, port,
    process::{Process, Program},
    tools,
};

/// Who may do everything.
const ACCESS_KEY: &str = "skein-test";
/// The key's secret; the server listens on this machine only, for the length of a test.
const SECRET_KEY: &str = "skein-test-secret";
/// The bucket that is there from the start.
const BUCKET: &str = "skein";
/// How long a server that accepts may take to say how it is.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);

/// A running server. It ends when dropped.
#[derive(Debug)]
pub struct S3 {
    process: Process,
    ports: Ports,
}

/// Each part of the server has a port for HTTP and one for gRPC.
#[derive(Debug, Clone, Copy)]
struct Ports {
    master: [u16; 2],
    volume: [u16; 2],
    filer: [u16; 2],
    s3: [u16; 2],
}

impl S3 {
    /// Starts a server on free ports of 127.0.0.1, with a bucket.
    #[must_use]
    pub fn start() -> Self {
        Self::start_in(&folder::new("s3"))
    }

    /// Starts a server that keeps what it has in this folder, which outlives it.
    #[must_use]
    pub fn start_in(folder: &Path) -> Self {
        let data = folder.join("data");
        fs::create_dir_all(&data).expect("the folder is ours");
        let keys = folder.join("keys.json");
        fs::write(&keys, identities()).expect("the folder is ours");
        let pair = || [port::free(), port::free()];
        let ports = Ports { master: pair(), volume: pair(), filer: pair(), s3: pair() };
        ports.sockets().for_each(|path| folder::remove_too(&path));
        let process = Program::new(tools::python_program("weed"), folder.join("log"))
            .args(ports.arguments())
            .args([format!("-dir={}", data.display()), format!("-s3.config={}", keys.display())])
            .args([
                format!("-filer.localSocket={}", folder.join("filer.sock").display()),
                format!("-s3.localSocket={}", folder.join("s3.sock").display()),
            ])
            .start();
        let mut server = Self { process, ports };
        server.await_ready();
        server.create_bucket(BUCKET);
        server
    }

    /// The server that all tests of this process share; they need prefixes or buckets of their own.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<S3> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The endpoint's URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.s3[0])
    }

    /// The bucket that is there.
    #[must_use]
    pub const fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// The region that it says it is in.
    #[must_use]
    pub const fn region(&self) -> &'static str {
        "us-east-1"
    }

    /// The access key.
    #[must_use]
    pub const fn access_key(&self) -> &'static str {
        ACCESS_KEY
    }

    /// The secret key.
    #[must_use]
    pub const fn secret_key(&self) -> &'static str {
        SECRET_KEY
    }

    /// Makes a bucket, if there is none of that name.
    pub fn create_bucket(&self, name: &str) {
        let [master, filer] = [self.ports.master, self.ports.filer];
        let mut shell = Command::new(tools::python_program("weed"))
            .args([
                "shell".to_owned(),
                format!("-master=127.0.0.1:{}.{}", master[0], master[1]),
                format!("-filer=127.0.0.1:{}.{}", filer[0], filer[1]),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("weed starts");
        let mut stdin = shell.stdin.take().expect("piped");
        writeln!(stdin, "s3.bucket.create -name {name}\ns3.bucket.list").expect("weed reads it");
        drop(stdin);
        let output = shell.wait_with_output().expect("the process is ours");
        let text = String::from_utf8_lossy(&output.stdout);
        let listed = text.lines().any(|line| line.split_whitespace().next() == Some(name));
        assert!(listed, "no bucket {name}:\n{text}");
    }

    /// Ends it at once. What it has acknowledged is in its folder.
    pub fn stop(&mut self) {
        self.process.kill();
        self.ports.remove_sockets();
    }

    /// Starts it again on the same ports and data, after it was stopped.
    pub fn resume(&mut self) {
        self.process.restart();
        self.await_ready();
    }

    /// Ends it and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.resume();
    }

    /// Stops it where it is: connections stay open and nobody answers.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    fn await_ready(&mut self) {
        let port = self.ports.s3[0];
        self.process.until("it answers", || is_healthy(port).unwrap_or(false));
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.process.kill();
        self.ports.remove_sockets();
    }
}

impl Ports {
    /// A server for this machine alone, with small volumes, that tells nobody about itself.
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<_> = [
            "-logtostderr=true",
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-master.electionTimeout=1s",
            "-master.volumeSizeLimitMB=256",
            "-volume.max=1000",
            "-volume.preStopSeconds=0",
        ]
        .map(str::to_owned)
        .into();
        for (name, [http, grpc]) in self.by_name() {
            arguments.push(format!("-{name}.port={http}"));
            arguments.push(format!("-{name}.port.grpc={grpc}"));
        }
        arguments
    }

    /// It puts sockets beside its gRPC ports into a folder that cannot be chosen.
    fn remove_sockets(&self) {
        for path in self.sockets() {
            fs::remove_file(path).ok();
        }
    }

    fn sockets(&self) -> impl Iterator<Item = String> {
        let grpc = self.by_name().into_iter().map(|(name, ports)| (name, ports[1]));
        grpc.map(|(name, port)| format!("/tmp/seaweedfs-{name}-grpc-{port}.sock"))
    }

    const fn by_name(&self) -> [(&'static str, [u16; 2]); 4] {
        let Self { master, volume, filer, s3 } = *self;
        [("master", master), ("volume", volume), ("filer", filer), ("s3", s3)]
    }
}

fn identities() -> String {
    json!({ "identities": [{
        "name": "skein",
        "credentials": [{ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY }],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }]})
    .to_string()
}

/// Whether the S3 part answers at all: the parts behind it have started before.
fn is_healthy(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    write!(stream, "GET /healthz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_whitespace().nth(1) == Some("200"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_buckets_over_a_stop() {
        let mut server = S3::start();
        server.create_bucket("another");
        server.restart();
        // Listed by whoever asks for it once more.
        server.create_bucket("another");
        server.freeze();
        server.thaw();
    }
}
