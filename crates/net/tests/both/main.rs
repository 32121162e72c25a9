//! One session type over each transport, and the way from one to the other: both ends over loopback,
//! with networks between them that drop what they should carry.

mod datagrams;
mod fallback;
mod handshake;
mod hostile;
mod interop;
mod narrow;
mod pair;
mod pipe;
mod streams;
