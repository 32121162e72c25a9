//! `skein find`.

use clap::Args;
use serde_json::json;

use crate::{context::Context, failure::Failure};

/// Find people by the beginning of their name.
#[derive(Debug, Args)]
pub(crate) struct Find {
    /// A name, or how it begins.
    name: String,
}

impl Find {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let found = context.connect().await?.find(&self.name).await?;
        for person in &found {
            let (id, name) = (person.id.0, person.name.as_str());
            context.output.line(name, &json!({ "account": id, "name": name }))?;
        }
        if found.is_empty() {
            context.output.remark("nobody");
        }
        Ok(())
    }
}
