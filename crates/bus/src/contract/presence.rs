//! Stories about presence.

use skein_core::{id::AccountId, port::directory::Term};

use super::{HOUR, SLACK, Stage};
use crate::presence::TERM_MEMORY;

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(11);
const TERM: Term = Term(1 << 60);
const NEXT: Term = Term((1 << 60) + 1);

impl Stage {
    async fn enters(&self, account: AccountId, node: &str, term: Term) -> bool {
        self.bus.enter(&[account], node, term, HOUR).await.unwrap()
    }

    async fn leaves(&self, account: AccountId, node: &str, term: Term) {
        self.bus.leave(account, node, term).await.unwrap();
    }

    async fn alice_is_present(&self) -> bool {
        self.bus.present(&[ALICE]).await.unwrap()[0]
    }
}

pub(crate) async fn is_of_accounts_with_a_session_somewhere(stage: Stage) {
    assert!(stage.bus.present(&[]).await.unwrap().is_empty());
    assert!(stage.bus.enter(&[], "a", TERM, HOUR).await.unwrap());
    assert!(stage.bus.enter(&[BOB, ALICE], "a", TERM, HOUR).await.unwrap());
    assert!(stage.enters(ALICE, "b", NEXT).await);
    let asked = [ALICE, AccountId(2), BOB, ALICE];
    assert_eq!(stage.bus.present(&asked).await.unwrap(), [true, false, true, true]);
    stage.leaves(ALICE, "a", TERM).await;
    assert!(stage.alice_is_present().await, "she is at the other node still");
    stage.leaves(ALICE, "nowhere", TERM).await;
    stage.leaves(ALICE, "b", NEXT).await;
    assert_eq!(stage.bus.present(&asked).await.unwrap(), [false, false, true, false]);
}

pub(crate) async fn ends_when_it_is_not_renewed(stage: Stage) {
    assert!(stage.enters(ALICE, "a", TERM).await);
    stage.pass(HOUR / 2).await;
    assert!(stage.enters(ALICE, "a", TERM).await);
    stage.pass(HOUR - SLACK).await;
    assert!(stage.alice_is_present().await);
    stage.pass(SLACK).await;
    assert!(!stage.alice_is_present().await);
    assert!(stage.enters(ALICE, "a", TERM).await, "she may come back");
    assert!(stage.alice_is_present().await);
}

pub(crate) async fn is_told_by_the_latest_term_of_a_node(stage: Stage) {
    assert!(stage.enters(ALICE, "a", NEXT).await);
    stage.leaves(ALICE, "a", TERM).await;
    assert!(stage.alice_is_present().await, "the former holder of the name is late");
    assert!(!stage.bus.enter(&[ALICE, BOB], "a", TERM, HOUR).await.unwrap());
    assert_eq!(stage.bus.present(&[BOB]).await.unwrap(), [true], "nothing later was seen of him");
    assert!(stage.enters(ALICE, "b", TERM).await, "terms of other nodes are other terms");
    stage.leaves(ALICE, "b", TERM).await;
    stage.leaves(ALICE, "a", NEXT).await;
    assert!(!stage.enters(ALICE, "a", TERM).await, "it is remembered after she left");
    assert!(!stage.alice_is_present().await);
    assert!(stage.enters(ALICE, "a", NEXT).await);
    stage.pass(HOUR + TERM_MEMORY - SLACK).await;
    assert!(!stage.enters(ALICE, "a", TERM).await, "and after it has expired");
    stage.pass(SLACK).await;
    assert!(stage.enters(ALICE, "a", TERM).await, "but not for ever");
}

pub(crate) async fn is_kept_for_many_accounts(stage: Stage) {
    let accounts: Vec<_> = (1..=3_000).map(AccountId).collect();
    assert!(stage.bus.enter(&accounts[..2_999], "a", TERM, HOUR).await.unwrap());
    let present = stage.bus.present(&accounts).await.unwrap();
    assert_eq!(present.len(), 3_000);
    assert_eq!(present.iter().position(|present| !present), Some(2_999));
}
