"""An open predictor."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from types import TracebackType
from typing import Any, Self, Unpack

from stepscope_generated import PredictApi
from stepscope_generated import models as wire

from stepscope_client.errors import AnswerUnreadable, ClientError, NotFound
from stepscope_client.inputs import Image, base64_of, named
from stepscope_client.octets import JSON, OCTETS, Octets, predict_octets, to_octets
from stepscope_client.options import Options, checked, to_wire
from stepscope_client.results import Closed, RawOutputs, Result, read_closed, read_result, trace_url
from stepscope_client.traces import Session
from stepscope_client.transport import Operation, Reply, Transport

B3 = ("X-B3-Traceid", "X-B3-Spanid", "X-B3-Sampled")
"""The headers that join requests into one trace (openzipkin/b3-propagation)."""


class Predictor:
    """An open predictor: predicts until it is closed, or its lease is over. `with` closes it at the end.

    Inputs get their places as ids, "0", "1" and so on, unless a pair `(id, input)` names another. At most 4096 are
    taken at a time. All requests belong to the trace of `open`. A `session` is what a client that traces notes itself.
    """

    def __init__(
        self,
        transport: Transport,
        opened: wire.Predictor,
        headers: Mapping[str, str],
        session: Session | None = None,
    ) -> None:
        self._transport = transport
        self._session = session
        self._api = PredictApi(transport.api)
        self._opened = opened
        # What isn't recorded so far may be later: without a word on it, the server decides by itself.
        self._trace = {name: headers[name] for name in B3 if headers.get(name, "0") != "0"}
        self.closed: Closed | None = None
        """What the close gave back, once there was one."""

    @property
    def id(self) -> str:
        """The predictor's id."""
        return self._opened.id

    @property
    def model(self) -> str:
        """The model that was chosen, by name and version."""
        return f"{self._opened.model.name} {self._opened.model.version}"

    @property
    def device(self) -> str:
        """The device that the model runs on."""
        return self._opened.device

    @property
    def expires_at(self) -> datetime:
        """When the lease that `open` gave ends; each use since then made it longer."""
        return self._opened.expires_at

    @property
    def lease_s(self) -> float:
        """How long the predictor is kept without use."""
        return self._opened.lease_in_ms / 1000

    @property
    def trace_id(self) -> str:
        """The trace that all requests of this predictor belong to."""
        return self._opened.trace_id.id or ""

    def trace_url(self, site: str) -> str:
        """Return the trace's address at a tracing server: a host or a URL."""
        return trace_url(site, self.trace_id)

    def urls(self, urls: Iterable[str | tuple[str, str]], **options: Unpack[Options]) -> Result:
        """Predict images that the server fetches."""
        items = [checked(wire.UrlItem, {"id": name, "data": url}) for name, url in named(urls)]
        return self._predict(self._api.predict_urls_with_http_info, wire.UrlsRequest, options, urls=items)

    def images(self, images: Iterable[Image | tuple[str, Image]], **options: Unpack[Options]) -> Result:
        """Predict JPEG, PNG or WebP files, by path or as bytes. Raises `OSError` for a path that can't be read."""
        items = [checked(wire.ImageItem, {"id": name, "data": base64_of(image)}) for name, image in named(images)]
        return self._predict(self._api.predict_images_with_http_info, wire.ImagesRequest, options, images=items)

    def dataset(self, category: str, name: str, **options: Unpack[Options]) -> Result:
        """Predict a dataset that the server holds; the result has a `summary`."""
        dataset = checked(wire.DatasetRef, {"category": category, "name": name})
        return self._predict(self._api.predict_dataset_with_http_info, wire.DatasetRequest, options, dataset=dataset)

    def tensors(
        self,
        values: object,
        *,
        shape: Sequence[int] | None = None,
        dtype: str | None = None,
        feature_limit: int | None = None,
    ) -> Result:
        """Predict an array that is ready for the model: a numpy array or any other buffer of numbers.

        The first number of the shape counts the inputs. Plain bytes (little-endian, C order) need `shape` and `dtype`.
        """
        octets = to_octets(values, shape, dtype)
        return read_result(self._send_octets(octets, JSON, feature_limit).data)

    def raw_outputs(
        self, values: object, *, shape: Sequence[int] | None = None, dtype: str | None = None
    ) -> RawOutputs:
        """Run the model on an array as `tensors` does, and return its first output as it is."""
        answer = self._send_octets(to_octets(values, shape, dtype), OCTETS, None)
        headers = answer.headers
        try:
            numbers = tuple(int(number) for number in headers["X-Tensor-Shape"].split(","))
            return RawOutputs(shape=numbers, dtype=headers["X-Tensor-Dtype"], data=answer.body)
        except (KeyError, ValueError) as fault:
            raise AnswerUnreadable("The answer doesn't say the shape and type of its numbers.") from fault

    def reset(self) -> None:
        """Clear what the server keeps for this predictor, and start its lease again."""
        body = wire.PredictorResetRequest(predictor=wire.PredictorRef(id=self.id))
        with self._request("reset") as headers:
            self._transport.send(self._api.reset_predictor_with_http_info, body, headers=headers)

    def close(self, *, force: bool = False) -> Closed:
        """Close the predictor, once; later calls return the same. Never sent twice on its own.

        `force` drops the model's memory even if it was opened to persist.
        """
        if self.closed is None:
            body = wire.PredictorCloseRequest(predictor=wire.PredictorRef(id=self.id), force=force or None)
            operation = self._api.close_predictor_with_http_info
            with self._request("close") as headers:
                answer = self._transport.send(operation, body, headers=headers, repeatable=False)
            self.closed = read_closed(answer.data)
            if self._session is not None:
                self._session.send(self._transport)
        return self.closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except NotFound:
            pass  # Its lease is over, or somebody else closed it: it is as closed as was asked for.
        except ClientError:
            if error is None:  # Otherwise the body's own error says more than this one.
                raise

    def __repr__(self) -> str:
        return f"<Predictor {self.id} on {self.model}, {self.device}>"

    def _predict(
        self, operation: Operation[wire.FeaturesResponse], kind: type[Any], options: Options, **inputs: Any
    ) -> Result:
        fields = {"predictor": wire.PredictorRef(id=self.id), "options": to_wire(options), **inputs}
        body = checked(kind, fields)
        deadline_s = options.get("deadline_s")
        with self._request("predict") as headers:
            return read_result(self._transport.send(operation, body, headers=headers, deadline_s=deadline_s).data)

    def _send_octets(self, octets: Octets, accept: str, feature_limit: int | None) -> Reply[Any]:
        query = {"predictor_id": self.id, "shape": octets.shape, "dtype": octets.dtype, "feature_limit": feature_limit}
        given = {name: value for name, value in query.items() if value is not None}
        operation = functools.partial(predict_octets, self._transport.api, given, octets.data, accept)
        with self._request("predict") as headers:
            return self._transport.send(operation, headers=headers)

    def _request(self, name: str) -> AbstractContextManager[dict[str, str]]:
        return self._session.request(name) if self._session is not None else nullcontext(self._trace)
