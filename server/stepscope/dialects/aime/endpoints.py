"""What configuration files come to: endpoints, the server's own settings, and what clients see of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepscope.dialects.aime.parameters import Limits, Parameter

Description = Mapping[str, Any]
"""A table of a configuration as it stands there."""

KIND = "aime:"
"""How the queues of this dialect's jobs begin."""

IMPLICIT: Description = {
    "key": {"type": "string"},
    "client_session_auth_key": {"type": "string"},
    "wait_for_result": {"type": "bool", "default": True},
}
"""Parameters that every endpoint has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRoute:
    """Files that are served as they are, or compiled."""

    route: str
    target: Path
    compile: str = ""
    css_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRoute:
    """A page that is made of a template and the endpoint's names."""

    route: str
    file: str
    folders: tuple[Path, ...]
    """Where templates are looked for, in this order."""
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRun:
    """A model that answers an endpoint's jobs inside the server."""

    name: str
    version: str
    input: str
    """The parameter that the model gets; empty for the first image, or else the first JSON."""
    output: str
    """The output that its features become; empty for `features`, or else the first JSON."""
    feature_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint as its file and the server's defaults describe it. Of keys there are digests alone."""

    name: str
    title: str
    description: str
    methods: tuple[str, ...]
    version: int | None
    category: str | None
    demo_url: str
    max_queue_length: int
    max_time_in_queue_s: int
    job_inactivity_timeout_s: int
    result_lifetime_s: int
    job_type: str
    worker_key: str
    request_timeout_s: int
    client_keys: tuple[str, ...]
    provide_worker_meta_data: bool
    inputs: Mapping[str, Parameter]
    input_descriptions: Description
    outputs: Description
    progress: Description
    session_variables: Mapping[str, Any]
    """Defaults by name."""
    statics: tuple[StaticRoute, ...] = ()
    templates: tuple[TemplateRoute, ...] = ()
    model: ModelRun | None = None

    @property
    def kind(self) -> str:
        """The queue of its jobs, which endpoints of one job type share."""
        return KIND + self.job_type

    @property
    def progress_outputs(self) -> Description:
        """What progress reports may hold; never null, which would end a worker."""
        found = self.progress.get("OUTPUTS")
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAiModel:
    """A model's name in the OpenAI layer, and the endpoint behind it."""

    name: str
    endpoint: str
    created: int
    owned_by: str
    default_system_prompt: str | None
    legacy_context_format: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAi:
    """The OpenAI layer. Without `enabled` there is none."""

    enabled: bool = False
    fallback_model: str = ""
    models: Mapping[str, OpenAiModel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What the server's own file says. `defaults` are values of endpoints' sections."""

    port: int | None = None
    host: str | None = None
    folder: Path | None = None
    """Where its file lies."""
    endpoint_configs: tuple[Path, ...] = ()
    max_body_bytes: int = 100_000_000
    defaults: Mapping[str, Description] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    """What media of each type may be at most, by attribute, whatever an endpoint says."""
    openai: OpenAi = field(default_factory=OpenAi)
    statics: tuple[StaticRoute, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that is configured."""

    server: Server
    endpoints: Mapping[str, Endpoint]

    def of_job_type(self, job_type: str) -> Endpoint | None:
        """Return the endpoint whose worker key and wait count for a job type: the first one."""
        return next((each for each in self.endpoints.values() if each.job_type == job_type), None)
