//! Configuration from a TOML file, then the environment, then flags: the later wins.
//!
//! In the environment a key is written `SKEIN_` and its path in capitals, with two underscores for
//! each dot: `chat.sessions_max` is `SKEIN_CHAT__SESSIONS_MAX`.

use std::path::Path;

use figment::{
    Figment, Source,
    error::{Actual, Kind},
    providers::{Format, Serialized, Toml},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _, Unexpected},
};
use thiserror::Error;

use crate::environment::{self, Variable};

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
    load_with(file, Variable::all(), flags)
}

/// Reads a number of which zero would not mean "none" or "no limit" but a server that serves nobody:
/// for `#[serde(deserialize_with = "positive")]`.
///
/// # Errors
/// If it is zero, or no such number.
pub fn positive<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default + PartialEq,
{
    let number = T::deserialize(deserializer)?;
    if number == T::default() {
        return Err(D::Error::invalid_value(Unexpected::Unsigned(0), &"a number above zero"));
    }
    Ok(number)
}

fn load_with<T, F>(
    file: Option<&Path>,
    environment: impl Iterator<Item = Variable>,
    flags: &F,
) -> Result<T, ConfigError>
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
    let figment = environment.fold(figment, Figment::merge).merge(Serialized::defaults(flags));
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
        // Anything may be a secret that was put in the wrong place, so it is not shown.
        Kind::InvalidType(actual, expected) => {
            format!("expected {expected}, found {}", type_of(actual))
        }
        // Only numbers and the like are of the right type and yet not accepted.
        Kind::InvalidValue(actual, expected) => format!("expected {expected}, found {actual}"),
        Kind::UnknownVariant(found, expected) => {
            format!("expected one of {}, found {found}", expected.join(", "))
        }
        Kind::MissingField(field) => {
            path.push(field.to_string());
            "is missing".into()
        }
        other => without_source(&other.to_string()),
    };
    let place = match error.metadata.as_ref() {
        Some(metadata) => match &metadata.source {
            Some(Source::File(path)) => path.display().to_string(),
            _ if metadata.name == "environment" => environment::name(&path),
            _ => "the command line".into(),
        },
        // An unknown key has no value that could be traced: look where it can come from.
        None => unknown_place(&path, file),
    };
    ConfigError { place, key: path.join("."), problem }
}

/// What a value is, without the value.
fn type_of(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) => "a string",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "something else",
    }
}

/// The TOML parser quotes the line that it does not understand, in which a secret may be. Its
/// quotations are the lines with a bar after the line's number.
fn without_source(message: &str) -> String {
    let is_quotation = |line: &&str| {
        let numbered = |c: char| c.is_ascii_digit() || c.is_whitespace();
        line.trim_start_matches(numbered).starts_with('|')
    };
    message.lines().filter(|line| !is_quotation(line)).collect::<Vec<_>>().join(", ")
}

fn unknown_place(path: &[String], file: Option<&Path>) -> String {
    let variable = environment::name(path);
    match file {
        Some(file) if std::env::var_os(&variable).is_none() => file.display().to_string(),
        _ => variable,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::secret::Secret;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        #[serde(deserialize_with = "positive")]
        port: u16,
        name: Option<String>,
        inner: Inner,
    }

    #[derive(Debug, Serialize, Deserialize, PartialEq, Default)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        level: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        password: Option<Secret>,
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
        let expected = Sample { port: 3, name: None, inner: Inner { level: 7, password: None } };
        assert_eq!(loaded, Ok(expected));
    }

    #[test]
    fn errors_name_the_file_the_key_and_the_accepted_form() {
        for (name, text, key, problem) in [
            ("unknown", "prot = 2", "prot", "unknown key; expected one of port, name, inner"),
            (
                "deep",
                "[inner]\nlvel = 2",
                "inner.lvel",
                "unknown key; expected one of level, password",
            ),
            ("type", "port = \"x\"", "port", "expected u16, found a string"),
            ("zero", "port = 0", "port", "expected a number above zero, found unsigned int `0`"),
            ("less", "port = -1", "port", "expected u16, found signed int `-1`"),
        ] {
            let (loaded, place) = load_text(name, text, &Flags::default());
            let error = loaded.expect_err(name);
            assert_eq!((error.key.as_str(), error.problem.as_str()), (key, problem));
            assert!(error.place.ends_with(place.rsplit('/').next().expect("a name")), "{error}");
        }
        let missing = load::<Sample, _>(Some(Path::new("/nonexistent.toml")), &Flags::default());
        assert_eq!(missing.expect_err("no file").key, "--config");
    }

    #[test]
    fn a_secret_is_taken_as_it_is_written() {
        let variable = Variable::new("SKEIN_INNER__PASSWORD", "0123");
        let loaded: Sample =
            load_with(None, variable.into_iter(), &Flags::default()).expect("a password");
        assert_eq!(loaded.inner.password, Some(Secret::new("0123")));
        let (loaded, _) = load_text("digits", "[inner]\npassword = 123456", &Flags::default());
        assert_eq!(loaded.expect("a password").inner.password, Some(Secret::new("123456")));
    }

    #[test]
    fn no_error_shows_what_may_be_a_secret() {
        for (name, text) in [
            ("bare", "[inner]\npassword = hunter2"),
            ("open", "[inner]\npassword = \"hunter2"),
            ("list", "[inner]\npassword = [\"hunter2\"]"),
            ("table", "inner = \"mail:hunter2@mail.example.org\""),
            ("long", "[inner]\nlevel = \"hunter2\""),
        ] {
            let (loaded, _) = load_text(name, text, &Flags::default());
            let error = loaded.expect_err(name).to_string();
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        }
        let variable = Variable::new("SKEIN_INNER", "123456");
        let error = load_with::<Sample, _>(None, variable.into_iter(), &Flags::default());
        let error = error.expect_err("no table").to_string();
        assert!(error.starts_with("SKEIN_INNER: inner: expected"), "{error}");
        assert!(!error.contains("123456"), "{error}");
    }
}
