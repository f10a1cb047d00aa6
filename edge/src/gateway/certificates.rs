//! The certificates of all listeners, which can be replaced while they listen.
//!
//! New ones are read first, all of them, and only then take the old ones' place, so that a broken
//! file changes nothing. Connections that exist keep what they began with.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::ServerConfig;
use tracing::{error, info};

use super::error::GatewayError;
use crate::broker::ListenerId;
use crate::config::{ClientCertificate, ListenerTls, Protocol};
use crate::limits::Listener;
use crate::link::tls::{Clients, Files};

/// Certificates in use, by [`ListenerId`].
pub(crate) struct Certificates {
    current: RefCell<Prepared>,
}

/// Certificates that were read and can be used, by [`ListenerId`]; `None` for a listener that has
/// none.
pub(crate) struct Prepared(Vec<Option<Arc<ServerConfig>>>);

impl Prepared {
    /// Reads the certificates of all listeners.
    ///
    /// # Errors
    /// At the first file that can't be used.
    pub(crate) fn read(listeners: &[Listener]) -> Result<Self, GatewayError> {
        let read = |listener: &Listener| {
            let Some(tls) = &listener.tls else {
                return Ok(None);
            };
            let read = files(tls, listener.protocol).server_config();
            read.map(Some).map_err(|source| GatewayError::Certificate {
                address: listener.address.clone(),
                source: Box::new(source),
            })
        };
        listeners
            .iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Certificates {
    pub(crate) const fn new(prepared: Prepared) -> Self {
        Self {
            current: RefCell::new(prepared),
        }
    }

    /// Lets new connections find these. They have to be for the same listeners.
    pub(crate) fn replace(&self, prepared: Prepared) {
        let before = self.current.replace(prepared);
        debug_assert_eq!(
            before.0.len(),
            self.current.borrow().0.len(),
            "listeners stay while the gateway runs"
        );
    }

    /// Reads the files again. If all of them are good, new connections find what they hold;
    /// otherwise everything stays as it is.
    pub(crate) fn reload(&self, listeners: &[Listener]) {
        match Prepared::read(listeners) {
            Ok(prepared) => {
                self.replace(prepared);
                info!("certificates were read again");
            }
            Err(error) => error!("certificates stay as they were: {error}"),
        }
    }

    /// What a listener's next connection begins with.
    pub(crate) fn of(&self, listener: ListenerId) -> Option<Arc<ServerConfig>> {
        self.current.borrow().0[usize::from(listener.0)].clone()
    }
}

fn files(tls: &ListenerTls, protocol: Protocol) -> Files {
    let is_required = tls.client_certificate == ClientCertificate::Required;
    let clients = tls.client_ca_file.as_ref().map(|authority| Clients {
        authority: authority.clone(),
        revoked: tls.crl_file.clone(),
        is_required,
    });
    Files {
        certificate: tls.certificate_file.clone(),
        key: tls.key_file.clone(),
        clients,
        application: match protocol {
            Protocol::Mqtt => b"mqtt",
            // What a browser wants to speak before it speaks WebSocket.
            Protocol::Websocket => b"http/1.1",
        },
    }
}
