//! Where somebody listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, Result};

/// The longest path or name of a local socket, in bytes (unix(7)); one of the 108 ends a path or begins a name.
const MAX_LOCAL: usize = 107;

/// Where somebody listens. As text: `unix:/path`, `unix-abstract:name`, `tcp:host:port`.
///
/// | | reaches | who may connect | what stays after a crash |
/// |---|---|---|---|
/// | `unix:/run/user/1000/app.sock` | processes of this machine that see the file | who may write the file, and [`Allow`](crate::Allow) | the file, which the next listener replaces |
/// | `unix-abstract:app` | processes of this network namespace | [`Allow`](crate::Allow) | nothing |
/// | `tcp:127.0.0.1:5000`, `tcp:[::1]:5000`, `tcp:host:5000` | other machines, too | everybody: use a key | nothing |
///
/// For a listener, a local address may be empty (`unix:`, `unix-abstract:`) and a port 0: then a free one is chosen, and
/// [`Listener::address`](crate::Listener::address) tells which. Names of paths cannot contain anything but UTF-8 in the text form, and any bytes but NUL
/// as [`Address::Unix`].
///
/// Where an address is expected, its text will do.
///
/// ```
/// use ipc_socket::Address;
///
/// # fn main() -> Result<(), ipc_socket::Error> {
/// let address: Address = "tcp:[::1]:5000".parse()?;
/// assert_eq!(address, Address::tcp("::1", 5000));
/// assert_eq!(address.to_string(), "tcp:[::1]:5000");
/// assert_eq!(Address::unix("/run/app.sock").to_string(), "unix:/run/app.sock");
/// assert_eq!(Address::abstract_name("app").to_string(), "unix-abstract:app");
///
/// let too_long = format!("unix:/tmp/{}", "x".repeat(200));
/// assert!(too_long.parse::<Address>().is_err_and(|e| e.to_string().contains("longer than 107 bytes")));
/// # Ok(()) }
/// ```
///
/// # References
/// unix(7), ip(7); CPython `multiprocessing.connection.address_type`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A socket in the file system, by its path of at most 107 bytes.
    Unix(PathBuf),
    /// A socket with a name that is no file, of at most 107 bytes.
    Abstract(String),
    /// A port of a host, which is a name or an IPv4 or IPv6 address.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Address {
    /// A socket in the file system.
    pub fn unix(path: impl Into<PathBuf>) -> Address {
        Address::Unix(path.into())
    }

    /// A local socket with a name that is no file.
    pub fn abstract_name(name: impl Into<String>) -> Address {
        Address::Abstract(name.into())
    }

    /// A port of a host.
    pub fn tcp(host: impl Into<String>, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    /// Looks for what the system would refuse with a less telling error.
    pub(crate) fn check(self) -> Result<Address> {
        let why = match &self {
            Address::Unix(path) => local(path.as_os_str().as_encoded_bytes()),
            Address::Abstract(name) => local(name.as_bytes()),
            Address::Tcp { host, .. } if host.is_empty() => Some("there is no host"),
            Address::Tcp { host, .. } if host.contains(['\0', '/', ' ', '[', ']']) => Some("that is no name of a host"),
            Address::Tcp { .. } => None,
        };
        match why {
            Some(why) => Err(Error::BadAddress { address: self.to_string(), why }),
            None => Ok(self),
        }
    }

    /// Whether a free name is to be chosen.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Address::Unix(path) => path.as_os_str().is_empty(),
            Address::Abstract(name) => name.is_empty(),
            Address::Tcp { port, .. } => *port == 0,
        }
    }
}

fn local(name: &[u8]) -> Option<&'static str> {
    match name {
        _ if name.len() > MAX_LOCAL => Some("it is longer than 107 bytes, which is what a local socket may have"),
        _ if name.contains(&0) => Some("it contains a NUL"),
        _ => None,
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address> {
        let bad = |why| Error::BadAddress { address: text.into(), why };
        let Some((kind, rest)) = text.split_once(':') else {
            return Err(bad("it begins with none of unix:, unix-abstract:, tcp:"));
        };
        let address = match kind {
            "unix" => Address::unix(rest),
            "unix-abstract" => Address::abstract_name(rest),
            "tcp" => {
                let (host, port) = rest.rsplit_once(':').ok_or_else(|| bad("there is no port"))?;
                let port = port.parse().map_err(|_| bad("the port is no number up to 65535"))?;
                let host = match host.strip_prefix('[') {
                    Some(inner) => inner.strip_suffix(']').ok_or_else(|| bad("there is a [ without a ]"))?,
                    None if host.contains(':') => return Err(bad("an IPv6 address stands between [ and ]")),
                    None => host,
                };
                Address::tcp(host, port)
            }
            _ => return Err(bad("it begins with none of unix:, unix-abstract:, tcp:")),
        };
        address.check()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Abstract(name) => write!(f, "unix-abstract:{name}"),
            Address::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

impl TryFrom<&str> for Address {
    type Error = Error;

    fn try_from(text: &str) -> Result<Address> {
        text.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = Error;

    fn try_from(text: &String) -> Result<Address> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Address> {
        text.parse()
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Address {
        address.clone()
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Address {
        Address::unix(path)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        match address {
            // A link-local address means nothing without its interface.
            SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                Address::tcp(format!("{}%{}", v6.ip(), v6.scope_id()), address.port())
            }
            _ => Address::tcp(address.ip().to_string(), address.port()),
        }
    }
}

/// As its text; a path that is not UTF-8 cannot be sent.
impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Address::Unix(path) if path.to_str().is_none() => {
                Err(serde::ser::Error::custom("the path of the address is not UTF-8"))
            }
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_read_and_written() {
        for (text, address) in [
            ("unix:/run/a:b.sock", Address::unix("/run/a:b.sock")),
            ("unix:", Address::unix("")),
            ("unix-abstract:a:b", Address::abstract_name("a:b")),
            ("tcp:127.0.0.1:0", Address::tcp("127.0.0.1", 0)),
            ("tcp:[fe80::1%eth0]:65535", Address::tcp("fe80::1%eth0", 65535)),
            ("tcp:localhost:80", Address::tcp("localhost", 80)),
        ] {
            assert_eq!(text.parse::<Address>().unwrap(), address);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("", "begins with none"),
            ("/run/a.sock", "begins with none"),
            ("udp:host:1", "begins with none"),
            ("tcp:host", "no port"),
            ("tcp::1", "no host"),
            ("tcp:::1:5", "between [ and ]"),
            ("tcp:[::1:5", "without a ]"),
            ("tcp:host:65536", "65535"),
            ("tcp:host:", "65535"),
            ("tcp:a b:1", "no name of a host"),
            ("unix:a\0b", "NUL"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(format!("unix-abstract:{}", "x".repeat(107)).parse::<Address>().is_ok());
        assert!(format!("unix-abstract:{}", "x".repeat(108)).parse::<Address>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_that_reads_back_or_an_error(text in "(unix:|unix-abstract:|tcp:)?[\\[\\]:.a-z0-9\0]{0,20}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            }
        }
    }
}
