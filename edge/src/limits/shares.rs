//! What is left below the ceiling, shared out between buffers that make things faster.
//!
//! Each wants a part of the ceiling, and does its work with less. Where all of them together do not
//! fit beside what must be there, all give way alike, as far as it takes: nobody has to work out what
//! may be switched on together. Never touches what the file names itself.

use std::ops::RangeInclusive;

use super::{FIRST_EXCHANGE_BYTES, Limits, listener, usize_of};

/// How much of the way from what they need to what they want buffers come, in parts of
/// [`Portion::WHOLE`].
#[derive(Clone, Copy)]
struct Portion(u64);

/// What a buffer wants and what it needs, as parts of the ceiling: the larger the number, the less.
struct Parts {
    wanted: u64,
    needed: u64,
}

/// Messages that the cloud may send before the first is stored and confirmed.
const DOWNLINK_WINDOW: u64 = 4;
/// The part of the ceiling that stays free where buffers gave way: for users and access lists that a
/// reload brings.
const SPARE_PART: u64 = 128;

impl Portion {
    const WHOLE: u64 = 64;

    /// The largest first.
    fn all() -> impl Iterator<Item = Self> {
        (0..=Self::WHOLE).rev().map(Self)
    }

    const fn between(self, needed: u64, wanted: u64) -> u64 {
        needed + wanted.saturating_sub(needed) * self.0 / Self::WHOLE
    }

    /// Of what gives way only when others have gone half of their way.
    const fn twice(self) -> Self {
        Self(if self.0 * 2 < Self::WHOLE {
            self.0 * 2
        } else {
            Self::WHOLE
        })
    }

    fn of(self, ceiling: u64, parts: &Parts, bounds: &RangeInclusive<u64>) -> u64 {
        let part = |part: u64| (ceiling / part).clamp(*bounds.start(), *bounds.end());
        self.between(part(parts.needed), part(parts.wanted))
    }
}

impl Limits {
    /// Gives buffers what they want, or as much of it as fits, and adds everything up. Only before
    /// anything uses them.
    pub(super) fn share_out(&mut self) {
        let ceiling = self.section.memory_bytes;
        for portion in Portion::all() {
            self.take(portion);
            self.memory = self.worst_memory();
            let spare = match portion.0 {
                Portion::WHOLE => 0,
                _ => ceiling / SPARE_PART,
            };
            if Self::sum(&self.memory) + spare <= ceiling {
                break;
            }
        }
    }

    fn take(&mut self, portion: Portion) {
        let ceiling = self.section.memory_bytes;
        let share =
            |wanted, needed, bounds| portion.of(ceiling, &Parts { wanted, needed }, &bounds);
        let packet_bytes = u64::from(self.section.packet_bytes);
        self.cache_bytes = share(64, 128, 512 << 10..=4 << 20);
        self.waiting_bytes = share(32, 64, 256 << 10..=4 << 20).max(packet_bytes);
        self.outbound_total_bytes = usize_of(share(10, 32, 512 << 10..=64 << 20));
        self.inbound_total_bytes = usize_of(share(16, 128, 256 << 10..=64 << 20));
        self.underway_bytes = usize_of(share(32, 256, 128 << 10..=64 << 20));
        self.session_bytes = usize_of(share(32, 80, 256 << 10..=16 << 20));
        self.read_ahead_bytes = usize_of(share(64, 128, 256 << 10..=4 << 20));
        self.flight_bytes = usize_of(share(64, 128, 256 << 10..=1 << 20));
        let layers = portion.twice().between(ceiling / 16, ceiling / 8);
        listener::share_places(&mut self.listeners, self.section.connections, layers);
        let window = portion.between(1, DOWNLINK_WINDOW);
        self.downlink_window = u16::try_from(window).expect("it is small");
    }

    /// The parts of the ceiling that never give way.
    pub(super) fn take_fixed(&mut self) {
        let ceiling = self.section.memory_bytes;
        let share =
            |part: u64, least: u64, most: u64| usize_of((ceiling / part).clamp(least, most));
        self.flush_bytes = (ceiling / 64).clamp(128 << 10, 1 << 20);
        self.outbound_bytes = share(128, 64 << 10, 1 << 20);
        self.alias_bytes = share(512, 32 << 10, 4 << 20);
        self.nats_bytes = share(256, 32 << 10, 4 << 20);
        let exchanges = self.section.connections as u64 * FIRST_EXCHANGE_BYTES;
        self.note_bytes = share(512, 32 << 10, 4 << 20) + usize_of(exchanges.min(ceiling / 128));
        // At least one CONNECT, whatever it holds but for user properties.
        self.login_bytes = share(256, 256 << 10, 4 << 20);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::limits::AccessBytes;

    /// What may be switched on, with the keys that it needs and none of those that have defaults.
    const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    const TLS: &str = "[listener.tls]\ncertificate_file = \"c.pem\"\nkey_file = \"c.key\"\n";
    const CRL: &str = "client_ca_file = \"ca.pem\"\nclient_certificate = \"required\"\n\
                       crl_file = \"crl.pem\"\n";
    const CLOUD: &str = "[cloud]\nendpoints = [\"mqtts://127.0.0.1:1\"]\nuplink = [\"#\"]\n\
                         downlink = [\"down/#\"]\nca_file = \"ca.pem\"\n";
    const CLOUD_MAIL: &str = "[cloud.mq9]\nendpoints = [\"nats://127.0.0.1:2\"]\n";
    const USERS: AccessBytes = AccessBytes {
        held: 100 << 10,
        check: 0,
        has_users: true,
    };

    #[derive(Clone, Copy, Debug)]
    struct Features {
        tls: bool,
        crl: bool,
        cloud: bool,
        nats: bool,
        websocket: bool,
        users: bool,
        mail: bool,
        cloud_mail: bool,
    }

    impl Features {
        fn all() -> impl Iterator<Item = Self> {
            let features = (0..=u8::MAX).map(|bits| {
                let [tls, crl, cloud, nats, websocket, users, mail, cloud_mail] =
                    std::array::from_fn(|at| bits >> at & 1 == 1);
                Self {
                    tls,
                    crl,
                    cloud,
                    nats,
                    websocket,
                    users,
                    mail,
                    cloud_mail,
                }
            });
            features
                .filter(|it| it.tls || !it.crl)
                .filter(|it| it.cloud || !it.cloud_mail)
        }

        fn resolve(self, limits: &str) -> Result<Limits, crate::config::ConfigError> {
            let protocol = |protocol| format!("{LISTENER}protocol = \"{protocol}\"\n");
            let said = |is_on: bool, text: &str| {
                if is_on {
                    text.to_owned()
                } else {
                    String::new()
                }
            };
            let parts = [
                "[gateway]\nid = \"plant-7\"\n".to_owned(),
                LISTENER.to_owned(),
                said(self.tls, TLS),
                said(self.crl, CRL),
                said(self.nats, &protocol("nats")),
                said(self.websocket, &protocol("websocket")),
                said(self.cloud, CLOUD),
                said(self.cloud_mail, CLOUD_MAIL),
                said(self.mail, "[mq9]\n"),
                limits.to_owned(),
            ];
            let file = Path::new("edge.toml");
            let config = Config::parse(&parts.concat(), file)?;
            let mut limits = Limits::resolve(&config, file)?;
            if self.users {
                limits.begin_with_access(USERS, file)?;
            }
            Ok(limits)
        }
    }

    /// TLS with a cloud and NATS was refused, with a number to raise the ceiling to: whoever switched
    /// on what the product is for had to do sums first.
    #[test]
    fn whatever_is_switched_on_together_starts_within_the_default_ceiling() {
        let mut count = 0;
        for features in Features::all() {
            let limits = features.resolve("");
            let limits = limits.unwrap_or_else(|error| panic!("{features:?}: {error}"));
            let ceiling = limits.section.memory_bytes;
            assert_eq!(ceiling, 64 << 20);
            assert!(Limits::sum(&limits.memory) <= ceiling, "{features:?}");
            count += 1;
        }
        assert_eq!(count, 3 * 3 * 16);
    }

    const NOTHING: Features = Features {
        tls: false,
        crl: false,
        cloud: false,
        nats: false,
        websocket: false,
        users: false,
        mail: false,
        cloud_mail: false,
    };

    /// The fewer are switched on, the more there is for each.
    #[test]
    fn buffers_give_way_only_as_far_as_it_takes() {
        let all = Features::all();
        let all = all.map(|it| (it, it.resolve("").expect("it fits")));
        let widest = NOTHING.resolve("").expect("it fits");
        for (features, limits) in all {
            let left = limits.section.memory_bytes - Limits::sum(&limits.memory);
            let gave_way = limits.outbound_total_bytes < widest.outbound_total_bytes;
            assert!(
                !gave_way || left < 3 << 20,
                "{features:?}: {left} bytes left"
            );
            let places = limits.listeners.iter().map(|it| it.connections);
            assert!(places.min() >= Some(64), "{features:?}");
            assert!(limits.downlink_window > 0, "{features:?}");
        }
    }

    #[test]
    fn what_the_file_names_never_gives_way() {
        let features = Features {
            tls: true,
            nats: true,
            ..NOTHING
        };
        let limits = features.resolve("").expect("it fits");
        assert!(limits.listeners[0].connections < 256, "it gave way");
        let few = format!("{LISTENER}connections = 256\n{TLS}{LISTENER}protocol = \"nats\"\n");
        let file = Path::new("edge.toml");
        let config = Config::parse(&few, file).expect("valid");
        let limits = Limits::resolve(&config, file).expect("it fits");
        assert_eq!(limits.listeners[0].connections, 256);
        let error = features.resolve("[limits]\nretained_bytes = 30000000\n");
        let error = error.expect_err("too much").to_string();
        assert!(
            error.contains("limits.memory_bytes: found 67108864"),
            "{error}"
        );
    }

    /// A buffer that is in use can't become smaller.
    #[test]
    fn buffers_give_way_to_users_at_the_start_and_not_to_those_of_a_reload() {
        let file = Path::new("edge.toml");
        let more = AccessBytes {
            held: 2 << 20,
            ..USERS
        };
        let features = Features {
            cloud: true,
            ..NOTHING
        };
        let mut limits = features.resolve("").expect("it fits");
        let before = limits.outbound_total_bytes;
        limits.begin_with_access(more, file).expect("it fits");
        let begun = limits.outbound_total_bytes;
        assert!(begun < before);
        let much = AccessBytes {
            held: 4 << 20,
            ..USERS
        };
        assert!(limits.admit_access(much, file).is_err());
        assert_eq!((limits.access, limits.outbound_total_bytes), (more, begun));
        limits.admit_access(USERS, file).expect("it fits");
        assert_eq!(limits.outbound_total_bytes, begun);
        let too_much = AccessBytes {
            held: 64 << 20,
            ..USERS
        };
        assert!(limits.begin_with_access(too_much, file).is_err());
    }
}
