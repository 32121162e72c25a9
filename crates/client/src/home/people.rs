//! Who the other side of each conversation is, so that names work without a connection.

use rusqlite::{OptionalExtension, Transaction, params};
use skein_core::{
    account::Profile,
    contact::Conversation,
    id::{AccountId, ConversationId},
    name::Username,
};

use super::Home;
use crate::Error;

impl Home {
    /// Remembers the account's conversations.
    pub(crate) async fn know(&self, conversations: Vec<Conversation>) -> Result<(), Error> {
        self.write(move |database| {
            for Conversation { id, peer, .. } in conversations {
                remember(database, peer.id, &peer.name, Some(id))?;
            }
            Ok(())
        })
        .await
    }

    /// The conversation with the person of this name, without regard to case.
    pub(crate) async fn conversation_with(
        &self,
        name: &Username,
    ) -> Result<Option<(ConversationId, Profile)>, Error> {
        let key = name.key();
        self.read(move |database| {
            let sql = "SELECT conversation, account, name FROM peers
                       WHERE key = ?1 AND conversation IS NOT NULL";
            let mut query = database.prepare_cached(sql)?;
            let row = query.query_row([key], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
            });
            let Some((conversation, account, name)) = row.optional()? else { return Ok(None) };
            let id = AccountId(account.cast_unsigned());
            let profile = Profile { id, name: Username::parse(name)? };
            Ok(Some((ConversationId(conversation.cast_unsigned()), profile)))
        })
        .await
    }

    /// The other side of a conversation.
    pub(crate) async fn peer_of(
        &self,
        conversation: ConversationId,
    ) -> Result<Option<Profile>, Error> {
        self.peer("conversation", conversation.0).await
    }

    /// Someone whose name has come up.
    pub(crate) async fn person(&self, account: AccountId) -> Result<Option<Profile>, Error> {
        self.peer("account", account.0).await
    }

    async fn peer(&self, column: &'static str, value: u64) -> Result<Option<Profile>, Error> {
        self.read(move |database| {
            let sql = format!("SELECT account, name FROM peers WHERE {column} = ?1");
            let mut query = database.prepare_cached(&sql)?;
            let row = query.query_row([value.cast_signed()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            });
            let Some((account, name)) = row.optional()? else { return Ok(None) };
            let id = AccountId(account.cast_unsigned());
            Ok(Some(Profile { id, name: Username::parse(name)? }))
        })
        .await
    }
}

/// Remembers a person, and the conversation with them if there is one.
pub(super) fn remember(
    database: &Transaction<'_>,
    account: AccountId,
    name: &Username,
    conversation: Option<ConversationId>,
) -> Result<(), Error> {
    let sql = "INSERT INTO peers (account, name, key, conversation) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (account) DO UPDATE SET name = excluded.name, key = excluded.key,
               conversation = coalesce(excluded.conversation, conversation)";
    let conversation = conversation.map(|id| id.0.cast_signed());
    database.prepare_cached(sql)?.execute(params![
        account.0.cast_signed(),
        name.as_str(),
        name.key(),
        conversation
    ])?;
    Ok(())
}
