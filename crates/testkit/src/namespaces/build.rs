//! Makes the three namespaces and the cables between them.

use std::{fs, path::Path};

use super::{
    Interface, Lab, LabError, Place, SERVER_NAME, SERVER_V4, SERVER_V6, leftover, run::run,
};

/// What a router has to be told to be one. Answers may take another way than what they answer.
const ROUTER_SETTINGS: &str = "cd /proc/sys/net && echo 1 >ipv4/ip_forward && \
                               echo 1 >ipv6/conf/all/forwarding && \
                               echo 0 >ipv4/conf/all/rp_filter && \
                               echo 0 >ipv4/conf/default/rp_filter";

impl Lab {
    pub(super) fn build(&self) -> Result<(), LabError> {
        for place in Place::ALL {
            let namespace = self.namespace(place);
            run(&["ip", "netns", "add", &namespace], "")?;
            self.ip(place, "link set lo up\n")?;
            names(&namespace)?;
        }
        self.run_in(Place::Router, &["sh", "-c", ROUTER_SETTINGS])?;
        self.cable("wan", Place::Server)?;
        self.ip(
            Place::Server,
            &format!(
                "address add {SERVER_V4}/24 dev wan\n\
                 address add {SERVER_V6}/64 dev wan nodad\n\
                 link set wan up\n\
                 route add ::/0 via 2001:db8::fe dev wan\n"
            ),
        )?;
        for interface in Interface::ALL {
            self.cable(interface.name(), Place::Client)?;
        }
        self.ip(
            Place::Router,
            "address add 192.0.2.254/24 dev wan\n\
             address add 192.0.2.11/32 dev wan\n\
             address add 192.0.2.12/32 dev wan\n\
             address add 2001:db8::fe/64 dev wan nodad\n\
             address add 10.77.1.1/24 dev wifi\n\
             address add 2001:db8:1::1/64 dev wifi nodad\n\
             address add 10.77.2.1/24 dev cell\n\
             address add 2001:db8:2::1/64 dev cell nodad\n\
             link set wan up\nlink set wifi up\nlink set cell up\n",
        )
    }

    /// Lays a cable from the router to `place`. Its ends have the same name.
    fn cable(&self, name: &str, place: Place) -> Result<(), LabError> {
        let (router, other) = (self.namespace(Place::Router), self.namespace(place));
        let ends = ["type", "veth", "peer", "name", name, "netns", &router];
        run(&[&["ip", "link", "add", name, "netns", &other], &ends[..]].concat(), "")?;
        for end in [Place::Router, place] {
            // Otherwise the router sees many packets as one, and loses all of them together.
            self.run_in(end, &["ethtool", "-K", name, "tx-udp-segmentation", "off"])?;
        }
        Ok(())
    }
}

/// Lets programs in the namespace find the server by name.
fn names(namespace: &str) -> Result<(), LabError> {
    let folder = Path::new(leftover::FILES).join(namespace);
    let text = format!(
        "127.0.0.1 localhost\n::1 localhost\n{SERVER_V4} {SERVER_NAME}\n{SERVER_V6} {SERVER_NAME}\n"
    );
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("hosts"), text));
    written.map_err(|source| LabError::Io { what: folder.display().to_string(), source })
}
