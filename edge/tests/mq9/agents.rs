//! Sections 6.7 to 6.10: AGENT.REGISTER, UNREGISTER, REPORT and DISCOVER.

use serde_json::Value;

use super::cases::{Case, DONE, begins, error};
use super::world::{ClientId, World};

const REGISTERS: &str = "AGENT.REGISTER";
const UNREGISTERS: &str = "AGENT.UNREGISTER";
const REPORTS: &str = "AGENT.REPORT";
const TRANSLATOR: &str = "{\"name\":\"a.t\",\"mailbox\":\"a.t\",\"payload\":\"EN ZH translation\"}";

pub(crate) const REGISTER: &[Case] = &[
    (1, |world| {
        let client = with_translator(world);
        let agent = only(world, client);
        assert_eq!(agent["name"], "a.t");
        assert_eq!(agent["mailbox"], "a.t");
        assert_eq!(agent["payload"], "EN ZH translation");
    }),
    (2, |world| {
        let client = world.join();
        let card = "{\"name\":\"a.card\",\"description\":\"pay\"}";
        let body = serde_json::json!({"name": "a.card", "payload": card}).to_string();
        assert_eq!(world.ask(client, REGISTERS, &body), DONE);
        assert_eq!(only(world, client)["agent_info"], card);
    }),
    (3, |world| {
        let client = world.join();
        let body = "{\"name\":\"a.c2\",\"description\":\"d\",\"version\":\"1\",\"skills\":[{\"id\":\"x\",\
                    \"name\":\"X\",\"description\":\"\",\"tags\":[\"t\"]}]}";
        assert_eq!(world.ask(client, REGISTERS, body), DONE);
        let agent = only(world, client);
        assert_eq!(
            (&agent["name"], &agent["description"]),
            (&"a.c2".into(), &"d".into())
        );
        assert_eq!(agent["skills"][0]["tags"][0], "t");
    }),
    (4, |world| {
        let client = world.join();
        assert_eq!(world.ask(client, REGISTERS, OF_THE_DOCUMENTS), DONE);
        assert_eq!(only(world, client)["mailbox"], "mq9://broker/a.x");
    }),
    (5, |world| {
        let client = world.join();
        assert_eq!(
            world.ask(client, REGISTERS, "{\"mailbox\":\"a.only\"}"),
            DONE
        );
        assert_eq!(only(world, client)["name"], "a.only");
    }),
    (6, |world| {
        let client = world.join();
        let body = "{\"name\":\"a.a\",\"mailbox\":\"a.a\",\"payload\":\"p\",\
                    \"agent_card\":{\"name\":\"a.a\",\"skills\":[]}}";
        assert_eq!(world.ask(client, REGISTERS, body), DONE);
        assert_eq!(only(world, client)["agent_card"]["name"], "a.a");
    }),
    (7, |world| {
        refused(world, REGISTERS, "", "payload must not be empty")
    }),
    (8, |world| {
        let body = "{\"name\":\"a\",\"payload\":\"\"}";
        refused(world, REGISTERS, body, "agent_info must not be empty");
    }),
    (9, |world| {
        let client = world.join();
        let reply = world.ask(client, REGISTERS, "[]");
        begins(&reply, "{\"error\":\"invalid AGENT.REGISTER payload: ");
    }),
    (10, |world| {
        let client = with_translator(world);
        let moved = TRANSLATOR.replace("\"mailbox\":\"a.t\"", "\"mailbox\":\"a.new\"");
        assert_eq!(world.ask(client, REGISTERS, &moved), DONE);
        assert_eq!(only(world, client)["mailbox"], "a.new");
    }),
    (11, |world| {
        let client = world.join();
        begins(
            &world.ask(client, REGISTERS, "{}"),
            "{\"error\":\"invalid AGENT.REGISTER payload: ",
        );
    }),
];

pub(crate) const UNREGISTER: &[Case] = &[
    (1, |world| {
        let client = with_translator(world);
        assert_eq!(world.ask(client, UNREGISTERS, "{\"name\":\"a.t\"}"), DONE);
        assert_eq!(world.ask(client, DISCOVERS, ""), NOBODY);
    }),
    (2, |world| {
        let client = with_translator(world);
        assert_eq!(
            world.ask(client, UNREGISTERS, "{\"mailbox\":\"a.t\"}"),
            DONE
        );
        assert_eq!(world.ask(client, DISCOVERS, ""), NOBODY);
    }),
    (3, |world| {
        let client = world.join();
        assert_eq!(world.ask(client, REGISTERS, OF_THE_DOCUMENTS), DONE);
        let body = "{\"mailbox\":\"mq9://broker/a.x\"}";
        assert_eq!(world.ask(client, UNREGISTERS, body), DONE);
        assert_eq!(world.ask(client, DISCOVERS, ""), NOBODY);
    }),
    (4, |world| {
        let client = with_translator(world);
        assert_eq!(
            world.ask(client, UNREGISTERS, "{\"name\":\"unknown\"}"),
            DONE
        );
        only(world, client);
    }),
    (5, |world| {
        refused(
            world,
            UNREGISTERS,
            "{\"name\":\"\"}",
            "agent name must not be empty",
        )
    }),
    (6, |world| {
        let client = world.join();
        for body in ["", "{}"] {
            let reply = world.ask(client, UNREGISTERS, body);
            begins(&reply, "{\"error\":\"invalid AGENT.UNREGISTER payload: ");
        }
    }),
];

pub(crate) const REPORT: &[Case] = &[
    (1, |world| {
        reported(world, "{\"name\":\"a.t\",\"report_info\":\"running\"}")
    }),
    (2, |world| {
        let body = "{\"name\":\"a.t\",\"mailbox\":\"a.t\",\"report_info\":\"running\"}";
        reported(world, body);
    }),
    (3, |world| {
        let body = "{\"mailbox\":\"a.t\",\"status\":\"running\",\"reviewed_today\":42}";
        reported(world, body);
    }),
    (4, |world| {
        reported(world, "{\"name\":\"a.t\",\"report_info\":{\"q\":1}}")
    }),
    (5, |world| {
        let client = world.join();
        assert_eq!(
            world.ask(client, REPORTS, "{\"name\":\"never.registered\"}"),
            DONE
        );
        assert_eq!(world.ask(client, DISCOVERS, ""), NOBODY);
    }),
    (6, |world| {
        refused(
            world,
            REPORTS,
            "{\"name\":\"\"}",
            "agent name must not be empty",
        )
    }),
    (7, |world| {
        let client = with_translator(world);
        world.pass(60_000);
        world.tell(
            client,
            REPORTS,
            "{\"name\":\"a.t\",\"report_info\":\"running\"}",
        );
        assert_eq!(world.take(client), "");
        let seen = world.seconds();
        assert_eq!(only(world, client)["last_seen"], seen);
    }),
];

pub(crate) const DISCOVER: &[Case] = &[
    (1, |world| {
        let client = with_translator(world);
        for body in ["", "{}"] {
            let begun = "{\"error\":\"\",\"agents\":[{\"name\":\"a.t\",\"mailbox\":\"a.t\",\
                         \"payload\":\"EN ZH translation\",\"agent_info\":\"EN ZH translation\",";
            begins(&world.ask(client, DISCOVERS, body), begun);
        }
    }),
    (2, |world| {
        let client = crowd(world, 30);
        assert_eq!(names(world, client, "{\"limit\":20,\"page\":1}").len(), 20);
        assert_eq!(names(world, client, "{\"limit\":20,\"page\":2}").len(), 10);
    }),
    (3, |world| {
        let client = crowd(world, 3);
        let all = names(world, client, "{}");
        assert_eq!(all.len(), 3);
        assert_eq!(
            names(world, client, "{\"limit\":1,\"page\":2}"),
            [all[1].clone()]
        );
    }),
    (4, |world| {
        let client = with_translator(world);
        assert_eq!(names(world, client, "{\"text\":\"translation\"}"), ["a.t"]);
    }),
    (5, |world| {
        let client = with_translator(world);
        assert_eq!(world.ask(client, DISCOVERS, "{\"text\":\"zzz\"}"), NOBODY);
    }),
    (6, |world| {
        let client = with_translator(world);
        let other = "{\"name\":\"b.o\",\"payload\":\"pays bills\"}";
        assert_eq!(world.ask(client, REGISTERS, other), DONE);
        let body = "{\"semantic\":\"translate Chinese EN into English translation\",\"limit\":5}";
        assert_eq!(names(world, client, body), ["a.t"]);
        let body = "{\"semantic\":\"translate Chinese text into English\",\"limit\":5}";
        begins(
            &world.ask(client, DISCOVERS, body),
            "{\"error\":\"\",\"agents\":[",
        );
    }),
    (7, |world| {
        let client = with_translator(world);
        let body = "{\"text\":\"nobody\",\"semantic\":\"translation\"}";
        assert_eq!(names(world, client, body), ["a.t"]);
    }),
    (8, |world| {
        let client = crowd(world, 3);
        assert_eq!(
            names(world, client, "{\"text\":\"\",\"semantic\":\"\"}").len(),
            3
        );
    }),
    (9, |world| {
        let client = crowd(world, 3);
        let body = "{\"text\":null,\"semantic\":null,\"limit\":20,\"page\":1}";
        assert_eq!(names(world, client, body).len(), 3);
    }),
    (10, |world| {
        let client = crowd(world, 3);
        let first = names(world, client, "{\"limit\":2,\"page\":1}");
        assert_eq!(names(world, client, "{\"limit\":2,\"page\":0}"), first);
        assert!(!names(world, client, "{\"page\":0}").is_empty());
    }),
    (11, |world| {
        let client = world.join();
        let reply = world.ask(client, DISCOVERS, "{\"limit\":-1}");
        begins(&reply, "{\"error\":\"invalid AGENT.DISCOVER payload: ");
    }),
    (12, |world| {
        for body in [
            TRANSLATOR,
            OF_THE_DOCUMENTS,
            "{\"name\":\"x\",\"payload\":{\"a\":1}}",
            "{\"name\":\"x\",\"agent_info\":[1]}",
        ] {
            let mut world = World::in_text();
            let client = world.join();
            assert_eq!(world.ask(client, REGISTERS, body), DONE);
            assert!(only(&mut world, client)["agent_info"].is_string(), "{body}");
        }
        // Of a world of its own each.
        world.pass(0);
    }),
    (13, |world| {
        let client = world.join();
        assert_eq!(world.ask(client, DISCOVERS, ""), NOBODY);
    }),
];

const DISCOVERS: &str = "AGENT.DISCOVER";
const NOBODY: &str = "{\"error\":\"\",\"agents\":[]}";
const OF_THE_DOCUMENTS: &str = "{\"name\":\"a.x\",\"mailbox\":\"mq9://broker/a.x\",\
                                \"description\":\"d\",\"skills\":[\"s\"]}";

fn with_translator(world: &mut World) -> ClientId {
    let client = world.join();
    assert_eq!(world.ask(client, REGISTERS, TRANSLATOR), DONE);
    client
}

fn crowd(world: &mut World, count: usize) -> ClientId {
    let client = world.join();
    for number in 0..count {
        let body = format!("{{\"name\":\"agent.{number:03}\",\"payload\":\"p\"}}");
        assert_eq!(world.ask(client, REGISTERS, &body), DONE);
    }
    client
}

fn reported(world: &mut World, body: &str) {
    let client = with_translator(world);
    world.pass(60_000);
    assert_eq!(world.ask(client, REPORTS, body), DONE);
    let seen = world.seconds();
    assert_eq!(only(world, client)["last_seen"], seen);
}

fn refused(world: &mut World, command: &str, body: &str, words: &str) {
    let client = world.join();
    assert_eq!(world.ask(client, command, body), error(words));
}

fn agents(world: &mut World, client: ClientId, body: &str) -> Vec<Value> {
    let reply: Value = serde_json::from_str(&world.ask(client, DISCOVERS, body)).unwrap();
    assert_eq!(reply["error"], "");
    reply["agents"].as_array().unwrap().clone()
}

fn names(world: &mut World, client: ClientId, body: &str) -> Vec<String> {
    let agents = agents(world, client, body);
    let name = |agent: &Value| agent["name"].as_str().unwrap().to_owned();
    agents.iter().map(name).collect()
}

/// The only agent that there is.
fn only(world: &mut World, client: ClientId) -> Value {
    let agents = agents(world, client, "");
    assert_eq!(agents.len(), 1);
    agents.into_iter().next().unwrap()
}

/// Discovery ranked by how many words a text contains, `pump` in `pumpkin` too, and knew no forms of
/// a word and no Chinese.
#[test]
fn agents_are_found_by_the_words_they_say_the_rarest_first() {
    let mut world = World::new();
    let client = world.join();
    for (name, says) in [
        ("cook", "pumpkin soup, valve of nothing"),
        (
            "fitter",
            "repairs a pump and a valve and whatever else is broken in the plant",
        ),
        ("pumps", "watches pumps"),
        ("fanyi", "\u{4E2D}\u{6587}\u{7FFB}\u{8BD1}\u{52A9}\u{624B}"),
    ] {
        let body = serde_json::json!({"name": name, "payload": says}).to_string();
        assert_eq!(world.ask(client, REGISTERS, &body), DONE);
    }
    let found = |world: &mut World, body: Value| -> Vec<String> {
        let reply = world.ask(client, "AGENT.DISCOVER", &body.to_string());
        let reply: Value = serde_json::from_str(&reply).unwrap();
        let agents = reply["agents"].as_array().unwrap().iter();
        agents
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    for (words, names) in [
        ("pump", vec!["pumps", "fitter"]),
        ("pump valve", vec!["fitter", "pumps", "cook"]),
        ("soups", vec!["cook"]),
        ("\u{7FFB}\u{8BD1}", vec!["fanyi"]),
        ("\u{8BD1}\u{4E2D}", vec![]),
    ] {
        for field in ["text", "semantic"] {
            let mut names = names.clone();
            let mut found = found(&mut world, serde_json::json!({field: words}));
            if words == "pump valve" {
                // Which of the two comes first is a matter of their lengths.
                names.sort_unstable();
                found.sort_unstable();
            }
            assert_eq!(found, names, "{words}");
        }
    }
    let paged = serde_json::json!({"text": "pump", "limit": 1, "page": 2});
    assert_eq!(found(&mut world, paged), ["fitter"]);
    // What is gone, or says something else, is not found by what it said.
    world.ask(client, UNREGISTERS, "{\"name\":\"pumps\"}");
    world.ask(
        client,
        REGISTERS,
        "{\"name\":\"fitter\",\"payload\":\"away\"}",
    );
    assert!(found(&mut world, serde_json::json!({"text": "pump"})).is_empty());
}
