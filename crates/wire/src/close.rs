//! Why a connection was closed: the application error code of QUIC's CONNECTION_CLOSE (RFC 9000,
//! section 19.19). The numbers are on the wire: stable.

use std::fmt;

macro_rules! close_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// Why a connection was closed. A client knows from it whether to retry, move or stop.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum CloseCode {
            $($(#[$doc])* $variant = $number,)*
        }

        impl CloseCode {
            /// Every code, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code's name in documents and output.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

close_codes! {
    /// The closing side is done.
    Normal = 0, "normal";
    /// Another device of the account logged in under the `exclusive` policy. Stop.
    Kicked = 1, "kicked";
    /// The server is going away. Come back soon, to another node if there is one.
    Draining = 2, "draining";
    /// The token is not valid, or not any more. Stop, and log in again.
    Unauthorised = 3, "unauthorised";
    /// The peer broke the protocol. Retrying the same will fail the same.
    Protocol = 4, "protocol";
    /// The session was so far behind that the server let go of it. Come back and read the logs.
    Behind = 5, "behind";
    /// The server holds as many sessions as it takes. Come back later.
    Overloaded = 6, "overloaded";
    /// The server failed. Come back later.
    Internal = 7, "internal";
    /// Nothing was asked in time, such as no hello on a new connection.
    TimedOut = 8, "timed_out";
    /// A part that the session needs cannot be reached. Come back later.
    Unavailable = 9, "unavailable";
    /// The client's address changes too often for this transport. Come back, over another one if
    /// there is one.
    Unsteady = 10, "unsteady";
}

impl CloseCode {
    /// The code with this number, if this version knows it.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| u64::from(*code as u32) == number)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_number(u64::from(*code as u32)), Some(*code));
        }
        assert_eq!(CloseCode::from_number(99), None);
    }
}
