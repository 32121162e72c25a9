//! Hostile input to a real server: each kind gets an error with a name, and afterwards the server
//! still serves. One file a subject.

mod entries;
mod following;
mod gate;
mod pictures;
mod pressure;
mod scene;
mod transfers;
mod wire;
