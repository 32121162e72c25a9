//! The text form of a login token, and the hash by which the server knows it.

use data_encoding::BASE64URL_NOPAD;

/// What every token begins with, so that scanners for leaked secrets can tell it from noise.
pub const TOKEN_PREFIX: &str = "skein_";
/// Random bytes in a token.
pub const TOKEN_SECRET_BYTES: usize = 32;
/// Characters in a token: the prefix and 32 bytes in base64 without padding.
pub const TOKEN_CHARS: usize = TOKEN_PREFIX.len() + 43;

/// The token of these random bytes: `skein_` and 43 characters of base64url.
#[must_use]
pub fn token_text(secret: &[u8; TOKEN_SECRET_BYTES]) -> String {
    format!("{TOKEN_PREFIX}{}", BASE64URL_NOPAD.encode(secret))
}

/// Whether the text has the form of a token. Says nothing about whether it is valid.
#[must_use]
pub fn is_token(text: &str) -> bool {
    text.len() == TOKEN_CHARS
        && text
            .strip_prefix(TOKEN_PREFIX)
            .is_some_and(|secret| BASE64URL_NOPAD.decode(secret.as_bytes()).is_ok())
}

/// The BLAKE3 of a token's text, which is all that the store keeps. A token is as random as the
/// hash is long, so neither salt nor slowness would add anything. The result is stored: stable.
#[must_use]
pub fn hash_token(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_one_form_and_a_stable_hash() {
        let token = token_text(&[0xfb; TOKEN_SECRET_BYTES]);
        assert_eq!(token, "skein_-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s");
        assert!(is_token(&token));
        for other in ["", "skein_", &token[1..], &format!("{token}A"), &token.replace('v', "+")] {
            assert!(!is_token(other), "{other}");
        }
        assert_eq!(hash_token(""), *blake3::hash(b"").as_bytes());
        assert_ne!(hash_token(&token), hash_token(&token_text(&[0; 32])));
    }
}
