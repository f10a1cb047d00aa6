//! Mail that goes to the cloud is a record in the log that no client here hears, and that nobody waits
//! for but the uplink.

use edge::{mail, nats};
use sync::{Lane, Offset};
use wire::mqtt::Version;

use super::world::{ClientId, World};

const LATER: &str = "{\"error\":\"\",\"msg_id\":-1}";

fn begin() -> (World, ClientId) {
    let settings = mail::Settings {
        cloud_mailboxes: vec!["cloud.>".to_owned()],
        ..mail::Settings::default()
    };
    let mut world = World::with(settings, nats::Settings::default());
    let client = world.join();
    (world, client)
}

#[test]
fn mail_for_the_cloud_is_a_record_in_the_lane_of_its_priority() {
    let (mut world, client) = begin();
    let urgent = ["mq9-priority: urgent"];
    let reply = world.ask_with(client, "MSG.SEND.cloud.a", &urgent, b"x");
    assert_eq!(reply, LATER);
    let records = &world.disk.lanes[Lane::Urgent];
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].topic(), "$mq9/AI/MSG/SEND/cloud/a");
    assert_eq!(records[0].payload(), b"x");
}

#[test]
fn a_letter_of_a_device_goes_to_the_cloud_as_well() {
    let (mut world, _) = begin();
    let device = world.join_mqtt(Version::V5, "device");
    world.publish_mqtt(device, ("$mq9/cloud.a", "x"), (2, false), &[]);
    assert_eq!(world.packets(device), ["PUBREC Success -"]);
    assert_eq!(world.disk.lanes[Lane::Normal].len(), 1);
}

#[test]
fn what_goes_to_the_cloud_is_not_kept_for_clients() {
    let (mut world, client) = begin();
    for _ in 0..3 {
        assert_eq!(world.ask(client, "MSG.SEND.cloud.a", "x"), LATER);
    }
    assert_eq!(world.broker.release_floor(Lane::Normal), Offset(3));
    // Nor does one who was away hear it, whatever it subscribed to.
    let listener = world.join_mqtt(Version::V5, "listener");
    world.subscribe_mqtt(listener, "$mq9/#");
    world.cut(listener);
    assert_eq!(world.ask(client, "MSG.SEND.cloud.a", "x"), LATER);
    let listener = world.join_mqtt_with(Version::V5, "listener", false);
    assert_eq!(world.take_bytes(listener), b"");
    assert_eq!(world.broker.release_floor(Lane::Normal), Offset(4));
}
