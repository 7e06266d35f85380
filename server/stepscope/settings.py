"""The configuration: `stepscope.toml` by sections, each key also as `STEPSCOPE_SECTION__KEY`. Read here alone."""

import difflib
import ipaddress
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stepscope.core.errors import SettingsInvalid

DEFAULT_FILE = "stepscope.toml"
PREFIX = "STEPSCOPE_"

BUILTIN = Path(__file__).parent / "builtin"
"""The model repository that ships."""

Positive = Annotated[float, Field(gt=0)]
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
    shutdown_s: Positive = 30.0
    """How long requests under way may take after the signal to stop."""
    names: list[str] = []
    """Host names that this server goes by beside `localhost` and addresses; asked for when there are no keys."""
    cors_origins: list[str] = []
    """Origins whose pages may call this server, `*` for all."""


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


class Predict(Section):
    """How predictions run."""

    lease_s: Positive = 900.0
    """How long a predictor is kept without use."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 64
    """Inputs that run together at most."""
    timeout_s: Positive = 600.0
    """How long a request may take when its caller says nothing."""


class Limits(Section):
    """What is taken at most."""

    body_mb: Count = 64
    """A request's body."""
    inputs: Count = 8192
    """Inputs waiting or running, in all."""
    inputs_per_owner: Count = 4096
    """Inputs waiting or running, for one caller."""


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


class Settings(BaseSettings):
    """Everything that an operator can set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, case_sensitive=False
    )

    server: Server = Server()
    auth: Auth = Auth()
    models: Models = Models()
    predict: Predict = Predict()
    limits: Limits = Limits()
    fetch: Fetch = Fetch()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose values come as arguments."""
        return env_settings, init_settings


def load(file: Path | None, options: Mapping[str, Mapping[str, Any]], environment: Mapping[str, str]) -> Settings:
    """Read the file, the environment, and the command's options; the later wins. Raises `SettingsInvalid`.

    Without a file, `stepscope.toml` of the current folder is read if it is there.
    """
    _check_environment(environment)
    document = _read(file)
    try:
        settings = Settings(**document)
        merged = settings.model_dump()
        for section, values in options.items():
            merged[section] |= {key: value for key, value in values.items() if value is not None}
        checked = Settings.model_construct(
            **{name: type(getattr(settings, name)).model_validate(merged[name]) for name in Settings.model_fields}
        )
    except ValidationError as fault:
        raise SettingsInvalid(_told(fault, document)) from fault
    _check_bind(checked)
    return checked


def bound(settings: Settings, port: int) -> Settings:
    """Return the settings with the port that was really bound."""
    return settings.model_copy(update={"server": settings.server.model_copy(update={"port": port})})


def _read(file: Path | None) -> dict[str, Any]:
    path = file or Path(DEFAULT_FILE)
    if file is None and not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise SettingsInvalid(f"{path} can't be read: {fault.strerror}") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise SettingsInvalid(f"{path} isn't TOML: {fault}") from fault
    # Paths in a file are meant from where the file stands.
    models = document.get("models")
    if isinstance(models, dict) and isinstance(models.get("folders"), list):
        models["folders"] = [str(path.parent / Path(str(folder)).expanduser()) for folder in models["folders"]]
    return document


def known_keys() -> list[str]:
    """List every key as `section.key`."""
    return [
        f"{section}.{key}"
        for section, field in Settings.model_fields.items()
        for key in field.annotation.model_fields  # type: ignore[union-attr]
    ]


def _check_environment(environment: Mapping[str, str]) -> None:
    known = {PREFIX + key.replace(".", "__").upper() for key in known_keys()}
    sections = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in environment:
        upper = name.upper()
        # Deeper keys, as of a map, follow another pair of underscores.
        if not upper.startswith(PREFIX) or upper in sections or "__".join(upper.split("__")[:2]) in known:
            continue
        raise SettingsInvalid(f"The variable {name} is unknown.{_near(upper, sorted(known))}")


def _told(fault: ValidationError, document: Mapping[str, Any]) -> str:
    lines = []
    for error in fault.errors():
        key = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            lines.append(f"{key} is unknown.{_near(key, [*known_keys(), *Settings.model_fields])}")
        else:
            lines.append(f"{key}: {error['msg']} (it is {error['input']!r})")
    return "The configuration can't be used. " + " ".join(lines)


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if not near and "." in name:
        section = name.split(".")[0] + "."
        near = [key for key in known if key.startswith(section)]
    return f" Near ones: {', '.join(near)}." if near else f" Known ones: {', '.join(known)}."


def _check_bind(settings: Settings) -> None:
    server = settings.server
    if _is_loopback(server.host) or settings.auth.keys or server.insecure:
        return
    raise SettingsInvalid(
        f"{server.host} can be reached from other machines, and no keys are configured. "
        "Add [auth] keys (see `stepscope key`), or start with --insecure if you really mean everybody."
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
