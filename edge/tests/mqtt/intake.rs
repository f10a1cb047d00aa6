//! What a publisher hears when the log takes nothing more, and what the gateway says itself.

use edge::broker::{Input, Intake, LogInput, Outcome, Overflow, Refusal, Settings};
use edge::mqtt;
use sync::{Change, Lane, PerLane, Record, RecordParts, Table};
use wire::mqtt::{Acknowledgement, Packet, ReasonCode};

use crate::world::*;

fn refused(packet_identifier: u16) -> Packet<'static> {
    Packet::Puback(Acknowledgement::with_reason(
        packet_identifier.try_into().unwrap(),
        ReasonCode::QuotaExceeded,
    ))
}

/// Alarms reject, the rest drops; but for two rules.
fn world() -> World {
    let mut settings = Settings {
        routes: vec!["#".into()],
        lanes: vec![("alarm/#".into(), Lane::Critical)],
        overflow_rules: vec![
            ("order/#".into(), Overflow::Reject),
            ("state/#".into(), Overflow::KeepLatest),
            ("alarm/state".into(), Overflow::KeepLatest),
        ],
        ..Settings::default()
    };
    settings.overflow[Lane::Critical] = Overflow::Reject;
    World::with(settings, mqtt::Settings::default())
}

fn set(world: &mut World, intake: [Intake; 3]) {
    let input = Input::Log(LogInput::Intake(PerLane(intake)));
    world.broker.handle(world.now, input);
    world.run();
}

#[test]
fn a_full_lane_refuses_what_its_rule_says_and_opens_again() {
    use Intake::{Full, Open, Stopped};
    let mut world = world();
    let all = ["alarm/a", "alarm/state", "order/a", "state/a", "plain"];
    for (intake, taken) in [
        ([Open, Open, Open], &all[..]),
        (
            [Open, Open, Full],
            &["alarm/a", "alarm/state", "state/a", "plain"],
        ),
        ([Full, Full, Open], &["order/a", "state/a", "plain"]),
        ([Open, Open, Stopped], &["alarm/a", "alarm/state"]),
        ([Stopped, Stopped, Stopped], &[]),
        ([Open, Open, Open], &all),
    ] {
        set(&mut world, intake);
        let client = world.join(&hello(V5, "new"));
        for (id, topic) in (1..).zip(all) {
            world.publish(client, &message(topic, "", 1).id(id));
            match taken.contains(&topic) {
                true => world.expect_puback(client, id),
                false => world.expect(client, &refused(id)),
            }
        }
        world.disconnect(client);
    }
}

#[test]
fn before_5_a_refused_publish_is_the_end_and_qos_0_is_counted() {
    let mut world = world();
    set(&mut world, [Intake::Open, Intake::Open, Intake::Stopped]);
    let client = world.join(&hello(V311, "old"));
    world.publish(client, &message("plain", "", 0));
    world.expect_nothing(client);
    world.publish(client, &message("plain", "", 1).id(1));
    world.expect_closed(client);
    assert_eq!(world.broker.counters().refused, 2);
    assert_eq!(world.log_len(Lane::Normal), 0);
}

#[test]
fn what_needs_no_log_is_delivered_when_it_takes_nothing() {
    let mut world = World::new();
    set(&mut world, [Intake::Stopped; 3]);
    let reader = world.join(&hello(V5, "r"));
    world.subscribe(reader, "a", 1);
    let writer = world.join(&hello(V5, "w"));
    world.publish(writer, &message("a", "x", 1).id(1));
    world.expect_puback(writer, 1);
    world.expect_publish(reader, &message("a", "x", 1).id(1));
}

#[test]
fn a_refused_retained_message_leaves_the_former_one() {
    let mut world = world();
    let client = world.join(&hello(V5, "a"));
    world.publish(client, &message("plain", "1", 1).retained().id(1));
    world.expect_puback(client, 1);
    set(&mut world, [Intake::Stopped; 3]);
    world.publish(client, &message("plain", "2", 1).retained().id(2));
    world.expect(client, &refused(2));
    world.subscribe(client, "plain", 0);
    world.expect_publish(client, &message("plain", "1", 0).retained());
}

#[test]
fn only_topics_that_keep_their_latest_are_marked() {
    let mut world = world();
    let client = world.join(&hello(V5, "a"));
    for (id, topic, is_marked) in [(1, "state/a", true), (2, "plain", false)] {
        world.publish(client, &message(topic, "x", 1).id(id));
        world.expect_puback(client, id);
        let offset = usize::from(id) - 1;
        assert_eq!(world.record(Lane::Normal, offset).keeps_latest(), is_marked);
    }
}

#[test]
fn what_the_gateway_reports_is_stored_with_its_changes_and_answered() {
    let settings = Settings {
        routes: vec!["$edge/e/gaps".into()],
        lanes: vec![("$edge/e/gaps".into(), Lane::Critical)],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let record = Record::new(&RecordParts {
        qos: 1,
        retain: false,
        from_cloud: false,
        time: world.now.wall,
        expiry_seconds: None,
        publisher: 0,
        topic: "$edge/e/gaps",
        properties: &[],
        payload: b"{}",
    });
    let report = |world: &mut World| {
        let mark = Change::Put {
            table: Table::Meta,
            key: b"mark".to_vec(),
            value: vec![1],
        };
        let input = Input::Report {
            record: record.clone(),
            changes: vec![mark],
        };
        world.broker.handle(world.now, input);
        world.run();
    };
    report(&mut world);
    assert_eq!(world.reported, [Outcome::Accepted]);
    assert_eq!(world.log_len(Lane::Critical), 1);
    assert_eq!(world.table(Table::Meta), 1);
    set(&mut world, [Intake::Stopped; 3]);
    report(&mut world);
    assert_eq!(world.reported[1], Outcome::Refused(Refusal::LogFull));
    assert_eq!(world.log_len(Lane::Critical), 1);
}
