//! `[[listener]]` as it is written: where devices connect, and who may.

use std::net::SocketAddr;

use serde::Deserialize;

/// `[[listener]]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port; port 0 takes a free one and says which.
    #[serde(deserialize_with = "socket_address")]
    pub address: SocketAddr,
    /// Has to be written out for an address beyond loopback, as long as there are no users.
    #[serde(default)]
    pub allow_anonymous: Option<bool>,
}

fn socket_address<'de, D: serde::Deserializer<'de>>(value: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(value)?;
    text.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "\"{text}\", expected an IP address and port such as 127.0.0.1:1883"
        ))
    })
}
