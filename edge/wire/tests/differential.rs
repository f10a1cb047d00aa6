//! Three other codecs read what we write, we read what they write, and where they decide
//! differently the reason is written down here.
//!
//! The lists are held from both sides: a difference that is not listed fails, and so does a listed
//! one that is no more.

mod corpus_file;
mod ingredients;
mod peers;

use corpus_file::{Case, cases};
use ingredients::{ingredients_of, kinds};
use peers::Peer;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use wire::mqtt::property::{Properties, Property};
use wire::mqtt::{Packet, PacketType, Version, decode};

/// What a peer decides wrongly, or merely elsewhere, of the corpus.
struct Fault {
    peer: Peer,
    version: Version,
    reason: &'static str,
    cases: &'static [&'static str],
}

/// What a peer does not give back as it was, of packets that we make.
struct Excuse {
    peer: Peer,
    reason: &'static str,
    covers: fn(&Packet<'_>, Version) -> bool,
}

const CORPUS_FAULTS: &[Fault] = &[
    Fault {
        peer: Peer::Rumqttc,
        version: Version::V311,
        reason: "fixed header flags and reserved bits are not looked at",
        cases: &[
            "CONNECT reserved flag bit0",
            "CONNECT fixed hdr flags !=0",
            "PUBACK hdr flags",
            "PUBREL flags 0",
            "SUBSCRIBE flags 0",
            "SUBSCRIBE reserved option bits",
            "PINGREQ flags",
        ],
    },
    Fault {
        peer: Peer::Rumqttc,
        version: Version::V311,
        reason: "a password is taken for text, and an empty user name for none",
        cases: &[
            "CONNECT binary (non-utf8) password ok",
            "CONNECT empty username present ok",
            "CONNECT password without username",
        ],
    },
    Fault {
        peer: Peer::Rumqttc,
        version: Version::V311,
        reason: "topics and strings are left to the user of the codec",
        cases: &[
            "CONNECT client id with U+0000",
            "PUBLISH wildcard topic",
            "PUBLISH empty topic",
            "PUBLISH topic U+0000",
            "SUBSCRIBE bad filter a/#/b",
            "SUBSCRIBE empty filter",
        ],
    },
    Fault {
        peer: Peer::Rumqttc,
        version: Version::V311,
        reason: "DUP with QoS 0, and packet identifier 0 but in PUBLISH, are taken",
        cases: &["PUBLISH qos0 dup", "PUBACK pkid 0", "SUBSCRIBE pkid 0"],
    },
    Fault {
        peer: Peer::Rumqttc,
        version: Version::V311,
        reason: "bytes behind the last field, and a list without entries, are taken",
        cases: &[
            "CONNECT trailing garbage",
            "PUBACK len 3",
            "UNSUBSCRIBE none",
            "PINGREQ len 1",
            "DISCONNECT with body",
        ],
    },
    Fault {
        peer: Peer::Rumqttc,
        version: Version::V5,
        reason: "fixed header flags and reserved bits are not looked at",
        cases: &[
            "CONNECT reserved flag",
            "PUBREL flags 0",
            "SUBSCRIBE reserved bits",
        ],
    },
    Fault {
        peer: Peer::Rumqttc,
        version: Version::V5,
        reason: "values of properties, and that they stand once, are not checked",
        cases: &[
            "CONNECT dup receive max",
            "CONNECT receive max 0",
            "CONNECT max packet size 0",
            "CONNECT bool prop=2",
            "CONNECT auth data w/o method",
            "PUBLISH alias 0",
            "PUBLISH dup alias prop",
            "PUBLISH payload format 2",
            "PUBLISH response topic wildcard",
            "SUBSCRIBE subid 0",
            "SUBSCRIBE two subids",
        ],
    },
    Fault {
        peer: Peer::Rumqttc,
        version: Version::V5,
        reason: "topics and subscriptions are left to the user of the codec",
        cases: &[
            "PUBLISH empty topic no alias",
            "PUBLISH wildcard topic",
            "PUBLISH topic U+0000",
            "SUBSCRIBE bad shared $share/g",
            "SUBSCRIBE shared no-local",
        ],
    },
    Fault {
        peer: Peer::Rumqttc,
        version: Version::V5,
        reason: "DUP with QoS 0, bytes behind the last field, and no entries are taken",
        cases: &[
            "PUBLISH qos0 dup",
            "CONNECT trailing garbage",
            "PUBACK trailing",
            "UNSUBSCRIBE none",
            "PINGREQ len 1",
        ],
    },
    Fault {
        peer: Peer::Rumqttc,
        version: Version::V5,
        reason: "a password is taken for text",
        cases: &["CONNECT password bin ok"],
    },
    Fault {
        peer: Peer::Rumqttc,
        version: Version::V5,
        reason: "a DISCONNECT without property length, and AUTH, are not read",
        cases: &["DISCONNECT len0 ok", "DISCONNECT rc only ok", "AUTH ok"],
    },
    Fault {
        peer: Peer::Rumqttc,
        version: Version::V5,
        reason: "a subscription identifier is counted one byte too long, so that the last \
                 properties become payload",
        cases: &["PUBLISH 2 subids + PFI ok", "PUBLISH 5 subids + expiry ok"],
    },
    Fault {
        peer: Peer::RmqttCodec,
        version: Version::V311,
        reason: "topics and strings are left to the user of the codec",
        cases: &[
            "CONNECT client id with U+0000",
            "PUBLISH wildcard topic",
            "PUBLISH topic U+0000",
            "SUBSCRIBE bad filter a/#/b",
        ],
    },
    Fault {
        peer: Peer::RmqttCodec,
        version: Version::V311,
        reason: "bytes behind the last field are taken",
        cases: &[
            "CONNECT trailing garbage",
            "PINGREQ len 1",
            "DISCONNECT with body",
        ],
    },
    Fault {
        peer: Peer::RmqttCodec,
        version: Version::V311,
        reason: "contradictory and reserved flags are taken",
        cases: &[
            "CONNECT password without username",
            "PUBLISH qos0 dup",
            "SUBSCRIBE reserved option bits",
        ],
    },
    Fault {
        peer: Peer::RmqttCodec,
        version: Version::V5,
        reason: "an empty client identifier is refused without Clean Start, as before MQTT 5",
        cases: &["CONNECT empty clientid clean=0 ok"],
    },
    Fault {
        peer: Peer::RmqttCodec,
        version: Version::V5,
        reason: "a message expiry interval of 0 is refused",
        cases: &["PUBLISH expiry 0 ok"],
    },
    Fault {
        peer: Peer::RmqttCodec,
        version: Version::V5,
        reason: "topics and subscriptions are left to the user of the codec",
        cases: &[
            "PUBLISH empty topic no alias",
            "PUBLISH response topic wildcard",
            "PUBLISH wildcard topic",
            "PUBLISH topic U+0000",
            "SUBSCRIBE bad shared $share/g",
            "SUBSCRIBE shared no-local",
        ],
    },
    Fault {
        peer: Peer::RmqttCodec,
        version: Version::V5,
        reason: "DUP with QoS 0, bytes behind the last field, and authentication data alone are \
                 taken",
        cases: &[
            "PUBLISH qos0 dup",
            "CONNECT trailing garbage",
            "PINGREQ len 1",
            "CONNECT auth data w/o method",
        ],
    },
    Fault {
        peer: Peer::MqttProtocolCore,
        version: Version::V311,
        reason: "fixed header flags and reserved or contradictory bits are not looked at",
        cases: &[
            "CONNECT reserved flag bit0",
            "CONNECT fixed hdr flags !=0",
            "CONNECT will qos 3",
            "CONNECT no will but will qos/retain",
            "PUBACK hdr flags",
            "PUBREL flags 0",
            "SUBSCRIBE flags 0",
            "PINGREQ flags",
        ],
    },
    Fault {
        peer: Peer::MqttProtocolCore,
        version: Version::V311,
        reason: "topics and strings are left to the user of the codec",
        cases: &[
            "CONNECT client id with U+0000",
            "PUBLISH wildcard topic",
            "PUBLISH empty topic",
            "PUBLISH topic U+0000",
            "SUBSCRIBE bad filter a/#/b",
            "SUBSCRIBE empty filter",
        ],
    },
    Fault {
        peer: Peer::MqttProtocolCore,
        version: Version::V311,
        reason: "DUP with QoS 0, packet identifier 0, and a PUBACK as in MQTT 5 are taken",
        cases: &[
            "PUBLISH qos0 dup",
            "PUBLISH pkid 0",
            "SUBSCRIBE pkid 0",
            "PUBACK len 3",
        ],
    },
    Fault {
        peer: Peer::MqttProtocolCore,
        version: Version::V5,
        reason: "a password without user name is refused, as before MQTT 5",
        cases: &["CONNECT pass w/o user ok"],
    },
    Fault {
        peer: Peer::MqttProtocolCore,
        version: Version::V5,
        reason: "fixed header flags and reserved bits are not looked at",
        cases: &[
            "CONNECT reserved flag",
            "CONNECT will qos 3",
            "PUBREL flags 0",
        ],
    },
    Fault {
        peer: Peer::MqttProtocolCore,
        version: Version::V5,
        reason: "topics are left to the user of the codec",
        cases: &[
            "PUBLISH empty topic no alias",
            "PUBLISH response topic wildcard",
            "PUBLISH wildcard topic",
            "PUBLISH topic U+0000",
        ],
    },
    Fault {
        peer: Peer::MqttProtocolCore,
        version: Version::V5,
        reason: "a missing property length, and properties that exclude each other, are taken",
        cases: &[
            "PUBLISH missing prop length",
            "CONNECT auth data w/o method",
            "SUBSCRIBE two subids",
            "SUBSCRIBE shared no-local",
        ],
    },
    Fault {
        peer: Peer::MqttProtocolCore,
        version: Version::V5,
        reason: "DUP with QoS 0 and packet identifier 0 are taken",
        cases: &["PUBLISH qos0 dup", "PUBLISH pkid 0"],
    },
];

const EXCUSES: &[Excuse] = &[
    Excuse {
        peer: Peer::Rumqttc,
        reason: "a password is taken for text",
        covers: |packet, _| match packet {
            Packet::Connect(connect) => connect
                .password
                .is_some_and(|password| std::str::from_utf8(password).is_err()),
            _ => false,
        },
    },
    Excuse {
        peer: Peer::Rumqttc,
        reason: "user name and password are one thing: empty, or one without the other, they are \
                 changed",
        covers: |packet, _| match packet {
            Packet::Connect(connect) => {
                connect.user_name.unwrap_or("").is_empty()
                    || connect.password.unwrap_or(b"").is_empty()
            }
            _ => false,
        },
    },
    Excuse {
        peer: Peer::Rumqttc,
        reason: "AUTH is not read",
        covers: |packet, _| matches!(packet, Packet::Auth(_)),
    },
    Excuse {
        peer: Peer::Rumqttc,
        reason: "a DISCONNECT without properties is not read if it is empty, and written with a \
                 wrong length if it is not",
        covers: |packet, version| match packet {
            Packet::Disconnect(disconnect) => {
                version == Version::V5 && disconnect.properties.is_empty()
            }
            _ => false,
        },
    },
    Excuse {
        peer: Peer::Rumqttc,
        reason: "a subscription identifier is counted one byte too long",
        covers: |packet, _| match packet {
            Packet::Publish(publish) => publish
                .properties
                .subscription_identifiers()
                .next()
                .is_some(),
            _ => false,
        },
    },
    Excuse {
        peer: Peer::RmqttCodec,
        reason: "an empty client identifier is refused without Clean Start, rightly so before \
                 MQTT 5, where we leave it to the server, who owes an answer",
        covers: |packet, _| match packet {
            Packet::Connect(connect) => {
                connect.client_identifier.is_empty() && !connect.clean_start
            }
            _ => false,
        },
    },
    Excuse {
        peer: Peer::MqttProtocolCore,
        reason: "a password without user name is refused in MQTT 5",
        covers: |packet, _| match packet {
            Packet::Connect(connect) => connect.user_name.is_none() && connect.password.is_some(),
            _ => false,
        },
    },
];

#[test]
fn peers_decide_the_corpus_as_we_do_but_for_their_known_faults() {
    let mut wrong = Vec::new();
    for peer in Peer::ALL {
        for case in cases() {
            let reason = CORPUS_FAULTS.iter().find_map(|fault| {
                let is_known = fault.peer == peer
                    && fault.version == case.version
                    && fault.cases.contains(&case.name.as_str());
                is_known.then_some(fault.reason)
            });
            match (corpus_difference(peer, &case), reason) {
                (Some(found), None) => wrong.push(format!("{peer:?}, {case}: {found}")),
                (None, Some(reason)) => {
                    wrong.push(format!("{peer:?}, {case}: no more so that {reason}"));
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_listed_case_exists() {
    let cases = cases();
    for fault in CORPUS_FAULTS {
        for name in fault.cases {
            let is_there = |case: &Case| case.version == fault.version && case.name == *name;
            assert!(cases.iter().any(is_there), "{name} in {}", fault.version);
        }
    }
}

#[test]
fn peers_read_what_we_write_and_we_read_what_they_write() {
    let mut runner = TestRunner::deterministic();
    let mut wrong = Vec::new();
    let mut uses = [0; EXCUSES.len()];
    for (version, packet_type) in kinds() {
        let count = match packet_type {
            // No peer is asked to speak it.
            _ if version == Version::V31 => 0,
            PacketType::Pingreq | PacketType::Pingresp => 1,
            PacketType::Publish => 2000,
            _ => 150,
        };
        for _ in 0..count {
            let tree = ingredients_of(version, packet_type).new_tree(&mut runner);
            let made = tree.expect("no filter is strict").current();
            for peer in Peer::ALL {
                let Some(found) = difference(peer, version, made.packet(), &made.bytes()) else {
                    continue;
                };
                let covers = |excuse: &Excuse| {
                    excuse.peer == peer && (excuse.covers)(&made.packet(), version)
                };
                match EXCUSES.iter().position(covers) {
                    Some(at) => uses[at] += 1,
                    None => wrong.push(format!("{peer:?}, {:02x?}: {found}", made.bytes())),
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    for (excuse, uses) in EXCUSES.iter().zip(uses) {
        assert!(
            uses > 0,
            "{:?} was never excused that {}",
            excuse.peer,
            excuse.reason
        );
    }
}

fn corpus_difference(peer: Peer, case: &Case) -> Option<String> {
    let decoded = decode(&case.bytes, case.version, u32::MAX);
    assert_eq!(decoded.is_ok(), case.is_valid, "{case}");
    match decoded {
        Ok(Some((packet, _))) => difference(peer, case.version, packet, &case.bytes),
        _ => peer
            .recode(case.version, &case.bytes)
            .is_ok()
            .then(|| "accepted".to_owned()),
    }
}

/// Says what the peer makes of a packet that is valid, if not the same.
fn difference(peer: Peer, version: Version, packet: Packet<'_>, bytes: &[u8]) -> Option<String> {
    let recoded = match peer.recode(version, bytes) {
        Ok(recoded) => recoded,
        Err(error) => return Some(format!("refused: {error}")),
    };
    match decode(&recoded, version, u32::MAX) {
        Ok(Some((theirs, length))) if length == recoded.len() => {
            let (ours, theirs) = (normal(packet), normal(theirs));
            (ours != theirs).then(|| format!("changed:\n  {ours}\n  {theirs}"))
        }
        other => Some(format!("written as {recoded:02x?}: {other:?}")),
    }
}

/// Gives the same text for packets that mean the same: the order of different properties, and
/// properties that say what their absence says, make no difference.
fn normal(mut packet: Packet<'_>) -> String {
    let mut texts = Vec::new();
    for properties in properties_of(&mut packet) {
        let mut list: Vec<Property<'_>> = properties.iter().filter(|p| !is_default(p)).collect();
        list.sort_by_key(Property::identifier);
        texts.push(format!("{list:?}"));
        *properties = Properties::EMPTY;
    }
    format!("{packet:?} {}", texts.join(" "))
}

fn properties_of<'p, 'a>(packet: &'p mut Packet<'a>) -> Vec<&'p mut Properties<'a>> {
    match packet {
        Packet::Connect(connect) => {
            let will = connect.will.as_mut().map(|will| &mut will.properties);
            std::iter::once(&mut connect.properties)
                .chain(will)
                .collect()
        }
        Packet::Connack(packet) => vec![&mut packet.properties],
        Packet::Publish(packet) => vec![&mut packet.properties],
        Packet::Puback(packet)
        | Packet::Pubrec(packet)
        | Packet::Pubrel(packet)
        | Packet::Pubcomp(packet) => vec![&mut packet.properties],
        Packet::Subscribe(packet) => vec![&mut packet.properties],
        Packet::Suback(packet) => vec![&mut packet.properties],
        Packet::Unsubscribe(packet) => vec![&mut packet.properties],
        Packet::Unsuback(packet) => vec![&mut packet.properties],
        Packet::Pingreq | Packet::Pingresp => Vec::new(),
        Packet::Disconnect(packet) => vec![&mut packet.properties],
        Packet::Auth(packet) => vec![&mut packet.properties],
    }
}

fn is_default(property: &Property<'_>) -> bool {
    match *property {
        Property::PayloadFormatIndicator(is_utf8) => !is_utf8,
        Property::SessionExpiryInterval(seconds) | Property::WillDelayInterval(seconds) => {
            seconds == 0
        }
        Property::RequestProblemInformation(is_wanted) => is_wanted,
        Property::RequestResponseInformation(is_wanted) => !is_wanted,
        Property::ReceiveMaximum(count) => count.get() == u16::MAX,
        Property::TopicAliasMaximum(count) => count == 0,
        Property::RetainAvailable(is_available)
        | Property::WildcardSubscriptionAvailable(is_available)
        | Property::SubscriptionIdentifierAvailable(is_available)
        | Property::SharedSubscriptionAvailable(is_available) => is_available,
        _ => false,
    }
}
