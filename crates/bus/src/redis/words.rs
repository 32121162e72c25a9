//! Errors of the library in words for people: its own are made of Rust's debug output.

use std::io;

use fred::error::{Error, ErrorKind};

/// What went wrong, to follow a colon.
pub(super) fn words(error: &Error) -> String {
    let details = error.details().trim_end_matches('.');
    match error.kind() {
        ErrorKind::IO => of_io(details),
        ErrorKind::Tls => format!("TLS failed: {}", of_debug(details)),
        ErrorKind::Auth => format!("it does not let us in: {details}"),
        ErrorKind::Timeout => "it does not answer in time".to_owned(),
        ErrorKind::Canceled => "the connection was lost meanwhile".to_owned(),
        ErrorKind::Backpressure => "too many commands wait for it already".to_owned(),
        _ => details.to_owned(),
    }
}

/// What the library made of an [`io::Error`] by `{:?}`, or said itself.
fn of_io(details: &str) -> String {
    let field = |name: &str| Some(details.split_once(name)?.1);
    if details.starts_with("Os {") {
        let code = field("code: ").and_then(|rest| rest.split(',').next()?.parse().ok());
        if let Some(code) = code {
            return io::Error::from_raw_os_error(code).to_string();
        }
    }
    if details.starts_with("Custom {")
        && let Some(cause) = field("error: ")
    {
        let cause = cause.strip_suffix('}').unwrap_or(cause).trim_end();
        return match cause.strip_prefix("InvalidCertificate(") {
            Some(why) => {
                let why = spaced(why.strip_suffix(')').unwrap_or(why));
                format!("its certificate is not accepted: {why}")
            }
            None => of_debug(cause),
        };
    }
    if details.starts_with("Error {")
        && let Some(message) = field("message: ")
    {
        return of_debug(message.strip_suffix('}').unwrap_or(message).trim_end());
    }
    let kind = details.strip_prefix("Kind(").and_then(|kind| kind.strip_suffix(')'));
    kind.map_or_else(|| details.to_owned(), spaced)
}

/// A text in quotation marks without them; the name of a variant as words.
fn of_debug(text: &str) -> String {
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    quoted.map_or_else(|| spaced(text), str::to_owned)
}

/// `UnexpectedEof` as "unexpected eof"; what is no such name stays.
fn spaced(name: &str) -> String {
    if !name.chars().all(char::is_alphanumeric) {
        return name.to_owned();
    }
    let mut words = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for char in name.chars() {
        if after_small && char.is_uppercase() {
            words.push(' ');
        }
        after_small = char.is_lowercase();
        words.extend(char.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_words() {
        let io = |error: io::Error| words(&Error::from(error));
        let refused = io(io::Error::from_raw_os_error(111));
        assert_eq!(refused, "Connection refused (os error 111)");
        assert_eq!(io(io::ErrorKind::UnexpectedEof.into()), "unexpected eof");
        assert_eq!(io(io::Error::other("no such host")), "no such host");
        assert_eq!(io(io::Error::other(rustls_error())), CERTIFICATE);
        let told = |kind, details: &'static str| words(&Error::new(kind, details));
        assert_eq!(told(ErrorKind::IO, "the connection was closed"), "the connection was closed");
        assert_eq!(
            told(ErrorKind::Auth, "WRONGPASS invalid username-password pair or user is disabled."),
            "it does not let us in: WRONGPASS invalid username-password pair or user is disabled"
        );
        assert_eq!(told(ErrorKind::Timeout, "Request timed out."), "it does not answer in time");
        assert_eq!(told(ErrorKind::Unknown, "LOADING wait"), "LOADING wait");
    }

    const CERTIFICATE: &str = "its certificate is not accepted: unknown issuer";

    fn rustls_error() -> rustls::Error {
        rustls::CertificateError::UnknownIssuer.into()
    }
}
