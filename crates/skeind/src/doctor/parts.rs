//! The parts under the roles: whether they can be reached, and do what they are needed for.

use std::time::Duration;

use skein_blob::depot::Depot;
use skein_bus::redis::Redis;
use skein_core::{id::BlobId, time::Clock};
use skein_store::{
    blob::StorageUse,
    postgres::{ConnectError, Postgres},
    sqlite::OpenError,
};

use super::Finding;
use crate::{
    Config,
    admin::socket,
    folder::{self, DataFolder, FolderError},
    operator::{Answer, Order},
    parts::{PartError, Truth},
    sentence,
};

/// How long the server that has the data folder may take to say that its store works.
const SERVER_TIMEOUT: Duration = Duration::from_secs(10);

/// The store: reached, of a known schema, with a clock like this one's.
pub(super) async fn store(config: &Config, clock: &dyn Clock) -> Vec<Finding> {
    let check = "store";
    let Some(store) = &config.store else { return vec![file(config).await] };
    let postgres = match Postgres::connect(store).await {
        Ok(postgres) => postgres,
        Err(error) => {
            let mend = match &error {
                ConnectError::OlderSchema { .. } => "skeind migrate, with the same configuration",
                ConnectError::NewerSchema { .. } => "start the version that migrated it, or newer",
                _ => "look at store.url, the server, its log and pg_hba.conf",
            };
            return vec![Finding::fail(check, sentence(&error), mend)];
        }
    };
    let mut findings = Vec::new();
    match postgres.server_version().await {
        Ok(version) => {
            let found = format!("PostgreSQL {version} answers, with the schema of this version");
            findings.push(Finding::ok(check, found));
        }
        Err(error) => {
            findings.push(Finding::fail(check, sentence(&error), "look at the server's log"));
        }
    }
    match postgres.clock_offset(clock.now()).await {
        Ok(offset) => findings.push(Finding::of_clock(check, offset)),
        Err(error) => {
            findings.push(Finding::fail(check, sentence(&error), "look at the server's log"));
        }
    }
    postgres.close().await;
    findings
}

/// The embedded store. One that a server has open is asked for through the server.
async fn file(config: &Config) -> Finding {
    let check = "store";
    let broken = "restore a backup (`skeind admin restore`), or look at the disk";
    match DataFolder::take_existing(&config.data) {
        Err(FolderError::Missing(_)) => Finding::ok(check, "SQLite; there is no data yet"),
        Err(FolderError::Taken(_)) => {
            let socket = folder::socket(&config.data);
            match socket::ask(&socket, &Order::Storage, SERVER_TIMEOUT).await {
                Ok(Some(Answer::Storage(used))) => {
                    let found =
                        format!("SQLite; the server that has it keeps {} files", used.blobs);
                    Finding::ok(check, found)
                }
                Ok(Some(Answer::Failed(failure))) => Finding::fail(check, failure.message, broken),
                other => {
                    let found = match other {
                        Err(error) => format!("the server that has it does not answer: {error}"),
                        Ok(_) => "the server that has it does not answer".to_owned(),
                    };
                    Finding::warn(check, found, "look at the server's log")
                }
            }
        }
        Err(error) => Finding::fail(check, sentence(&error), "look at the folder's permissions"),
        Ok(folder) if !folder.store().exists() => {
            Finding::ok(check, "SQLite; there is no data yet")
        }
        Ok(folder) => match Truth::open_migrated(&folder.store()) {
            Ok(truth) => {
                let used = truth.store.storage_use().await;
                truth.close().await;
                match used {
                    Ok(StorageUse { blobs, .. }) => {
                        Finding::ok(check, format!("SQLite; no server has it, {blobs} files"))
                    }
                    Err(error) => Finding::fail(check, sentence(&error), broken),
                }
            }
            Err(error) => unopened(&error, check, broken),
        },
    }
}

/// An older schema is nothing bad in itself: the server migrates it. A newer one keeps it from
/// starting.
fn unopened(error: &PartError, check: &str, broken: &str) -> Finding {
    let found = sentence(error);
    match error {
        PartError::Schema(_, OpenError::OlderSchema { .. }) => {
            let mend = "back up with the version before, then start the server or `skeind migrate`";
            Finding::warn(check, found, mend)
        }
        PartError::Schema(_, OpenError::NewerSchema { .. }) => {
            Finding::fail(check, found, "start the version that migrated it, or newer")
        }
        _ => Finding::fail(check, found, broken),
    }
}

/// The bus: reached, with a clock like this one's, and of use to this user.
pub(super) async fn bus(config: &Config, clock: &dyn Clock) -> Vec<Finding> {
    let check = "bus";
    let Some(bus) = &config.bus else {
        return vec![Finding::ok(check, "in the process of the server")];
    };
    let mend = "look at bus.url, the server and its log";
    let redis = match Redis::connect(bus).await {
        Ok(redis) => redis,
        Err(error) => return vec![Finding::fail(check, sentence(&error), mend)],
    };
    let version = match redis.server_version().await {
        Ok(version) => Finding::ok(check, format!("Redis {version} answers")),
        Err(error) => Finding::fail(check, sentence(&error), mend),
    };
    let skew = match redis.clock_offset(clock.now()).await {
        Ok(offset) => Finding::of_clock(check, offset),
        Err(error) => Finding::fail(check, sentence(&error), mend),
    };
    let mut findings = vec![version, skew];
    findings.extend(rights(&redis, &bus.prefix).await);
    findings.push(memory(&redis).await);
    findings
}

/// What the user of the configuration may not do; nothing if it may all.
async fn rights(redis: &Redis, prefix: &str) -> Vec<Finding> {
    let tried = [
        ("run scripts", redis.try_script().await, "EVAL and EVALSHA"),
        ("publish", redis.try_publish().await, "SPUBLISH"),
        ("subscribe", redis.try_subscribe().await, "SSUBSCRIBE and SUNSUBSCRIBE"),
    ];
    let refused = tried.into_iter().filter_map(|(what, tried, commands)| {
        let mend = format!("let the user do {commands} (ACL SETUSER: ~{prefix}* &{prefix}* +@all)");
        Some(Finding::fail("bus", format!("cannot {what}: {}", tried.err()?), mend))
    });
    refused.collect()
}

/// A lease or a code that Redis throws away is lost before its time.
async fn memory(redis: &Redis) -> Finding {
    let check = "bus";
    match redis.memory().await {
        Ok(memory) if memory.evicts() => {
            let (bytes, policy) = (memory.bytes_max, memory.policy);
            let found = format!("with {bytes} bytes full it throws keys away ({policy})");
            Finding::warn(check, found, "CONFIG SET maxmemory-policy noeviction, and in redis.conf")
        }
        Ok(_) => Finding::ok(check, "it throws no keys away"),
        Err(error) => Finding::warn(check, error.to_string(), "look at the server and its log"),
    }
}

/// The object store: takes, finds, lists and deletes a probe.
pub(super) async fn blobs(config: &Config) -> Vec<Finding> {
    let check = "blobs";
    let Some(bucket) = &config.blobs else {
        return vec![Finding::ok(check, format!("in the folder {}", config.data.display()))];
    };
    let mend = "look at blobs.endpoint, the bucket, and what the access key may do there";
    let depot = match Depot::s3(&bucket.config()) {
        Ok(depot) => depot,
        Err(error) => return vec![Finding::fail(check, sentence(&error), mend)],
    };
    vec![match depot.check(BlobId(rand::random())).await {
        Ok(()) => {
            let (name, endpoint) = (&bucket.bucket, &bucket.endpoint);
            Finding::ok(check, format!("{endpoint} keeps, lists and deletes in {name}"))
        }
        Err(error) => Finding::fail(check, sentence(&error), mend),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The migrations of an empty file have yet to run, as those of an earlier version's have.
    #[tokio::test]
    async fn the_doctor_leaves_the_schema_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().join("data"), ..Config::default() };
        let store = DataFolder::take(&config.data).unwrap().store();
        std::fs::write(&store, "").unwrap();
        let finding = file(&config).await;
        assert_eq!(finding.verdict, super::super::Verdict::Warn, "{finding:?}");
        assert!(finding.found.contains("has schema 0"), "{finding:?}");
        assert_eq!(std::fs::read(&store).unwrap(), b"");
        drop(Truth::open(&store).unwrap());
        let finding = file(&config).await;
        assert_eq!(finding.verdict, super::super::Verdict::Ok, "{finding:?}");
    }
}
