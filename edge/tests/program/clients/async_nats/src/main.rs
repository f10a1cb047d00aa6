//! One story of NATS clients, told with async-nats: see tests/program/nats.rs for what it stands for.
//!
//! Usage: async-nats-client NATS-ADDRESS MQTT-ADDRESS [CA]
//! Addresses are host:port; the second is not used. Prints "kill" and waits for a line when the
//! gateway is to be killed and started again. Prints "ok" and ends with 0, or says what was wrong.

use std::error::Error;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, HeaderMap, RequestErrorKind, Subscriber};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

type Outcome<T> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let connect = async || -> Outcome<(Client, UnboundedReceiver<Event>)> {
        let (sender, events) = unbounded_channel();
        let mut options = ConnectOptions::new()
            .request_timeout(Some(PATIENCE))
            .reconnect_delay_callback(|_| Duration::from_millis(100))
            .event_callback(move |event| {
                let _ = sender.send(event);
                async {}
            });
        if let Some(ca) = arguments.get(2) {
            options = options.add_root_certificates(ca.into()).require_tls(true);
        }
        Ok((options.connect(&arguments[0]).await?, events))
    };
    let (one, mut events) = connect().await?;
    let (two, _) = connect().await?;
    eprintln!("connected");
    wildcards_and_headers(&one, &two).await?;
    eprintln!("wildcards and headers");
    queue_group(&one, &two).await?;
    eprintln!("queue group");
    requests(&one, &two).await?;
    eprintln!("requests");
    large(&one, &two).await?;
    eprintln!("large");
    mail(&one, &two).await?;
    eprintln!("mail");
    agents(&one, &two).await?;
    eprintln!("agents");
    reconnect(&one, &mut events).await?;
    // What was answered before the kill is as it was, and ids go on.
    let sent = ask(&one, "MSG.SEND.rs.inbox", b"after", &[]).await?;
    assert_eq!(sent, json!({"error": "", "msg_id": 3}));
    println!("ok");
    Ok(())
}

async fn next(subscriber: &mut Subscriber) -> Outcome<async_nats::Message> {
    let message = timeout(PATIENCE, subscriber.next()).await?;
    message.ok_or_else(|| "the subscription has ended".into())
}

/// Waits until the gateway has dealt with all that a client said: its `flush` only writes.
async fn settle(client: &Client) {
    let _ = client.request("nobody", "".into()).await;
}

async fn wildcards_and_headers(one: &Client, two: &Client) -> Outcome<()> {
    let mut line = one.subscribe("plant.*.temp").await?;
    settle(one).await;
    let mut headers = HeaderMap::new();
    headers.insert("unit", "C");
    two.publish_with_headers("plant.line1.temp", headers, "21.5".into())
        .await?;
    let message = next(&mut line).await?;
    assert_eq!(message.subject.as_str(), "plant.line1.temp");
    assert_eq!(message.payload, "21.5");
    let unit = message.headers.and_then(|it| it.get("unit").cloned());
    assert_eq!(unit.as_ref().map(|it| it.as_str()), Some("C"));
    Ok(())
}

async fn queue_group(one: &Client, two: &Client) -> Outcome<()> {
    let group = || "workers".to_owned();
    let mut first = one.queue_subscribe("work.*", group()).await?;
    let mut second = two.queue_subscribe("work.*", group()).await?;
    settle(one).await;
    settle(two).await;
    for _ in 0..20 {
        one.publish("work.a", "x".into()).await?;
    }
    for _ in 0..10 {
        next(&mut first).await?;
        next(&mut second).await?;
    }
    Ok(())
}

async fn requests(one: &Client, two: &Client) -> Outcome<()> {
    let mut service = two.subscribe("service").await?;
    settle(two).await;
    let answering = async {
        let asked = next(&mut service).await?;
        let reply = asked.reply.ok_or("a request")?;
        two.publish(reply, "answer".into()).await?;
        Ok::<_, Box<dyn Error>>(())
    };
    let asking = async { Ok(one.request("service", "1".into()).await?) };
    let ((), answer) = tokio::try_join!(answering, asking)?;
    assert_eq!(answer.payload, "answer");
    let nobody = one.request("nobody", "2".into()).await;
    let error = nobody.err().map(|error| error.kind());
    assert_eq!(error, Some(RequestErrorKind::NoResponders));
    Ok(())
}

async fn large(one: &Client, two: &Client) -> Outcome<()> {
    let mut subscriber = one.subscribe("large").await?;
    settle(one).await;
    let payload = payload();
    two.publish("large", payload.clone().into()).await?;
    assert!(next(&mut subscriber).await?.payload == payload);
    Ok(())
}

/// As much as a message may hold.
fn payload() -> Vec<u8> {
    (0..1 << 20)
        .map(|place: u32| place.to_le_bytes()[0])
        .collect()
}

/// Makes a request of mq9, as its SDK does.
async fn ask(
    client: &Client,
    command: &str,
    body: &[u8],
    headers: &[(&str, &str)],
) -> Outcome<Value> {
    let subject = format!("$mq9.AI.{command}");
    let body = body.to_vec().into();
    let reply = if headers.is_empty() {
        client.request(subject, body).await?
    } else {
        let mut map = HeaderMap::new();
        headers
            .iter()
            .for_each(|&(name, value)| map.insert(name, value));
        client.request_with_headers(subject, map, body).await?
    };
    Ok(serde_json::from_slice(&reply.payload)?)
}

/// The same with a body in JSON, and a reply without an error.
async fn done(client: &Client, command: &str, body: Value) -> Outcome<Value> {
    let reply = ask(client, command, body.to_string().as_bytes(), &[]).await?;
    assert_eq!(reply["error"], "", "{command}: {reply}");
    Ok(reply)
}

async fn mail(one: &Client, two: &Client) -> Outcome<()> {
    done(one, "MAILBOX.CREATE", json!({"name": "rs.inbox", "ttl": 0})).await?;
    ask(two, "MSG.SEND.rs.inbox", b"normal", &[]).await?;
    let urgent = [("mq9-priority", "urgent"), ("mq9-tags", "a,b")];
    ask(two, "MSG.SEND.rs.inbox", b"urgent", &urgent).await?;
    let fetch = json!({
        "group_name": "g",
        "deliver": "earliest",
        "config": {"num_msgs": 100, "max_wait_ms": 4000},
    });
    let got = done(one, "MSG.FETCH.rs.inbox", fetch.clone()).await?;
    let ids = |reply: &Value| {
        let messages = reply["messages"].as_array().into_iter().flatten();
        messages.map(|it| it["msg_id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&got), [1, 0]);
    assert_eq!(got["messages"][0]["payload"], "dXJnZW50");
    let acknowledge = json!({"group_name": "g", "mail_address": "rs.inbox", "msg_id": 0});
    done(one, "MSG.ACK.rs.inbox", acknowledge).await?;

    // A wait ends with the first message, and holds nothing up.
    let waiting = done(one, "MSG.FETCH.rs.inbox", fetch);
    let meanwhile = async {
        let found = done(one, "MSG.QUERY.rs.inbox", json!({"tags": ["b"]})).await?;
        assert_eq!(ids(&found), [1]);
        ask(one, "MSG.SEND.rs.inbox", &payload(), &[]).await
    };
    let (got, sent) = tokio::try_join!(waiting, meanwhile)?;
    assert_eq!(sent, json!({"error": "", "msg_id": 2}));
    assert_eq!(ids(&got), [2]);
    let text = got["messages"][0]["payload"].as_str().unwrap_or_default();
    assert_eq!(text.len(), (1_usize << 20).div_ceil(3) * 4);
    let gone = done(two, "MSG.DELETE.rs.inbox.1", json!({})).await?;
    assert_eq!(gone["deleted"], true);
    Ok(())
}

async fn agents(one: &Client, two: &Client) -> Outcome<()> {
    let agent = json!({"name": "rs.agent", "mailbox": "rs.inbox", "payload": "sweeps chimneys"});
    done(one, "AGENT.REGISTER", agent).await?;
    let report = json!({"name": "rs.agent", "report_info": "running"});
    done(one, "AGENT.REPORT", report).await?;
    let found = done(two, "AGENT.DISCOVER", json!({"text": "chimneys"})).await?;
    assert_eq!(found["agents"][0]["mailbox"], "rs.inbox");
    done(one, "AGENT.UNREGISTER", json!({"mailbox": "rs.inbox"})).await?;
    let found = done(two, "AGENT.DISCOVER", json!({})).await?;
    assert_eq!(found, json!({"error": "", "agents": []}));
    Ok(())
}

async fn reconnect(one: &Client, events: &mut UnboundedReceiver<Event>) -> Outcome<()> {
    let mut again = one.subscribe("again.*").await?;
    one.flush().await?;
    while events.try_recv().is_ok() {}
    println!("kill");
    let mut line = String::new();
    BufReader::new(tokio::io::stdin())
        .read_line(&mut line)
        .await?;
    while timeout(PATIENCE, events.recv()).await? != Some(Event::Connected) {}
    one.publish("again.a", "1".into()).await?;
    assert_eq!(next(&mut again).await?.payload, "1");
    Ok(())
}
