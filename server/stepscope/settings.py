"""The configuration: `stepscope.toml` by sections, each key also as `STEPSCOPE_SECTION__KEY`. Read here alone.

In a variable, a list is JSON or its items with commas between them, and a map is JSON or one variable for each key
(`STEPSCOPE_AUTH__KEYS__ADA`).
"""

import difflib
import ipaddress
import json
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stepscope.core.errors import SettingsInvalid

DEFAULT_FILE = "stepscope.toml"
PREFIX = "STEPSCOPE_"
MEMORY, SQLITE = "memory:", "sqlite:"
"""How the store's addresses begin, beside PostgreSQL's."""

BUILTIN = Path(__file__).parent / "builtin"
"""The model repository that ships."""

Positive = Annotated[float, Field(gt=0, le=1e9)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A section of the file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(Section):
    """Where the server listens, and how it ends."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    insecure: bool = False
    """Whether a wider bind than this machine is allowed without keys."""
    processes: Annotated[int, Field(ge=1, le=256)] = 1
    """Server processes on the one address, which share the store."""
    shutdown_s: Positive = 30.0
    """How long requests under way may take after the signal to stop."""
    names: list[str] = []
    """Host names that this server goes by beside `localhost` and addresses; asked for when there are no keys."""
    cors_origins: list[str] = []
    """Origins whose pages may call this server, `*` for all."""


class Tls(Section):
    """Whether connections are encrypted, by PEM files that are read at the start."""

    certificate: Path | None = None
    """The server's certificate, and after it those that lead to a CA. With it, nothing but TLS is spoken."""
    private_key: Path | None = None
    """The certificate's key, not encrypted."""
    verify_client: bool = False
    """Whether every client needs a certificate of `custom_ca`."""
    custom_ca: Path | None = None
    """The only CA that clients' certificates may come from; not read without `verify_client`."""


class Auth(Section):
    """Who may ask. Without keys, everybody who reaches the server."""

    keys: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = {}
    """Callers' names with the SHA-256 of their keys, in hex."""


class Models(Section):
    """Where models come from, and how much memory they may take."""

    folders: list[Path] = []
    """Model repositories, searched in this order, before the one that ships."""
    builtin: bool = True
    """Whether the model repository that ships is served too."""
    cache: Path = Path("~/.cache/stepscope")
    """Where fetched weights are kept."""
    memory_mb: Annotated[int, Field(ge=0)] = 0
    """Weights kept loaded on a device at most; 0 means half of its memory."""
    aliases: dict[str, str] = {"BVLC-AlexNet": "lenet"}
    """Names that stand for a model's when no model has them. The one here is what old example clients ask for."""


class Store(Section):
    """Where predictors, jobs and sessions are kept."""

    url: str = ""
    """`sqlite:PATH`, `postgresql://...` or `memory:`; `store.sqlite` in the models' cache if not given."""
    files: Path | None = None
    """A folder for large inputs and results of jobs, which all processes see. If not given, beside SQLite's file, and
    in PostgreSQL itself."""


class Jobs(Section):
    """What jobs may take, how many run here, and how long they are kept."""

    run_at_once: Annotated[int, Field(ge=0, le=1024)] = 4
    """Jobs that this server's own engine runs at a time; with 0 it only keeps them, for others to run."""
    input_mb: Count = 100
    """A job's input."""
    result_mb: Count = 100
    """A job's result."""
    waiting: Count = 100_000
    """Jobs that wait in one queue."""
    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """How often a job is given to a worker, when workers are lost over it."""
    lease_s: Positive = 60.0
    """How long a worker may be silent before its job is given to another one."""
    lapse_hours: Positive = 24.0
    """How long a job may take from its submission to its end."""
    keep_hours: Positive = 24.0
    """How long a job and its result can be read after its end."""


class Predict(Section):
    """How predictions run."""

    lease_s: Positive = 900.0
    """How long a predictor is kept without use."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 64
    """Inputs that run together at most."""
    timeout_s: Positive = 600.0
    """How long a request may take when its caller says nothing."""


class Tuning(Section):
    """Whether models change over to the fastest way of running, once it is known to be right."""

    enabled: bool = True
    budget_s: Positive = 20.0
    """How long one model's tuning may take; what isn't tried by then is left out."""
    compile: Literal["auto", "never", "always"] = "auto"
    """Whether `torch.compile` is tried: `auto` only for heavy models, and only with a budget of a minute or more."""


class Limits(Section):
    """What is taken at most."""

    body_mb: Count = 64
    """A request's body."""
    inputs: Count = 8192
    """Inputs waiting or running, in all."""
    inputs_per_owner: Count = 4096
    """Inputs waiting or running, for one caller."""


class Mindspore(Section):
    """How the mindspore wire is answered."""

    max_msg_mb: Annotated[int, Field(ge=1, le=512)] = 100
    """A request's body."""
    http_status: bool = False
    """Whether errors have an HTTP status of their own; clients of this wire expect 200 always."""
    wrap_integers: bool = True
    """Whether an integer that doesn't fit an int32 keeps its low 32 bits; otherwise it is refused."""
    stage_threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Threads for the functions of each servable."""


class Aime(Section):
    """What is served to AIME's clients and workers."""

    endpoints: list[Path] = []
    """Endpoint configurations: files, folders that are searched for them, or several with commas between them."""
    server_config: Path | None = None
    """The server's own configuration, with endpoints' defaults."""


class Fetch(Section):
    """How URLs are fetched for clients."""

    allow_hosts: list[str] = []
    """Hosts, as `host` or `host:port`, that may be fetched whatever their address: an operator's own file server."""
    schemes: list[str] = ["https", "http"]
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = [80, 443]
    connect_s: Positive = 3.0
    total_s: Positive = 10.0
    max_mb: Count = 20
    max_redirects: Annotated[int, Field(ge=0, le=3)] = 0
    per_owner: Count = 16
    in_all: Count = 64


class Traces(Section):
    """Which requests are traced, what is kept of them, and where it is seen. Collectors are set by OTEL_* variables."""

    sample_per_s: Annotated[float, Field(ge=0, le=1e6)] = 5.0
    """Requests a second that are traced, step by step, although they ask for no level."""
    file: Path | None = None
    """Where traces are kept; `traces.sqlite` in the models' cache if not given."""
    keep_requests: Count = 10_000
    """Traced requests that are kept at most, the newest."""
    keep_hours: Positive = 72.0
    keep_mb: Count = 256
    spans: Annotated[int, Field(ge=10, le=1_000_000)] = 1500
    """Spans of a trace that are shown at most; the Chrome trace has all."""
    queue: Count = 100_000
    """Notes of finished requests that may wait to be written; beyond, requests are dropped and counted."""
    jaeger_port: Annotated[int, Field(ge=0, le=65535)] = 16686
    """A second port to listen on where it is free, since old clients print it; 0 for none."""
    jaeger_url: str = ""
    """A Jaeger's address, for links to it."""


class Settings(Section):
    """Everything that an operator can set."""

    server: Server = Server()
    tls: Tls = Tls()
    auth: Auth = Auth()
    models: Models = Models()
    store: Store = Store()
    jobs: Jobs = Jobs()
    predict: Predict = Predict()
    tuning: Tuning = Tuning()
    limits: Limits = Limits()
    fetch: Fetch = Fetch()
    traces: Traces = Traces()
    mindspore: Mindspore = Mindspore()
    aime: Aime = Aime()


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What OpenTelemetry's standard variables say; those of the exporter are read by the exporter itself."""

    service: str
    exports: bool
    """Whether traces go to a collector."""


def telemetry(environment: Mapping[str, str]) -> Telemetry:
    """Read OTEL_SERVICE_NAME, and whether OTEL_EXPORTER_OTLP_ENDPOINT or its like name a collector."""
    named = any(environment.get(f"OTEL_EXPORTER_OTLP_{kind}ENDPOINT") for kind in ("", "TRACES_"))
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    elsewhere = environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return Telemetry(environment.get("OTEL_SERVICE_NAME") or "stepscope", named and not disabled and not elsewhere)


Document = dict[str, dict[str, Any]]
"""Values by section and key."""


def load(file: Path | None, options: Mapping[str, Mapping[str, Any]], environment: Mapping[str, str]) -> Settings:
    """Read the file, the environment, and the command's options; the later wins. Raises `SettingsInvalid`.

    Without a file, `stepscope.toml` of the current folder is read if it is there. Options of None are left out.
    """
    document = _read(file)
    given = {section: {k: v for k, v in keys.items() if v is not None} for section, keys in options.items()}
    for values in (_read_environment(environment), given):
        for section, keys in values.items():
            document.setdefault(section, {}).update(keys)
    try:
        settings = Settings.model_validate(document)
    except ValidationError as fault:
        raise SettingsInvalid(_told(fault)) from fault
    _check_tls(settings.tls)
    _check_bind(settings)
    if settings.server.processes > 1 and settings.store.url == MEMORY:
        raise SettingsInvalid("Several processes need a store that they can share: another [store] url than memory:.")
    return settings


def bound(settings: Settings, port: int) -> Settings:
    """Return the settings with the port that was really bound."""
    return settings.model_copy(update={"server": settings.server.model_copy(update={"port": port})})


def _read(file: Path | None) -> Document:
    path = file or Path(DEFAULT_FILE)
    if file is None and not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise SettingsInvalid(f"{path} can't be read: {fault.strerror}") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise SettingsInvalid(f"{path} isn't TOML: {fault}") from fault
    for section, keys in document.items():
        if section in Settings.model_fields and not isinstance(keys, dict):
            raise SettingsInvalid(f"{path}: {section} is a section; write [{section}] and its keys below.")
    _from_where_it_stands(document.get("models", {}), path.parent)
    _from_where_it_stands(document.get("traces", {}), path.parent)
    _from_where_it_stands(document.get("tls", {}), path.parent)
    _from_where_it_stands(document.get("aime", {}), path.parent)
    _from_where_it_stands(document.get("store", {}), path.parent)
    store = document.get("store", {})
    if str(store.get("url", "")).startswith(SQLITE):
        store["url"] = SQLITE + str(path.parent.absolute() / Path(store["url"].removeprefix(SQLITE)).expanduser())
    return document


def _from_where_it_stands(section: dict[str, Any], folder: Path) -> None:
    """Make the paths in a file's section whole: they are meant from the file's folder."""
    if isinstance(section.get("folders"), list):
        section["folders"] = [folder / Path(str(path)).expanduser() for path in section["folders"]]
    for key in ("cache", "file", "files", "certificate", "private_key", "custom_ca"):
        if isinstance(section.get(key), str):
            section[key] = folder / Path(section[key]).expanduser()


def _read_environment(environment: Mapping[str, str]) -> Document:
    document: Document = {}
    for name, text in environment.items():
        if not name.upper().startswith(PREFIX):
            continue
        section, _, rest = name[len(PREFIX) :].lower().partition("__")
        key, _, item = rest.partition("__")
        kind = _kinds().get(f"{section}.{key}")
        if kind is None or (item and kind is not dict):
            known = [PREFIX + known.replace(".", "__").upper() for known in known_keys()]
            raise SettingsInvalid(f"The variable {name} is unknown.{_near(name.upper(), known)}")
        values = document.setdefault(section, {})
        if item:
            values[key] = {**values.get(key, {}), item: text}
        else:
            values[key] = _value(name, text, kind)
    return document


def _value(name: str, text: str, kind: type) -> Any:
    """Return a variable's list or map; other values are read from text as they are checked."""
    if kind is list and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind not in (list, dict):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        raise SettingsInvalid(f"The variable {name} isn't a JSON {'array' if kind is list else 'object'}.")
    return value


def known_keys() -> list[str]:
    """List every key as `section.key`."""
    return list(_kinds())


def _kinds() -> dict[str, type]:
    """Return each key's type: `list` and `dict` without what is in them."""
    kinds = {}
    for name, section in Settings.model_fields.items():
        fields: Any = section.annotation
        for key, field in fields.model_fields.items():
            kinds[f"{name}.{key}"] = typing.get_origin(field.annotation) or field.annotation
    return kinds


def _told(fault: ValidationError) -> str:
    lines = []
    for error in fault.errors():
        key = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            lines.append(f"{key} is unknown.{_near(key, known_keys() if '.' in key else list(Settings.model_fields))}")
        else:
            # Instead of a key's digest somebody may have written the key; a database's address may hold a password.
            shown = "" if key.startswith(("auth.", "store.")) else f" (it is {error['input']!r})"
            lines.append(f"{key}: {error['msg']}{shown}")
    return "The configuration can't be used. " + " ".join(lines)


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if not near and "." in name:
        section = name.split(".")[0] + "."
        near = [key for key in known if key.startswith(section)]
    return f" Near ones: {', '.join(near)}." if near else f" Known ones: {', '.join(known)}."


def _check_tls(tls: Tls) -> None:
    if (tls.certificate is None) != (tls.private_key is None):
        raise SettingsInvalid("TLS needs both tls.certificate and tls.private_key; one of them is missing.")
    if tls.verify_client and tls.certificate is None:
        raise SettingsInvalid("tls.verify_client needs TLS: give tls.certificate and tls.private_key.")
    if tls.verify_client and tls.custom_ca is None:
        raise SettingsInvalid("tls.verify_client needs tls.custom_ca, the CA that clients' certificates come from.")


def _check_bind(settings: Settings) -> None:
    server = settings.server
    if is_loopback(server.host) or settings.auth.keys or settings.tls.verify_client or server.insecure:
        return
    raise SettingsInvalid(
        f"{server.host} can be reached from other machines, and no keys are configured. "
        "Add [auth] keys (see `stepscope key`), or start with --insecure if you really mean everybody."
    )


def is_loopback(host: str) -> bool:
    """Say whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
