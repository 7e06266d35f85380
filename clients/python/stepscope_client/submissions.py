"""Predict requests as jobs: what they say, how they are sent, and which there are."""

import struct
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stepscope_generated import JobsApi
from stepscope_generated import models as wire

from stepscope_client.errors import ArgumentInvalid, ServerUnreachable
from stepscope_client.inputs import Image, base64_of, named
from stepscope_client.jobs import Job
from stepscope_client.octets import Octets, to_octets, width
from stepscope_client.options import checked
from stepscope_client.transport import Transport

PAGE = 100
"""Jobs that are listed with one request."""
PAUSES_S = (0.5, 2.0)
"""The waits between tries when the server can't be reached."""

LETTERS = {
    "bool": "?",
    "float16": "e",
    "float32": "f",
    "float64": "d",
    **{f"int{8 * size}": letter for size, letter in zip((1, 2, 4, 8), "bhiq", strict=True)},
    **{f"uint{8 * size}": letter for size, letter in zip((1, 2, 4, 8), "BHIQ", strict=True)},
}
"""Kinds of numbers by the `struct` module's letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a job predicts: exactly one of them."""

    urls: Iterable[str | tuple[str, str]] | None = None
    images: Iterable[Image | tuple[str, Image]] | None = None
    tensors: object = None
    dataset: tuple[str, str] | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return the inputs as the contract has them. Raises `ArgumentInvalid`, `OSError`."""
        given = [name for name in self.__slots__ if getattr(self, name) is not None]
        if len(given) != 1:
            raise ArgumentInvalid("A job takes exactly one of urls, images, tensors and dataset.")
        return {"kind": given[0], given[0]: _WRITERS[given[0]](getattr(self, given[0]))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for a job beside its request."""

    priority: int = 0
    """-9 to 9; the higher ones first."""
    lapse_s: float | None = None
    """When it lapses unless it has ended before."""
    webhook: str | None = None
    """The URL that is told of its end."""
    secret: str | None = None
    """What the webhook's notice is signed with."""
    key: str | None = None
    """The caller's own name for the job: submitting the same again under it gives the same job."""

    def to_wire(self) -> dict[str, Any]:
        """Return the terms as the contract has them. Raises `ArgumentInvalid`."""
        fields: dict[str, Any] = {"priority": self.priority}
        if self.lapse_s is not None:
            fields["timeout_in_ms"] = max(1, round(self.lapse_s * 1000))
        if self.webhook is not None:
            fields["webhook"] = checked(wire.Webhook, {"url": self.webhook, "secret": self.secret})
        return fields


def submit(transport: Transport, request: wire.JobRequest, terms: Terms) -> Job:
    """Send a request; again, under the same key, where the answer was lost."""
    operation = JobsApi(transport.api).submit_job_with_http_info
    key = terms.key or str(uuid.uuid4())
    for pause_s in (*PAUSES_S, None):
        try:
            return Job(transport, transport.send(operation, request, key).data)
        except ServerUnreachable:
            if pause_s is None:
                raise
        time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")


def list_jobs(transport: Transport, state: str | None) -> Iterator[Job]:
    """Go through all pages of the list."""
    operation = JobsApi(transport.api).list_jobs_with_http_info
    wanted = None if state is None else _state(state)
    before = None
    while True:
        page = transport.send(operation, wanted, PAGE, before).data.jobs
        yield from (Job(transport, known) for known in page)
        if len(page) < PAGE:
            return
        before = page[-1].id


def _state(state: str) -> wire.JobState:
    try:
        return wire.JobState(state)
    except ValueError:
        raise ArgumentInvalid(f"state: It is {state!r}. Known ones: {', '.join(wire.JobState)}.") from None


def to_items(octets: Octets) -> list[wire.TensorItem]:
    """Return an array's rows as numbers: a job's request is JSON."""
    rows, shape = octets.shape[0], octets.shape[1:]
    letter = LETTERS.get(octets.dtype)
    if letter is None:
        raise ArgumentInvalid(f"dtype: {octets.dtype!r} can't be sent with a job.")
    count = len(octets.data) // width(octets.dtype)
    numbers = struct.unpack(f"<{count}{letter}", octets.data)
    size = count // rows if rows else 0
    return [
        checked(
            wire.TensorItem,
            {
                "id": str(row),
                "shape": list(shape),
                "dtype": octets.dtype,
                "data": [float(number) for number in numbers[row * size : (row + 1) * size]],
            },
        )
        for row in range(rows)
    ]


def _urls(urls: Any) -> list[wire.UrlItem]:
    return [checked(wire.UrlItem, {"id": name, "data": url}) for name, url in named(urls)]


def _images(images: Any) -> list[wire.ImageItem]:
    return [checked(wire.ImageItem, {"id": name, "data": base64_of(image)}) for name, image in named(images)]


def _tensors(values: object) -> list[wire.TensorItem]:
    return to_items(values if isinstance(values, Octets) else to_octets(values))


def _dataset(names: Any) -> wire.DatasetRef:
    category, name = names
    return checked(wire.DatasetRef, {"category": category, "name": name})


_WRITERS: Mapping[str, Any] = {"urls": _urls, "images": _images, "tensors": _tensors, "dataset": _dataset}
