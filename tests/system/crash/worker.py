"""A worker on aime's wire that knows nothing but HTTP: `python -m tests.system.crash.worker NAME PORT...`.

It takes a job, works for a moment, and tells the result until it is taken, by whichever server answers.
"""

import hashlib
import http.client
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

KIND, KEY = "crash", "a-key-for-workers"
PAUSE_S = 0.05


def work(text: str) -> str:
    """Return the result of a text: for some a large one."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return digest * (2000 if digest[0] == "0" else 1)


def main(name: str, ports: list[int]) -> None:
    turns: Iterator[int] = itertools.cycle(ports)
    me = {"auth": name, "job_type": KIND, "auth_key": KEY, "version": "1"}
    while True:
        offer = _asked(turns, "/worker_job_request", {**me, "max_job_batch": 1, "request_timeout": 5})
        for job in offer.get("job_data", ()):
            time.sleep(random.choice((0, 0, 0.01, 0.1)))
            _asked(turns, "/worker_job_result", {**me, "job_id": job["job_id"], "text": work(job["text"])})


def _asked(turns: Iterator[int], path: str, body: dict[str, Any]) -> dict[str, Any]:
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", next(turns), timeout=30)
        try:
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status == 200:
                told: dict[str, Any] = json.loads(content)
                return told
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(sys.argv[1], [int(port) for port in sys.argv[2:]])
