//! Bursts: more messages at once than there is memory for. Subscribers fall behind and read the log
//! later; nobody misses anything, and the limits hold while it lasts.

use std::rc::Rc;

use edge::broker::Settings;
use edge::memory::Memory;
use edge::mqtt;
use wire::mqtt::property::Property;
use wire::mqtt::{Packet, QoS, decode};

use crate::world::{ClientId, Hello, V5, World, hello, message};

const SUBSCRIBERS: usize = 40;
const MESSAGES: usize = 60;

/// Every second session outlives its connection.
fn subscribers(world: &mut World, qos: u8, filter: &str) -> Vec<ClientId> {
    let join = |number: usize| {
        let id = format!("reader-{number}");
        let hello: Hello = match number % 2 {
            0 => hello(V5, id),
            _ => hello(V5, id).durable(),
        };
        let client = world.join(&hello.window(1000));
        world.subscribe(client, filter, qos);
        client
    };
    (0..SUBSCRIBERS).map(join).collect()
}

/// Subscribers that do not read, where so much may wait for all of them together.
fn deaf_subscribers(outbound_bytes: usize) -> (World, Rc<Memory>, Vec<ClientId>) {
    let limits = mqtt::Settings {
        outbound_total_bytes_maximum: outbound_bytes,
        ..mqtt::Settings::default()
    };
    let memory = limits.memory.clone();
    let mut world = World::with(Settings::default(), limits);
    let readers = subscribers(&mut world, 1, "plant/#");
    for client in &readers {
        world.set_reading(*client, false);
    }
    (world, memory, readers)
}

fn publish_all(world: &mut World, mut after_each: impl FnMut(&World)) {
    let publisher = world.join(&hello(V5, "publisher"));
    for number in 0..MESSAGES {
        let text = format!("{number:0>200}");
        let topic = format!("plant/{}", number % 3);
        world.publish(publisher, &message(&topic, &text, 1).id(1));
        world.expect_puback(publisher, 1);
        after_each(world);
    }
}

/// Answers everything that a client was sent; gives the numbers of the messages.
fn answer_all(world: &mut World, client: ClientId) -> Vec<usize> {
    let mut numbers = Vec::new();
    while let Some(bytes) = world.next_packet(client) {
        let (packet, _) = decode(&bytes, V5, u32::MAX).unwrap().unwrap();
        match packet {
            Packet::Publish(publish) => {
                let text = std::str::from_utf8(publish.payload).unwrap();
                numbers.push(text.parse().unwrap());
                let id = publish.packet_identifier.unwrap().get();
                match publish.qos {
                    QoS::ExactlyOnce => world.pubrec(client, id),
                    _ => world.puback(client, id),
                }
            }
            Packet::Pubrel(step) => world.pubcomp(client, step.packet_identifier.get()),
            other => panic!("{other:?}"),
        }
    }
    numbers
}

/// Reads and answers until nothing more comes.
fn expect_all(world: &mut World, readers: &[ClientId]) {
    let mut found = vec![Vec::new(); readers.len()];
    for client in readers {
        world.set_reading(*client, true);
    }
    loop {
        let before: usize = found.iter().map(Vec::len).sum();
        for (client, found) in readers.iter().zip(&mut found) {
            found.extend(answer_all(world, *client));
        }
        if found.iter().map(Vec::len).sum::<usize>() == before {
            break;
        }
    }
    for found in found {
        assert_eq!(found, (0..MESSAGES).collect::<Vec<_>>());
    }
}

#[test]
fn at_the_limit_of_what_is_under_way_a_session_gets_no_more_until_it_acknowledges() {
    for qos in [1, 2] {
        let limit = 20_000;
        let settings = Settings {
            underway_bytes_maximum: limit,
            ..Settings::default()
        };
        let mut world = World::with(settings, mqtt::Settings::default());
        let readers = subscribers(&mut world, qos, "plant/#");
        // Each may always have one, with the room that its list begins with.
        let most = limit + SUBSCRIBERS * 400;
        publish_all(&mut world, |world| {
            assert!(world.broker.inflight_bytes() <= most);
        });
        assert!(world.broker.inflight_bytes() >= limit);
        assert!(world.broker.inflight_count() < SUBSCRIBERS * MESSAGES);
        assert!(world.broker.inflight_count() >= SUBSCRIBERS);
        expect_all(&mut world, &readers);
        world.pass(2);
        assert_eq!(world.broker.inflight_count(), 0);
        // A list at rest has room for a few.
        assert!(world.broker.inflight_bytes() <= SUBSCRIBERS * 4 * 26);
    }
}

/// 8,000 subscribers and 50 messages took 232 MB where the limit was 10: each record that was read
/// or passed on was written out for everybody before anybody looked whether there was room.
#[test]
fn what_waits_to_be_written_stays_within_its_limit_while_a_burst_is_handed_out() {
    for qos in [1, 2] {
        let limits = mqtt::Settings {
            outbound_total_bytes_maximum: 60_000,
            ..mqtt::Settings::default()
        };
        let (memory, limit) = (limits.memory.clone(), limits.outbound_total_bytes_maximum);
        let mut world = World::with(Settings::default(), limits);
        let readers = subscribers(&mut world, qos, "plant/#");
        for client in &readers {
            world.set_reading(*client, false);
        }
        publish_all(&mut world, |_| {
            assert!(memory.outbound_bytes() <= limit + 1000);
        });
        assert!(memory.outbound_bytes() > limit / 2);
        expect_all(&mut world, &readers);
        world.pass(2);
        assert_eq!(memory.outbound_bytes(), 0);
    }
}

#[test]
fn a_connection_whose_link_is_lost_in_a_burst_leaves_no_promises() {
    let (mut world, memory, readers) = deaf_subscribers(30_000);
    publish_all(&mut world, |_| {});
    for client in readers.iter().skip(1) {
        world.cut(*client);
    }
    world.set_reading(readers[0], true);
    expect_all(&mut world, &readers[..1]);
    world.cut(readers[0]);
    assert!(
        memory.outbound_bytes() < 1000,
        "the publisher's: {memory:?}"
    );
}

/// Whoever came back at the limit was sent nothing again, and had nothing that it could acknowledge to
/// make room: not a message more until it came once more, and none at all when all came back at once.
#[test]
fn who_comes_back_at_the_limit_of_what_is_under_way_is_sent_everything_again() {
    for (qos, is_crash) in [(1, false), (2, false), (1, true), (2, true)] {
        let settings = Settings {
            underway_bytes_maximum: 20_000,
            ..Settings::default()
        };
        let mut world = World::with(settings, mqtt::Settings::default());
        let names = (0..SUBSCRIBERS).map(|number| format!("reader-{number}"));
        let hellos: Vec<Hello> = names
            .map(|name| hello(V5, name).durable().window(1000))
            .collect();
        for hello in &hellos {
            let client = world.join(hello);
            world.subscribe(client, "plant/#", qos);
        }
        publish_all(&mut world, |_| {});
        assert!(world.broker.inflight_bytes() >= 20_000);
        match is_crash {
            true => {
                world.pass(2);
                world.crash(0);
            }
            false => (0..SUBSCRIBERS).for_each(|client| world.cut(client)),
        }
        let readers: Vec<ClientId> = hellos.iter().map(|it| world.rejoin(it)).collect();
        expect_all(&mut world, &readers);
        world.pass(2);
        assert_eq!(world.broker.inflight_count(), 0);
    }
}

/// It was named as one that waits while it held too much itself, and not named again when it had
/// written that, while others held everything: it waited for the next sweep.
#[test]
fn who_writes_what_it_held_while_others_hold_all_room_is_told_when_they_let_go() {
    let limits = mqtt::Settings {
        outbound_bytes_maximum: 3_000,
        outbound_total_bytes_maximum: 60_000,
        ..mqtt::Settings::default()
    };
    let mut world = World::with(Settings::default(), limits);
    let late = world.join(&hello(V5, "late").durable().window(1000));
    world.subscribe(late, "late/#", 1);
    world.set_reading(late, false);
    let join = |number: usize| {
        let client = world.join(&hello(V5, format!("reader-{number}")).window(1000));
        let filter = if number < 10 { "few/#" } else { "many/#" };
        world.subscribe(client, filter, 1);
        world.set_reading(client, false);
        client
    };
    let readers: Vec<ClientId> = (0..SUBSCRIBERS).map(join).collect();
    let publisher = world.join(&hello(V5, "publisher"));
    // All that may be shared goes to few; the others take their fair parts.
    for (topic, count, bytes) in [("late/1", 40, 700), ("few/1", 20, 200), ("many/1", 4, 200)] {
        for number in 0..count {
            let text = format!("{number:0>bytes$}");
            world.publish(publisher, &message(topic, &text, 1).id(1));
            world.expect_puback(publisher, 1);
        }
    }
    world.set_reading(late, true);
    let mut found = answer_all(&mut world, late);
    assert!(found.len() < 40, "it has to wait");
    for reader in readers {
        world.set_reading(reader, true);
        answer_all(&mut world, reader);
    }
    found.extend(answer_all(&mut world, late));
    assert_eq!(found, (0..40).collect::<Vec<_>>());
}

/// Its own bytes were promised to it, and then taken for those of others.
#[test]
fn a_retained_message_of_qos_0_that_is_larger_than_all_room_is_sent_where_there_is_nothing_else() {
    let limits = mqtt::Settings {
        outbound_total_bytes_maximum: 60_000,
        ..mqtt::Settings::default()
    };
    let mut world = World::with(Settings::default(), limits);
    let publisher = world.join(&hello(V5, "publisher"));
    let said = message("plant/image", &"i".repeat(70_000), 0).retained();
    world.publish(publisher, &said);
    let reader = world.join(&hello(V5, "reader"));
    world.subscribe(reader, "plant/#", 0);
    let found = world.next_message(reader).expect("it is sent");
    assert_eq!(found.payload.len(), 70_000);
}

/// Properties are copied for each connection, however large they are.
#[test]
fn messages_with_large_properties_wait_for_room_as_well() {
    let (mut world, memory, readers) = deaf_subscribers(60_000);
    let publisher = world.join(&hello(V5, "publisher"));
    let large = "p".repeat(9_000);
    for number in 0..MESSAGES {
        let text = number.to_string();
        let said = message("plant/a", &text, 1).id(1);
        world.publish(publisher, &said.with(&[Property::ContentType(&large)]));
        world.expect_puback(publisher, 1);
        assert!(memory.outbound_bytes() <= 60_000 + 10_000);
    }
    expect_all(&mut world, &readers);
}
