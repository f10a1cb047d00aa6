"""Two agents that find each other, write to each other while the other one is away, and catch up.

    pip install nats-py
    robustmq-edge run --config edge.toml      # with a listener of protocol = "nats"
    python3 examples/agent.py 127.0.0.1:4222

Everything here is what an SDK of mq9 does: JSON to a subject, JSON back. Nothing of it needs the
cloud; what was answered survives a power cut.
"""

import asyncio
import base64
import json
import sys

import nats

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:4222"


class Agent:
    """One agent: a name, a mailbox of the same name, and a connection while it is there."""

    def __init__(self, name, about):
        self.name, self.about = name, about

    async def __aenter__(self):
        self.nc = await nats.connect(f"nats://{ADDRESS}")
        return self

    async def __aexit__(self, *_):
        await self.nc.close()

    async def ask(self, command, body=None, headers=None):
        payload = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        reply = await self.nc.request(f"$mq9.AI.{command}", payload, timeout=30, headers=headers)
        return json.loads(reply.data)

    async def register(self):
        made = await self.ask("MAILBOX.CREATE", {"name": self.name, "ttl": 0})
        assert made["error"] in ("", f"mailbox {self.name} already exists"), made
        card = {"name": self.name, "mailbox": self.name, "payload": self.about}
        assert (await self.ask("AGENT.REGISTER", card))["error"] == ""

    async def find(self, words):
        found = await self.ask("AGENT.DISCOVER", {"text": words, "limit": 1})
        return found["agents"][0]["mailbox"]

    async def send(self, mailbox, text, priority="normal"):
        headers = {"mq9-priority": priority, "reply-to": self.name}
        sent = await self.ask(f"MSG.SEND.{mailbox}", text.encode(), headers)
        assert sent["error"] == "", sent

    async def messages(self):
        """What came and was not dealt with, most important first. What is yielded is acknowledged
        when the next one is asked for: a crash in between brings it again."""
        fetch = {
            "group_name": "all",
            "deliver": "earliest",
            "config": {"num_msgs": 10, "max_wait_ms": 1000},
        }
        while batch := (await self.ask(f"MSG.FETCH.{self.name}", fetch))["messages"]:
            for message in batch:
                yield header(message, "reply-to"), base64.b64decode(message["payload"]).decode()
                done = {
                    "group_name": "all",
                    "mail_address": self.name,
                    "msg_id": message["msg_id"],
                }
                assert (await self.ask(f"MSG.ACK.{self.name}", done))["error"] == ""


def header(message, name):
    """A header of a message, which comes as the bytes of the block that was sent."""
    for line in bytes(message["header"] or []).decode().split("\r\n"):
        if line.startswith(f"{name}:"):
            return line.split(":", 1)[1].strip()
    return None


async def main():
    translator = Agent("py.translator", "translates English into Chinese")
    reviewer = Agent("py.reviewer", "reviews documents")

    async with translator, reviewer:
        await translator.register()
        await reviewer.register()

    # The translator is away, and is written to nevertheless.
    async with reviewer:
        mailbox = await reviewer.find("Chinese")
        print("reviewer found", mailbox)
        await reviewer.send(mailbox, "page 1")
        await reviewer.send(mailbox, "page 2")
        await reviewer.send(mailbox, "the title", priority="urgent")

    # Now the reviewer is away, and is answered nevertheless.
    async with translator:
        async for sender, text in translator.messages():
            print("translator got", text)
            await translator.send(sender, f"{text}, translated")

    async with reviewer:
        async for _, text in reviewer.messages():
            print("reviewer got", text)


asyncio.run(main())
