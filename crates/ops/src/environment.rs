//! The environment as configuration: one variable for each key.
//!
//! A value is read as TOML would read it, with one exception: a secret is text as it is written,
//! since as a number `0123` would lose its nought, and as a list `[x]` its brackets.

use figment::{
    Error, Metadata, Profile, Provider,
    util::nest,
    value::{Dict, Map, Value},
};

/// What every variable of the server begins with.
const PREFIX: &str = "SKEIN_";
/// Variables with that beginning that belong to the client or to the tests.
const NOT_OURS: &[&str] = &["config", "home", "log", "server", "seed", "seeds", "write_vectors"];
/// Last parts of the keys that hold a [`Secret`](crate::secret::Secret).
const SECRETS: &[&str] = &["password", "secret_key"];

/// One variable.
#[derive(Debug)]
pub(crate) struct Variable {
    key: String,
    value: Value,
}

impl Variable {
    /// The variable with this name and value; `None` if the server does not look at it.
    pub(crate) fn new(name: &str, value: &str) -> Option<Self> {
        let beginning = name.get(..PREFIX.len())?;
        if !beginning.eq_ignore_ascii_case(PREFIX) {
            return None;
        }
        let key = name[PREFIX.len()..].to_lowercase().replace("__", ".");
        let last = key.rsplit('.').next().unwrap_or_default();
        if key.is_empty() || NOT_OURS.contains(&key.as_str()) {
            return None;
        }
        let value = if SECRETS.contains(&last) {
            Value::from(value)
        } else {
            value.parse().unwrap_or_else(|_| Value::from(value))
        };
        Some(Self { key, value })
    }

    /// The variables of this process. One that is no text is none of ours.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        std::env::vars_os().filter_map(|(name, value)| Self::new(name.to_str()?, value.to_str()?))
    }
}

/// How the variable for this key is called.
pub(crate) fn name(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join("__").to_uppercase())
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let nested = nest(&self.key, self.value.clone()).into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(nested))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_as_it_is_written_and_other_values_are_as_in_toml() {
        let read = |name, value| {
            let variable = Variable::new(name, value).expect("ours");
            (variable.key, variable.value)
        };
        for written in ["123456", "0123", "1.50", "true", "[x]", "\"quoted\"", " x ", ""] {
            let (key, value) = read("SKEIN_VERIFY__SMTP__PASSWORD", written);
            assert_eq!(key, "verify.smtp.password");
            assert_eq!(value.as_str(), Some(written));
        }
        let (key, value) = read("skein_chat__sessions_max", "5000");
        assert_eq!((key.as_str(), value.to_u128()), ("chat.sessions_max", Some(5000)));
    }

    #[test]
    fn what_is_not_the_servers_is_not_looked_at() {
        for name in ["SKEIN_HOME", "SKEIN_", "PATH", "SKEI", "é_é_é_é"] {
            assert!(Variable::new(name, "x").is_none(), "{name}");
        }
    }
}
