//! Scenarios by exact timeline: what the engine says, to the millisecond, where the simulation
//! only says that all is well.

mod gateway;

use std::time::Duration;

use gateway::{FIRST, Gateway, NORMAL, SECOND, record, settings, topic_of};
use sync::{
    Apart, ConnectionPhase, Engine, Epoch, GapReason, Input, Instant, Lane, Offset, Order, Output,
    PerLane, Settings, Start, Token,
};

#[test]
fn a_connection_is_made_at_once_and_records_wait_for_it_in_the_log() {
    let mut gateway = Gateway::new(settings());
    assert_eq!(gateway.engine.poll_timeout(), Some(Instant::default()));
    gateway.append("a");
    let connection = FIRST;
    assert_eq!(gateway.said(), [Output::Connect { connection }]);
    gateway.up(FIRST);
    assert_eq!(gateway.sent(), [0]);
    assert_eq!(gateway.floor(), 0);
    gateway.accept(FIRST, 0);
    assert_eq!(gateway.floor(), 1);
}

#[test]
fn uplink_resends_unacknowledged_after_reconnect() {
    let mut gateway = Gateway::connected(settings());
    for topic in ["a", "b", "a", "b"] {
        gateway.append(topic);
    }
    assert_eq!(gateway.sent(), [0, 1, 2, 3]);
    gateway.accept(FIRST, 1);
    gateway.down(FIRST);
    assert_eq!(gateway.engine.counters().unresolved, 3);
    gateway.pass(100);
    let connection = FIRST;
    assert_eq!(gateway.said(), [Output::Connect { connection }]);
    gateway.up(FIRST);
    assert_eq!(gateway.sent(), [0, 2, 3]);
    for offset in [0, 2, 3] {
        gateway.accept(FIRST, offset);
    }
    assert_eq!(gateway.floor(), 4);
}

#[test]
fn a_fallen_connection_stops_no_topic_of_another() {
    let mut gateway = Gateway::connected(Settings {
        connections: 2,
        ..settings()
    });
    gateway.down(FIRST);
    gateway.append(&topic_of(FIRST));
    for offset in 1..100 {
        gateway.append(&topic_of(SECOND));
        assert_eq!(gateway.sent(), [offset]);
        gateway.accept(SECOND, offset);
    }
    assert_eq!(gateway.floor(), 0);
    gateway.pass(100);
    gateway.up(FIRST);
    assert_eq!(gateway.sent(), [0]);
}

/// Settings with one connection for all topics and another for mail.
fn with_mail() -> Settings {
    Settings {
        connections: 1,
        apart: Some(Apart {
            prefix: "$mail/".to_owned(),
            joined: Some("$mail/agents/".to_owned()),
        }),
        ..settings()
    }
}

#[test]
fn topics_apart_wait_alone_while_their_connection_is_away() {
    let mut gateway = Gateway::connected(with_mail());
    gateway.down(SECOND);
    gateway.append("$mail/a");
    for offset in 1..100 {
        gateway.append("plant/a");
        assert_eq!(gateway.sent(), [offset]);
        gateway.accept(FIRST, offset);
    }
    assert_eq!(gateway.floor(), 0);
    gateway.pass(100);
    gateway.up(SECOND);
    assert_eq!(gateway.sent(), [0]);
    gateway.accept(SECOND, 0);
    assert_eq!(gateway.floor(), 100);
}

#[test]
fn topics_apart_go_on_while_every_other_connection_is_away() {
    let mut gateway = Gateway::connected(with_mail());
    gateway.down(FIRST);
    gateway.append("plant/a");
    for offset in 1..100 {
        gateway.append("$mail/a");
        assert_eq!(gateway.sent(), [offset]);
        gateway.accept(SECOND, offset);
    }
    gateway.pass(100);
    gateway.up(FIRST);
    assert_eq!(gateway.sent(), [0]);
}

/// An agent that came and went again while the cloud refused it would be there for ever.
#[test]
fn joined_topics_do_not_overtake_each_other() {
    let mut gateway = Gateway::connected(with_mail());
    for topic in ["$mail/agents/in", "$mail/a", "$mail/agents/out"] {
        gateway.append(topic);
    }
    assert_eq!(gateway.sent(), [0, 1, 2]);
    gateway.refuse(SECOND, 0);
    gateway.accept(SECOND, 1);
    gateway.accept(SECOND, 2);
    gateway.pass(100);
    assert_eq!(gateway.sent(), [0]);
    gateway.accept(SECOND, 0);
    assert_eq!(gateway.sent(), [2]);
}

/// After a long outage one connection was up and the other one still had most of a minute to wait,
/// with half of the topics.
#[test]
fn a_connection_that_is_of_use_again_brings_the_others_back_soon() {
    let mut gateway = Gateway::connected(Settings {
        connections: 2,
        reconnect_most: Duration::from_secs(600),
        ..settings()
    });
    let tries = |gateway: &mut Gateway, wanted| {
        let said = gateway.said();
        let connect = Output::Connect { connection: wanted };
        said.iter().filter(|output| **output == connect).count()
    };
    for _ in 0..30 {
        gateway.down(SECOND);
        gateway.pass(600_000);
        assert_eq!(tries(&mut gateway, SECOND), 1);
    }
    gateway.down(SECOND);
    gateway.append(&topic_of(FIRST));
    gateway.append(&topic_of(FIRST));
    // Being let in proves nothing: a cloud that lets in and closes would be tried without pause.
    gateway.pass(100);
    assert_eq!(tries(&mut gateway, SECOND), 0);
    gateway.accept(FIRST, 0);
    gateway.pass(100);
    assert_eq!(tries(&mut gateway, SECOND), 1);
    // Once is enough.
    gateway.down(SECOND);
    gateway.accept(FIRST, 1);
    gateway.pass(100);
    assert_eq!(tries(&mut gateway, SECOND), 0);
}

#[test]
fn a_refused_topic_delays_no_other() {
    let mut gateway = Gateway::connected(settings());
    gateway.append("dead");
    gateway.append("alive");
    assert_eq!(gateway.sent(), [0, 1]);
    gateway.refuse(FIRST, 0);
    gateway.accept(FIRST, 1);
    gateway.append("dead");
    gateway.append("alive");
    assert_eq!(gateway.sent(), [3]);
    assert_eq!(gateway.phase(FIRST), ConnectionPhase::Up);
    gateway.pass(100);
    // One record tries whether the topic lives again; the others follow when it does.
    assert_eq!(gateway.sent(), [0]);
    gateway.refuse(FIRST, 0);
    assert_eq!(gateway.sent(), [0; 0]);
    gateway.pass(100);
    assert_eq!(gateway.sent(), [0]);
    gateway.accept(FIRST, 0);
    assert_eq!(gateway.sent(), [2]);
}

#[test]
fn what_was_sent_behind_a_refused_record_is_sent_behind_it_again() {
    let mut gateway = Gateway::connected(settings());
    for _ in 0..3 {
        gateway.append("a");
    }
    assert_eq!(gateway.sent(), [0, 1, 2]);
    gateway.refuse(FIRST, 0);
    gateway.accept(FIRST, 1);
    gateway.pass(200);
    // Not before the last of them is answered, or an answer could be about either.
    assert_eq!(gateway.sent(), [0; 0]);
    gateway.refuse(FIRST, 2);
    assert_eq!(gateway.sent(), [0]);
    gateway.accept(FIRST, 0);
    assert_eq!(gateway.sent(), [1, 2]);
    assert_eq!(gateway.floor(), 1);
    assert_eq!(gateway.engine.counters().recalled, 1);
}

#[test]
fn a_late_success_does_not_let_a_topic_pass_what_is_recalled() {
    let mut gateway = Gateway::connected(settings());
    for _ in 0..3 {
        gateway.append("a");
    }
    gateway.sent();
    gateway.refuse(FIRST, 1);
    gateway.append("a");
    gateway.pass(100);
    gateway.accept(FIRST, 0);
    assert_eq!(gateway.sent(), [0; 0]);
    gateway.accept(FIRST, 2);
    assert_eq!(gateway.sent(), [1]);
    gateway.accept(FIRST, 1);
    assert_eq!(gateway.sent(), [2, 3]);
}

#[test]
fn a_held_record_that_the_log_no_longer_has_holds_nothing_up() {
    let mut gateway = Gateway::connected(settings());
    for _ in 0..3 {
        gateway.append("a");
    }
    gateway.sent();
    gateway.down(FIRST);
    // A damaged block was set aside; the log has written its gap.
    gateway.first[NORMAL] = 1;
    gateway.pass(100);
    gateway.up(FIRST);
    assert_eq!(gateway.sent(), [1, 2]);
    assert_eq!(gateway.floor(), 1);
    assert_eq!(gateway.engine.counters().vanished, 1);
}

#[test]
fn a_log_that_fails_is_asked_again_after_a_pause() {
    let mut gateway = Gateway::connected(settings());
    gateway.log[NORMAL].push(record("a", 10, false));
    let (lane, head) = (NORMAL, Offset(1));
    let now = gateway.now();
    gateway.engine.handle(now, Input::Appended { lane, head });
    assert!(matches!(gateway.engine.poll(), Some(Output::Fetch { .. })));
    gateway.engine.handle(now, Input::FetchFailed { lane });
    assert_eq!(gateway.engine.poll(), None);
    gateway.pass(199);
    assert_eq!(gateway.sent(), [0; 0]);
    gateway.pass(1);
    assert_eq!(gateway.sent(), [0]);
}

#[test]
fn strict_order_has_one_record_of_a_topic_in_flight() {
    let mut gateway = Gateway::connected(Settings {
        order: Order::Strict,
        ..settings()
    });
    for topic in ["a", "a", "b"] {
        gateway.append(topic);
    }
    assert_eq!(gateway.sent(), [0, 2]);
    gateway.accept(FIRST, 0);
    assert_eq!(gateway.sent(), [1]);
}

/// Records that had waited for their connection were all sent at once, whatever the order asked
/// for, and a refusal then let later ones overtake. Strict order begins with the first record.
#[test]
fn strict_order_holds_for_what_waited_for_a_connection() {
    let mut gateway = Gateway::connected(Settings {
        order: Order::Strict,
        ..settings()
    });
    for _ in 0..3 {
        gateway.append("a");
    }
    assert_eq!(gateway.sent(), [0]);
    gateway.down(FIRST);
    gateway.pass(100);
    gateway.up(FIRST);
    for offset in 0..3 {
        assert_eq!(gateway.sent(), [offset]);
        gateway.accept(FIRST, offset);
    }
}

#[test]
fn a_silent_cloud_is_left_and_nothing_is_reordered() {
    let mut gateway = Gateway::connected(settings());
    gateway.append("a");
    gateway.append("a");
    assert_eq!(gateway.sent(), [0, 1]);
    gateway.pass(29_999);
    assert_eq!(gateway.said(), []);
    assert_eq!(gateway.phase(FIRST), ConnectionPhase::Stalled);
    gateway.pass(1);
    let connection = FIRST;
    assert_eq!(gateway.said(), [Output::Disconnect { connection }]);
    gateway.append("a");
    gateway.down(FIRST);
    gateway.pass(100);
    gateway.up(FIRST);
    assert_eq!(gateway.sent(), [0, 1, 2]);
    assert_eq!(gateway.engine.counters().silences, 1);
}

#[test]
fn a_connection_that_is_not_made_within_its_patience_is_left() {
    let mut gateway = Gateway::new(settings());
    gateway.pass(29_999);
    let connection = FIRST;
    assert_eq!(gateway.said(), [Output::Connect { connection }]);
    gateway.pass(1);
    assert_eq!(gateway.said(), [Output::Disconnect { connection }]);
    // Too late: it is being left.
    gateway.up(FIRST);
    assert_eq!(gateway.phase(FIRST), ConnectionPhase::Leaving);
    gateway.down(FIRST);
    gateway.pass(100);
    assert_eq!(gateway.said(), [Output::Connect { connection }]);
}

#[test]
fn a_stalled_connection_stops_no_topic_of_another() {
    let mut gateway = Gateway::connected(Settings {
        connections: 2,
        window_count: 1,
        window_least: 1,
        read_ahead_count: 2,
        ..settings()
    });
    for _ in 0..4 {
        gateway.append(&topic_of(FIRST));
    }
    gateway.append(&topic_of(SECOND));
    assert_eq!(gateway.sent(), [0]);
    gateway.pass(1_000);
    assert_eq!(gateway.sent(), [4]);
    gateway.accept(FIRST, 0);
    assert_eq!(gateway.sent(), [1]);
}

#[test]
fn rejected_record_becomes_a_gap_and_is_not_retried() {
    let mut gateway = Gateway::connected(settings());
    gateway.append("a");
    gateway.append("a");
    gateway.sent();
    gateway.handle(Input::Rejected {
        connection: FIRST,
        lane: NORMAL,
        offset: Offset(0),
        reason: 0x99,
    });
    let gap = Output::Gap {
        lane: NORMAL,
        first: Offset(0),
        count: 1,
        bytes: 43,
        reason: GapReason::Rejected { reason: 0x99 },
    };
    assert_eq!(gateway.said(), [gap]);
    gateway.accept(FIRST, 1);
    assert_eq!(gateway.floor(), 2);
    gateway.restart();
    gateway.pass(1_000);
    gateway.up(FIRST);
    assert_eq!(gateway.engine.counters().rejected, 0);
}

#[test]
fn a_record_too_large_for_the_connection_is_given_up_before_it_is_sent() {
    let mut gateway = Gateway::new(settings());
    gateway.pass(0);
    gateway.handle(Input::Up {
        connection: FIRST,
        receive_maximum: 65_535,
        maximum_packet_bytes: 1_000,
    });
    gateway.said();
    gateway.append_to(NORMAL, "a", 1_000 - 512);
    let gap = Output::Gap {
        lane: NORMAL,
        first: Offset(0),
        count: 1,
        bytes: 521,
        reason: GapReason::TooLarge {
            found: 1_001,
            allowed: 1_000,
        },
    };
    assert_eq!(gateway.said(), [gap]);
    gateway.append_to(NORMAL, "a", 1_000 - 513);
    assert_eq!(gateway.sent(), [1]);
}

#[test]
fn what_was_read_and_is_given_up_is_not_sent() {
    let mut settings = settings();
    (settings.window_count, settings.window_least) = (1, 1);
    let mut gateway = Gateway::connected(settings);
    (0..4).for_each(|_| gateway.append("a"));
    assert_eq!(gateway.sent(), [0]);
    gateway.given_up = vec![1, 2];
    gateway.handle(Input::Thinned { lane: NORMAL });
    gateway.handle(Input::Trimmed {
        lane: NORMAL,
        first: Offset(0),
    });
    gateway.accept(FIRST, 0);
    assert_eq!(gateway.sent(), [3]);
    gateway.accept(FIRST, 3);
    assert_eq!(gateway.floor(), 4);
}

#[test]
fn replay_sends_old_offsets_again() {
    let mut gateway = Gateway::connected(settings());
    for offset in 0..4 {
        gateway.append("a");
        gateway.accept(FIRST, offset);
    }
    assert_eq!(gateway.sent(), [0, 1, 2, 3]);
    gateway.handle(Input::Trimmed {
        lane: NORMAL,
        first: Offset(1),
    });
    gateway.first[NORMAL] = 1;
    let (lane, from) = (NORMAL, Offset(0));
    gateway.handle(Input::Replay { lane, from });
    assert_eq!(gateway.sent(), [1, 2, 3]);
    assert_eq!(
        (gateway.floor(), gateway.engine.counters().replayed),
        (1, 3)
    );
    for offset in 1..4 {
        gateway.accept(FIRST, offset);
    }
    assert_eq!(gateway.floor(), 4);
}

#[test]
fn a_replay_outlives_a_crash_right_after_it() {
    let mut gateway = Gateway::connected(settings());
    gateway.append("a");
    gateway.accept(FIRST, 0);
    gateway.pass(5_000);
    let (lane, from) = (NORMAL, Offset(0));
    gateway.handle(Input::Replay { lane, from });
    gateway.restart();
    gateway.up(FIRST);
    assert_eq!(gateway.sent(), [0]);
}

#[test]
fn an_answer_from_before_a_replay_settles_nothing() {
    let mut gateway = Gateway::connected(settings());
    gateway.append("a");
    let (lane, from) = (NORMAL, Offset(0));
    gateway.handle(Input::Replay { lane, from });
    assert_eq!(gateway.sent(), [0, 0]);
    gateway.accept(FIRST, 0);
    assert_eq!(gateway.floor(), 0);
    gateway.accept(FIRST, 0);
    assert_eq!(gateway.floor(), 1);
}

/// A checkpoint was due for a change that a replay had undone, and never came: its timer stayed
/// in the past, and the driver turned without end. A change that is no more has no timer.
#[test]
fn a_change_that_a_replay_undoes_leaves_no_timer_behind() {
    let mut gateway = Gateway::connected(settings());
    gateway.log[NORMAL].push(record("a", 10, true));
    let (lane, head) = (NORMAL, Offset(1));
    gateway.handle(Input::Appended { lane, head });
    assert_eq!(gateway.floor(), 1);
    let from = Offset(0);
    let replay = Input::Replay { lane, from };
    gateway.engine.handle(gateway.now(), replay);
    assert_eq!(gateway.floor(), 0);
    // The log is slow to answer, and nothing else is due.
    assert_eq!(gateway.engine.poll_timeout(), None);
}

#[test]
fn a_cloud_whose_offsets_go_back_gets_everything_held_again() {
    let mut gateway = Gateway::connected(Settings {
        hold: Duration::from_secs(120),
        ..settings()
    });
    for offset in 0..5 {
        gateway.append("a");
        gateway.accept_at(FIRST, offset, Some(100 + offset));
    }
    assert_eq!(gateway.sent(), [0, 1, 2, 3, 4]);
    gateway.append("a");
    gateway.accept_at(FIRST, 5, Some(102));
    assert_eq!(gateway.sent(), [5, 0, 1, 2, 3, 4, 5]);
    assert_eq!(gateway.engine.counters().cloud_regressions, 1);
    // What was replayed counts anew, and is not taken for another loss.
    for offset in 0..6 {
        gateway.accept_at(FIRST, offset, Some(103 + offset));
    }
    assert_eq!(gateway.floor(), 6);
    assert_eq!(gateway.engine.counters().cloud_regressions, 1);
}

#[test]
fn retention_may_pass_a_record_only_the_hold_time_after_its_acknowledgement() {
    let mut gateway = Gateway::connected(Settings {
        hold: Duration::from_secs(120),
        checkpoint_interval: Duration::from_millis(1),
        ..settings()
    });
    gateway.append("a");
    gateway.pass(5_000);
    gateway.accept(FIRST, 0);
    gateway.pass(119_999);
    assert_eq!(gateway.engine.release_floor(NORMAL), Offset(0));
    gateway.pass(2);
    assert_eq!(gateway.engine.release_floor(NORMAL), Offset(1));
}

#[test]
fn a_replay_takes_back_what_was_about_to_be_released() {
    let mut gateway = Gateway::connected(Settings {
        hold: Duration::from_secs(120),
        ..settings()
    });
    for offset in 0..3 {
        gateway.append("a");
        gateway.accept(FIRST, offset);
    }
    gateway.pass(119_000);
    let (lane, from) = (NORMAL, Offset(1));
    gateway.handle(Input::Replay { lane, from });
    gateway.pass(20_000);
    assert_eq!(gateway.engine.release_floor(NORMAL), Offset(1));
}

#[test]
fn retention_waits_for_the_durable_checkpoint() {
    let mut gateway = Gateway::connected(settings());
    gateway.append("a");
    gateway.engine.handle(
        gateway.now(),
        Input::Accepted {
            connection: FIRST,
            lane: NORMAL,
            offset: Offset(0),
            server_offset: None,
        },
    );
    let later = Instant::from_micros(1_000_000);
    gateway.engine.handle_timeout(later);
    let Some(Output::Checkpoint { value: first }) = gateway.engine.poll() else {
        panic!("a checkpoint is due");
    };
    assert_eq!(gateway.engine.release_floor(NORMAL), Offset(0));
    gateway.engine.handle(later, Input::CheckpointFailed);
    assert_eq!(gateway.engine.poll(), None);
    assert_eq!(gateway.engine.release_floor(NORMAL), Offset(0));
    let again = Instant::from_micros(2_000_000);
    assert_eq!(gateway.engine.poll_timeout(), Some(again));
    gateway.engine.handle_timeout(again);
    let value = first;
    assert_eq!(gateway.engine.poll(), Some(Output::Checkpoint { value }));
    gateway.engine.handle(again, Input::CheckpointDone);
    assert_eq!(gateway.engine.release_floor(NORMAL), Offset(1));
}

#[test]
fn a_restart_sends_what_the_checkpoint_does_not_settle_and_nothing_else() {
    let mut gateway = Gateway::connected(settings());
    for topic in ["a", "b", "c"] {
        gateway.append(topic);
    }
    gateway.accept(FIRST, 1);
    gateway.pass(1_000);
    gateway.accept(FIRST, 0);
    // This one came after the last checkpoint.
    gateway.restart();
    gateway.up(FIRST);
    assert_eq!(gateway.sent(), [0, 2]);
}

#[test]
fn a_restart_whose_records_are_gone_counts_them_and_goes_on() {
    let mut gateway = Gateway::connected(settings());
    gateway.append("a");
    gateway.append("a");
    gateway.append("a");
    gateway.accept(FIRST, 0);
    gateway.pass(1_000);
    gateway.first[NORMAL] = 2;
    gateway.restart();
    gateway.up(FIRST);
    assert_eq!(gateway.sent(), [2]);
    assert_eq!(gateway.engine.counters().trimmed, 1);
}

#[test]
fn records_that_came_from_the_cloud_never_go_up() {
    let mut gateway = Gateway::connected(settings());
    gateway.log[NORMAL].push(record("a", 10, true));
    gateway.append("a");
    assert_eq!(gateway.sent(), [1]);
    gateway.accept(FIRST, 1);
    assert_eq!(gateway.floor(), 2);
}

#[test]
fn lanes_share_a_full_connection_by_their_weights() {
    let mut gateway = Gateway::connected(Settings {
        window_count: 1,
        window_least: 1,
        weights: PerLane([3, 2, 1]),
        ..settings()
    });
    for _ in 0..12 {
        for lane in Lane::ALL {
            gateway.append_to(lane, lane.name(), 10);
        }
    }
    let mut lanes = String::new();
    for _ in 0..12 {
        let said = gateway.said();
        let [Output::Send { lane, offset, .. }] = said.as_slice() else {
            panic!("{said:?}");
        };
        lanes.push_str(&lane.name()[..1]);
        gateway.handle(Input::Accepted {
            connection: FIRST,
            lane: *lane,
            offset: *offset,
            server_offset: None,
        });
    }
    assert_eq!(lanes, "cccuuncccuun");
}

#[test]
fn at_the_limit_of_held_records_the_lane_waits_and_goes_on_later() {
    let mut gateway = Gateway::connected(Settings {
        connections: 2,
        held_count: 3,
        ..settings()
    });
    gateway.down(FIRST);
    for _ in 0..5 {
        gateway.append(&topic_of(FIRST));
    }
    gateway.append(&topic_of(SECOND));
    assert_eq!(gateway.sent(), [0; 0]);
    assert_eq!(gateway.engine.lane(NORMAL).held_count, 3);
    gateway.pass(100);
    gateway.up(FIRST);
    assert_eq!(gateway.sent(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn an_answer_to_nothing_changes_nothing_and_is_counted() {
    let mut gateway = Gateway::connected(settings());
    gateway.append("a");
    gateway.accept(FIRST, 7);
    gateway.accept(SECOND, 0);
    gateway.refuse(FIRST, 3);
    gateway.handle(Input::CheckpointDone);
    gateway.up(FIRST);
    gateway.down(SECOND);
    assert_eq!(gateway.engine.counters().stray_answers, 3);
    assert_eq!((gateway.floor(), gateway.sent()), (0, vec![0]));
    assert_eq!(gateway.engine.connection(SECOND), None);
}

#[test]
fn a_stop_leaves_politely_takes_late_answers_and_makes_a_last_checkpoint() {
    let mut gateway = Gateway::connected(settings());
    gateway.append("a");
    gateway.sent();
    gateway.handle(Input::Stop);
    let connection = FIRST;
    assert_eq!(gateway.said(), [Output::Disconnect { connection }]);
    gateway.accept(FIRST, 0);
    assert!(!gateway.engine.is_stopped());
    gateway.down(FIRST);
    assert!(gateway.engine.is_stopped());
    assert_eq!(gateway.phase(FIRST), ConnectionPhase::Stopped);
    gateway.restart();
    gateway.up(FIRST);
    assert_eq!(gateway.sent(), [0; 0]);
}

#[test]
fn a_message_that_came_down_is_confirmed_after_it_is_stored() {
    let mut gateway = Gateway::connected(settings());
    let (connection, token) = (FIRST, Token(1));
    let place = None;
    gateway.handle(Input::Received {
        connection,
        token,
        place,
    });
    assert_eq!(gateway.said(), [Output::Store { token }]);
    gateway.handle(Input::Stored { token });
    assert_eq!(gateway.said(), [Output::Confirm { connection, token }]);
}

#[test]
fn a_checkpoint_of_another_epoch_is_refused_and_a_start_without_it_sends_everything() {
    let mut gateway = Gateway::connected(settings());
    gateway.append("a");
    gateway.accept(FIRST, 0);
    gateway.pass(1_000);
    let mut other = settings();
    other.origin.epoch = Epoch(2);
    let start = |checkpoint| {
        Engine::new(&Start {
            settings: other.clone(),
            seed: 1,
            lanes: PerLane::default(),
            checkpoint,
        })
    };
    let error = start(gateway.checkpoint.as_deref()).unwrap_err();
    assert_eq!(error.to_string(), "checkpoint can't be read");
    assert!(start(None).is_ok());
}

#[test]
fn equal_inputs_give_equal_outputs() {
    let live = || {
        let mut gateway = Gateway::connected(settings());
        for _ in 0..20 {
            gateway.append("a");
            gateway.down(FIRST);
            gateway.pass(200);
            gateway.up(FIRST);
        }
        (gateway.millis, gateway.said())
    };
    assert_eq!(live(), live());
}
