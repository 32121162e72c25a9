//! What goes to stdout: sentences for people, or one JSON object a line for programs.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use serde_json::{Value, json};

use crate::failure::Failure;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints one result: the sentence to people, the object to programs.
    pub(crate) fn line(self, sentence: &str, object: &Value) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written =
            if self.json { writeln!(stdout, "{object}") } else { writeln!(stdout, "{sentence}") };
        // Each line on its own: who watches through a pipe wants it now.
        written.and_then(|()| stdout.flush()).map_err(Failure::Output)
    }

    /// Tells of a state that has changed: people beside the results, programs among them.
    pub(crate) fn status(self, name: &str, caught_up: bool, sentence: &str) -> Result<(), Failure> {
        if self.json {
            return self.line(
                sentence,
                &json!({
                    "event": "status",
                    "status": name,
                    "caught_up": caught_up,
                    "message": sentence,
                }),
            );
        }
        self.remark(sentence);
        Ok(())
    }

    /// Tells people something beside the result, such as that there is none. Programs see that.
    pub(crate) fn remark(self, sentence: &str) {
        if !self.json {
            // It is only a remark.
            writeln!(io::stderr(), "{sentence}").ok();
        }
    }
}

/// Tells people and programs alike, beside the result, that something did not go well.
pub(crate) fn complain(sentence: &str) {
    // There is nobody left to tell if this fails.
    writeln!(io::stderr(), "skein: {sentence}").ok();
}

/// Someone else's text in a form that does nothing to a terminal: control characters, and those
/// that turn the direction of what follows, are written out.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for char in text.chars() {
        let turns = matches!(
            char,
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        );
        if char.is_control() || turns {
            // Writing to a string cannot fail.
            write!(printable, "{}", char.escape_default()).ok();
        } else {
            printable.push(char);
        }
    }
    printable
}

/// A text of several lines, each printable, those after the first set off.
pub(crate) fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join("\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_peoples_text_does_nothing_to_a_terminal() {
        assert_eq!(printable("好 \u{1b}[2Jx\u{7}"), "好 \\u{1b}[2Jx\\u{7}");
        assert_eq!(printable("a\rb\u{202e}c\u{9b}"), "a\\rb\\u{202e}c\\u{9b}");
        assert_eq!(printable_lines("one\ntwo\r\n\u{1b}c"), "one\n    two\n    \\u{1b}c");
    }
}
