//! Queue groups: one member gets each message, whatever it speaks.

use super::world::World;

/// The payloads that a client received.
fn payloads(world: &mut World, clients: &[usize], count: usize) -> Vec<usize> {
    let publisher = world.join();
    for _ in 0..count {
        world.publish(publisher, "work.a", "x");
    }
    let message = "MSG work.a 1 1\r\nx\r\n";
    let mut counts = Vec::new();
    for client in clients {
        let got = world.take(*client);
        assert!(got.len().is_multiple_of(message.len()), "{got}");
        let times = got.len() / message.len();
        assert_eq!(got, message.repeat(times));
        counts.push(times);
    }
    counts
}

#[test]
fn one_member_of_each_group_gets_a_message_and_everybody_else_too() {
    let mut world = World::new();
    let clients: Vec<usize> = (0..5).map(|_| world.join()).collect();
    world.say(clients[0], "SUB work.* q 1");
    world.say(clients[1], "SUB work.* q 1");
    world.say(clients[2], "SUB work.* r 1");
    world.say(clients[3], "SUB work.* 1");
    world.say(clients[4], "SUB work.a 1");
    assert_eq!(payloads(&mut world, &clients, 10), [5, 5, 10, 10, 10]);
    world.cut(clients[0]);
    assert_eq!(payloads(&mut world, &clients[1..], 4), [4, 4, 4, 4]);
    world.say(clients[1], "UNSUB 1");
    assert_eq!(payloads(&mut world, &clients[1..], 4), [0, 4, 4, 4]);
}

#[test]
fn subscriptions_of_one_client_to_a_group_take_turns() {
    let mut world = World::new();
    let client = world.join();
    world.say(client, "SUB a q 1\nSUB a q 2\nSUB a 3\nUNSUB 2 1");
    for sid in [1, 2, 1, 1] {
        world.publish(client, "a", "x");
        let got = world.take(client);
        let mut lines: Vec<&str> = got.split_inclusive("x\r\n").collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                format!("MSG a {sid} 1\r\nx\r\n"),
                "MSG a 3 1\r\nx\r\n".to_owned()
            ]
        );
    }
}

/// As one that is not there for it: the NATS server hands it to the next.
#[test]
fn a_member_that_does_not_want_to_hear_itself_leaves_its_messages_to_the_others() {
    let mut world = World::new();
    let deaf = "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true,\"echo\":false}";
    let (client, other) = (world.join_saying(deaf), world.join());
    world.say(client, "SUB work.* q 1\nSUB work.> q 2\nSUB r 3");
    world.say(client, "PUB work.a r 0\n");
    let nobody = world.take(client);
    assert!(
        nobody.contains("HMSG r 3 ") && nobody.contains("503"),
        "{nobody}"
    );
    world.say(other, "SUB work.* q 1");
    for _ in 0..4 {
        world.publish(client, "work.a", "x");
        world.expect_nothing(client);
        world.expect(other, "MSG work.a 1 1\r\nx\r\n");
    }
}

#[test]
fn a_member_with_enough_leaves_the_rest_to_others() {
    let mut world = World::new();
    let clients = [world.join(), world.join()];
    world.say(clients[0], "SUB work.a q 1\nUNSUB 1 2");
    world.say(clients[1], "SUB work.a q 1");
    assert_eq!(payloads(&mut world, &clients, 10), [2, 8]);
}

#[test]
fn devices_share_the_work_of_a_group_of_the_same_name_and_filter() {
    let mut world = World::new();
    let client = world.join();
    let device = world.join_mqtt("device");
    world.say(client, "SUB work.a q 1");
    world.subscribe_mqtt(device, "$share/q/work/a", 0);
    assert_eq!(payloads(&mut world, &[client], 10), [5]);
    let mut count = 0;
    while let Some(message) = world.next_message(device) {
        assert_eq!((&*message.topic, &*message.payload), ("work/a", "x"));
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn nobody_hears_a_request_when_the_last_member_has_left() {
    let mut world = World::new();
    let (client, worker) = (world.join(), world.join());
    world.say(worker, "SUB work q 1");
    world.say(client, "SUB inbox 1\nPUB work inbox 0\n");
    world.expect(worker, "MSG work 1 inbox 0\r\n\r\n");
    world.expect_nothing(client);
    world.cut(worker);
    world.say(client, "PUB work inbox 0\n");
    world.expect(client, "HMSG inbox 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n");
}

/// The NATS server asks for the name alone: whatever filters the members of a queue group have, one
/// of all that match gets a message. Taken from 2.9.10, which gave 300 messages to
/// `SUB work.* q`, `SUB work.> q` and `SUB work.a q` as 86, 103 and 111, and 300 to `SUB *.a r`.
#[test]
fn members_of_a_queue_group_take_turns_whatever_their_filters_are() {
    let mut world = World::new();
    let clients: Vec<usize> = (0..5).map(|_| world.join()).collect();
    for (client, line) in clients.iter().zip([
        "SUB work.* q 1",
        "SUB work.> q 1",
        "SUB work.a q 1",
        "SUB *.a r 1",
        "SUB *.a q.r 1",
    ]) {
        world.say(*client, line);
    }
    let counts = payloads(&mut world, &clients, 300);
    assert_eq!(counts[..3].iter().sum::<usize>(), 300, "{counts:?}");
    assert!(counts[..3].iter().all(|it| *it > 60), "{counts:?}");
    assert_eq!(counts[3..], [300, 300]);
    // One that is gone leaves the rest to the others.
    world.cut(clients[0]);
    let counts = payloads(&mut world, &clients[1..3], 100);
    assert_eq!(counts.iter().sum::<usize>(), 100, "{counts:?}");
}

#[test]
fn one_client_with_overlapping_filters_in_a_queue_group_gets_each_message_once() {
    let mut world = World::new();
    let client = world.join();
    world.say(client, "SUB z.* q 1\nSUB z.> q 2\nSUB z.a q 3\nSUB z.a 4");
    let mut counts = [0; 5];
    for _ in 0..300 {
        world.publish(client, "z.a", "x");
        let got = world.take(client);
        for (sid, count) in counts.iter_mut().enumerate().skip(1) {
            *count += got.matches(&format!("MSG z.a {sid} 1")).count();
        }
    }
    assert_eq!(counts[1..4].iter().sum::<usize>(), 300, "{counts:?}");
    assert!(counts[1..4].iter().all(|it| *it > 60), "{counts:?}");
    assert_eq!(counts[4], 300);
}

/// MQTT asks for the name and the filter, and so it stays where only devices are.
#[test]
fn devices_of_one_name_and_several_filters_stay_apart() {
    let mut world = World::new();
    let client = world.join();
    let devices = ["$share/q/work/+", "$share/q/work/#"].map(|filter| {
        let device = world.join_mqtt(filter);
        world.subscribe_mqtt(device, filter, 0);
        device
    });
    world.say(client, "SUB work.a q 1");
    assert_eq!(payloads(&mut world, &[client], 10), [10]);
    for device in devices {
        let mut count = 0;
        while world.next_message(device).is_some() {
            count += 1;
        }
        assert_eq!(count, 10);
    }
}
