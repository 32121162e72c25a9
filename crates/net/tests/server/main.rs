//! What a listener owes itself and its clients on the open internet: floods, silent clients, its
//! own restart, a load balancer before it, and clients that move.

mod early;
mod flood;
mod moving;
mod restart;
mod scene;
mod tap;
