//! Downloads that follow uploads: the right to one, which can end while it goes on, and how many of
//! them an account may have.
//!
//! Each holds a file open, and a stream to a resource process, for as long as a sender may take; the
//! cap keeps an account from taking the places of all others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use skein_core::{
    id::{AccountId, BlobId},
    limit, policy,
    port::resource::{DownloadSource, UploadOf},
    refusal::{Code, Refusal},
};
use skein_net::stream::StreamError;
use skein_store::{Store, StoreError};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// How often it is asked whether the account still has the right to a file that is coming: whoever
/// was removed gets bytes for so long at most.
const RIGHT_INTERVAL: Duration = Duration::from_secs(15);

/// How many uploads each account follows on this node.
#[derive(Debug, Default)]
pub(crate) struct Followers(Mutex<HashMap<AccountId, usize>>);

/// One of an account's places.
#[derive(Debug)]
pub(crate) struct Place {
    followers: Arc<Followers>,
    account: AccountId,
}

/// A download that follows an upload.
pub(crate) struct Following {
    store: Arc<dyn Store>,
    account: AccountId,
    blob: BlobId,
    looks: Interval,
    _place: Place,
}

/// The upload that makes this blob, if the account may take its bytes: no message shows it, but its
/// uploader has said for whom it is.
///
/// # Errors
/// `not_found` if it may not.
pub(crate) async fn upload_for(
    store: &dyn Store,
    account: AccountId,
    blob: BlobId,
) -> Result<UploadOf, Refusal> {
    let upload = store.upload_of(blob).await.map_err(StoreError::into_refusal)?;
    let addressed = upload.and_then(|upload| Some((upload.conversation?, upload)));
    let (conversation, upload) = addressed.ok_or_else(|| Refusal::not_found("file"))?;
    let membership = store.membership(account, conversation).await;
    policy::may_follow(membership.map_err(StoreError::into_refusal)?)?;
    Ok(UploadOf { account: upload.account, id: upload.spec.id, blob })
}

impl Followers {
    /// Takes a place for the account.
    ///
    /// # Errors
    /// `too_many` if it has as many as it may.
    pub(crate) fn place(self: &Arc<Self>, account: AccountId) -> Result<Place, Refusal> {
        let mut places = self.lock();
        let taken = places.entry(account).or_default();
        if *taken >= limit::FOLLOWED_MAX {
            let max = limit::FOLLOWED_MAX;
            let message = format!("this account takes {max} files that are still coming already");
            return Err(Refusal::new(Code::TooMany, message));
        }
        *taken += 1;
        Ok(Place { followers: Arc::clone(self), account })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.followers.lock();
        if let Some(taken) = places.get_mut(&self.account) {
            *taken -= 1;
            if *taken == 0 {
                places.remove(&self.account);
            }
        }
    }
}

impl Following {
    /// One whose right was asked for just now.
    pub(crate) fn begin(
        store: Arc<dyn Store>,
        account: AccountId,
        blob: BlobId,
        place: Place,
    ) -> Self {
        let mut looks = interval_at(Instant::now() + RIGHT_INTERVAL, RIGHT_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { store, account, blob, looks, _place: place }
    }

    /// The next bytes, for as long as the account may have them and wants them: `stopped` resolves
    /// when it does not.
    pub(crate) async fn next(
        &mut self,
        source: &mut dyn DownloadSource,
        stopped: impl Future<Output = ()>,
    ) -> Result<Option<Bytes>, Refusal> {
        let mut stopped = std::pin::pin!(stopped);
        // The same one over all looks: a source that is dropped while it reads loses its place.
        let mut next = source.next();
        let piece = loop {
            tokio::select! {
                biased;
                _ = self.looks.tick() => self.check().await?,
                () = &mut stopped => return Err(StreamError::Abandoned(None).into()),
                piece = &mut next => break piece?,
            }
        };
        if piece.is_none() {
            // The end says that the file is whole and theirs.
            self.check().await?;
        }
        Ok(piece)
    }

    /// Whether the account still may have the bytes: as it was at the opening, or because a message
    /// shows them by now. Where the store cannot say it, nothing more is given, and the client asks
    /// again.
    async fn check(&self) -> Result<(), Refusal> {
        match upload_for(&*self.store, self.account, self.blob).await {
            Err(refusal) if refusal.code == Code::NotFound => {
                let standing = self.store.blob_standing(self.account, self.blob).await;
                policy::may_read_blob(standing.map_err(StoreError::into_refusal)?)
            }
            answered => answered.map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use skein_core::{
        coming::Destination,
        contact::Conversation,
        id::{EntryId, UploadId},
        name::{Email, FileName, MediaType, Note, Username},
        port::resource::UploadSpec,
        time::Timestamp,
    };
    use skein_store::{account::NewAccount, sqlite::Sqlite, upload::Quota};

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const BLOB: BlobId = BlobId([3; 16]);

    #[test]
    fn an_account_takes_no_more_than_its_places() {
        let followers = Arc::<Followers>::default();
        let (one, other) = (AccountId(1), AccountId(2));
        let mut places: Vec<Place> =
            (0..limit::FOLLOWED_MAX).map(|_| followers.place(one).unwrap()).collect();
        assert_eq!(followers.place(one).unwrap_err().code, Code::TooMany);
        let others = followers.place(other).unwrap();
        places.pop();
        places.push(followers.place(one).unwrap());
        assert_eq!(followers.place(one).unwrap_err().code, Code::TooMany);
        drop((places, others));
        assert!(followers.lock().is_empty(), "nothing stays of who is gone");
    }

    /// Gives what it is told to.
    struct Told(Option<Option<Bytes>>);

    #[async_trait]
    impl DownloadSource for Told {
        async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
            match self.0.take() {
                Some(piece) => Ok(piece),
                None => std::future::pending().await,
            }
        }
    }

    async fn person(store: &Arc<dyn Store>, name: &str) -> AccountId {
        let new = NewAccount {
            name: Username::parse(name).unwrap(),
            email: Email::parse(format!("{name}@example.org")).unwrap(),
            password_hash: "a hash".into(),
        };
        store.create_account(new, NOW).await.unwrap().id
    }

    /// A file that one of two contacts is sending to the other.
    async fn coming(store: &Arc<dyn Store>) -> (AccountId, AccountId) {
        let (alice, bob) = (person(store, "alice").await, person(store, "bob").await);
        let note = || Note::parse("").unwrap();
        store.request_contact(alice, bob, note(), EntryId([1; 16]), NOW).await.unwrap();
        store.accept_contact(bob, alice, note(), EntryId([2; 16]), NOW).await.unwrap();
        let Conversation { id: conversation, .. } =
            store.conversations(alice).await.unwrap().remove(0);
        let (id, media_type) = (UploadId([4; 16]), MediaType::parse("video/mp4").unwrap());
        let spec = UploadSpec { id, size: 1000, media_type, hash: [7; 32] };
        let quota = Quota { bytes: 1 << 40, open_uploads: 100 };
        store.open_upload(alice, spec, BLOB, quota, NOW).await.unwrap();
        let name = FileName::parse("film.mp4").unwrap();
        let upload = UploadOf { account: alice, id, blob: BLOB };
        store.address_upload(upload, Destination { conversation, name }).await.unwrap();
        (alice, bob)
    }

    #[tokio::test]
    async fn whoever_was_removed_gets_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("store.db")).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let (alice, bob) = coming(&store).await;
        assert!(upload_for(&*store, bob, BLOB).await.is_ok());
        tokio::time::pause();
        let followers = Arc::<Followers>::default();
        let begin = || {
            let place = followers.place(bob).unwrap();
            Following::begin(Arc::clone(&store), bob, BLOB, place)
        };
        let mut following = begin();
        let never = std::future::pending::<()>;
        let mut piece = Told(Some(Some(Bytes::from_static(b"piece"))));
        assert!(following.next(&mut piece, never()).await.unwrap().is_some());
        assert_eq!(following.next(&mut Told(Some(None)), never()).await, Ok(None));
        // One that has stopped it waits for nothing.
        let stopped = following.next(&mut Told(None), std::future::ready(())).await;
        assert_eq!(stopped.unwrap_err().code, Code::Unavailable);

        store.remove_contact(alice, bob, EntryId([5; 16]), NOW).await.unwrap();
        let begun = Instant::now();
        let refused = following.next(&mut Told(None), never()).await.unwrap_err();
        assert_eq!(refused.code, Code::NotFound);
        assert!(begun.elapsed() <= RIGHT_INTERVAL);
        // Also where it was whole before the next look.
        let refused = begin().next(&mut Told(Some(None)), never()).await.unwrap_err();
        assert_eq!(refused.code, Code::NotFound);
    }
}
