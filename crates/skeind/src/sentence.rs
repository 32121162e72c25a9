//! Errors for people: one sentence with its causes.

use std::error::Error;

/// The error's words, and those of its causes that it does not say itself.
#[must_use]
pub fn sentence(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !sentence.contains(&words) {
            sentence = format!("{sentence}: {words}");
        }
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Told {
        words: &'static str,
        #[source]
        source: std::io::Error,
    }

    #[test]
    fn says_each_cause_once() {
        let because = |words| Told { words, source: std::io::Error::other("it is full") };
        assert_eq!(sentence(&because("no room")), "no room: it is full");
        assert_eq!(sentence(&because("no: it is full")), "no: it is full");
    }
}
