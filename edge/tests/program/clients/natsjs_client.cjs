// One story of NATS clients, told with nats.js: see tests/program/nats.rs for what it stands for.
//
// Usage: natsjs_client.cjs NATS-ADDRESS MQTT-ADDRESS [CA]
// Addresses are host:port; the second is not used. Prints "kill" and waits for a line when the gateway is to be killed and
// started again. Prints "ok" and ends with 0, or says what was wrong.
"use strict";

const assert = require("node:assert");
const readline = require("node:readline");
const { connect, Events, ErrorCode, headers } = require("nats");

const PATIENCE = 20000;
const [servers, , caFile] = process.argv.slice(2);
const tls = caFile ? { tls: { caFile } } : {};

const text = (data) => new TextDecoder().decode(data);

function inTime(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function messagesOf(subscription) {
  const messages = subscription[Symbol.asyncIterator]();
  return async () => (await inTime(messages.next(), "a message")).value;
}

async function wildcardsAndHeaders(one, two) {
  const subscription = one.subscribe("plant.*.temp");
  const next = messagesOf(subscription);
  await one.flush();
  const told = headers();
  told.append("unit", "C");
  told.append("unit", "K");
  two.publish("plant.line1.temp", "21.5", { headers: told });
  const message = await next();
  assert.deepEqual([message.subject, text(message.data)], ["plant.line1.temp", "21.5"]);
  assert.deepEqual(message.headers.values("unit"), ["C", "K"]);
  subscription.unsubscribe();
}

async function queueGroup(one, two) {
  const members = [one, two].map((nc) => nc.subscribe("work.*", { queue: "workers" }));
  await one.flush();
  await two.flush();
  for (let number = 0; number < 20; number += 1) one.publish("work.a", `${number}`);
  await one.flush();
  await two.flush();
  assert.deepEqual(members.map((member) => member.getReceived()), [10, 10]);
  members.forEach((member) => member.unsubscribe());
}

async function requests(one, two) {
  const service = two.subscribe("service", {
    callback: (_, message) => message.respond(`answer to ${text(message.data)}`),
  });
  await two.flush();
  for (const noMux of [false, true]) {
    const answer = await one.request("service", "1", { timeout: PATIENCE, noMux });
    assert.equal(text(answer.data), "answer to 1");
  }
  service.unsubscribe();
  await two.flush();
  for (const noMux of [false, true]) {
    await assert.rejects(one.request("service", "2", { timeout: PATIENCE, noMux }), {
      code: ErrorCode.NoResponders,
    });
  }
}

async function large(one, two) {
  const next = messagesOf(one.subscribe("large", { max: 3 }));
  await one.flush();
  const payload = new Uint8Array(1 << 20).map((_, at) => at);
  for (let time = 0; time < 3; time += 1) {
    two.publish("large", payload);
    assert.deepEqual((await next()).data, payload);
  }
}

// Makes a request of mq9, as its SDKs do.
async function ask(nc, command, body, options = {}) {
  const payload = typeof body === "object" && !(body instanceof Uint8Array) ? JSON.stringify(body) : body;
  const reply = await nc.request(`$mq9.AI.${command}`, payload, { timeout: PATIENCE, ...options });
  return JSON.parse(text(reply.data));
}

async function done(nc, command, body, options) {
  const { error, ...rest } = await ask(nc, command, body, options);
  assert.equal(error, "", command);
  return rest;
}

const payloads = (reply) => reply.messages.map(({ payload }) => Buffer.from(payload, "base64"));

async function mail(one, two) {
  assert.deepEqual(await done(one, "MAILBOX.CREATE", { name: "js.inbox" }), { mail_address: "js.inbox" });
  const told = headers();
  told.set("mq9-priority", "critical");
  await done(two, "MSG.SEND.js.inbox", "normal");
  await done(two, "MSG.SEND.js.inbox", "critical", { headers: told });
  const fetch = {
    group_name: "g",
    deliver: "earliest",
    from_time: 0,
    from_id: 0,
    force_deliver: false,
    config: { num_msgs: 100, max_wait_ms: 4000 },
  };
  const got = await done(one, "MSG.FETCH.js.inbox", fetch);
  assert.deepEqual(payloads(got).map(text), ["critical", "normal"]);
  const acknowledged = { group_name: "g", mail_address: "js.inbox", msg_id: 0 };
  await done(one, "MSG.ACK.js.inbox", acknowledged);

  // A wait ends with the first message, and holds nothing up.
  const waiting = done(one, "MSG.FETCH.js.inbox", fetch);
  const payload = new Uint8Array(1 << 20).map((_, at) => at);
  assert.deepEqual((await done(one, "MSG.QUERY.js.inbox", { limit: 1 })).messages.length, 1);
  assert.deepEqual(await done(one, "MSG.SEND.js.inbox", payload), { msg_id: 2 });
  const [large] = payloads(await waiting);
  assert.ok(large.equals(payload));
  assert.deepEqual(await done(two, "MSG.DELETE.js.inbox.1", {}), { deleted: true });
  assert.deepEqual(await ask(two, "MSG.SEND.js.none", "x"), {
    error: "mailbox js.none does not exist",
  });
}

async function agents(one, two) {
  await done(one, "AGENT.REGISTER", { name: "js.agent", mailbox: "js.inbox", payload: "pays bills" });
  await done(one, "AGENT.REPORT", { name: "js.agent", mailbox: "js.inbox", report_info: "running" });
  const { agents } = await done(two, "AGENT.DISCOVER", { text: "bills" });
  assert.deepEqual(agents.map(({ mailbox }) => mailbox), ["js.inbox"]);
  await done(one, "AGENT.UNREGISTER", { mailbox: "js.inbox" });
  assert.deepEqual(await done(two, "AGENT.DISCOVER"), { agents: [] });
}

async function reconnect(one, two) {
  const next = messagesOf(one.subscribe("again.*"));
  await one.flush();
  const back = [one, two].map(async (nc) => {
    for await (const status of nc.status()) if (status.type === Events.Reconnect) return;
  });
  console.log("kill");
  const lines = readline.createInterface({ input: process.stdin });
  await new Promise((resolve) => lines.once("line", resolve));
  lines.close();
  await inTime(Promise.all(back), "the reconnect");
  await one.flush();
  two.publish("again.a", "1");
  assert.equal(text((await next()).data), "1");
}

async function main() {
  const options = { servers, reconnectTimeWait: 100, maxReconnectAttempts: -1, timeout: PATIENCE, ...tls };
  const [one, two] = [await connect(options), await connect(options)];
  await wildcardsAndHeaders(one, two);
  await queueGroup(one, two);
  await requests(one, two);
  await large(one, two);
  await mail(one, two);
  await agents(one, two);
  await reconnect(one, two);
  // What was answered before the kill is as it was, and ids go on.
  assert.deepEqual(await done(two, "MSG.SEND.js.inbox", "after"), { msg_id: 3 });
  const [first] = payloads(await done(two, "MSG.QUERY.js.inbox"));
  assert.equal(text(first), "normal");
  await one.drain();
  await two.close();
}

main().then(
  () => console.log("ok"),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
