//! A secret in the configuration: read like any text, never printed.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// What is shown in place of a secret.
const REDACTED: &str = "[redacted]";

/// Text that neither `Debug` nor `Serialize` gives away, so that `skeind config` and a log line with
/// the whole configuration in it stay harmless.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for whoever has to use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text)
    }
}

/// Takes text, and for whole numbers and booleans their usual form, since quotation marks are easily
/// forgotten around digits. A fraction is refused, as `1.50` would become another secret.
struct Text;

impl Visitor<'_> for Text {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret in quotation marks")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Secret, E> {
        Ok(Secret::new(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Secret, E> {
        Ok(Secret::new(number.to_string()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Secret, E> {
        Ok(Secret::new(number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
        Err(E::custom("a secret takes quotation marks"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_and_not_printed() {
        let secret: Secret = serde_json::from_str(r#""hunter2""#).expect("a string");
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(format!("{secret:?}"), REDACTED);
        assert_eq!(serde_json::to_string(&secret).expect("a string"), r#""[redacted]""#);
    }

    #[test]
    fn digits_are_text_and_a_fraction_is_refused_unseen() {
        for (written, secret) in [("123456", "123456"), ("-1", "-1"), ("true", "true")] {
            let read: Secret = serde_json::from_str(written).expect("a secret");
            assert_eq!(read.expose(), secret);
        }
        let error = serde_json::from_str::<Secret>("1.50").expect_err("ambiguous").to_string();
        assert!(!error.contains("1.5"), "{error}");
    }
}
