//! Which stream goes first when the path is full. A saturating upload must not slow a message.

/// What a stream carries, most urgent last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Priority {
    /// Files.
    Bulk = 0,
    /// Small versions of pictures.
    Thumbnail = 1,
    /// What sets up a call.
    MediaSignal = 2,
    /// Messages, replies and events.
    Session = 3,
}
