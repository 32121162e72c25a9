//! Configuration from a TOML file, then the environment, then flags: the later wins.
//!
//! In the environment a key is written `SKEIN_` and its path in capitals, with two underscores for
//! each dot: `chat.sessions_max` is `SKEIN_CHAT__SESSIONS_MAX`.

use std::path::Path;

use figment::{
    Figment, Source,
    error::Kind,
    providers::{Env, Format, Serialized, Toml},
};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// What every variable of the server begins with.
const PREFIX: &str = "SKEIN_";
/// Variables with that beginning that belong to the client or to the tests.
const NOT_OURS: &[&str] = &["config", "home", "log", "server", "seed", "seeds", "write_vectors"];

/// A configuration that is not accepted: where, which key, and what would be.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{place}: {key}: {problem}")]
pub struct ConfigError {
    /// The file, the variable or the flags.
    pub place: String,
    /// The key, with dots.
    pub key: String,
    /// What is wrong and what would be accepted.
    pub problem: String,
}

/// Reads the configuration: the defaults of `T`, then `file`, then the environment, then `flags`,
/// of which only what is set counts.
///
/// # Errors
/// [`ConfigError`] for the first key that is not accepted.
pub fn load<T, F>(file: Option<&Path>, flags: &F) -> Result<T, ConfigError>
where
    T: Default + Serialize + DeserializeOwned,
    F: Serialize,
{
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    if let Some(file) = file {
        if !file.is_file() {
            return Err(ConfigError {
                place: file.display().to_string(),
                key: "--config".into(),
                problem: "there is no such file".into(),
            });
        }
        figment = figment.merge(Toml::file_exact(file));
    }
    let figment = figment
        .merge(Env::prefixed(PREFIX).ignore(NOT_OURS).split("__"))
        .merge(Serialized::defaults(flags));
    figment.extract().map_err(|error| explain(&error, file))
}

fn explain(error: &figment::Error, file: Option<&Path>) -> ConfigError {
    let mut path = error.path.clone();
    let problem = match &error.kind {
        Kind::UnknownField(field, expected) => {
            if path.last() != Some(field) {
                path.push(field.clone());
            }
            format!("unknown key; expected one of {}", expected.join(", "))
        }
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            format!("expected {expected}, found {actual}")
        }
        Kind::UnknownVariant(found, expected) => {
            format!("expected one of {}, found {found}", expected.join(", "))
        }
        Kind::MissingField(field) => {
            path.push(field.to_string());
            "is missing".into()
        }
        other => other.to_string(),
    };
    let place = match error.metadata.as_ref() {
        Some(metadata) => match &metadata.source {
            Some(Source::File(path)) => path.display().to_string(),
            _ if metadata.name.contains("environment") => {
                format!("{PREFIX}{}", path.join("__").to_uppercase())
            }
            _ => "the command line".into(),
        },
        // An unknown key has no value that could be traced: look where it can come from.
        None => unknown_place(&path, file),
    };
    ConfigError { place, key: path.join("."), problem }
}

fn unknown_place(path: &[String], file: Option<&Path>) -> String {
    let variable = format!("{PREFIX}{}", path.join("__").to_uppercase());
    match file {
        Some(file) if std::env::var_os(&variable).is_none() => file.display().to_string(),
        _ => variable,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        port: u16,
        name: Option<String>,
        inner: Inner,
    }

    #[derive(Debug, Serialize, Deserialize, PartialEq, Default)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        level: u32,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self { port: 1, name: None, inner: Inner::default() }
        }
    }

    #[derive(Serialize, Default)]
    struct Flags {
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    }

    fn load_text(name: &str, text: &str, flags: &Flags) -> (Result<Sample, ConfigError>, String) {
        let path = std::env::temp_dir().join(format!("skein-{name}-{}.toml", std::process::id()));
        fs::write(&path, text).expect("the temporary folder takes files");
        let loaded = load(Some(&path), flags);
        fs::remove_file(&path).expect("the file is ours");
        (loaded, path.display().to_string())
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let (loaded, _) =
            load_text("wins", "port = 2\n[inner]\nlevel = 7", &Flags { port: Some(3) });
        let expected = Sample { port: 3, name: None, inner: Inner { level: 7 } };
        assert_eq!(loaded, Ok(expected));
    }

    #[test]
    fn errors_name_the_file_the_key_and_the_accepted_form() {
        for (name, text, key, problem) in [
            ("unknown", "prot = 2", "prot", "unknown key; expected one of port, name, inner"),
            ("deep", "[inner]\nlvel = 2", "inner.lvel", "unknown key; expected one of level"),
            ("type", "port = \"x\"", "port", "expected u16, found string \"x\""),
        ] {
            let (loaded, place) = load_text(name, text, &Flags::default());
            let error = loaded.expect_err(name);
            assert_eq!((error.key.as_str(), error.problem.as_str()), (key, problem));
            assert!(error.place.ends_with(place.rsplit('/').next().expect("a name")), "{error}");
        }
        let missing = load::<Sample, _>(Some(Path::new("/nonexistent.toml")), &Flags::default());
        assert_eq!(missing.expect_err("no file").key, "--config");
    }
}
