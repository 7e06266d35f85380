"""The way in: a client of one server."""

import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from types import TracebackType
from typing import Any, Self, Unpack

from stepscope_generated import JobsApi, PredictApi, RegistryApi, SystemApi, TracesApi
from stepscope_generated import models as wire

import stepscope_client
from stepscope_client.errors import Overloaded, ServerUnreachable
from stepscope_client.inputs import Image
from stepscope_client.jobs import Job
from stepscope_client.options import Options, checked, to_wire
from stepscope_client.predictor import Predictor
from stepscope_client.retries import Retries
from stepscope_client.site import (
    Agent,
    Framework,
    Model,
    Version,
    read_agent,
    read_framework,
    read_model,
    read_version,
)
from stepscope_client.submissions import Inputs, Terms, list_jobs, submit
from stepscope_client.traces import UNTRACED, Session, Trace, read_trace
from stepscope_client.transport import Transport


class Client:
    """A client of one server, safe to share between threads. `with` closes its connections at the end.

    Every call raises a `ClientError` when something goes wrong. Names of models and frameworks are compared without
    case; versions are semver constraints, `latest` or `*`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        key: str | None = None,
        *,
        timeout_s: float = 600.0,
        retries: int | Retries = Retries(),  # noqa: B008 - a frozen value
        ca: str | os.PathLike[str] | None = None,
    ) -> None:
        """Connect to nothing yet.

        `timeout_s` is how long the server may be silent before an answer; 600 is also the server's own limit.
        `retries` is how many more tries a refused request gets; see `Retries`. `ca` is a file with the certificates of
        the CAs that an https server's certificate may come from, instead of the system's.
        """
        policy = Retries(times=retries) if isinstance(retries, int) else retries
        self._transport = Transport(url, key, timeout_s, policy, None if ca is None else os.fspath(ca))
        self._transport.api.user_agent = f"stepscope-client/{stepscope_client.__version__}"

    @property
    def url(self) -> str:
        """The server's address."""
        return self._transport.url

    def open(
        self,
        model: str = "*",
        version: str = "*",
        *,
        framework: str = "*",
        framework_version: str = "*",
        persist: bool = False,
        **options: Unpack[Options],
    ) -> Predictor:
        """Open a predictor on the highest version of a model that fits.

        `persist` keeps the model loaded after its last predictor is closed. With a `trace_level`, this client notes
        its own part of the trace, too, and sends it when the predictor is closed.
        """
        fields = {
            "model_name": model,
            "model_version": version,
            "framework_name": framework,
            "framework_version": framework_version,
            "persist": persist or None,
            "options": to_wire(options),
        }
        body = checked(wire.PredictorOpenRequest, fields)
        session = Session() if options.get("trace_level", UNTRACED[0]) not in UNTRACED else None
        operation = PredictApi(self._transport.api).open_predictor_with_http_info
        with session.request("open") if session is not None else nullcontext(None) as headers:
            # The options' deadline is that of the predictions to come.
            answer = self._transport.send(operation, body, headers=headers)
        return Predictor(self._transport, answer.data, answer.headers, session)

    def submit(
        self,
        model: str | Predictor = "*",
        version: str = "*",
        *,
        urls: Iterable[str | tuple[str, str]] | None = None,
        images: Iterable[Image | tuple[str, Image]] | None = None,
        tensors: object = None,
        dataset: tuple[str, str] | None = None,
        framework: str = "*",
        framework_version: str = "*",
        terms: Terms = Terms(),  # noqa: B008 - a frozen value
        **options: Unpack[Options],
    ) -> Job:
        """Queue a predict request as a job: exactly one of `urls`, `images`, `tensors` and `dataset`.

        A `model` is opened for the job; a `Predictor` has to be open still when the job is begun. Inputs are as the
        predictor's methods of their names take them. What the server took is never lost; when the connection breaks
        before it says so, the request is sent again and makes no second job.
        """
        fields = {
            **Inputs(urls=urls, images=images, tensors=tensors, dataset=dataset).to_wire(),
            **_model(model, version, framework, framework_version),
            **terms.to_wire(),
            "options": to_wire(options),
        }
        return submit(self._transport, checked(wire.JobRequest, fields), terms)

    def job(self, job_id: str) -> Job:
        """Return a job by its id. Raises `NotFound`."""
        return Job(
            self._transport, self._transport.send(JobsApi(self._transport.api).get_job_with_http_info, job_id).data
        )

    def jobs(self, state: str | None = None) -> Iterator[Job]:
        """Go through this caller's jobs, the newest first, in one state or in all."""
        return list_jobs(self._transport, state)

    def trace(self, trace_id: str) -> Trace:
        """Return a trace that the server keeps. Raises `NotFound`."""
        operation = TracesApi(self._transport.api).get_trace_with_http_info
        return read_trace(self._transport.send(operation, trace_id).data.data[0])

    def models(
        self, model: str = "*", version: str = "*", *, framework: str = "*", framework_version: str = "*"
    ) -> tuple[Model, ...]:
        """List the models that can be opened."""
        operation = RegistryApi(self._transport.api).list_models_with_http_info
        answer = self._transport.send(operation, framework, framework_version, model, version)
        return tuple(read_model(manifest) for manifest in answer.data.manifests)

    def frameworks(self, framework: str = "*", version: str = "*") -> tuple[Framework, ...]:
        """List the frameworks that run there."""
        operation = RegistryApi(self._transport.api).list_frameworks_with_http_info
        answer = self._transport.send(operation, framework, version)
        return tuple(read_framework(manifest) for manifest in answer.data.manifests)

    def agents(
        self, model: str = "*", version: str = "*", *, framework: str = "*", framework_version: str = "*"
    ) -> tuple[Agent, ...]:
        """List the machines that can run a model."""
        operation = RegistryApi(self._transport.api).list_model_agents_with_http_info
        answer = self._transport.send(operation, framework, framework_version, model, version)
        return tuple(read_agent(agent) for agent in answer.data.agents)

    def version(self) -> Version:
        """Return what the server is made of."""
        return read_version(self._transport.send(SystemApi(self._transport.api).get_version_with_http_info).data)

    def is_ready(self) -> bool:
        """Say whether the server takes predictions now. Never repeats."""
        operation = SystemApi(self._transport.api).get_readiness_with_http_info
        try:
            self._transport.send(operation, repeatable=False)
        except (Overloaded, ServerUnreachable):
            return False
        return True

    def close(self) -> None:
        """Close the connections that are kept. Predictors stay open on the server."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"


def _model(model: str | Predictor, version: str, framework: str, framework_version: str) -> dict[str, Any]:
    if isinstance(model, Predictor):
        return {"predictor": wire.PredictorRef(id=model.id)}
    names = {
        "model_name": model,
        "model_version": version,
        "framework_name": framework,
        "framework_version": framework_version,
    }
    return {"model": checked(wire.PredictorOpenRequest, names)}
