//! The Skein client SDK: accounts, contacts, messages and files over connections that come and go.
//!
//! A [`Client`] lives in a *home*, a folder that keeps who is logged in, what was written and not
//! sent yet, and the logs as far as they were read. Whatever happens to the process or the network,
//! what [`Client::send_text`] has returned for is sent once, and each entry is shown once, in
//! order.
//!
//! ```no_run
//! use skein_client::{Client, DeviceName, Event, Text, Username};
//!
//! # async fn example() -> Result<(), skein_client::Error> {
//! let client = Client::open("alice-home".as_ref())?;
//! let (name, device) = (Username::parse("alice")?, DeviceName::parse("laptop")?);
//! client.log_in("http://127.0.0.1:8080", &name, "correct horse battery", &device).await?;
//!
//! // From here on the client stays connected by itself.
//! let mut events = client.events().await?;
//! client.connect().await?;
//!
//! let (conversation, _bob) = client.conversation_with(&Username::parse("bob")?).await?;
//! let delivery = client.send_text(conversation, Text::parse("hello")?).await?;
//! println!("kept; it will arrive");
//! println!("arrived as number {}", delivery.acknowledged().await?);
//!
//! while let Some(event) = events.next().await {
//!     if let Event::Entry { entry, .. } = event {
//!         println!("{entry:?}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `examples/echo_bot.rs` is a whole program. Transfers ([`Client::send_file`],
//! [`Client::download`]) continue where they stopped, also in another process; those that are queued
//! ([`Client::queue_file`], [`Client::queue_download`]) do so by themselves, in whatever process
//! [carries the queue out](Client::run_transfers). A file that somebody is still sending
//! ([`Event::Coming`], [`Client::coming`]) can be had as it comes, by the same calls.
//!
//! What this crate refuses: to show its transport or its wire format. What it offers in its own
//! face are the words of the domain, which it re-exports.

mod client;
mod driver;
mod error;
mod event;
mod gate;
mod home;
mod transfer;

pub use client::{Client, Delivery, Peer};
pub use error::Error;
pub use event::{Event, Events, Status};
pub use home::Rejected;
pub use skein_core::{
    account::Profile,
    coming::Coming,
    contact::{Contact, ContactRequest},
    entry::{
        Attachment, Body, ContactStep, ContactStepKind, Content, Entry, Picture, SessionEnded,
    },
    id::{AccountId, BlobId, ConversationId, EntryId, LogId, Seq, TransferId},
    name::{BadText, DeviceName, Email, FileName, MediaType, Note, Password, Text, Username},
    port::{resource::Variant, verifier::Purpose},
    refusal::{Code, Refusal},
    sync::StopReason,
    time::Timestamp,
    transfer::TransferState,
};
pub use transfer::{Direction, Failure, Phase, Progress, Transfer, partial_path};
