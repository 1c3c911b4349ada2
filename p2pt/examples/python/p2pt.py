"""p2pt for Python: peers that share an identifier find each other and talk, with no server of their own.

One file around the program `p2pt pipe`, without dependencies; put it beside yours. Needs Python 3.10 and the program on
the PATH, or its path in the environment variable P2PT.

    import asyncio, p2pt

    async def ask(swarm, peer):
        print(await swarm.request(peer, {"what is": "6 * 7"}))

    async def main():
        async with p2pt.join("my-app") as swarm, asyncio.TaskGroup() as tasks:
            async for event in swarm:
                if event["event"] == "peer_connected":
                    tasks.create_task(ask(swarm, event["peer"]))
                elif event["event"] == "message":
                    swarm.respond(event, 42)

    asyncio.run(main())

Never await a `request` or a `send` in the loop over the events: this loop is what brings the response. (TaskGroup is of
Python 3.11; ask.py, beside this file, does without.)

Events are what the page PIPE.md of p2pt-cli says, as dictionaries; those that end a `request` or a `send` go to it, and to
nothing else. Integers of more than 4,300 digits, which Python refuses to read, are texts. Reading slowly slows the peers
down, and never this program.
"""

import asyncio
import base64
import itertools
import json
import os

#: The version of the pipe's protocol that this module speaks.
PROTOCOL = 1

#: The longest line that the pipe writes, in bytes: a message of the largest size, all of it escapes.
LINE_BYTES = 6 * (64 << 20) + 4096

#: Events that may wait here; beyond that the pipe waits, and with it the peers.
MAX_WAITING = 256


class P2ptError(Exception):
    """Something that a peer, a tracker or the pipe refused, in words."""


def join(identifier, *, trackers=(), arguments=()):
    """Joins the swarm of an identifier, as `async with join(…) as swarm`.

    `trackers` are announce URLs, the program's default ones if there are none; `arguments` are further ones of
    `p2pt pipe`, such as `["--max-peers", "10"]`.
    """
    line = [os.environ.get("P2PT", "p2pt"), "pipe", identifier, *arguments]
    for tracker in trackers:
        line += ["--tracker", tracker]
    return Swarm(line)


class Swarm:
    """A swarm that was joined: events to iterate over, and what can be done. Made by `join`."""

    def __init__(self, command):
        self._command = command
        self._tags = map(str, itertools.count(1))
        self._awaited = {}
        self._failure = None
        self._events = asyncio.Queue(MAX_WAITING)

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, limit=LINE_BYTES)
        first = await self._process.stdout.readline()
        if not first:
            raise P2ptError(f"p2pt ended with {await self._process.wait()}; its standard error says why")
        ready = json.loads(first)
        if ready.get("protocol") != PROTOCOL:
            await self._end()
            raise P2ptError(f"the program speaks version {ready.get('protocol')} of the pipe's protocol, not {PROTOCOL}")
        self.peer_id = ready["peer_id"]
        self.info_hash = ready["info_hash"]
        self.limits = ready["limits"]
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_):
        """Leaves: what was queued is sent, and peers and trackers are told."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._end()

    def __aiter__(self):
        return self

    async def __anext__(self):
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
            if self._failure is not None:
                raise P2ptError(f"p2pt says what cannot be read: {self._failure}") from self._failure
            raise StopAsyncIteration
        return event

    # What can be done. `peer` is an id, as in the events; "*" is everyone.

    def queue(self, peer, message):
        """Sends without waiting. What is refused becomes an `error` among the events."""
        self._write({"send": {"peer": peer, "message": message}})

    async def send(self, peer, message):
        """Sends to one peer, and waits until a data channel has taken all of it: a slow peer slows its sender."""
        await self._ask("send", {"peer": peer, "message": message, "confirm": "accepted"})

    async def request(self, peer, message):
        """Sends to one peer, and returns its response, or raises P2ptError when there is none in time."""
        return (await self._ask("send", {"peer": peer, "message": message}))["message"]

    def respond(self, event, message):
        """Responds to a message that came."""
        self._write({"respond": {"peer": event["peer"], "id": event["id"], "message": message}})

    def send_frame(self, peer, data):
        """Sends one frame outside the message format, str or bytes: what `peer.send` does in JavaScript."""
        frame = {"text": data} if isinstance(data, str) else {"base64": base64.b64encode(data).decode()}
        self._write({"send_frame": {"peer": peer, **frame}})

    def command(self, name, value=True):
        """Any other command of the pipe, such as `command("ban", peer)` or `command("peers")`."""
        self._write({name: value})

    async def _ask(self, name, fields):
        if fields["peer"] == "*":
            raise ValueError("one peer can be waited for, not everyone")
        tag = next(self._tags)
        answer = self._awaited[tag] = asyncio.get_running_loop().create_future()
        try:
            self._write({name: {**fields, "tag": tag}})
            await self._process.stdin.drain()
            return await answer
        finally:
            self._awaited.pop(tag, None)

    def _write(self, command):
        if self._process.returncode is not None or self._process.stdin.is_closing():
            raise P2ptError("p2pt has ended")
        # What is no JSON would be refused without saying which command it was.
        line = json.dumps(command, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        if len(line) > self.limits["line_bytes"]:
            raise ValueError(f"a command of {len(line)} bytes, where {self.limits['line_bytes']} are allowed")
        self._process.stdin.write(line)

    async def _read(self):
        try:
            while line := await self._process.stdout.readline():
                event = json.loads(line, parse_int=_integer)
                answer = self._awaited.get(event.get("tag"))
                if answer is None:
                    await self._events.put(event)
                elif not answer.done():
                    if event["event"] == "error":
                        answer.set_exception(P2ptError(event["error"]))
                    else:
                        answer.set_result(event)
        except Exception as error:
            self._failure = error
        finally:
            for answer in self._awaited.values():
                if not answer.done():
                    answer.set_exception(P2ptError("p2pt has ended"))
            if not self._events.full():
                self._events.put_nowait(None)
            else:
                self._events = _ended(self._events)

    async def _end(self):
        if not self._process.stdin.is_closing():
            self._process.stdin.close()
        # Its last events must be read, or it waits for that.
        await self._process.stdout.read()
        await self._process.wait()


def _integer(digits):
    """An integer of any length; Python's own limit is there against those that take long to read."""
    return int(digits) if len(digits) <= 4300 else digits


def _ended(events):
    """The same events and their end, which a full queue has no place for."""
    longer = asyncio.Queue()
    while not events.empty():
        longer.put_nowait(events.get_nowait())
    longer.put_nowait(None)
    return longer
