//! Who may call what: one table. A role is what a certificate says by its name, such as
//! `chat.skein.internal`.

use std::fmt;

/// What the names of roles in certificates end with.
const DOMAIN: &str = ".skein.internal";

/// Whom a certificate speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The HTTP API.
    Gate,
    /// Verification codes.
    Verify,
    /// The directory of chat nodes.
    Status,
    /// A chat node.
    Chat,
    /// Uploads and blobs.
    Resource,
    /// An operator's command.
    Admin,
}

/// The roles that one certificate names: one as a rule, more in a small cluster, none in a
/// certificate that was not made for this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles(Vec<Role>);

/// Which roles may call which method. What is not here is for nobody, and nobody has a right that
/// it does not use.
const TABLE: &[(&str, &[Role])] = &[
    ("/skein.cluster.v1.Verify/Request", &[Role::Gate, Role::Admin]),
    ("/skein.cluster.v1.Verify/Check", &[Role::Gate]),
    ("/skein.cluster.v1.Directory/Assign", &[Role::Gate, Role::Chat]),
    ("/skein.cluster.v1.Directory/Report", &[Role::Chat]),
    ("/skein.cluster.v1.Directory/Leave", &[Role::Chat]),
    ("/skein.cluster.v1.Directory/Nodes", &[Role::Admin]),
    ("/skein.cluster.v1.Directory/Drain", &[Role::Admin]),
    ("/skein.cluster.v1.Resource/Upload", &[Role::Chat]),
    ("/skein.cluster.v1.Resource/Discard", &[Role::Chat]),
    ("/skein.cluster.v1.Resource/Download", &[Role::Chat]),
    ("/skein.cluster.v1.Resource/Follow", &[Role::Chat]),
    // Says only whether a service is there.
    ("/grpc.health.v1.Health/Check", Role::ALL),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &[Role::Admin]),
];

impl Role {
    /// Every role.
    pub const ALL: &[Self] =
        &[Self::Gate, Self::Verify, Self::Status, Self::Chat, Self::Resource, Self::Admin];

    /// The role's name in certificates, configuration and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Verify => "verify",
            Self::Status => "status",
            Self::Chat => "chat",
            Self::Resource => "resource",
            Self::Admin => "admin",
        }
    }

    /// The DNS name that stands for the role in a certificate. It is resolved by nobody.
    #[must_use]
    pub fn server_name(self) -> String {
        format!("{}{DOMAIN}", self.name())
    }

    /// The role that a DNS name in a certificate stands for.
    #[must_use]
    pub fn of_server_name(name: &str) -> Option<Self> {
        let name = name.strip_suffix(DOMAIN)?;
        Self::ALL.iter().copied().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Roles {
    /// The roles among the DNS names of a certificate.
    pub fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().filter_map(Role::of_server_name).collect())
    }

    /// Whether the certificate speaks for this role.
    #[must_use]
    pub fn contain(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// The method with this path, in the table's own words, if the certificate's owner may call it.
    #[must_use]
    pub fn may_call(&self, path: &str) -> Option<&'static str> {
        let (method, allowed) = TABLE.iter().find(|(method, _)| *method == path)?;
        self.0.iter().any(|role| allowed.contains(role)).then_some(*method)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = self.0.iter().map(|role| role.name());
        let Some(first) = names.next() else { return f.write_str("no role") };
        f.write_str(first)?;
        names.try_for_each(|name| write!(f, "+{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_a_role() {
        for role in Role::ALL {
            assert_eq!(Role::of_server_name(&role.server_name()), Some(*role));
        }
        for name in ["chat", "chat.example.org", ".skein.internal", "a.chat.skein.internal"] {
            assert_eq!(Role::of_server_name(name), None, "{name}");
        }
    }

    #[test]
    fn the_table_holds() {
        let may = |role: Role, path: &str| Roles(vec![role]).may_call(path).is_some();
        let expected = [
            ("/skein.cluster.v1.Verify/Request", &[Role::Gate, Role::Admin][..]),
            ("/skein.cluster.v1.Verify/Check", &[Role::Gate]),
            ("/skein.cluster.v1.Directory/Assign", &[Role::Gate, Role::Chat]),
            ("/skein.cluster.v1.Directory/Report", &[Role::Chat]),
            ("/skein.cluster.v1.Directory/Leave", &[Role::Chat]),
            ("/skein.cluster.v1.Directory/Nodes", &[Role::Admin]),
            ("/skein.cluster.v1.Directory/Drain", &[Role::Admin]),
            ("/skein.cluster.v1.Resource/Upload", &[Role::Chat]),
            ("/skein.cluster.v1.Resource/Discard", &[Role::Chat]),
            ("/skein.cluster.v1.Resource/Download", &[Role::Chat]),
            ("/skein.cluster.v1.Resource/Follow", &[Role::Chat]),
            ("/grpc.health.v1.Health/Check", Role::ALL),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &[Role::Admin]),
            ("/skein.cluster.v1.Verify/", &[]),
            ("/skein.cluster.v1.Verify/RequestMore", &[]),
            ("/skein.cluster.v1.Other/Do", &[]),
            ("/", &[]),
        ];
        for (path, _) in TABLE {
            assert!(expected.iter().any(|(known, _)| known == path), "{path} is not tried here");
        }
        for (path, allowed) in expected {
            for role in Role::ALL {
                assert_eq!(may(*role, path), allowed.contains(role), "{role} {path}");
            }
            assert_eq!(Roles::default().may_call(path), None, "{path}");
        }
        let check = "/skein.cluster.v1.Verify/Check";
        assert_eq!(Roles(vec![Role::Verify, Role::Gate]).may_call(check), Some(check));
    }
}
