"""Asks every peer how warm it is where it is: `python ask.py [TRACKER]`, twice."""

import asyncio
import sys

import p2pt


async def ask(swarm, peer):
    try:
        print(peer, "says", await swarm.request(peer, {"city": "Ghent"}), flush=True)
    except p2pt.P2ptError as error:
        print(peer, "did not answer:", error, flush=True)


async def main(trackers):
    async with p2pt.join("weather", trackers=trackers) as swarm:
        tasks = set()
        async for event in swarm:
            match event["event"]:
                case "peer_connected":
                    # In a task of its own: this loop is what brings the response.
                    tasks.add(task := asyncio.create_task(ask(swarm, event["peer"])))
                    task.add_done_callback(tasks.discard)
                case "message":
                    # Peers may say anything.
                    question = event["message"]
                    if isinstance(question, dict) and isinstance(question.get("city"), str):
                        swarm.respond(event, {"degrees": len(question["city"])})
                case "tracker_warning" | "error":
                    print(event["error"], file=sys.stderr)


try:
    asyncio.run(main(sys.argv[1:]))
except KeyboardInterrupt:
    # The swarm has been left in order.
    pass
