//! What a listener calls its connections.
//!
//! A node that clients reach directly uses random ids. Behind a load balancer an id leads to its node
//! (QUIC-LB, [`quic_lb`](crate::quic_lb)), so that a client which moves to another address is still
//! handed to the node that knows it. Two forms, of 17 octets both:
//!
//! - `encrypted`: two octets of server id and fourteen of nonce, which make exactly one block of
//!   AES. One decryption tells the load balancer the node, nobody else learns anything, the attacks
//!   on the draft's four passes do not apply, and a nonce of 112 bits may be drawn at random: it
//!   repeats in no lifetime, also not after a restart that forgot the former ones.
//! - `plain`: eight octets of server id and eight of nonce, unencrypted, which is what the network
//!   load balancers of AWS read. Whoever watches both of a client's networks learns which node it
//!   uses, no more.
//!
//! quinn's own ids bear the mark of the process, and it drops packets without the mark: a server
//! that was started again would stay silent, where stateless resets are due. These here are
//! recognised by any process with the same secret, and random ids always are.

use std::{sync::Arc, time::Duration};

use quinn::{ConnectionId, ConnectionIdGenerator};
// quinn leaves this one out of what it passes on.
use quinn_proto::InvalidCid;

use crate::{
    quic_lb::{Format, FormatError, Id, KEY_BYTES, ROTATIONS},
    secret::Secret,
};

/// Octets of a random id.
const RANDOM_BYTES: usize = 8;
/// Octets of a node's number.
const NODE_BYTES: usize = size_of::<u16>();
/// Bits of the first octet before those of the configuration's number.
const ROTATION_SHIFT: u32 = 5;

/// How a node's number stands in its connection ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Only the load balancer can read it.
    Encrypted,
    /// Everybody can read it.
    Plain,
}

/// What a node's connection ids tell a load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routing {
    /// The node's number, unique among the nodes behind the load balancer.
    pub node: u16,
    /// How it is written.
    pub form: Form,
    /// The number of the load balancer's configuration, 0 to 6. Each has a key of its own.
    pub rotation: u8,
}

/// What a load balancer has to know of one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Octets of the server id.
    pub server_id_bytes: usize,
    /// Octets of the nonce.
    pub nonce_bytes: usize,
    /// The node's server id.
    pub server_id: Vec<u8>,
    /// The key of AES-128, if the ids are encrypted.
    pub key: Option<[u8; KEY_BYTES]>,
}

impl Form {
    const fn server_id_bytes(self) -> usize {
        match self {
            Self::Encrypted => NODE_BYTES,
            Self::Plain => 8,
        }
    }

    const fn nonce_bytes(self) -> usize {
        match self {
            Self::Encrypted => 14,
            Self::Plain => 8,
        }
    }

    fn key(self, secret: &Secret, rotation: u8) -> Option<[u8; KEY_BYTES]> {
        (self == Self::Encrypted).then(|| secret.routing_key(rotation))
    }

    /// The server id of the node with this number.
    fn server_id(self, node: u16) -> Vec<u8> {
        let mut id = vec![0; self.server_id_bytes() - NODE_BYTES];
        id.extend_from_slice(&node.to_be_bytes());
        id
    }
}

impl Routing {
    /// What the load balancer has to know to read the ids of this node.
    #[must_use]
    pub fn layout(&self, secret: &Secret) -> Layout {
        Layout {
            server_id_bytes: self.form.server_id_bytes(),
            nonce_bytes: self.form.nonce_bytes(),
            server_id: self.form.server_id(self.node),
            key: self.form.key(secret, self.rotation),
        }
    }
}

/// Tells whose a connection id is, as the load balancer does.
pub struct Router {
    /// One a configuration, in the order of their numbers: ids that were given out under a former
    /// one are still known.
    formats: Vec<Format>,
}

impl Router {
    /// Reads the ids of all nodes that write them in this form with this secret.
    ///
    /// # Errors
    /// [`FormatError::Key`].
    pub fn new(form: Form, secret: &Secret) -> Result<Self, FormatError> {
        let format = |rotation| {
            let key = form.key(secret, rotation);
            Format::new(rotation, form.server_id_bytes(), form.nonce_bytes(), key.as_ref())
        };
        Ok(Self { formats: (0..ROTATIONS).map(format).collect::<Result<_, _>>()? })
    }

    /// The number of the node that `id` leads to. `None` if it leads to none, as most ids do that
    /// a client made up for its first packet.
    #[must_use]
    pub fn node(&self, id: &[u8]) -> Option<u16> {
        let rotation = id.first()? >> ROTATION_SHIFT;
        let server_id = self.formats.get(usize::from(rotation))?.server_id(id)?;
        let (zeros, node) = server_id.split_last_chunk::<NODE_BYTES>()?;
        zeros.iter().all(|octet| *octet == 0).then(|| u16::from_be_bytes(*node))
    }

    fn id(&self, routing: &Routing) -> Result<Id, FormatError> {
        let unknown = FormatError::Rotation(routing.rotation);
        let format = self.formats.get(usize::from(routing.rotation)).ok_or(unknown)?;
        let nonce = rand::random::<[u8; 16]>();
        let nonce = &nonce[..routing.form.nonce_bytes()];
        format.encode(rand::random(), &routing.form.server_id(routing.node), nonce)
    }
}

/// Makes the ids of one listener. It has no state, so that all clones of it make the same kind.
#[derive(Clone)]
pub(crate) enum Ids {
    Random,
    Routed { router: Arc<Router>, routing: Routing },
}

impl Ids {
    /// # Errors
    /// [`FormatError`] if the routing is one that cannot be.
    pub(crate) fn new(routing: Option<Routing>, secret: &Secret) -> Result<Self, FormatError> {
        let Some(routing) = routing else { return Ok(Self::Random) };
        let router = Router::new(routing.form, secret)?;
        // Whatever could fail fails here, and not when a client comes.
        router.id(&routing)?;
        Ok(Self::Routed { router: Arc::new(router), routing })
    }
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        match self {
            Self::Random => ConnectionId::new(&rand::random::<[u8; RANDOM_BYTES]>()),
            Self::Routed { router, routing } => {
                let id = router.id(routing).expect("the first one was made when these were");
                ConnectionId::new(id.as_ref())
            }
        }
    }

    /// Packets with an id that no life of this node gave out are not worth a reset.
    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        match self {
            Self::Random => Ok(()),
            Self::Routed { router, routing } if router.node(id) == Some(routing.node) => Ok(()),
            Self::Routed { .. } => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        match self {
            Self::Random => RANDOM_BYTES,
            Self::Routed { routing, .. } => {
                1 + routing.form.server_id_bytes() + routing.form.nonce_bytes()
            }
        }
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(node: u16, form: Form, rotation: u8, secret: &Secret) -> Ids {
        Ids::new(Some(Routing { node, form, rotation }), secret).unwrap()
    }

    #[test]
    fn an_id_leads_to_its_node_and_is_never_the_same() {
        let secret = Secret::passing();
        for form in [Form::Encrypted, Form::Plain] {
            let router = Router::new(form, &secret).unwrap();
            for node in [0, 1, 0x1234, u16::MAX] {
                for rotation in [0, 6] {
                    let mut ids = ids(node, form, rotation, &secret);
                    let (one, other) = (ids.generate_cid(), ids.generate_cid());
                    assert_ne!(one, other);
                    assert_eq!((one.len(), one[0] >> ROTATION_SHIFT), (ids.cid_len(), rotation));
                    assert_eq!((router.node(&one), router.node(&other)), (Some(node), Some(node)));
                }
            }
        }
    }

    #[test]
    fn a_node_knows_the_ids_of_its_former_life_and_no_others() {
        let (secret, form) = (Secret::passing(), Form::Encrypted);
        let mut former = ids(7, form, 1, &secret);
        let again = ids(7, form, 2, &secret);
        assert!(again.validate(&former.generate_cid()).is_ok(), "also under a new configuration");
        let (mut neighbour, mut stranger) =
            (ids(8, form, 2, &secret), ids(7, form, 2, &Secret::passing()));
        assert!(again.validate(&neighbour.generate_cid()).is_err());
        assert!(again.validate(&stranger.generate_cid()).is_err());
        assert!(Ids::Random.validate(&Ids::Random.generate_cid()).is_ok());
        assert_ne!(Ids::Random.generate_cid(), Ids::Random.generate_cid());
    }

    #[test]
    fn without_the_key_ids_of_one_node_have_nothing_in_common() {
        let secret = Secret::passing();
        let mut ids = ids(1, Form::Encrypted, 0, &secret);
        let made: Vec<_> = (0..64).map(|_| ids.generate_cid()).collect();
        for at in 1..ids.cid_len() {
            assert!(made.iter().any(|id| id[at] != made[0][at]), "octet {at} never changes");
        }
        let plain = Router::new(Form::Plain, &secret).unwrap();
        assert!(made.iter().all(|id| plain.node(id) != Some(1)));
    }

    #[test]
    fn a_reserved_configuration_is_refused() {
        let routing = Routing { node: 1, form: Form::Plain, rotation: 7 };
        let refused = Ids::new(Some(routing), &Secret::passing()).err();
        assert_eq!(refused, Some(FormatError::Rotation(7)));
    }

    #[test]
    fn the_layout_is_what_a_load_balancer_reads_with() {
        let secret = Secret::passing();
        for form in [Form::Encrypted, Form::Plain] {
            let routing = Routing { node: 513, form, rotation: 3 };
            let Layout { server_id_bytes, nonce_bytes, server_id, key } = routing.layout(&secret);
            let format = Format::new(3, server_id_bytes, nonce_bytes, key.as_ref()).unwrap();
            let id = Ids::new(Some(routing), &secret).unwrap().generate_cid();
            assert_eq!(format.server_id(&id), Some(server_id));
        }
    }
}
