//! The configuration of each process of a cluster, as an operator would write it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{DATABASE, MAIL_LOGIN, Options, names};
use crate::{port, postgres::Postgres, redis::Redis, s3::S3, smtp::SmtpServer};

/// Whom the mails are from.
const MAIL_FROM: &str = "Skein <skein@example.org>";

/// What the processes share.
pub(super) struct Parts<'a> {
    pub(super) postgres: &'a Postgres,
    pub(super) redis: &'a Redis,
    pub(super) s3: &'a S3,
    pub(super) mail: &'a SmtpServer,
    pub(super) mail_certificate: &'a Path,
}

/// Who listens where, and what everyone is told.
#[derive(Debug)]
pub(super) struct Plan {
    folder: PathBuf,
    /// By process and by what it listens for.
    ports: BTreeMap<(String, &'static str), u16>,
    shared: Table,
}

impl Plan {
    pub(super) fn new(folder: &Path, parts: &Parts<'_>) -> Self {
        let mut ports = BTreeMap::new();
        for name in names() {
            let own: &[&'static str] = match role(&name) {
                "gate" => &["http", "observe"],
                "chat" => &["quic", "observe"],
                _ => &["rpc", "observe"],
            };
            for what in own {
                ports.insert((name.clone(), *what), port::free());
            }
        }
        Self { folder: folder.to_owned(), ports, shared: shared(parts) }
    }

    pub(super) fn address(&self, name: &str, what: &str) -> String {
        let port = self.ports.iter().find(|((of, kind), _)| of == name && *kind == what);
        let (_, port) = port.unwrap_or_else(|| panic!("{name} does not listen for {what}"));
        format!("127.0.0.1:{port}")
    }

    pub(super) fn config_file(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("skein.toml")
    }

    /// Writes the file of each process, and of whoever administers the cluster.
    pub(super) fn write_configs(&self, options: &Options) {
        let common = parse(&options.config);
        for name in names().into_iter().chain(["admin-1".to_owned()]) {
            let mut config = self.shared.clone();
            merge(&mut config, self.own(&name));
            merge(&mut config, common.clone());
            for (_, text) in options.configs.iter().filter(|(of, _)| *of == name) {
                merge(&mut config, parse(text));
            }
            fs::create_dir_all(self.folder.join(&name)).expect("the folder is ours");
            let text = toml::to_string(&config).expect("a table can be written");
            fs::write(self.config_file(&name), text).expect("the folder is ours");
        }
    }

    /// What one process is told, as to its role and its place.
    fn own(&self, name: &str) -> Table {
        let role = role(name);
        let certs = self.folder.join("certs");
        let mut rpc = table([
            ("ca", path(&certs.join("ca.crt"))),
            ("cert", path(&certs.join(format!("{role}.crt")))),
            ("key", path(&certs.join(format!("{role}.key")))),
        ]);
        for peer in ["verify", "status", "resource"] {
            let peers = names().into_iter().filter(|name| self::role(name) == peer);
            let peers = peers.map(|name| Value::String(self.address(&name, "rpc")));
            rpc.insert(peer.to_owned(), Value::Array(peers.collect()));
        }
        let mut own = table([("data", path(&self.folder.join(name).join("data")))]);
        for ((_, what), port) in self.ports.iter().filter(|((of, _), _)| of == name) {
            let address = Value::String(format!("127.0.0.1:{port}"));
            match *what {
                "rpc" => {
                    rpc.insert("listen".to_owned(), address);
                }
                "observe" => {
                    own.insert("observe".to_owned(), Value::Table(table([("listen", address)])));
                }
                what => {
                    own.insert(what.to_owned(), address);
                }
            }
        }
        own.insert("rpc".to_owned(), Value::Table(rpc));
        if role == "chat" {
            own.insert("chat".to_owned(), Value::Table(table([("name", text(name))])));
        }
        own
    }
}

/// The role of a process.
pub(super) fn role(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

/// Makes the mail server's certificate; gives the files with it and its key.
pub(super) fn mail_certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.expect("a certificate can be made");
    let paths = (folder.join("mail.crt"), folder.join("mail.key"));
    fs::write(&paths.0, made.cert.pem()).expect("the folder is ours");
    fs::write(&paths.1, made.signing_key.serialize_pem()).expect("the folder is ours");
    paths
}

fn shared(parts: &Parts<'_>) -> Table {
    let s3 = parts.s3;
    let blobs = table([
        ("endpoint", text(&s3.endpoint())),
        ("bucket", text(s3.bucket())),
        ("region", text(s3.region())),
        ("access_key", text(s3.access_key())),
        ("secret_key", text(s3.secret_key())),
        ("allow_http", Value::Boolean(true)),
    ]);
    let smtp = table([
        ("host", text("localhost")),
        ("port", Value::Integer(parts.mail.port().into())),
        ("security", text("starttls")),
        ("ca", path(parts.mail_certificate)),
        ("username", text(MAIL_LOGIN.0)),
        ("password", text(MAIL_LOGIN.1)),
        ("from", text(MAIL_FROM)),
    ]);
    table([
        ("store", Value::Table(table([("url", text(&parts.postgres.url(DATABASE)))]))),
        ("bus", Value::Table(table([("url", text(&parts.redis.url()))]))),
        ("blobs", Value::Table(blobs)),
        ("verify", Value::Table(table([("smtp", Value::Table(smtp))]))),
    ])
}

/// Puts `over` over `under`: tables are put together, anything else is replaced.
fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

fn parse(text: &str) -> Table {
    text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn path(path: &Path) -> Value {
    Value::String(path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_put_together() {
        let mut under = parse("a = 1\n[t]\nb = 2\nc = 3\n");
        merge(&mut under, parse("d = 4\n[t]\nc = 5\n"));
        assert_eq!(under, parse("a = 1\nd = 4\n[t]\nb = 2\nc = 5\n"));
    }
}
