//! Messages that the server will never take: told once, by whatever command comes next.

use serde_json::{Value, json};
use skein_client::{Content, Rejected};

use crate::{
    context::Context,
    failure::Failure,
    output::{complain, printable, printable_lines},
};

/// Tells people on stderr. To be called when a command is done.
pub(crate) async fn tell(context: &Context) -> Result<(), Failure> {
    let all = context.client.rejected().await?;
    for rejected in &all {
        complain(&sentence(rejected));
    }
    forget(context, &all).await
}

/// Tells people and programs as part of the output.
pub(crate) async fn show(context: &Context) -> Result<(), Failure> {
    let all = context.client.rejected().await?;
    for rejected in &all {
        context.output.line(&sentence(rejected), &object(rejected))?;
    }
    forget(context, &all).await
}

async fn forget(context: &Context, all: &[Rejected]) -> Result<(), Failure> {
    if all.is_empty() {
        return Ok(());
    }
    let ids = all.iter().map(|rejected| rejected.id).collect();
    Ok(context.client.forget_rejected(ids).await?)
}

fn sentence(rejected: &Rejected) -> String {
    let peer = rejected.peer.as_deref().unwrap_or("?");
    let what = match &rejected.content {
        Content::Text(text) => printable_lines(text.as_str()),
        Content::Picture { name, .. } | Content::File { name, .. } => printable(name.as_str()),
    };
    format!("not sent to {peer} ({}): {what}", printable(&rejected.refusal.message))
}

fn object(rejected: &Rejected) -> Value {
    let mut object = json!({
        "event": "rejected",
        "id": rejected.id.to_string(),
        "conversation": rejected.conversation.0,
        "with": rejected.peer,
        "code": rejected.refusal.code.name(),
        "message": rejected.refusal.message,
    });
    match &rejected.content {
        Content::Text(text) => object["text"] = text.as_str().into(),
        Content::Picture { name, .. } | Content::File { name, .. } => {
            object["file"] = json!({ "name": name.as_str() });
        }
    }
    object
}
