//! Congestion controllers over a modelled path in virtual time. quinn and its TLS are real; the
//! network and the clock are a model, so that the same seed gives the same figures on any machine.

pub(crate) mod contender;
pub(crate) mod figure;
pub(crate) mod host;
pub(crate) mod link;
pub(crate) mod work;
pub(crate) mod world;
