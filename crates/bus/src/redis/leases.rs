//! Leases on Redis: the names of a group are fields of one hash, so that they can be listed, with a
//! sorted set beside it that says when each ends. What the scripts do is told in `script/*.lua`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::types::Value;

use super::{
    Redis,
    command::millis,
    script::{ACQUIRE, HELD, RELEASE, RENEW},
};
use crate::{
    Unavailable,
    lease::{Epoch, Held, Leases, group},
    size,
};

/// Leases of one group that are held at a time.
const LEASES_MAX: i64 = 100_000;
/// How long a group is remembered after its last lease. What is remembered is the last epoch, in
/// case that the clock is set back.
const GROUP_MEMORY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Redis {
    /// The keys of a group. The braces bring all three to one server of a cluster; the word in
    /// them is there because empty braces would not.
    fn group_keys(&self, name: &str) -> Vec<String> {
        let group = group(name);
        let key = |what| self.commands.key(format_args!("{{lease/{group}}}/{what}"));
        vec![key("held"), key("ends"), key("epoch")]
    }
}

#[async_trait]
impl Leases for Redis {
    async fn acquire(
        &self,
        name: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<Option<Epoch>, Unavailable> {
        size::check(name, value)?;
        let arguments =
            vec![name.into(), bytes(value), micros(lifetime), LEASES_MAX.into(), memory(lifetime)];
        let epoch: Option<u64> =
            self.commands.script(&ACQUIRE, self.group_keys(name), arguments).await?;
        Ok(epoch.map(Epoch))
    }

    async fn renew(
        &self,
        name: &str,
        epoch: Epoch,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<bool, Unavailable> {
        size::check(name, value)?;
        let arguments = vec![
            name.into(),
            epoch.0.to_string().into(),
            bytes(value),
            micros(lifetime),
            memory(lifetime),
        ];
        self.commands.script(&RENEW, self.group_keys(name), arguments).await
    }

    async fn release(&self, name: &str, epoch: Epoch) -> Result<bool, Unavailable> {
        let arguments = vec![name.into(), epoch.0.to_string().into()];
        self.commands.script(&RELEASE, self.group_keys(name), arguments).await
    }

    async fn held(&self, prefix: &str) -> Result<Vec<Held>, Unavailable> {
        let keys = self.group_keys(prefix);
        let list: Vec<Bytes> = self.commands.script(&HELD, keys, vec![prefix.into()]).await?;
        let mut held = Vec::with_capacity(list.len() / 2);
        for pair in list.chunks_exact(2) {
            let name = String::from_utf8(pair[0].to_vec());
            let name = name.map_err(|_| Unavailable("a lease has a name of garbage".into()))?;
            held.push(Held { name, value: pair[1].to_vec() });
        }
        held.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(held)
    }
}

fn bytes(value: &[u8]) -> Value {
    Value::Bytes(Bytes::copy_from_slice(value))
}

fn micros(lifetime: Duration) -> Value {
    (millis(lifetime) * 1_000).into()
}

fn memory(lifetime: Duration) -> Value {
    millis(lifetime.saturating_add(GROUP_MEMORY)).into()
}
