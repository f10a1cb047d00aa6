"""One story of a client, told with paho: see tests/program/clients.rs for what it stands for.

Usage: paho_client.py LINK ADDRESS VERSION [CA]
LINK is tcp, tls, websockets, websockets+tls or unix; ADDRESS is host:port, or a path for unix;
VERSION is 31, 311 or 5. Prints "ok" and ends with 0, or says what was wrong.
"""

import queue
import ssl
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 20
LINK, ADDRESS, VERSION = sys.argv[1], sys.argv[2], sys.argv[3]
CA = sys.argv[4] if len(sys.argv) > 4 else None
PROTOCOL = {"31": mqtt.MQTTv31, "311": mqtt.MQTTv311, "5": mqtt.MQTTv5}[VERSION]
IS_NEW = VERSION == "5"
NAME = f"p{VERSION}-{LINK}".replace("+", "-")
TOPIC = f"clients/{NAME}"


class Client:
    def __init__(self, name, kept):
        transport = LINK.split("+")[0]
        transport = "tcp" if transport == "tls" else transport
        more = {} if IS_NEW else {"clean_session": not kept}
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, name, protocol=PROTOCOL, transport=transport, **more
        )
        if "tls" in LINK:
            self.paho.tls_set(ca_certs=CA, cert_reqs=ssl.CERT_REQUIRED)
        self.events, self.messages = queue.Queue(), queue.Queue()
        self.paho.on_connect = lambda _c, _u, flags, reason, _p: self.events.put((flags, reason))
        self.paho.on_subscribe = lambda _c, _u, _m, reasons, _p: self.events.put(reasons)
        self.paho.on_disconnect = lambda *_: self.events.put("gone")
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        more = {}
        if IS_NEW:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 300 if kept else 0
            more = {"clean_start": not kept, "properties": properties}
        host, port = (ADDRESS, 1) if LINK == "unix" else ADDRESS.rsplit(":", 1)
        self.paho.connect(host, int(port), keepalive=30, **more)
        self.paho.loop_start()
        flags, reason = self.events.get(timeout=PATIENCE)
        assert not reason.is_failure, reason
        self.session_present = flags.session_present

    def subscribe(self, filter, qos):
        self.paho.subscribe(filter, qos=qos)
        for reason in self.events.get(timeout=PATIENCE):
            assert not reason.is_failure, reason

    def publish(self, topic, payload, qos, retain=False, properties=None):
        sent = self.paho.publish(topic, payload, qos, retain, properties)
        sent.wait_for_publish(PATIENCE)
        assert sent.is_published()

    def take(self, topic, payload, qos, retain=False):
        message = self.messages.get(timeout=PATIENCE)
        found = (message.topic, message.payload, message.qos, message.retain)
        assert found == (topic, payload, qos, retain), found[:1] + found[2:]
        return message

    def end(self):
        self.paho.disconnect()
        assert self.events.get(timeout=PATIENCE) == "gone"
        self.paho.loop_stop()


def story():
    client = Client(NAME, kept=True)
    assert not client.session_present
    client.subscribe(f"{TOPIC}/#", 2)
    for qos in (0, 1, 2):
        client.publish(f"{TOPIC}/qos", bytes([0, 255, qos]), qos)
        client.take(f"{TOPIC}/qos", bytes([0, 255, qos]), qos)
    large = bytes(i % 251 for i in range(200_000))
    client.publish(f"{TOPIC}/large", large, 1)
    client.take(f"{TOPIC}/large", large, 1)
    if IS_NEW:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = "answers"
        properties.CorrelationData = b"\x01\x02"
        properties.UserProperty = [("a", "1"), ("a", "2")]
        properties.MessageExpiryInterval = 100
        client.publish(f"{TOPIC}/asked", b"?", 1, properties=properties)
        got = client.take(f"{TOPIC}/asked", b"?", 1).properties
        assert got.ResponseTopic == "answers" and got.CorrelationData == b"\x01\x02"
        assert got.UserProperty == [("a", "1"), ("a", "2")]
        assert 90 < got.MessageExpiryInterval <= 100
    client.publish(f"{TOPIC}/kept", b"on", 1, retain=True)
    client.take(f"{TOPIC}/kept", b"on", 1)
    client.end()

    other = Client(f"{NAME}-2", kept=False)
    other.subscribe(f"{TOPIC}/kept", 1)
    other.take(f"{TOPIC}/kept", b"on", 1, retain=True)
    other.publish(f"{TOPIC}/kept", b"", 1, retain=True)
    other.publish(f"{TOPIC}/missed", b"while away", 2)
    other.end()

    client = Client(NAME, kept=True)
    assert VERSION == "31" or client.session_present
    client.take(f"{TOPIC}/kept", b"", 1)
    client.take(f"{TOPIC}/missed", b"while away", 2)
    client.end()


story()
print("ok")
