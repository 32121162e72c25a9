//! Expiring keys on Redis: each one a string with a time to live.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::{
    interfaces::KeysInterface,
    types::{Expiration, Value},
};

use super::{Redis, command::millis, script::INCREMENT};
use crate::{
    Unavailable,
    key::{Counter, Keys},
    size,
};

impl Redis {
    fn key_of(&self, name: &str) -> String {
        self.commands.key(format_args!("key/{name}"))
    }
}

#[async_trait]
impl Keys for Redis {
    async fn put(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), Unavailable> {
        size::check(key, value)?;
        let key = self.key_of(key);
        let value = Value::Bytes(Bytes::copy_from_slice(value));
        let expiration = Some(Expiration::PX(millis(lifetime)));
        let set = async |client: &fred::clients::Client| {
            client.set::<(), _, _>(key, value, expiration, None, false).await
        };
        self.commands.run("put", set).await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let key = self.key_of(key);
        let value: Value = self.commands.run("get", async |client| client.get(key).await).await?;
        match value {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes.into())),
            Value::String(text) => Ok(Some(text.as_bytes().to_vec())),
            _ => Err(Unavailable("the key holds something that is no value".into())),
        }
    }

    async fn delete(&self, key: &str) -> Result<bool, Unavailable> {
        let key = self.key_of(key);
        let deleted: u64 =
            self.commands.run("delete", async |client| client.del(key).await).await?;
        Ok(deleted > 0)
    }

    async fn increment(&self, key: &str, lifetime: Duration) -> Result<Counter, Unavailable> {
        size::check(key, &[])?;
        let keys = vec![self.key_of(key)];
        let (count, left_ms): (u64, u64) =
            self.commands.script(&INCREMENT, keys, vec![millis(lifetime).into()]).await?;
        Ok(Counter { count, expires_in: Duration::from_millis(left_ms) })
    }
}
