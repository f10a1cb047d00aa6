"""One story of NATS clients, told with nats-py, and with paho for the device in it: see
tests/program/nats.rs for what it stands for.

Usage: nats_client.py NATS-ADDRESS MQTT-ADDRESS [CA]
Addresses are host:port. Prints "kill" and waits for a line when the gateway is to be killed and
started again. Prints "ok" and ends with 0, or says what was wrong.
"""

import asyncio
import base64
import json
import queue
import ssl
import sys

import nats
import paho.mqtt.client as mqtt
from nats.errors import NoRespondersError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 20
NATS, MQTT = sys.argv[1], sys.argv[2]
TLS = {"tls": ssl.create_default_context(cafile=sys.argv[3])} if len(sys.argv) > 3 else {}


class Device:
    """A client of MQTT 5."""

    def __init__(self, filter):
        self.messages, self.events = queue.Queue(), queue.Queue()
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, "device", protocol=mqtt.MQTTv5
        )
        self.paho.on_connect = lambda *_: self.events.put("connected")
        self.paho.on_subscribe = lambda *_: self.events.put("subscribed")
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        host, port = MQTT.rsplit(":", 1)
        self.paho.connect(host, int(port))
        self.paho.loop_start()
        assert self.events.get(timeout=PATIENCE) == "connected"
        self.paho.subscribe(filter, qos=1)
        assert self.events.get(timeout=PATIENCE) == "subscribed"

    def publish(self, topic, payload, **names):
        properties = Properties(PacketTypes.PUBLISH)
        for name, value in names.items():
            setattr(properties, name, value)
        self.paho.publish(topic, payload, qos=1, properties=properties).wait_for_publish(PATIENCE)


async def settled(nc):
    """All that was said before is with the gateway. The client's first PING may overtake what waits
    in its own buffer; the second one can't."""
    await nc.flush()
    await nc.flush()


async def next_of(subscription):
    return await subscription.next_msg(timeout=PATIENCE)


async def wildcards_and_headers(one, two):
    line = await one.subscribe("plant.*.temp")
    everything = await one.subscribe("plant.>")
    await settled(one)
    await two.publish("plant.line1.temp", b"21.5", headers={"unit": "C", "Line": "1"})
    await two.publish("plant.line1.x.temp", b"none")
    for subscription in (line, everything):
        message = await next_of(subscription)
        assert (message.subject, message.data) == ("plant.line1.temp", b"21.5"), message
        assert message.headers == {"unit": "C", "Line": "1"}, message.headers
    assert (await next_of(everything)).data == b"none"
    await line.unsubscribe()
    await everything.unsubscribe()


async def queue_group(one, two):
    members = [await nc.subscribe("work.*", queue="workers") for nc in (one, two)]
    watcher = await two.subscribe("work.>")
    await settled(one)
    await settled(two)
    for number in range(20):
        await one.publish("work.a", b"%d" % number)
    assert [(await next_of(watcher)).data for _ in range(20)] == [b"%d" % n for n in range(20)]
    await settled(one)
    await settled(two)
    pending = [member.pending_msgs for member in members]
    assert sum(pending) == 20 and min(pending) == 10, pending
    for subscription in (*members, watcher):
        await subscription.unsubscribe()


async def requests(one, two):
    async def answer(message):
        await message.respond(b"answer to " + message.data)

    service = await two.subscribe("service", cb=answer)
    await settled(two)
    for old_style in (False, True):
        answer_ = await one.request("service", b"1", timeout=PATIENCE, old_style=old_style)
        assert answer_.data == b"answer to 1"
    await service.unsubscribe()
    await settled(two)
    try:
        await one.request("service", b"2", timeout=PATIENCE)
        raise AssertionError("nobody is there to answer")
    except NoRespondersError:
        pass


async def large(one, two):
    subscription = await one.subscribe("large")
    await settled(one)
    assert one.max_payload == 1 << 20, one.max_payload
    payload = bytes(range(256)) * 4096
    for _ in range(3):
        await two.publish("large", payload)
        assert (await next_of(subscription)).data == payload
    await subscription.unsubscribe()


async def devices(one):
    temperatures = await one.subscribe("plant.*.temp")
    clock = await one.subscribe("clock")
    await settled(one)
    device = Device("reply/#")
    device.publish("plant/line1/temp", "21.5")
    message = await next_of(temperatures)
    assert (message.subject, message.data) == ("plant.line1.temp", b"21.5"), message

    device.publish(
        "clock",
        "?",
        ResponseTopic="reply/device",
        CorrelationData=b"\0\1",
        UserProperty=[("zone", "UTC")],
    )
    asked = await next_of(clock)
    assert (asked.reply, asked.data, asked.headers["zone"]) == ("reply.device", b"?", "UTC"), asked
    await one.publish(asked.reply, b"noon", headers=asked.headers)
    answer = await asyncio.to_thread(device.messages.get, timeout=PATIENCE)
    assert (answer.topic, answer.payload) == ("reply/device", b"noon"), answer
    assert answer.properties.CorrelationData == b"\0\1"
    assert answer.properties.UserProperty == [("zone", "UTC")]

    # And the other way round.
    device.paho.on_message = lambda paho, _, message: paho.publish(
        message.properties.ResponseTopic, b"from the device", qos=1
    )
    answer = await one.request("reply.now", b"", timeout=PATIENCE)
    assert answer.data == b"from the device", answer
    device.paho.disconnect()
    device.paho.loop_stop()


async def ask(nc, command, body=b"", headers=None):
    """Makes a request of mq9, as its SDKs do."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = await nc.request(f"$mq9.AI.{command}", payload, timeout=PATIENCE, headers=headers)
    return json.loads(reply.data)


async def done(nc, command, body=b"", headers=None):
    reply = await ask(nc, command, body, headers)
    assert reply.pop("error") == "", (command, reply)
    return reply


def payloads(reply):
    return [base64.b64decode(message["payload"], validate=True) for message in reply["messages"]]


async def mail(one, two):
    assert await done(one, "MAILBOX.CREATE", {"name": "py.inbox", "ttl": 0}) == {
        "mail_address": "py.inbox"
    }
    again = await ask(two, "MAILBOX.CREATE", {"name": "py.inbox"})
    assert again == {"error": "mailbox py.inbox already exists"}, again
    for payload, headers in [
        (b"normal", None),
        (b"critical", {"mq9-priority": "critical"}),
        (b"\xff\x00hello", {"mq9-priority": "urgent", "mq9-key": "k", "mq9-tags": "a,b"}),
        (b"", None),
    ]:
        await done(two, "MSG.SEND.py.inbox", payload, headers)
    fetch = {"group_name": "g", "deliver": "earliest", "config": {"num_msgs": 10, "max_wait_ms": 0}}
    got = await done(one, "MSG.FETCH.py.inbox", fetch)
    assert payloads(got) == [b"critical", b"\xff\x00hello", b"normal", b""], got
    last = got["messages"][-1]["msg_id"]
    acknowledge = {"group_name": "g", "mail_address": "py.inbox", "msg_id": last}
    await done(one, "MSG.ACK.py.inbox", acknowledge)
    assert (await done(one, "MSG.FETCH.py.inbox", fetch))["messages"] == []

    assert payloads(await done(two, "MSG.QUERY.py.inbox", {"tags": ["b"]})) == [b"\xff\x00hello"]
    assert payloads(await done(two, "MSG.QUERY.py.inbox", {"key": "k"})) == [b"\xff\x00hello"]
    assert await done(two, "MSG.DELETE.py.inbox.2", b'""') == {"deleted": True}
    assert await done(two, "MSG.DELETE.py.inbox.2", b'""') == {"deleted": False}

    # A wait ends with the first message, and holds nothing up.
    fetch["config"]["max_wait_ms"] = 4000
    waiting = asyncio.ensure_future(done(one, "MSG.FETCH.py.inbox", fetch))
    payload = bytes(range(256)) * 4096
    delayed = await done(one, "MSG.SEND.py.inbox", b"later", {"mq9-delay": "1"})
    assert delayed == {"msg_id": -1} and not waiting.done()
    await done(one, "MSG.SEND.py.inbox", payload)
    got = await waiting
    assert payloads(got) == [payload]
    acknowledge["msg_id"] = got["messages"][0]["msg_id"]
    await done(one, "MSG.ACK.py.inbox", acknowledge)
    assert payloads(await done(one, "MSG.FETCH.py.inbox", fetch)) == [b"later"]
    many = [done(one, "MSG.FETCH.py.inbox", {"deliver": "from_id", "from_id": 4}) for _ in range(3)]
    for got in await asyncio.gather(*many):
        assert payload in payloads(got)
    unknown = await ask(one, "MSG.NONSENSE.py.inbox")
    assert unknown == {"error": "unrecognized mq9 subject: $mq9.AI.MSG.NONSENSE.py.inbox"}


async def agents(one, two):
    body = {"name": "py.agent", "mailbox": "py.inbox", "payload": "EN ZH translation"}
    await done(one, "AGENT.REGISTER", body)
    await done(one, "AGENT.REPORT", {"mailbox": "py.inbox", "status": "running"})
    for asked in ({"limit": 20, "page": 1}, {"text": "translation"}, {"semantic": "translation"}):
        [agent] = (await done(two, "AGENT.DISCOVER", asked))["agents"]
        assert {name: agent[name] for name in body} == body, agent


async def mail_after_the_kill(one):
    """What was answered before is as it was."""
    fetch = {"group_name": "g", "deliver": "earliest", "config": {"max_wait_ms": 0}}
    assert payloads(await done(one, "MSG.FETCH.py.inbox", fetch)) == [b"later"]
    assert await done(one, "MSG.SEND.py.inbox", b"after") == {"msg_id": 6}
    [agent] = (await done(one, "AGENT.DISCOVER"))["agents"]
    assert agent["mailbox"] == "py.inbox", agent
    await done(one, "AGENT.UNREGISTER", {"mailbox": "py.inbox"})
    assert (await done(one, "AGENT.DISCOVER"))["agents"] == []


async def reconnect(one, two, back):
    subscription = await one.subscribe("again.*")
    await settled(one)
    print("kill", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for nc in (one, two):
        await asyncio.wait_for(back[nc].wait(), PATIENCE)
    # What was subscribed is subscribed again.
    await one.flush(PATIENCE)
    await two.publish("again.a", b"1")
    assert (await next_of(subscription)).data == b"1"


async def main():
    back = {}

    async def connect():
        event = asyncio.Event()

        async def reconnected():
            event.set()

        nc = await nats.connect(
            f"nats://{NATS}",
            connect_timeout=PATIENCE,
            reconnect_time_wait=0.1,
            max_reconnect_attempts=-1,
            reconnected_cb=reconnected,
            **TLS,
        )
        back[nc] = event
        return nc

    one, two = await connect(), await connect()
    await wildcards_and_headers(one, two)
    await queue_group(one, two)
    await requests(one, two)
    await large(one, two)
    await devices(one)
    await mail(one, two)
    await agents(one, two)
    await reconnect(one, two, back)
    await mail_after_the_kill(two)
    await one.drain()
    await two.close()


asyncio.run(main())
print("ok")
