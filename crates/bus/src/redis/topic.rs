//! The channels that hints travel on: one a topic, so that a cluster spreads them over its servers
//! and a server sends a hint only to the nodes that want it.

use skein_core::id::{AccountId, ConversationId, LogId};

use crate::hint::Topic;

/// The channel of a topic.
pub(super) fn channel(prefix: &str, topic: Topic) -> String {
    match topic {
        Topic::Log(log) => format!("{prefix}hint/{log}"),
        Topic::Account(account) => format!("{prefix}hint/account/{account}"),
    }
}

/// The channel on which everyone is told to have missed hints.
pub(super) fn everyone(prefix: &str) -> String {
    format!("{prefix}hint/everyone")
}

/// The topic of a channel.
pub(super) fn topic(prefix: &str, channel: &str) -> Option<Topic> {
    let (kind, number) = channel.strip_prefix(prefix)?.strip_prefix("hint/")?.split_once('/')?;
    let number = number.parse().ok()?;
    Some(match kind {
        "personal" => Topic::Log(LogId::Personal(AccountId(number))),
        "conversation" => Topic::Log(LogId::Conversation(ConversationId(number))),
        "account" => Topic::Account(AccountId(number)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_has_a_channel_of_its_own() {
        let topics = [
            Topic::Log(LogId::Personal(AccountId(1))),
            Topic::Log(LogId::Conversation(ConversationId(1))),
            Topic::Account(AccountId(1)),
            Topic::Account(AccountId(u64::MAX)),
        ];
        for one in topics {
            assert_eq!(topic("skein:", &channel("skein:", one)), Some(one));
            assert_eq!(topic("other:", &channel("skein:", one)), None);
        }
        assert_eq!(topic("", &everyone("")), None);
        assert_eq!(topic("", "hint/account/x"), None);
    }
}
