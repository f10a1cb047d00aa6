//! Bytes that no client should send: nothing panics, nothing grows without bound, and others are
//! not disturbed.

use std::num::NonZeroU16;

use edge::broker::Settings;
use edge::mqtt;
use sync::Table;
use wire::mqtt::property::{Properties, Property, PropertySet};
use wire::mqtt::{Packet, Publish, Subscribe, Subscription, Subscriptions};
use wire::topic::{TopicFilter, TopicName};

use crate::dice::Dice;
use crate::world::*;

/// A stream of everything that a client may say, with few names, so that exchanges meet.
fn packet(random: &mut Dice) -> Vec<u8> {
    let packet_identifier = 1 + random.below(4) as u16;
    let qos = qos_of(random.below(3) as u8);
    match random.below(9) {
        0 => encode(V5, &Packet::Puback(step(packet_identifier))),
        1 => encode(V5, &Packet::Pubrec(step(packet_identifier))),
        2 => encode(V5, &Packet::Pubrel(step(packet_identifier))),
        3 => encode(V5, &Packet::Pubcomp(step(packet_identifier))),
        4 => encode(V5, &Packet::Pingreq),
        5 => {
            let filter = ["#", "a/+", "a/b", "$share/g/a"][random.below(4) as usize];
            let mut bytes = Vec::new();
            let options = Subscription::new(TopicFilter::new(filter).unwrap(), qos);
            options.encode(V5, &mut bytes).unwrap();
            let subscribe = Subscribe {
                packet_identifier: NonZeroU16::new(packet_identifier).unwrap(),
                properties: Properties::EMPTY,
                subscriptions: Subscriptions::parse(&bytes, V5).unwrap(),
            };
            encode(V5, &Packet::Subscribe(subscribe))
        }
        _ => {
            let alias = NonZeroU16::new(1 + random.below(17) as u16).unwrap();
            let properties = properties_of(PropertySet::PUBLISH, &[Property::TopicAlias(alias)]);
            let topic = ["a", "a/b"][random.below(2) as usize];
            let publish = Publish {
                dup: false,
                qos,
                retain: random.below(4) == 0,
                topic: Some(TopicName::new(topic).unwrap()),
                packet_identifier: NonZeroU16::new(packet_identifier).filter(|_| u8::from(qos) > 0),
                properties: Properties::parse(&properties, PropertySet::PUBLISH).unwrap(),
                payload: &[b'x'; 20][..random.below(20) as usize],
            };
            encode(V5, &Packet::Publish(publish))
        }
    }
}

#[test]
fn packets_out_of_turn_and_damaged_ones_do_no_harm() {
    for seed in 0..150 {
        println!("seed {seed}");
        let mut random = Dice(seed);
        let settings = Settings {
            routes: vec!["a/b".into()],
            ..Settings::default()
        };
        let limits = mqtt::Settings {
            packet_bytes_maximum: 1000,
            ..mqtt::Settings::default()
        };
        let mut world = World::with(settings, limits);
        let witness = world.join(&hello(V5, "witness"));
        for _ in 0..20 {
            let hello = hello(V5, "hostile").durable();
            let (client, _) = world.connect(&hello);
            let mut bytes = Vec::new();
            for _ in 0..20 {
                bytes.extend(packet(&mut random));
            }
            if random.below(2) == 0 {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << random.below(8);
            }
            for piece in bytes.chunks(1 + random.below(40) as usize) {
                world.send_bytes(client, piece);
            }
            assert!(world.connection_bytes(client) < 100_000);
            if random.below(8) == 0 {
                world.crash(0);
                break;
            }
        }
        assert_eq!(world.broker.uncommitted_bytes(), 0);
        if !world.is_closed(witness) {
            world.send(witness, &Packet::Pingreq);
            world.expect(witness, &Packet::Pingresp);
        }
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let mut world = World::new();
    let mut random = Dice(7);
    for _ in 0..500 {
        let client = world.open(V5);
        let bytes: Vec<u8> = (0..50).map(|_| random.below(256) as u8).collect();
        world.send_bytes(client, &bytes);
    }
    assert_eq!(world.broker.session_count(), 0);
}

/// Whatever clients do while the log takes nothing for an hour, nothing piles up, and afterwards
/// the tables say what the clients have.
#[test]
fn a_log_that_refuses_for_an_hour_leaves_nothing_behind() {
    let settings = Settings {
        session_count_maximum: 20,
        routes: vec!["up".into()],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    for at in 0..15 {
        let id = format!("c{at}");
        let client = world.join(&hello(V311, id).durable().will("up", 0));
        world.subscribe(client, "t", 2);
        world.cut(client);
    }
    world.commits = Commits::Fail;
    let mut random = Dice(11);
    for _ in 0..360 {
        let id = format!("c{}", 5 + random.below(25));
        let greeting = match random.below(3) {
            0 => hello(V5, id),
            1 => hello(V311, id).durable(),
            _ => hello(V5, id).durable().clean(),
        };
        let client = world.say_hello(&greeting.will("up", 0));
        for _ in 0..4 {
            if !world.is_closed(client) {
                let bytes = packet(&mut random);
                world.send_bytes(client, &bytes);
            }
        }
        world.cut(client);
        world.pass(10);
        assert!(world.broker.session_count() <= 20);
        assert_eq!(world.broker.uncommitted_bytes(), 0);
    }
    world.commits = Commits::Succeed;
    world.pass(5);
    let count = world.broker.session_count();
    assert!(count >= 5, "those that nobody touched go on");
    for table in [Table::Sessions, Table::Cursors] {
        assert_eq!(world.table(table), count, "{table:?}");
    }
    world.crash(0);
    assert_eq!(world.broker.session_count(), count);
    assert_eq!(world.broker.counters().damaged, 0);
}
