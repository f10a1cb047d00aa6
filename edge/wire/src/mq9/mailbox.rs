//! The body of a request for a mailbox.

use alloc::string::String;

use serde::Deserialize;

use super::body::Prefix;
use super::{Create, Failure, check_address};

/// Reads `MAILBOX.CREATE`.
pub(super) fn create(body: &[u8]) -> Result<Create, Failure> {
    let fields: Fields = Prefix("invalid MAILBOX.CREATE payload: ").fields(body)?;
    if let Some(name) = &fields.name {
        check_address(name).map_err(Failure::Address)?;
    }
    Ok(Create {
        name: fields.name,
        ttl_seconds: fields.ttl,
        description: fields.desc.unwrap_or_default(),
    })
}

#[derive(Deserialize)]
struct Fields {
    name: Option<String>,
    ttl: Option<u64>,
    desc: Option<String>,
}
