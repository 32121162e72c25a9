//! How a queued transfer is shown.

use indicatif::HumanBytes;
use serde_json::{Value, json};
use skein_client::{Direction, Transfer, TransferId};

use crate::output::printable;

/// A transfer as a line for people.
pub(crate) fn sentence(transfer: &Transfer) -> String {
    let verb = match transfer.direction {
        Direction::Up => "send",
        Direction::Down => "get",
    };
    let path = printable(&transfer.path.display().to_string());
    let (done, size) = (HumanBytes(transfer.done), HumanBytes(transfer.size));
    let mut line = format!(
        "transfer {} ({verb} {path}): {}, {done} of {size}",
        transfer.id,
        transfer.state.name()
    );
    if let Some(rate) = transfer.bytes_per_second {
        line.push_str(&format!(", {}/s", HumanBytes(rate)));
    }
    if let Some(failure) = &transfer.failure {
        line.push_str(&format!(" ({})", printable(&failure.message)));
    }
    line
}

/// A transfer as an object for programs.
pub(crate) fn object(transfer: &Transfer) -> Value {
    json!({
        "transfer": transfer.id.0,
        "direction": match transfer.direction {
            Direction::Up => "up",
            Direction::Down => "down",
        },
        "conversation": transfer.conversation.map(|conversation| conversation.0),
        "path": transfer.path.display().to_string(),
        "state": transfer.state.name(),
        "done": transfer.done,
        "size": transfer.size,
        "resent": transfer.resent,
        "bytes_per_second": transfer.bytes_per_second,
        "code": transfer.failure.as_ref().map(|failure| &failure.code),
        "message": transfer.failure.as_ref().map(|failure| &failure.message),
    })
}

/// What a command that has queued a transfer says.
pub(crate) fn queued(id: TransferId) -> (String, Value) {
    let sentence = format!(
        "queued as transfer {id}; it runs while `skein watch` or `skein transfers run` does"
    );
    (sentence, json!({ "transfer": id.0, "state": "queued" }))
}
