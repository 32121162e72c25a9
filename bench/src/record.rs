//! Puts the table of a run into a Markdown file, in place of the table of an earlier run.
//!
//! The file says itself what stands where: a line that is nothing but a command in backticks, and
//! after it, past blank lines, the table of that command as a fenced block. All else stays.

use std::{
    fs,
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::NamedTempFile;
use thiserror::Error;

/// What a fenced block begins and ends with, at least.
const FENCE: &str = "```";
/// Options that say where results go, and whether a value follows them. They change no figure.
const WHERE_RESULTS_GO: [(&str, bool); 3] =
    [("--json", false), ("--plots", true), ("--record", true)];

/// Where a table is to be put.
pub(crate) struct Record {
    file: PathBuf,
    command: String,
    date: String,
}

/// Why a table cannot be put into a file.
#[derive(Debug, Error)]
pub(crate) enum Unrecordable {
    /// The file could not be read or written.
    #[error("{0}")]
    Machine(#[from] io::Error),
    /// Nothing in the file says that this command's table belongs there.
    #[error(
        "it has no line `{0}`: add that line, with the backticks and nothing else, and an empty \
         fenced block after it"
    )]
    NoPlace(String),
    /// The place has no block.
    #[error("after its line `{0}` something else comes first: add an empty fenced block after it")]
    NoBlock(String),
    /// More than one place says so.
    #[error("it has the line `{0}` more than once: leave one of them")]
    Twice(String),
    /// A block goes on to the end of the file.
    #[error("its last fenced block has no end: add a line ```")]
    Unended,
}

/// The command as people read it, without where results go.
pub(crate) fn command(words: impl IntoIterator<Item = String>) -> String {
    let mut words = words.into_iter().skip(1);
    let mut command = env!("CARGO_PKG_NAME").to_owned();
    while let Some(word) = words.next() {
        let (name, has_value) = match word.split_once('=') {
            Some((name, _)) => (name, true),
            None => (&*word, false),
        };
        match WHERE_RESULTS_GO.iter().find(|(option, _)| *option == name) {
            Some((_, takes_value)) => {
                if *takes_value && !has_value {
                    words.next();
                }
            }
            None if word.contains(char::is_whitespace) => {
                command.push_str(&format!(" \"{word}\""));
            }
            None => command.push_str(&format!(" {word}")),
        }
    }
    command
}

impl Record {
    /// A place in a file for the table of a command, before that has run.
    ///
    /// # Errors
    /// If the file has none.
    pub(crate) fn find(file: PathBuf, command: String) -> Result<Self, Unrecordable> {
        block(&fs::read_to_string(&file)?, &command)?;
        let date = Command::new("date").args(["-u", "+%F"]).output()?;
        let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
        Ok(Self { file, command, date })
    }

    /// The file.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Puts the table there. The file is the old one or the new one at any time.
    ///
    /// # Errors
    /// If the file has lost its place meanwhile, or cannot be written.
    pub(crate) fn put(&self, table: &str) -> Result<(), Unrecordable> {
        let text = fs::read_to_string(&self.file)?;
        let dated = format!("{}: {table}", self.date);
        let text = replace(&text, &self.command, &dated)?;
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut new = NamedTempFile::new_in(folder.unwrap_or_else(|| Path::new(".")))?;
        new.write_all(text.as_bytes())?;
        new.as_file().set_permissions(fs::metadata(&self.file)?.permissions())?;
        new.as_file().sync_all()?;
        new.persist(&self.file).map_err(|unmoved| unmoved.error)?;
        Ok(())
    }
}

/// The text with this table in the command's block.
fn replace(text: &str, command: &str, table: &str) -> Result<String, Unrecordable> {
    let Range { start, end } = block(text, command)?;
    Ok(format!("{}{}\n{}", &text[..start], table.trim_end(), &text[end..]))
}

/// Where the lines between the fences of the command's block are.
fn block(text: &str, command: &str) -> Result<Range<usize>, Unrecordable> {
    let place = format!("`{command}`");
    let (mut found, mut is_due, mut end) = (None, false, 0);
    // The fence of the block that a line is in, where its first line begins, whether it is the one.
    let mut inside: Option<(&str, usize, bool)> = None;
    for line in text.split_inclusive('\n') {
        let start = end;
        end += line.len();
        let line = line.trim_end();
        if let Some((opening, first, is_wanted)) = inside {
            if fence(line).is_some_and(|fence| fence == line && fence.len() >= opening.len()) {
                inside = None;
                if is_wanted && found.replace(first..start).is_some() {
                    return Err(Unrecordable::Twice(command.to_owned()));
                }
            }
        } else if let Some(opening) = fence(line) {
            inside = Some((opening, end, is_due));
            is_due = false;
        } else if is_due && !line.is_empty() {
            return Err(Unrecordable::NoBlock(command.to_owned()));
        } else {
            is_due |= line == place;
        }
    }
    match found {
        _ if inside.is_some() => Err(Unrecordable::Unended),
        _ if is_due => Err(Unrecordable::NoBlock(command.to_owned())),
        found => found.ok_or_else(|| Unrecordable::NoPlace(command.to_owned())),
    }
}

/// The backticks that a line begins a block with, or ends one.
fn fence(line: &str) -> Option<&str> {
    let ticks = &line[..line.len() - line.trim_start_matches('`').len()];
    let is_fence = ticks.len() >= FENCE.len() && !line[ticks.len()..].contains('`');
    is_fence.then_some(ticks)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const COMMAND: &str = "skein-bench pingpong --rate 5";
    const TEXT: &str = "\
# Results

`skein-bench pingpong --rate 50`

```
another
```

On `skein-bench pingpong --rate 5` this is said:

`skein-bench pingpong --rate 5`

```text
old
old
```

Text around.
";

    #[test]
    fn only_the_block_of_the_command_is_replaced() {
        let expected = TEXT.replace("old\nold\n", "new\n");
        assert_eq!(replace(TEXT, COMMAND, "new\n").unwrap(), expected);
        assert_eq!(replace(&expected, COMMAND, "old\nold").unwrap(), TEXT);
        // With nothing in it so far, and as the end of the file.
        let empty = "`skein-bench pingpong --rate 5`\n```\n```";
        let filled = "`skein-bench pingpong --rate 5`\n```\nnew\n```";
        assert_eq!(replace(empty, COMMAND, "new").unwrap(), filled);
    }

    #[test]
    fn a_place_is_told_from_what_looks_like_one() {
        let quoted = "````\n`skein-bench pingpong --rate 5`\n```\n````\n";
        assert!(matches!(block(quoted, COMMAND), Err(Unrecordable::NoPlace(_))));
        let both = format!("{quoted}{TEXT}");
        assert_eq!(block(&both, COMMAND).unwrap().start, quoted.len() + TEXT.find("old").unwrap());
    }

    #[test]
    fn a_file_without_a_place_says_what_to_add() {
        let missing = block(TEXT, "skein-bench transfer").unwrap_err();
        assert!(matches!(missing, Unrecordable::NoPlace(_)));
        assert!(missing.to_string().contains("`skein-bench transfer`"), "{missing}");
        let line = "`skein-bench pingpong --rate 5`\n";
        for text in [line.to_owned(), format!("{line}\nText.\n```\n```\n")] {
            assert!(matches!(block(&text, COMMAND), Err(Unrecordable::NoBlock(_))), "{text}");
        }
        let twice = format!("{TEXT}{TEXT}");
        assert!(matches!(block(&twice, COMMAND), Err(Unrecordable::Twice(_))));
        for text in [TEXT.replace("old\n```", "old\n"), format!("{TEXT}```\n")] {
            assert!(matches!(block(&text, COMMAND), Err(Unrecordable::Unended)), "{text}");
        }
    }

    #[test]
    fn a_command_is_what_was_typed_without_where_results_go() {
        for (typed, expected) in [
            (
                &["x", "--json", "networks", "--plots", "a b", "--only", "nat"][..],
                "networks --only nat",
            ),
            (&["x", "--record=a", "--plots=b", "networks"], "networks"),
            (&["x", "priority", "--record", "--json"], "priority"),
            (&["x", "congestion", "--path", "2 % lost"], "congestion --path \"2 % lost\""),
        ] {
            let typed = typed.iter().map(|word| (*word).to_owned());
            assert_eq!(command(typed), format!("skein-bench {expected}"));
        }
    }

    #[test]
    fn a_file_stays_what_it_is_but_for_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("results.md");
        fs::write(&file, TEXT).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let record = Record::find(file.clone(), COMMAND.to_owned()).unwrap();
        record.put("skein-bench on 2 cores\n\nnew\n").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let date =
            text.split("```text\n").nth(1).and_then(|block| block.split(": ").next()).unwrap();
        assert_eq!(date.len(), "2026-12-01".len(), "{date}");
        let table = format!("{date}: skein-bench on 2 cores\n\nnew\n");
        assert_eq!(text, TEXT.replace("old\nold\n", &table));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn results_have_a_place_for_each_command_of_make_bench() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |name| fs::read_to_string(folder.join(name)).unwrap();
        let (makefile, results) = (read("../Makefile"), read("RESULTS.md"));
        let runs = makefile.lines().filter(|line| line.contains("--record bench/RESULTS.md"));
        let commands: Vec<_> =
            runs.map(|line| command(line.split_whitespace().map(str::to_owned))).collect();
        assert!(!commands.is_empty());
        for command in commands {
            block(&results, &command).unwrap();
        }
    }
}
