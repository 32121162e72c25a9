//! Answers the requests of a session. Who asks is known from the session alone (invariant 7); who
//! may do what is decided by [`skein_core::policy`], on facts from the store.

use std::{sync::Arc, time::Instant};

use skein_bus::hint::{Hint, Hints, Topic};
use skein_core::{
    account::{Identity, Profile},
    entry::Draft,
    id::{AccountId, EntryId, LogId},
    limit, policy,
    port::resource::Resource,
    refusal::Refusal,
    time::Clock,
};
use skein_ops::{observe::count_error, trace};
use skein_store::{
    Store, StoreError,
    contact::Step as StepTaken,
    log::{Committed, Page},
};
use skein_wire::{
    pb::{self, reply::Kind},
    people,
    session::{ReadFrom, Request, Step},
};
use tracing::{Instrument, Span, field::Empty};

use crate::{hub::Hub, metric};

/// What answering takes.
#[derive(Clone)]
pub(crate) struct Answerer {
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hints: Arc<dyn Hints>,
    pub(crate) resource: Arc<dyn Resource>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Answerer {
    /// Does what `identity` asks and says what came of it.
    pub(crate) async fn answer(&self, identity: &Identity, request: pb::request::Kind) -> Kind {
        let account = identity.account.id;
        let (kind, began) = (name(&request), Instant::now());
        let answered = async {
            let answered = async {
                let request = Request::parse(account, request)?;
                self.carry_out(account, request).await.map_err(StoreError::into_refusal)
            };
            let answered: Result<Kind, Refusal> = answered.await;
            let code = answered.as_ref().map_or_else(|refusal| refusal.code.name(), |_| "ok");
            metric::request(kind, code, began.elapsed());
            tracing::debug!(request.code = code, "a request is answered");
            answered
        };
        answered.instrument(span_of(kind, account)).await.unwrap_or_else(|refusal| {
            count_error("chat", refusal.code);
            Kind::Error(refusal.into())
        })
    }

    async fn carry_out(&self, account: AccountId, request: Request) -> Result<Kind, StoreError> {
        match request {
            Request::Append(draft) => self.append(account, draft).await,
            Request::Read { log, from, limit } => self.read(account, log, from, limit).await,
            Request::FindAccounts { prefix } => {
                let found = self.store.find_accounts(&prefix, limit::SEARCH_RESULTS_MAX).await?;
                let accounts = found.into_iter().map(Profile::into).collect();
                Ok(Kind::Accounts(pb::Accounts { accounts }))
            }
            Request::Step { peer, id, step } => self.step(account, peer, id, step).await,
            Request::ListContacts => {
                let contacts = self.store.contacts(account).await?;
                let accounts: Vec<_> = contacts.iter().map(|one| one.profile.id).collect();
                let online = self.hub.present(&accounts).await;
                let contacts = contacts.into_iter().zip(online);
                let contacts = contacts.map(|(contact, online)| people::contact(contact, online));
                Ok(Kind::Contacts(pb::Contacts { contacts: contacts.collect() }))
            }
            Request::ListRequests => {
                let requests = self.store.contact_requests(account).await?;
                let requests = requests.into_iter().map(Into::into).collect();
                Ok(Kind::Requests(pb::ContactRequests { requests }))
            }
            Request::ListConversations => {
                let conversations = self.store.conversations(account).await?;
                let conversations = conversations.into_iter().map(Into::into).collect();
                Ok(Kind::Conversations(pb::Conversations { conversations }))
            }
            // An upload's id means nothing without its account, which is the session's.
            Request::DiscardUpload(id) => {
                self.resource.discard_upload(account, id).await?;
                Ok(Kind::Discarded(pb::UploadDiscarded {}))
            }
            Request::ListComing(conversation) => {
                policy::may_follow(self.store.membership(account, conversation).await?)?;
                let files = self.store.coming_to(conversation, limit::COMING_MAX).await?;
                let files = files.into_iter().map(Into::into).collect();
                Ok(Kind::Coming(pb::ComingFiles { files }))
            }
        }
    }

    async fn append(&self, author: AccountId, draft: Draft) -> Result<Kind, StoreError> {
        let log = LogId::Conversation(draft.conversation);
        let appended = self.store.append(author, draft, self.clock.now()).await?;
        // A repeated one too: the first try may have ended between its commit and its hint, and
        // whoever has the entry already drops it.
        self.publish(log, appended.entry.clone()).await;
        Ok(Kind::Appended(appended.entry.into()))
    }

    async fn read(
        &self,
        account: AccountId,
        log: LogId,
        from: ReadFrom,
        limit: usize,
    ) -> Result<Kind, StoreError> {
        if let LogId::Conversation(conversation) = log {
            policy::may_read(self.store.membership(account, conversation).await?)?;
        }
        let Page { entries, head } = match from {
            ReadFrom::After(seq) => self.store.read_after(log, seq, limit).await?,
            ReadFrom::Before(seq) => self.store.read_before(log, seq, limit).await?,
        };
        let entries = entries.into_iter().map(Into::into).collect();
        Ok(Kind::Page(pb::LogPage { entries, head: head.0 }))
    }

    async fn step(
        &self,
        me: AccountId,
        peer: AccountId,
        id: EntryId,
        step: Step,
    ) -> Result<Kind, StoreError> {
        let (store, now) = (&self.store, self.clock.now());
        let StepTaken { committed, conversation } = match step {
            Step::Request(greeting) => store.request_contact(me, peer, greeting, id, now).await?,
            Step::Accept(remark) => store.accept_contact(me, peer, remark, id, now).await?,
            Step::Decline => store.decline_contact(me, peer, id, now).await?,
            Step::Remove => store.remove_contact(me, peer, id, now).await?,
        };
        for Committed { log, entry } in committed {
            self.publish(log, entry).await;
        }
        Ok(Kind::Step(pb::StepDone { conversation: conversation.map_or(0, |id| id.0) }))
    }

    async fn publish(&self, log: LogId, entry: skein_core::entry::Entry) {
        self.hints.publish(Topic::Log(log), Hint::Appended(log, Arc::new(entry))).await;
    }
}

/// A trace of the request's own, linked to that of its session: by its id what one request did is
/// found in every part, and not what the session did in a week.
fn span_of(kind: &'static str, account: AccountId) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "request",
        trace_id = Empty,
        request.kind = kind,
        account = account.0,
    );
    // Where nobody looks there is nothing to find.
    if !span.is_disabled() {
        trace::begin(&span, None);
        span.follows_from(Span::current());
    }
    span
}

/// What a request is called where it is counted.
const fn name(request: &pb::request::Kind) -> &'static str {
    use pb::request::Kind;
    match request {
        Kind::Append(_) => "append",
        Kind::ReadLog(_) => "read_log",
        Kind::FindAccounts(_) => "find_accounts",
        Kind::RequestContact(_) => "request_contact",
        Kind::AcceptContact(_) => "accept_contact",
        Kind::DeclineContact(_) => "decline_contact",
        Kind::RemoveContact(_) => "remove_contact",
        Kind::ListContacts(_) => "list_contacts",
        Kind::ListRequests(_) => "list_requests",
        Kind::ListConversations(_) => "list_conversations",
        Kind::DiscardUpload(_) => "discard_upload",
        Kind::ListComing(_) => "list_coming",
    }
}
