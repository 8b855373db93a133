"""Runs cases of the Autobahn TestSuite against a server that echoes, and prints what came of each.

    python autobahn.py ws://127.0.0.1:8080/echo 4 '1.*' '12.*' ...

Needs kosoku (PyPI), which brings the cases. One line of JSON: {case: [behavior, behavior of the close]}.
"""

import asyncio
import json
import os
import sys

from kosoku import FailureError, run_fuzzingclient
from kosoku._caseindex import initialize_shims

initialize_shims()
import case12_x_x  # noqa: E402  (the shims put it on the path)


def taking_bytes(on_message):
    """kosoku 0.1.0 gives a str where the server has sent a message uncompressed, as it may: text, or a
    character for each byte. The cases of compression take bytes."""

    def on_message_bytes(case, message, binary):
        if isinstance(message, str):
            message = message.encode("latin-1" if binary else "utf-8")
        on_message(case, message, binary)

    return on_message_bytes


for case in case12_x_x.Case12_X_X + case12_x_x.Case13_X_X:
    case.onMessage = taking_bytes(case.onMessage)


async def run(url, concurrency, cases):
    try:
        results = await run_fuzzingclient(url, cases or None, None, concurrency=concurrency)
    except FailureError as failure:
        results = failure.results
    print(json.dumps({r.case_id: [r.behavior.value, r.behavior_close.value] for r in results}))


asyncio.run(run(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
sys.stdout.flush()
os._exit(0)  # a library that kosoku uses may abort while Python ends
