//! How a life begins: what CONNECT asks for, what CONNACK allows, and SUBSCRIBE.

use embedded_io::ErrorKind;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Filter, Packet, RetainForwardRule};
use rumqttc::v5::mqttbytes::{Error as PacketError, QoS};
use rumqttc::v5::{
    AsyncClient, ConnectionError, Event as Polled, EventLoop, MqttOptions, StateError,
};
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::Life;
use crate::failure::Failure;
use crate::session::{Session, Terms};
use crate::settings::{Settings, whole_seconds};
use crate::{Endpoint, Event, Scheme, SessionState, client_id};

impl Life {
    /// Says to rumqttc what the configuration says.
    pub(super) fn options(&self) -> MqttOptions {
        let Settings { config, stamp, .. } = &*self.settings;
        let edge_id = &stamp.origin.edge_id;
        let id = client_id(&config.client_id_prefix, edge_id, self.connection);
        let is_durable = config.carries_downlink(self.connection);
        let session_expiry = whole_seconds(config.session_expiry);
        let mut options = MqttOptions::new(id, &self.endpoint.host, self.endpoint.port);
        options
            .set_keep_alive(config.keep_alive)
            .set_clean_start(!is_durable)
            .set_session_expiry_interval(is_durable.then_some(session_expiry))
            .set_receive_maximum(Some(config.downlink_window))
            .set_max_packet_size(Some(config.maximum_packet_bytes))
            .set_outgoing_inflight_upper_limit(config.window.saturating_mul(2).max(IDENTIFIERS))
            // Later than the bridge's own, which looks the name up as well.
            .set_connection_timeout(config.connect_timeout.as_secs() + 1)
            .set_manual_acks(true);
        if let Some(credentials) = &config.credentials {
            options.set_credentials(&credentials.user_name, &credentials.password);
        }
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        if let (Scheme::Mqtts, Some(trust)) = (self.endpoint.scheme, &self.settings.trust) {
            let tls = TlsConfiguration::Rustls(trust.current());
            options.set_transport(Transport::tls_with_config(tls));
        }
        options
    }

    /// Connects within the time allowed, and gives the session and its `Up`.
    pub(super) async fn establish(
        &self,
        event_loop: &mut EventLoop,
    ) -> Result<(Session, Event), Failure> {
        let limit = self.settings.config.connect_timeout;
        let acknowledgement = timeout(limit, self.connect(event_loop))
            .await
            .map_err(|_| Failure::late("no CONNACK", limit))??;
        self.correct_keep_alive(&acknowledgement, event_loop);
        let terms = self.agree(&acknowledgement)?;
        let up = Event::Up {
            connection: self.connection,
            endpoint: self.endpoint.clone(),
            session: match acknowledgement.session_present {
                true => SessionState::Present,
                false => SessionState::New,
            },
            receive_maximum: terms.window,
            maximum_packet_bytes: terms.maximum_packet_bytes,
        };
        Ok((Session::new(terms, self.settings.clock.now()), up))
    }

    /// Subscribes anew on every connection, since RobustMQ delivers nothing to a kept session
    /// until then; without retained messages, which would hold the server up for 20 s.
    pub(super) fn subscribe(&self, client: &AsyncClient) {
        let config = &self.settings.config;
        if !config.carries_downlink(self.connection) {
            return;
        }
        let filters = config.downlink_filters.iter().map(|path| Filter {
            retain_forward_rule: RetainForwardRule::Never,
            ..Filter::new(path, QoS::AtLeastOnce)
        });
        client
            .try_subscribe_many(filters)
            .expect("filters are checked at the start, and the queue is empty");
    }

    /// Looks the name up before rumqttc does, only to tell this failure from others.
    async fn connect(&self, event_loop: &mut EventLoop) -> Result<ConnAck, Failure> {
        let Endpoint { host, port, .. } = &self.endpoint;
        if let Err(error) = lookup_host((host.as_str(), *port)).await {
            return Err(Failure::unresolved(host, &error));
        }
        match event_loop.poll().await {
            Ok(Polled::Incoming(Packet::ConnAck(acknowledgement))) => Ok(acknowledgement),
            Ok(_) => Err(Failure::new(ErrorKind::Other, "no CONNACK came first")),
            // Most likely the alert of a server that expects TLS.
            Err(ConnectionError::MqttState(StateError::Deserialization(error)))
                if !matches!(error, PacketError::Io(_)) =>
            {
                Err(Failure::violation(format!(
                    "the answer to CONNECT is not MQTT 5, or the server expects mqtts: {error}"
                )))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps the configured keep alive where the server's is longer, which would hide that it is
    /// dead, or 0, at which rumqttc would ping without pause. A shorter one stays: the server
    /// drops whoever is slower.
    fn correct_keep_alive(&self, acknowledgement: &ConnAck, event_loop: &mut EventLoop) {
        let properties = acknowledgement.properties.as_ref();
        let configured = self.settings.config.keep_alive;
        let asked = properties.and_then(|it| it.server_keep_alive);
        if asked.is_some_and(|asked| asked == 0 || u64::from(asked) > configured.as_secs()) {
            event_loop.options.set_keep_alive(configured);
        }
    }

    /// Holds the server's limits against the configured ones.
    fn agree(&self, acknowledgement: &ConnAck) -> Result<Terms, Failure> {
        let config = &self.settings.config;
        let properties = acknowledgement.properties.as_ref();
        let receive_maximum = properties.and_then(|it| it.receive_max).unwrap_or(u16::MAX);
        let maximum_packet_bytes = properties
            .and_then(|it| it.max_packet_size)
            .unwrap_or(u32::MAX)
            .min(config.maximum_packet_bytes);
        if receive_maximum == 0 || maximum_packet_bytes == 0 {
            return Err(Failure::violation("the CONNACK allows nothing to be sent"));
        }
        // One slot stays free, since rumqttc sends nothing at all while every slot is taken, not
        // even the acknowledgement of a downlink message.
        let window = config.window.min((receive_maximum - 1).max(1));
        Ok(Terms {
            connection: self.connection,
            tokens: self.tokens.clone(),
            window,
            maximum_packet_bytes,
            downlink_window: config.downlink_window,
            patience: config.patience,
            filters: match config.carries_downlink(self.connection) {
                true => config.downlink_filters.clone(),
                false => Vec::new(),
            },
        })
    }
}

/// Packet identifiers at least, so that one is hardly ever still taken when its turn comes.
const IDENTIFIERS: u16 = 64;
