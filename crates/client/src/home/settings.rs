//! Who is logged in, and the device that the home is.

use std::fmt;

use data_encoding::HEXLOWER;
use rusqlite::{Connection, OptionalExtension, Transaction};
use skein_core::{
    account::Profile,
    id::{AccountId, DeviceId},
    name::Username,
    port::directory::{ChatNode, Trust},
};

use super::{Home, transfers};
use crate::Error;

/// A login that this home holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// The gate's URL.
    pub(crate) server: String,
    /// Whose it is.
    pub(crate) account: Profile,
    /// What proves it.
    pub(crate) token: String,
    /// The chat node that was named last.
    pub(crate) node: ChatNode,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("server", &self.server)
            .field("account", &self.account)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Home {
    /// The device that this home is: drawn once.
    pub(crate) async fn device(&self) -> Result<DeviceId, Error> {
        self.write(|database| {
            if let Some(device) = get(database, "device")? {
                return device.parse().map_err(Error::home);
            }
            let device = DeviceId(rand::random());
            set(database, "device", &device.to_string())?;
            Ok(device)
        })
        .await
    }

    /// The server that was used last.
    pub(crate) async fn server(&self) -> Result<Option<String>, Error> {
        self.read(|database| get(database, "server")).await
    }

    /// The login, if there is one.
    pub(crate) async fn login(&self) -> Result<Option<Login>, Error> {
        self.read(|database| {
            let Some(token) = get(database, "token")? else { return Ok(None) };
            let required = |key: &str| {
                get(database, key)?.ok_or_else(|| Error::home(format!("no {key} beside the token")))
            };
            let id = required("account")?.parse().map_err(Error::home)?;
            let account = Profile { id: AccountId(id), name: Username::parse(required("name")?)? };
            let node = node_from(required("chat_address")?, &required("chat_trust")?)?;
            Ok(Some(Login { server: required("server")?, account, token, node }))
        })
        .await
    }

    /// Keeps a new login. What is here of another account is forgotten: its server has it. A server
    /// with another id counts as another one also at the same URL: its data was wiped, and the same
    /// account numbers and places in logs mean other things there.
    pub(crate) async fn log_in(&self, login: Login, server_id: [u8; 16]) -> Result<(), Error> {
        self.write(move |database| {
            let account = login.account.id.to_string();
            let server_id = HEXLOWER.encode(&server_id);
            let mut same = true;
            for (key, now) in
                [("server", &login.server), ("server_id", &server_id), ("account", &account)]
            {
                same &= get(database, key)?.is_none_or(|before| before == *now);
                set(database, key, now)?;
            }
            if !same {
                forget(database)?;
            }
            set(database, "name", login.account.name.as_str())?;
            set(database, "token", &login.token)?;
            set_node(database, &login.node)
        })
        .await
    }

    /// Keeps where the chat node is now.
    pub(crate) async fn move_to(&self, node: ChatNode) -> Result<(), Error> {
        self.write(move |database| set_node(database, &node)).await
    }

    /// Forgets the token. Everything else stays for the next login.
    pub(crate) async fn log_out(&self) -> Result<(), Error> {
        self.write(|database| {
            database.execute("DELETE FROM settings WHERE key = 'token'", [])?;
            Ok(())
        })
        .await
    }
}

fn forget(database: &Transaction<'_>) -> Result<(), Error> {
    let drafts: u64 = database.query_row("SELECT count(*) FROM drafts", [], |row| {
        row.get::<_, i64>(0).map(i64::cast_unsigned)
    })?;
    if drafts > 0 || transfers::unsent(database)? > 0 {
        return Err(Error::HomeTaken(get(database, "name")?.unwrap_or_default()));
    }
    for table in ["logs", "entries", "peers", "uploads", "downloads", "transfers"] {
        database.execute(&format!("DELETE FROM {table}"), [])?;
    }
    Ok(())
}

fn get(database: &Connection, key: &str) -> Result<Option<String>, Error> {
    let mut query = database.prepare_cached("SELECT value FROM settings WHERE key = ?1")?;
    Ok(query.query_row([key], |row| row.get(0)).optional()?)
}

fn set(database: &Transaction<'_>, key: &str, value: &str) -> Result<(), Error> {
    let sql = "INSERT INTO settings (key, value) VALUES (?1, ?2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    database.prepare_cached(sql)?.execute([key, value])?;
    Ok(())
}

fn set_node(database: &Transaction<'_>, node: &ChatNode) -> Result<(), Error> {
    let trust = match &node.trust {
        Trust::Authority { server_name } => format!("name:{server_name}"),
        Trust::Fingerprints(all) => {
            let all: Vec<String> = all.iter().map(|one| HEXLOWER.encode(one)).collect();
            format!("sha256:{}", all.join(","))
        }
    };
    set(database, "chat_address", &node.address)?;
    set(database, "chat_trust", &trust)
}

fn node_from(address: String, trust: &str) -> Result<ChatNode, Error> {
    let bad = || Error::home("the trust of the chat node is not readable");
    let trust = match trust.split_once(':').ok_or_else(bad)? {
        ("name", server_name) => Trust::Authority { server_name: server_name.to_owned() },
        ("sha256", all) => {
            let decode = |one: &str| {
                let bytes = HEXLOWER.decode(one.as_bytes()).ok()?;
                <[u8; 32]>::try_from(bytes).ok()
            };
            let all: Option<Vec<_>> = all.split(',').map(decode).collect();
            Trust::Fingerprints(all.ok_or_else(bad)?)
        }
        _ => return Err(bad()),
    };
    Ok(ChatNode { name: address.clone(), address, trust })
}
