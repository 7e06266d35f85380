"""A worker that knows nothing but HTTP: `python -m tests.system.crash.worker NAME PORT...`.

It takes a job, works for a moment, and tells the result until it is taken, by whichever server answers.
"""

import hashlib
import http.client
import itertools
import random
import sys
import time
from collections.abc import Iterator

PAUSE_S = 0.05


def work(payload: bytes) -> bytes:
    """Return the result of a payload: sometimes a large one."""
    digest = hashlib.sha256(payload).digest()
    return digest * (4000 if payload[0] < 16 else 1)


def main(name: str, ports: list[int]) -> None:
    turns: Iterator[int] = itertools.cycle(ports)
    while True:
        _, job_id, payload = _asked(turns, "POST", f"/claim?worker={name}")
        if job_id:
            time.sleep(random.choice((0, 0, 0.01, 0.1)))
            _asked(turns, "POST", f"/jobs/{job_id}/result?worker={name}", work(payload))


def _asked(turns: Iterator[int], method: str, path: str, body: bytes = b"") -> tuple[int, str, bytes]:
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", next(turns), timeout=30)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status < 300:
                return answer.status, answer.headers.get("x-job", ""), content
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(sys.argv[1], [int(port) for port in sys.argv[2:]])
