//! 3.1.3.5 and 3.1.3.6 user name and password, and what a client may do afterwards: logins, access
//! lists, and other rules at any time.

use std::rc::Rc;

use edge::broker::{AccessList, Policy, Settings, Strangers};
use edge::mqtt::{self, PeerError};
use edge::password::Users;
use sync::{Lane, Offset};
use wire::mqtt::property::Properties;
use wire::mqtt::{Acknowledgement, Connack, Packet, ReasonCode, Subscription};
use wire::topic::TopicFilter;

use crate::world::*;

/// Both have the password `secret`.
const USERS: &str = "\
alice:$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==
bob:$7$101$CUuwKNBWsQdwqnFw$fBAhtZ/XPHK8I4G3sr9TModsdcTA/l8YMdypN3ZIUEXQSepvXIYo6FPINL+uECYbVAEPF0SsXScZTT7/Fmkv0g==
";

fn users(text: &str) -> Policy {
    Policy {
        strangers: Strangers::Refused,
        users: Some(Rc::new(Users::parse(text).unwrap())),
        list: None,
    }
}

fn list(text: &str) -> Policy {
    Policy {
        list: Some(Rc::new(AccessList::parse(text).unwrap())),
        ..Policy::default()
    }
}

fn expect_refusal(world: &mut World, client: ClientId, reason_code: ReasonCode) {
    world.expect(
        client,
        &Packet::Connack(Connack {
            session_present: false,
            reason_code,
            properties: Properties::EMPTY,
        }),
    );
    world.expect_closed(client);
}

#[test]
fn a_right_password_lets_in_and_a_wrong_one_does_not() {
    for version in [V311, V5] {
        let mut world = World::new();
        world.rule(users(USERS));
        for name in ["alice", "bob"] {
            let client = world.join(&hello(version, "a").user(name, "secret"));
            world.disconnect(client);
            let client = world.say_hello(&hello(version, "a").user(name, "Secret"));
            expect_refusal(&mut world, client, ReasonCode::BadUserNameOrPassword);
        }
        let client = world.say_hello(&hello(version, "a"));
        expect_refusal(&mut world, client, ReasonCode::NotAuthorized);
        assert_eq!(world.broker.session_count(), 0);
    }
}

#[test]
fn an_unknown_user_costs_a_hash_as_well() {
    let mut world = World::new();
    world.rule(users(USERS));
    let client = world.say_hello(&hello(V311, "a").user("carol", "secret"));
    assert_eq!(world.check_count, 1);
    expect_refusal(&mut world, client, ReasonCode::BadUserNameOrPassword);
    assert_eq!(
        world.connection(client).peer_error(),
        Some(&PeerError::Credentials)
    );
    // Even where there is nobody at all.
    world.rule(users(""));
    let client = world.say_hello(&hello(V311, "a").user("carol", ""));
    assert_eq!(world.check_count, 2);
    expect_refusal(&mut world, client, ReasonCode::BadUserNameOrPassword);
}

#[test]
fn a_login_that_was_right_costs_no_second_hash_until_the_rules_change() {
    let mut world = World::new();
    world.rule(users(USERS));
    let alice = hello(V5, "a").user("alice", "secret");
    for _ in 0..3 {
        let client = world.join(&alice);
        world.disconnect(client);
    }
    assert_eq!(world.check_count, 1);
    let client = world.say_hello(&hello(V5, "a").user("alice", "wrong"));
    expect_refusal(&mut world, client, ReasonCode::BadUserNameOrPassword);
    assert_eq!(world.check_count, 2);
    world.rule(users(USERS));
    world.join(&alice);
    assert_eq!(world.check_count, 3);
}

#[test]
fn at_most_so_many_passwords_wait_for_their_check() {
    let settings = Settings {
        check_count_maximum: 2,
        ..Settings::default()
    };
    for version in [V311, V5] {
        let mut world = World::with(settings.clone(), mqtt::Settings::default());
        world.rule(users(USERS));
        world.holds_checks = true;
        let bob = |id| hello(version, id).user("bob", "secret");
        let gone = world.say_hello(&bob("a"));
        let waiting = world.say_hello(&bob("b"));
        world.expect_nothing(waiting);
        assert!(!world.connection(waiting).wants_more());
        // A client that is gone does not make room: its hash is computed all the same.
        world.cut(gone);
        let third = world.say_hello(&bob("c"));
        expect_refusal(&mut world, third, ReasonCode::ServerUnavailable);
        world.finish_checks();
        assert!(world.next_packet(waiting).is_some());
        assert_eq!(world.broker.session_count(), 1);
        let fourth = world.say_hello(&bob("d"));
        world.finish_checks();
        assert!(world.next_packet(fourth).is_some());
    }
}

#[test]
fn clients_that_wait_for_a_check_hold_at_most_so_many_bytes() {
    let settings = Settings {
        login_bytes_maximum: 2_000,
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    world.rule(users(USERS));
    world.holds_checks = true;
    for id in ["a", "b", "c"] {
        world.say_hello(&hello(V5, id).user("bob", "secret"));
    }
    let fourth = world.say_hello(&hello(V5, "d").user("bob", "secret"));
    expect_refusal(&mut world, fourth, ReasonCode::ServerUnavailable);
    world.finish_checks();
    world.holds_checks = false;
    world.join(&hello(V5, "d").user("bob", "secret"));
}

#[test]
fn a_secret_that_changes_during_its_check_does_not_let_in() {
    let mut world = World::new();
    world.rule(users(USERS));
    world.holds_checks = true;
    let client = world.say_hello(&hello(V311, "a").user("bob", "secret"));
    world.rule(users(USERS.lines().next().unwrap()));
    world.finish_checks();
    expect_refusal(&mut world, client, ReasonCode::BadUserNameOrPassword);
}

#[test]
fn strangers_come_in_where_they_are_welcome() {
    for version in [V311, V5] {
        let mut world = World::new();
        let policy = Policy {
            strangers: Strangers::Welcome,
            ..users(USERS)
        };
        world.rule(policy.clone());
        world.join(&hello(version, "a"));
        world.join(&hello(version, "b").user("", "whatever"));
        // Who says a name has to prove it.
        let client = world.say_hello(&hello(version, "c").user("alice", ""));
        expect_refusal(&mut world, client, ReasonCode::BadUserNameOrPassword);
        // Unless nobody has a password.
        world.rule(Policy::default());
        world.join(&hello(version, "c").user("alice", ""));
        world.rule(Policy {
            strangers: Strangers::Refused,
            ..Policy::default()
        });
        let client = world.say_hello(&hello(version, "d").user("alice", ""));
        expect_refusal(&mut world, client, ReasonCode::NotAuthorized);
    }
}

#[test]
fn a_certificate_says_who_the_user_is_whatever_connect_says() {
    let mut world = World::new();
    world.rule(Policy {
        list: list("user plant\ntopic plant/#\n").list,
        ..users(USERS)
    });
    let client = world.open(V5);
    world.identify(client, "plant");
    world.introduce(client, &hello(V5, "a").user("alice", "wrong"));
    assert!(world.next_packet(client).is_some());
    world.subscribe(client, "#", 0);
    world.publish(client, &message("plant/1", "x", 0));
    world.publish(client, &message("other", "x", 0));
    world.expect_publish(client, &message("plant/1", "x", 0));
    world.expect_nothing(client);
}

#[test]
fn a_publish_without_permission_goes_nowhere() {
    for version in [V311, V5] {
        let mut world = World::new();
        world.rule(list("topic read #\ntopic write open\n"));
        let reader = world.join(&hello(V5, "r"));
        world.subscribe(reader, "#", 2);
        let client = world.join(&hello(version, "w"));
        for qos in 0..=2 {
            world.publish(client, &message("closed", "x", qos).id(u16::from(qos)));
        }
        let step = |packet_identifier: u16| match version {
            V5 => Acknowledgement::with_reason(
                packet_identifier.try_into().unwrap(),
                ReasonCode::NotAuthorized,
            ),
            _ => step(packet_identifier),
        };
        world.expect(client, &Packet::Puback(step(1)));
        world.expect(client, &Packet::Pubrec(step(2)));
        if version != V5 {
            world.pubrel(client, 2);
            world.expect_pubcomp(client, 2);
        }
        world.expect_nothing(reader);
        assert_eq!(world.broker.retained_count(), 0);
        world.publish(client, &message("open", "x", 1).id(2));
        world.expect_puback(client, 2);
        world.expect_publish(reader, &message("open", "x", 1).id(1));
    }
}

#[test]
fn a_subscription_is_granted_and_what_may_not_be_read_is_not_delivered() {
    for version in [V311, V5] {
        let mut world = World::new();
        let policy = list("topic write #\ntopic read open/#\npattern read own/%c\n");
        world.rule(policy);
        let publisher = world.join(&hello(version, "p"));
        let retained = |topic| message(topic, "r", 1).retained().id(1);
        for topic in ["open/r", "closed/r", "own/a", "own/b"] {
            world.publish(publisher, &retained(topic));
            world.next_packet(publisher);
        }
        for (id, qos) in [("a", 1), ("b", 0)] {
            let client = world.join(&hello(version, id).durable());
            world.subscribe(client, "#", qos);
            let expected = ["open/r".to_owned(), format!("own/{id}")];
            for topic in &expected {
                let found = world.next_message(client).unwrap();
                assert_eq!((&found.topic, found.retain), (topic, true));
            }
            world.expect_nothing(client);
        }
    }
}

#[test]
fn reading_is_filtered_live_and_from_the_log() {
    for qos in 0..=2 {
        let mut world = World::new();
        world.rule(list("topic write #\ntopic read open\n"));
        let publisher = world.join(&hello(V5, "p"));
        let mut reader = world.join(&hello(V5, "r").durable());
        world.subscribe(reader, "+", qos);
        let publish = |world: &mut World| {
            for (id, topic) in [(1, "closed"), (2, "open")] {
                let id = if qos > 0 { id } else { 0 };
                world.publish(publisher, &message(topic, "x", qos).id(id));
                world.next_packet(publisher);
                if qos == 2 {
                    world.pubrel(publisher, id);
                    world.next_packet(publisher);
                }
            }
        };
        publish(&mut world);
        assert_eq!(world.next_message(reader).unwrap().topic, "open");
        world.expect_nothing(reader);
        if qos == 1 {
            world.puback(reader, 1);
            world.cut(reader);
            publish(&mut world);
            reader = world.rejoin(&hello(V5, "r").durable());
            assert_eq!(world.next_message(reader).unwrap().topic, "open");
            world.expect_nothing(reader);
        }
    }
}

/// A group passed over what only a member that was away may read, and it never had it.
#[test]
fn what_only_a_member_that_is_away_may_read_waits_for_it_and_stops_nobody() {
    let settings = Settings {
        group_inflight_maximum: 32,
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    world.rule(list("topic write #\npattern read own/%c\n"));
    let hello_a = hello(V5, "a").durable();
    let [a, b] = [hello_a.clone(), hello(V5, "b").durable()].map(|hello| {
        let client = world.join(&hello);
        world.subscribe(client, "$share/g/own/+", 1);
        client
    });
    let publisher = world.join(&hello(V5, "p"));
    let publish = |world: &mut World, topic: &str, number: usize| {
        let sent = message(topic, &number.to_string(), 1).id(7);
        world.publish(publisher, &sent);
        world.next_packet(publisher);
    };
    let take = |world: &mut World, client| {
        let mut found = Vec::new();
        while let Some(message) = world.next_message(client) {
            world.puback(client, message.packet_identifier);
            found.push(format!("{} {}", message.topic, message.payload));
        }
        found
    };
    // Nobody's: neither kept nor waited for.
    publish(&mut world, "own/c", 0);
    assert_eq!(
        world.broker.release_floor(Lane::Normal),
        Offset(world.log_len(Lane::Normal) as u64)
    );
    world.cut(a);
    for number in 0..10 {
        publish(&mut world, "own/a", number);
        publish(&mut world, "own/b", number);
    }
    let of = |name: &str, numbers: std::ops::Range<usize>| {
        let said = numbers.map(|number| format!("own/{name} {number}"));
        said.collect::<Vec<_>>()
    };
    assert_eq!(take(&mut world, b), of("b", 0..10), "the others go on");
    let a = world.rejoin(&hello_a);
    assert_eq!(take(&mut world, a), of("a", 0..10));
    assert_eq!(take(&mut world, b), Vec::<String>::new());

    // No more than the window: then the group waits.
    world.cut(a);
    for number in 0..40 {
        publish(&mut world, "own/a", number);
    }
    publish(&mut world, "own/b", 40);
    assert_eq!(take(&mut world, b), Vec::<String>::new());
    let a = world.rejoin(&hello_a);
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        of_a.extend(take(&mut world, a));
        of_b.extend(take(&mut world, b));
    }
    assert_eq!((of_a, of_b), (of("a", 0..40), of("b", 40..41)));

    // Whose session ends wants nothing any more.
    world.cut(a);
    publish(&mut world, "own/a", 50);
    let a = world.join(&hello(V5, "a"));
    world.expect_nothing(a);
    world.pass(2);
    assert_eq!(
        world.broker.release_floor(Lane::Normal),
        Offset(world.log_len(Lane::Normal) as u64)
    );
}

/// A session belongs to a client identifier, whoever the user is. What was on its way to one user
/// was repeated to the next, who may not read it.
#[test]
fn who_takes_a_session_over_gets_nothing_that_it_may_not_read() {
    for version in [V311, V5] {
        let mut world = World::new();
        world.rule(list(
            "user a\ntopic read #\nuser b\ntopic read open\nuser p\ntopic #\n",
        ));
        let publisher = world.join(&hello(V5, "p").user("p", ""));
        world.publish(publisher, &message("kept", "x", 1).retained().id(1));
        let session = hello(version, "s").durable();
        let client = world.join(&session.clone().user("a", ""));
        world.subscribe(client, "#", 2);
        for (topic, qos) in [("closed", 1), ("closed", 2), ("open", 1)] {
            world.publish(publisher, &message(topic, "x", qos).id(2));
        }
        let found: Vec<_> = std::iter::from_fn(|| world.next_message(client)).collect();
        assert_eq!(found.len(), 4);
        world.cut(client);
        let client = world.rejoin(&session.clone().user("b", ""));
        let mut messages = Vec::new();
        while let Some(bytes) = world.next_packet(client) {
            // Of what a client may have seen with QoS 2 only the release is left.
            if bytes[0] >> 4 != 6 {
                messages.push(bytes);
            }
        }
        let [only] = &messages[..] else {
            panic!("{messages:?}");
        };
        assert!(only.windows(4).any(|topic| topic == b"open"));
    }
}

#[test]
fn a_shared_record_goes_to_a_member_that_may_read_it() {
    for qos in 0..=2 {
        let mut world = World::new();
        world.rule(list("topic write #\ntopic read open\npattern read %c/#\n"));
        let publisher = world.join(&hello(V5, "p"));
        let members = ["a", "b"].map(|id| {
            let member = world.join(&hello(V5, id).durable());
            world.subscribe(member, "$share/group/#", qos);
            member
        });
        let mut id = 0;
        let mut publish = |world: &mut World, topic| {
            id += 1;
            let id = if qos > 0 { id } else { 0 };
            world.publish(publisher, &message(topic, "x", qos).id(id));
            world.next_packet(publisher);
        };
        for topic in ["b/1", "b/2", "a/1", "closed", "b/3"] {
            publish(&mut world, topic);
        }
        let topics = |world: &mut World, member| {
            let topics: Vec<_> = std::iter::from_fn(|| world.next_message(member))
                .map(|message| message.topic)
                .collect();
            topics
        };
        assert_eq!(topics(&mut world, members[0]), ["a/1"]);
        assert_eq!(topics(&mut world, members[1]), ["b/1", "b/2", "b/3"]);
        // Nobody who is here may read it, so nobody waits for it.
        world.cut(members[1]);
        for topic in ["b/4", "a/2"] {
            publish(&mut world, topic);
        }
        let found = topics(&mut world, members[0]);
        assert_eq!(found, ["a/2"]);
    }
}

#[test]
fn nobody_wanted_a_message_that_nobody_may_read() {
    let mut world = World::new();
    world.rule(list("topic write #\n"));
    let reader = world.join(&hello(V5, "r").durable());
    world.subscribe(reader, "#", 1);
    let client = world.join(&hello(V5, "p"));
    world.publish(client, &message("a", "x", 1).id(1));
    world.next_packet(client);
    assert_eq!(world.log_len(Lane::Normal), 0);
}

#[test]
fn a_will_without_permission_is_never_published() {
    for version in [V311, V5] {
        let mut world = World::new();
        world.rule(list("topic read #\ntopic write good\n"));
        let reader = world.join(&hello(V5, "r"));
        world.subscribe(reader, "#", 0);
        for (topic, is_published) in [("good", true), ("bad", false)] {
            let client = world.join(&hello(version, "w").will(topic, 0));
            world.cut(client);
            let found = world.next_message(reader).map(|message| message.topic);
            assert_eq!(found.as_deref(), is_published.then_some(topic));
        }
        // Nor one that lost its permission meanwhile.
        let client = world.join(&hello(version, "w").will("good", 0));
        world.rule(list("topic read #\n"));
        world.cut(client);
        world.expect_nothing(reader);
    }
}

#[test]
fn the_servers_own_topics_are_not_for_clients() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    for (topic, is_open) in [
        ("$SYS/broker/uptime", false),
        ("$edge/plant-7/gaps", false),
        ("$edges", true),
        ("$SYSTEM", true),
        ("$share", false),
        ("$SYS/broker/connection/b/state", true),
        ("$SYS/broker/connection/b/c/state", false),
        ("$own", true),
    ] {
        world.publish(client, &message(topic, "x", 1).id(1));
        let bytes = world.next_packet(client).unwrap();
        assert_eq!(bytes.get(4) != Some(&0x87), is_open, "{topic} {bytes:?}");
    }
    // Nor for their wills.
    world.subscribe(client, "$SYS/#", 0);
    let other = world.join(&hello(V5, "b").will("$SYS/broker/uptime", 0));
    world.cut(other);
    world.expect_nothing(client);
}

#[test]
fn new_rules_hold_at_once_for_who_is_connected() {
    for version in [V311, V5] {
        let mut world = World::new();
        world.rule(list("topic #\n"));
        let client = world.join(&hello(version, "a"));
        world.subscribe(client, "#", 1);
        world.publish(client, &message("x", "1", 1).id(1));
        assert_eq!(world.next_message(client).unwrap().payload, "1");
        world.expect_puback(client, 1);
        world.rule(list("topic write #\ntopic read y\n"));
        for topic in ["x", "y"] {
            world.publish(client, &message(topic, "2", 0));
        }
        world.expect_publish(client, &message("y", "2", 0));
        world.expect_nothing(client);
        assert!(!world.is_closed(client));
    }
}

#[test]
fn who_would_not_be_let_in_any_more_is_closed_and_others_stay() {
    for version in [V311, V5] {
        let mut world = World::new();
        world.rule(Policy {
            strangers: Strangers::Welcome,
            ..users(USERS)
        });
        let alice = world.join(&hello(version, "a").user("alice", "secret").will("gone", 0));
        let bob = world.join(&hello(version, "b").user("bob", "secret"));
        world.subscribe(bob, "#", 0);
        let stranger = world.join(&hello(version, "c"));
        // The same secret again changes nothing.
        let bobs = USERS.lines().nth(1).unwrap();
        let changed = USERS.replace("MDEy", "MDEz");
        world.rule(Policy {
            strangers: Strangers::Welcome,
            ..users(&changed)
        });
        world.expect_disconnect(alice, ReasonCode::NotAuthorized);
        world.expect_publish(bob, &message("gone", "gone", 0));
        assert!(!world.is_closed(bob) && !world.is_closed(stranger));
        world.rule(users(bobs));
        world.expect_disconnect(stranger, ReasonCode::NotAuthorized);
        assert!(!world.is_closed(bob));
        world.rule(users(""));
        world.expect_disconnect(bob, ReasonCode::NotAuthorized);
    }
}

#[test]
fn a_client_that_waits_for_its_session_hears_of_new_rules_in_its_connack() {
    let mut world = World::new();
    world.commits = Commits::Wait;
    let client = world.say_hello(&hello(V5, "a").durable());
    world.rule(users(USERS));
    expect_refusal(&mut world, client, ReasonCode::NotAuthorized);
    world.finish_commits(3);
    world.expect_nothing(client);
}

#[test]
fn a_user_name_is_bounded_although_nobody_proves_it() {
    let mut world = World::new();
    let long: &'static str = "x".repeat(257).leak();
    let client = world.say_hello(&hello(V5, "a").user(long, ""));
    expect_refusal(&mut world, client, ReasonCode::BadUserNameOrPassword);
    world.join(&hello(V5, "a").user(&long[1..], ""));
}

/// A client that was closed for talking too much before its CONNACK was still connected to the
/// broker, which went on delivering to it. It is lost now, like any other.
#[test]
fn a_client_that_is_closed_before_its_connack_is_lost_to_the_broker() {
    let mut world = World::new();
    let hello = hello(V5, "a").durable();
    let client = world.join(&hello);
    let filter = Subscription::new(TopicFilter::new("t").unwrap(), qos_of(1));
    world.subscribe_with(client, &[filter], &[]);
    world.cut(client);
    world.commits = Commits::Wait;
    let client = world.say_hello(&hello);
    world.send_bytes(client, &vec![0; 300 << 10]);
    assert!(world.is_closed(client));
    world.commits = Commits::Succeed;
    world.run();
    let publisher = world.join(&crate::world::hello(V5, "p"));
    world.publish(publisher, &message("t", "x", 1).id(1));
    world.expect_puback(publisher, 1);
    assert_eq!(world.broker.counters().delivered, 0);
}

#[test]
fn the_verdict_for_a_client_that_is_gone_is_ignored() {
    let mut world = World::new();
    world.rule(users(USERS));
    world.holds_checks = true;
    let client = world.say_hello(&hello(V5, "a").user("bob", "secret"));
    world.cut(client);
    world.finish_checks();
    assert_eq!(world.broker.session_count(), 0);
}
