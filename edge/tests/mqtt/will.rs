//! 3.1.2.5 the will.

use sync::Lane;
use wire::mqtt::property::{Properties, Property, PropertySet};
use wire::mqtt::{Disconnect, Packet, ReasonCode};

use crate::world::*;

fn watched(version: wire::mqtt::Version) -> (World, ClientId) {
    let mut world = World::new();
    let watcher = world.join(&hello(version, "watcher"));
    world.subscribe(watcher, "will/#", 0);
    (world, watcher)
}

fn leave(world: &mut World, client: ClientId, reason_code: ReasonCode, expiry: Option<u32>) {
    let properties: Vec<_> = expiry
        .map(Property::SessionExpiryInterval)
        .into_iter()
        .collect();
    let bytes = properties_of(PropertySet::DISCONNECT, &properties);
    let properties = Properties::parse(&bytes, PropertySet::DISCONNECT).unwrap();
    world.send(
        client,
        &Packet::Disconnect(Disconnect {
            reason_code,
            properties,
        }),
    );
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.14.4-3]
#[test]
fn will_is_published_when_the_link_breaks_and_not_after_disconnect() {
    for version in [V311, V5] {
        let (mut world, watcher) = watched(version);
        let client = world.join(&hello(version, "a").will("will/a", 0));
        world.cut(client);
        world.expect_publish(watcher, &message("will/a", "gone", 0));
        let client = world.join(&hello(version, "a").will("will/a", 0));
        world.disconnect(client);
        world.expect_nothing(watcher);
    }
}

#[test]
fn will_is_published_after_a_peers_mistake_and_after_silence() {
    let (mut world, watcher) = watched(V5);
    let client = world.join(&hello(V5, "a").will("will/a", 0));
    world.send_bytes(client, &[0]);
    world.expect_publish(watcher, &message("will/a", "gone", 0));
    world.join(&hello(V5, "b").will("will/b", 0).keep_alive(2));
    world.pass(3);
    world.expect_publish(watcher, &message("will/b", "gone", 0));
}

#[test]
fn disconnect_with_04_publishes_the_will() {
    let (mut world, watcher) = watched(V5);
    let client = world.join(&hello(V5, "a").will("will/a", 0));
    leave(&mut world, client, ReasonCode::DisconnectWithWill, None);
    world.expect_publish(watcher, &message("will/a", "gone", 0));
}

/// [MQTT-3.1.2-8] [MQTT-3.1.3-9]
#[test]
fn will_waits_for_its_delay_unless_the_client_is_back() {
    let (mut world, watcher) = watched(V5);
    let hello_a = hello(V5, "a").durable().will("will/a", 10);
    let client = world.join(&hello_a);
    world.cut(client);
    world.pass(9);
    world.expect_nothing(watcher);
    let client = world.rejoin(&hello_a);
    world.pass(20);
    world.expect_nothing(watcher);
    world.cut(client);
    world.pass(10);
    world.expect_publish(watcher, &message("will/a", "gone", 0));
    world.pass(20);
    world.expect_nothing(watcher);
}

/// [MQTT-3.1.2-8]
#[test]
fn will_does_not_wait_longer_than_its_session() {
    let (mut world, watcher) = watched(V5);
    let expiry = [Property::SessionExpiryInterval(5)];
    let hello_a = Hello {
        clean: false,
        ..hello(V5, "a").with(&expiry).will("will/a", 10)
    };
    let client = world.join(&hello_a);
    world.cut(client);
    world.pass(4);
    world.expect_nothing(watcher);
    world.pass(1);
    world.expect_publish(watcher, &message("will/a", "gone", 0));
    // The session ended as well, once.
    world.pass(1);
    assert_eq!(world.broker.session_count(), 1);
    // One that begins clean ends the old one.
    let client = world.join(&hello_a);
    world.cut(client);
    world.join(&hello_a.clean());
    world.expect_publish(watcher, &message("will/a", "gone", 0));
    world.expect_nothing(watcher);
}

/// [MQTT-3.1.2-8] [MQTT-3.1.3-9]
#[test]
fn will_of_a_connection_taken_over_is_published_without_delay() {
    let (mut world, watcher) = watched(V5);
    world.join(&hello(V5, "a").durable().will("will/now", 0));
    world.rejoin(&hello(V5, "a").durable().will("will/later", 10));
    world.expect_publish(watcher, &message("will/now", "gone", 0));
    world.rejoin(&hello(V5, "a").durable());
    world.pass(20);
    world.expect_nothing(watcher);
}

/// [MQTT-3.1.2-7]
#[test]
fn will_survives_a_restart() {
    for crash_while_connected in [true, false] {
        let mut world = World::new();
        let hello_w = hello(V5, "watcher").durable();
        let watcher = world.join(&hello_w);
        world.subscribe(watcher, "will/#", 1);
        let client = world.join(&hello(V5, "a").durable().will("will/a", 10));
        if !crash_while_connected {
            world.cut(client);
            world.pass(4);
        }
        world.crash(0);
        world.pass(5);
        assert_eq!(world.log_len(Lane::Normal), 0);
        world.pass(5);
        assert_eq!(world.log_len(Lane::Normal), 1);
        world.crash(0);
        world.pass(20);
        let watcher = world.rejoin(&hello_w);
        world.expect_publish(watcher, &message("will/a", "gone", 1).id(1));
        world.expect_nothing(watcher);
    }
}

#[test]
fn will_that_can_not_be_stored_is_tried_again() {
    let mut world = World::new();
    let watcher = world.join(&hello(V5, "watcher").durable());
    world.subscribe(watcher, "will/#", 1);
    let client = world.join(&hello(V5, "a").durable().will("will/a", 0));
    world.commits = Commits::Fail;
    world.cut(client);
    world.pass(3);
    world.expect_nothing(watcher);
    world.commits = Commits::Succeed;
    world.pass(2);
    world.expect_publish(watcher, &message("will/a", "gone", 1).id(1));
    world.pass(3);
    world.expect_nothing(watcher);
}

#[test]
fn session_expiry_at_disconnect_is_obeyed() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").durable());
    leave(&mut world, client, ReasonCode::Success, Some(0));
    world.expect_closed(client);
    assert_eq!(world.broker.session_count(), 0);
    let client = world.join(&hello(V5, "a"));
    leave(&mut world, client, ReasonCode::Success, Some(10));
    world.expect_disconnect(client, ReasonCode::ProtocolError);
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn will_of_a_session_that_ended_with_its_connection_is_tried_again() {
    let mut world = World::new();
    let watcher = world.join(&hello(V5, "watcher").durable());
    world.subscribe(watcher, "will/#", 1);
    let client = world.join(&hello(V5, "a").will("will/a", 0));
    world.commits = Commits::Fail;
    world.cut(client);
    world.pass(3);
    world.expect_nothing(watcher);
    world.commits = Commits::Succeed;
    world.pass(2);
    world.expect_publish(watcher, &message("will/a", "gone", 1).id(1));
    world.pass(3);
    world.expect_nothing(watcher);
}

/// [MQTT-3.1.2-12] [MQTT-3.1.2-14] [MQTT-3.1.2-15]
#[test]
fn will_has_the_qos_and_the_retain_flag_that_connect_said() {
    for version in [V311, V5] {
        for (qos, retain) in (0..6).map(|at| (at % 3, at > 2)) {
            let mut world = World::new();
            let watcher = world.join(&hello(version, "watcher"));
            world.subscribe(watcher, "will/#", 2);
            let mut greeting = hello(version, "a").will("will/a", 0);
            if let Some(will) = &mut greeting.will {
                (will.qos, will.retain) = (qos_of(qos), retain);
            }
            let client = world.join(&greeting);
            world.cut(client);
            let id = u16::from(qos > 0);
            world.expect_publish(watcher, &message("will/a", "gone", qos).id(id));
            assert_eq!(world.broker.retained_count(), usize::from(retain));
            let late = world.join(&hello(version, "late"));
            world.subscribe(late, "will/a", 0);
            match retain {
                true => world.expect_publish(late, &message("will/a", "gone", 0).retained()),
                false => world.expect_nothing(late),
            }
        }
    }
}

/// [MQTT-3.1.2-10] [MQTT-3.1.2-8]: once, whatever ends the session afterwards; also a restart.
#[test]
fn will_is_gone_once_it_is_published_or_discarded() {
    for is_published in [true, false] {
        let (mut world, watcher) = watched(V5);
        let hello_a = hello(V5, "a").durable();
        let client = world.join(&hello_a.clone().will("will/a", 0));
        if is_published {
            world.cut(client);
            world.expect_publish(watcher, &message("will/a", "gone", 0));
        } else {
            world.disconnect(client);
        }
        world.pass(3);
        world.crash(0);
        let watcher = world.join(&hello(V5, "watcher"));
        world.subscribe(watcher, "will/#", 0);
        // The new connection brings none of its own.
        let client = world.rejoin(&hello_a);
        world.cut(client);
        world.pass(3_700);
        assert_eq!(world.broker.session_count(), 1);
        world.expect_nothing(watcher);
    }
}

/// [MQTT-3.1.2-8]: for every way in which the server ends a connection.
#[test]
fn will_is_published_whoever_ends_the_connection() {
    for version in [V311, V5] {
        let (mut world, watcher) = watched(version);
        let greeting = |keep_alive| hello(version, "a").will("will/a", 0).keep_alive(keep_alive);
        for way in 0..4 {
            let client = world.join(&greeting(if way == 0 { 2 } else { 0 }));
            match way {
                0 => world.pass(3),
                1 => world.send_bytes(client, &[0]),
                2 => world.shut_down(client),
                _ => {
                    let other = world.join(&hello(version, "a"));
                    world.disconnect(other);
                }
            }
            assert!(world.is_closed(client), "{way}");
            world.expect_publish(watcher, &message("will/a", "gone", 0));
            world.expect_nothing(watcher);
        }
    }
}

/// [MQTT-3.1.3-9]: a stop is no reason to say that a client is gone which comes back in time.
#[test]
fn will_with_a_delay_waits_for_its_client_over_a_stop() {
    for is_back in [true, false] {
        let mut world = World::new();
        let client = world.join(&hello(V5, "a").durable().will("will/a", 60));
        world.shut_down(client);
        world.pass(3);
        world.crash(0);
        let watcher = world.join(&hello(V5, "watcher"));
        world.subscribe(watcher, "will/#", 0);
        if is_back {
            world.rejoin(&hello(V5, "a").durable());
        }
        world.pass(50);
        world.expect_nothing(watcher);
        world.pass(10);
        match is_back {
            true => world.expect_nothing(watcher),
            false => world.expect_publish(watcher, &message("will/a", "gone", 0)),
        }
    }
}

/// 3.1.3.2.4: the time of a will begins when it is published.
#[test]
fn will_expires_after_its_publication() {
    let (mut world, watcher) = watched(V5);
    let mut greeting = hello(V5, "a").durable().will("will/a", 0);
    if let Some(will) = &mut greeting.will {
        will.properties = properties_of(
            PropertySet::WILL,
            &[
                Property::WillDelayInterval(100),
                Property::MessageExpiryInterval(7),
            ],
        );
    }
    let client = world.join(&greeting);
    world.pass(1_000);
    world.cut(client);
    world.pass(100);
    let left = [Property::MessageExpiryInterval(7)];
    world.expect_publish(watcher, &message("will/a", "gone", 0).with(&left));
}

/// The will of a client that was never told it is connected was published.
#[test]
fn will_of_a_client_that_takes_no_connack_is_discarded() {
    let (mut world, watcher) = watched(V5);
    let size = [Property::MaximumPacketSize(10.try_into().unwrap())];
    for hello in [hello(V5, "a"), hello(V5, "a").durable()] {
        let client = world.say_hello(&hello.will("will/a", 0).with(&size));
        world.expect_closed(client);
        world.pass(5_000);
        world.expect_nothing(watcher);
        assert_eq!(world.broker.session_count(), 1);
    }
}
