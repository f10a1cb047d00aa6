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
