"""``python -m tests.rig.steady URL CHALLENGE COUNT CLIENTS``: clients that enrol without a pause, each verifying every
answer against the certificates that it was given.

One half asks GetCACert before each enrolment, the other half once and never again. Each enrolment is a line of JSON:
which half, which of the RA's certificates it was encrypted to, and what went wrong.
"""

from __future__ import annotations

import json
import sys
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from scepra.lab.client import Client
from scepra.lab.http import http_client
from scepra.lab.key import new_key
from scepra.scep.message import PKIStatus


async def serve(reactor: Any, url: str, challenge: str, total: int, clients: int) -> None:
    """Enrol *total* times, by so many clients at once."""
    key, numbers = new_key(), count()

    async def work(client: Client, fresh: bool) -> None:
        await client.discover()
        while (number := next(numbers)) < total:
            outcome, given = "", ""
            try:
                server = await client.discover() if fresh else await client._server()
                given = server.encryption.fingerprint()
                enrolled = await client.enrol(f"steady-{number}.example", challenge=challenge, key=key)
                while enrolled.status is PKIStatus.PENDING:
                    enrolled = await client.poll(enrolled)
                outcome = "" if enrolled.status is PKIStatus.SUCCESS else str(enrolled.fail_info_text)
            except Exception as error:
                outcome = f"{type(error).__name__}: {error}"
            print(json.dumps({"fresh": fresh, "given": given, "wrong": outcome}), flush=True)

    working = [
        Deferred.fromCoroutine(work(Client(url, http_client(reactor)), fresh=number % 2 == 0))
        for number in range(clients)
    ]
    await gatherResults(working)


if __name__ == "__main__":
    arguments = (sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    react(lambda reactor: Deferred.fromCoroutine(serve(reactor, *arguments)))
