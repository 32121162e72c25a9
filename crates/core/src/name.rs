//! Text that people write: parsed once at the edge, trusted from then on.

use std::fmt;

use thiserror::Error;

use crate::limit;

/// Why a piece of text was not accepted. The message says what would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadText {
    /// Not an account name.
    #[error(
        "a name is 1 to {} letters, digits, '.', '-' or '_', and starts with a letter or digit",
        limit::NAME_CHARS_MAX
    )]
    Name,
    /// Not an e-mail address.
    #[error(
        "an e-mail address looks like name@example.org, at most {} bytes",
        limit::EMAIL_BYTES_MAX
    )]
    Email,
    /// Not a file name.
    #[error(
        "a file name is 1 to {} bytes, without '/', '\\' or control characters, and not '.' or '..'",
        limit::FILE_NAME_BYTES_MAX
    )]
    FileName,
    /// Not a media type.
    #[error("a media type looks like image/jpeg, at most {} bytes", limit::MEDIA_TYPE_BYTES_MAX)]
    MediaType,
    /// Not the text of a message.
    #[error("a text is 1 to {} bytes and not all white space", limit::TEXT_BYTES_MAX)]
    Text,
    /// Not a greeting or remark.
    #[error(
        "a greeting or remark is at most {} bytes, without control characters",
        limit::NOTE_BYTES_MAX
    )]
    Note,
    /// Not a password.
    #[error(
        "a password has at least {} characters and at most {} bytes",
        limit::PASSWORD_CHARS_MIN,
        limit::PASSWORD_BYTES_MAX
    )]
    Password,
    /// Not a device name.
    #[error(
        "a device name is 1 to {} bytes, without control characters",
        limit::DEVICE_NAME_BYTES_MAX
    )]
    DeviceName,
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $error:ident, $accept:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Accepts `text` or says what would be accepted.
            ///
            /// # Errors
            #[doc = concat!("[`BadText::", stringify!($error), "`].")]
            pub fn parse(text: impl Into<String>) -> Result<Self, BadText> {
                let text = text.into();
                let accept: fn(&str) -> bool = $accept;
                if accept(&text) { Ok(Self(text)) } else { Err(BadText::$error) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// An account's name, as its owner writes it. Unique without regard to case: see
    /// [`Username::key`].
    Username, Name, is_name
}
text! {
    /// An e-mail address. Unique without regard to ASCII case: see [`Email::key`].
    Email, Email, is_email
}
text! {
    /// The last component of a path, safe to create in a folder.
    FileName, FileName, is_file_name
}
text! {
    /// An Internet media type (RFC 6838, section 4.2), without parameters.
    MediaType, MediaType, is_media_type
}
text! {
    /// The text of a message.
    Text, Text, |text| {
        text.len() <= limit::TEXT_BYTES_MAX && !text.trim().is_empty() && !text.contains('\0')
    }
}
text! {
    /// A greeting on a contact request, or the remark that one keeps about a contact. May be empty.
    Note, Note, |text| text.len() <= limit::NOTE_BYTES_MAX && !text.chars().any(char::is_control)
}
text! {
    /// What a person calls a device, shown in the list of sessions.
    DeviceName, DeviceName, |text| {
        (1..=limit::DEVICE_NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
    }
}

impl Username {
    /// The form in which names are compared.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

impl Email {
    /// The form in which addresses are compared.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl MediaType {
    /// Whether the bytes claim to be a picture.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.0.starts_with("image/")
    }
}

/// A password on its way to the hash. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Accepts a password to be set.
    ///
    /// # Errors
    /// [`BadText::Password`] if it is too short or too long.
    pub fn parse(text: impl Into<String>) -> Result<Self, BadText> {
        let text = text.into();
        let long_enough = text.chars().count() >= limit::PASSWORD_CHARS_MIN;
        if long_enough && text.len() <= limit::PASSWORD_BYTES_MAX {
            Ok(Self(text))
        } else {
            Err(BadText::Password)
        }
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(char::is_alphanumeric)
        && chars.all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
        && text.chars().count() <= limit::NAME_CHARS_MAX
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    text.len() <= limit::EMAIL_BYTES_MAX
        && !local.is_empty()
        && local.chars().all(atom)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && domain.split('.').all(label)
}

fn is_file_name(text: &str) -> bool {
    (1..=limit::FILE_NAME_BYTES_MAX).contains(&text.len())
        && text != "."
        && text != ".."
        && !text.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'))
}

fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
    };
    text.len() <= limit::MEDIA_TYPE_BYTES_MAX
        && text.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_and_refuses() {
        for name in ["alice", "李雷", "a.b-c_1", "0"] {
            assert!(Username::parse(name).is_ok(), "{name}");
        }
        for name in ["", "_a", "a b", "a/b", "a\n", &"x".repeat(33)] {
            assert_eq!(Username::parse(name), Err(BadText::Name), "{name:?}");
        }
        for email in ["a@example.org", "first.last+tag@mail.example.org", "root@localhost"] {
            assert!(Email::parse(email).is_ok(), "{email}");
        }
        for email in ["", "a", "@b", "a@", "a b@c.d", "a@b..c", ".a@b.c", "a@b\r\nBcc: c@d.e"] {
            assert_eq!(Email::parse(email), Err(BadText::Email), "{email:?}");
        }
        for name in ["photo.jpg", "照片 1.png", "..."] {
            assert!(FileName::parse(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "../../etc/passwd", "a\\b", "a\u{7}b", &"x".repeat(256)] {
            assert_eq!(FileName::parse(name), Err(BadText::FileName), "{name:?}");
        }
        assert!(MediaType::parse("image/svg+xml").is_ok());
        for kind in ["", "image", "image/", "/png", "a/b/c", "text/plain; charset=utf-8"] {
            assert_eq!(MediaType::parse(kind), Err(BadText::MediaType), "{kind:?}");
        }
        assert!(Text::parse(" \n").is_err());
        assert!(Password::parse("sieben7").is_err());
        assert_eq!(format!("{:?}", Password::parse("long enough").ok()), "Some(Password(…))");
    }
}
