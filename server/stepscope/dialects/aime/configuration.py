"""Reading the server's and the endpoints' configuration files (TOML, in files named `.cfg`).

A key `default_x` of a section `Ss` in the server's file is the key `x` of a section `S` in endpoints' files, unless
they have it themselves; the section `CLIENTS` has one name in both.
"""

import glob
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stepscope.codecs.parameters import input_name
from stepscope.core.errors import SettingsInvalid, TensorInvalid
from stepscope.dialects.aime.endpoints import (
    IMPLICIT,
    Configuration,
    Endpoint,
    ModelRun,
    OpenAi,
    OpenAiModel,
    Server,
    StaticRoute,
    TemplateRoute,
)
from stepscope.dialects.aime.keys import digest
from stepscope.dialects.aime.parameters import Parameter, Type, read_limits, read_parameter
from stepscope.dialects.aime.tables import Table, Values, read_file

log = logging.getLogger("stepscope.aime")

FILE_NAME = "aime_api_endpoint.cfg"
FOLDER = "./endpoints"
"""Where endpoints' files are, unless the server's file names a place."""
METHODS = ("GET", "POST")
EXAMPLE = "change-me"
"""How the keys of examples begin."""
CREATED = 1717700000
"""When models of the OpenAI layer were made, where the file doesn't say it."""
FRAMEWORK = (
    "access_log",
    "proxies_count",
    "keep_alive_timeout",
    "keep_alive",
    "request_buffer_size",
    "request_max_header_size",
    "request_timeout",
    "response_timeout",
    "websocket_max_size",
    "websocket_ping_interval",
    "websocket_ping_timeout",
    "worker_manager_threshold",
)
"""Settings of another web framework, which mean nothing here."""
RESERVED = frozenset(
    {
        "api",
        "v1",
        "model",
        "version",
        "livez",
        "readyz",
        "ui",
        "metrics",
        "stream_progress",
        "openapi.json",
        "openapi.yaml",
    }
)
"""First parts of paths that endpoints can't have."""


def load(endpoints: Sequence[Path], server_config: Path | None) -> Configuration:
    """Read all files. Raises `SettingsInvalid` with the file and the key that can't be used."""
    server = read_server(server_config) if server_config else Server()
    files = [file for place in endpoints or server.endpoint_configs for file in find(place)]
    found: dict[str, Endpoint] = {}
    places: dict[str, Path] = {}
    for file in dict.fromkeys(files):
        endpoint = read_endpoint(file, server)
        if endpoint.name in found:
            raise SettingsInvalid(f"{file}: ENDPOINT.name: {places[endpoint.name]} has {endpoint.name!r} already.")
        found[endpoint.name], places[endpoint.name] = endpoint, file
    configuration = Configuration(server=server, endpoints=found)
    _check(configuration)
    return configuration


def find(place: Path) -> list[Path]:
    """Return the endpoint files that a text names: a folder, a file, or several with commas between them.

    Raises `SettingsInvalid` when there is no such thing.
    """
    files: list[Path] = []
    for part in [place] if place.exists() else map(Path, str(place).split(",")):
        path = Path(str(part).strip()).expanduser()
        if path.is_dir():
            files += [path / each for each in sorted(glob.glob(f"**/{FILE_NAME}", root_dir=path, recursive=True))]
        elif path.is_file():
            files.append(path)
        else:
            raise SettingsInvalid(f"There is no endpoint configuration at {path}.")
    return files


def read_server(file: Path) -> Server:
    """Read the server's file. Raises `SettingsInvalid`."""
    root = Table(file, "", read_file(file))
    network, framework = root.section("SERVER"), root.section("SANIC")
    root.skip("ADMIN")
    framework.skip(*FRAMEWORK)
    server = Server(
        port=network.integer("port", None, 0),
        host=network.text("host") or None,
        folder=file.parent.absolute(),
        endpoint_configs=_endpoint_places(network, file.parent),
        max_body_bytes=framework.count("request_max_size", 100_000_000, 1),
        defaults=_read_defaults(root),
        limits=read_limits(root.section("INPUTS")),
        openai=_read_openai(root.section("OPENAI")),
        statics=_read_statics(root.section("STATIC")),
    )
    for table in (network, framework, root):
        table.warn_of_unknown()
    _check_defaults(file, server)
    return server


def read_endpoint(file: Path, server: Server) -> Endpoint:
    """Read an endpoint's file. Raises `SettingsInvalid`."""
    root = Table(file, "", _with_defaults(read_file(file), server.defaults))
    about, worker = root.section("ENDPOINT"), root.section("WORKER")
    clients, session = root.section("CLIENTS"), root.section("SESSION")
    root.skip("USER", "HTML")
    name = _name(about)
    title = about.text("title", name)
    demo_url = about.text("demo_url", "example-api")
    endpoint = Endpoint(
        name=name,
        title=title,
        description=about.text("description", title),
        methods=_methods(about),
        version=about.integer("version", None),
        category=about.text("category") or None,
        demo_url=demo_url,
        max_queue_length=about.count("max_queue_length", 1000),
        max_time_in_queue_s=about.count("max_time_in_queue", 3600, 1),
        job_inactivity_timeout_s=about.count("job_inactivity_timeout", 360, 1),
        result_lifetime_s=about.count("result_lifetime", 900, 1),
        job_type=worker.required_text("job_type"),
        worker_key=_worker_key(worker),
        request_timeout_s=worker.count("request_timeout", worker.count("job_timeout", 60, 1), 1),
        client_keys=_client_keys(clients),
        provide_worker_meta_data=clients.flag("provide_worker_meta_data"),
        inputs=_read_inputs(root),
        input_descriptions={**root.mapping("INPUTS"), **IMPLICIT},
        outputs=_descriptions(root, "OUTPUTS"),
        progress=_progress(root),
        session_variables=_session_variables(session),
        statics=_read_statics(root.section("STATIC")),
        templates=_read_templates(root.section("JINJA"), server.folder, _page_variables(name, title, demo_url)),
        model=_read_model(worker, root),
    )
    about.skip("input_metering", "output_metering", "provide_worker_meta_data")
    clients.skip("client_request_limit", "authentication", "authorization", "result_lifetime")
    for table in (about, worker, clients, session, root):
        table.warn_of_unknown()
    return endpoint


def _read_defaults(root: Table) -> Mapping[str, Values]:
    """Return the defaults by endpoints' sections."""
    found: dict[str, dict[str, Any]] = {}
    for name, values in root.values.items():
        section = name if name == "CLIENTS" else name[:-1]
        defaults = {k.removeprefix("default_"): v for k, v in _items(values) if k.startswith("default_")}
        if not defaults:
            continue
        found[section] = defaults
        root.skip(name)
        for key in values:
            if not key.startswith("default_") and name in ("CLIENTS", "WORKERS", "ENDPOINTS"):
                log.warning("%s: %s.%s is unknown, and means nothing here", root.file, name, key)
    root.skip("CLIENTS", "WORKERS", "ENDPOINTS")
    return found


def _items(values: Any) -> list[tuple[str, Any]]:
    return list(values.items()) if isinstance(values, dict) else []


def _check_defaults(file: Path, server: Server) -> None:
    """Refuse wrong defaults where they stand, not in every endpoint's file."""
    about = Table(file, "ENDPOINTS", {f"default_{k}": v for k, v in server.defaults.get("ENDPOINT", {}).items()})
    for key in ("max_queue_length", "max_time_in_queue", "job_inactivity_timeout", "result_lifetime"):
        about.integer(f"default_{key}", None)
    worker = Table(file, "WORKERS", {f"default_{k}": v for k, v in server.defaults.get("WORKER", {}).items()})
    worker.text("default_auth_key")
    worker.integer("default_request_timeout", None, 1)
    clients = Table(file, "CLIENTS", {f"default_{k}": v for k, v in server.defaults.get("CLIENTS", {}).items()})
    clients.names_and_texts("default_authorization_keys")
    clients.flag("default_provide_worker_meta_data")


def _with_defaults(document: dict[str, Any], defaults: Mapping[str, Values]) -> dict[str, Any]:
    """Return an endpoint's tables with the server's defaults below its own values."""
    merged = dict(document)
    for section, values in defaults.items():
        own = document.get(section, {})
        if isinstance(own, dict):
            merged[section] = {**values, **own}
    return merged


def _endpoint_places(network: Table, folder: Path) -> tuple[Path, ...]:
    """Return the places that the server's file names, as seen from it; the usual one, if it is there, otherwise."""
    given = [part.strip() for part in network.text("endpoint_configs").split(",") if part.strip()]
    parts = [Path(part).expanduser() for part in given or [FOLDER]]
    places = tuple(folder / part if (folder / part).exists() else part for part in parts)
    return places if given or places[0].exists() else ()


def _name(about: Table) -> str:
    name = about.required_text("name")
    if "/" in name or name in RESERVED or name.startswith("worker_"):
        raise about.refuse("name", f"{name!r} can't be a path of its own here")
    return name


def _methods(about: Table) -> tuple[str, ...]:
    is_text = isinstance(about.values.get("methods"), str)  # as older files have it
    named = about.text("methods").split(",") if is_text else about.texts("methods", METHODS)
    methods = tuple(each.strip().upper() for each in named)
    for each in methods:
        if each not in (*METHODS, "PUT", "PATCH", "DELETE"):
            log.warning("%s: ENDPOINT.methods: %s is unknown", about.file, each)
    return methods


def _worker_key(worker: Table) -> str:
    key = worker.text("auth_key")
    if key.startswith(EXAMPLE):
        log.warning("%s: WORKER.auth_key is an example's, which everybody knows", worker.file)
    if not key and not worker.text("model"):
        raise SettingsInvalid(f"{worker.file}: WORKER.auth_key is missing, and the server's file has no default.")
    return digest(key) if key else ""


def _client_keys(clients: Table) -> tuple[str, ...]:
    keys = clients.names_and_texts("authorization_keys").values()
    if any(key.startswith(EXAMPLE) for key in keys):
        log.warning("%s: CLIENTS.authorization_keys has an example's key, which everybody knows", clients.file)
    return tuple(digest(key) for key in keys)


def _descriptions(root: Table, name: str) -> Values:
    """Return outputs as they stand; each is a table."""
    section = root.section(name)
    return {key: section.mapping(key) for key in section.values}


def _progress(root: Table) -> Values:
    section = root.section("PROGRESS")
    _descriptions(section, "OUTPUTS")
    section.skip("INPUTS")
    section.warn_of_unknown()
    return section.values


def _session_variables(session: Table) -> dict[str, Any]:
    section = session.section("VARS")
    return {name: section.section(name).anything("default") for name in section.values}


def _read_inputs(root: Table) -> Mapping[str, Parameter]:
    """Read the parameters, but for those that every endpoint has: files declare them too, and nothing comes of it."""
    tables = root.section("INPUTS").sections()
    for name in tables.keys() & IMPLICIT:
        log.warning("%s: every endpoint has INPUTS.%s already; what the file says of it is left out", root.file, name)
    inputs = {name: read_parameter(name, table) for name, table in tables.items() if name not in IMPLICIT}
    for name, parameter in inputs.items():
        if parameter.type is Type.JSON and parameter.default is not None and not isinstance(parameter.default, str):
            raise root.refuse(f"INPUTS.{name}.default", "it has to be a text that holds JSON")
    return inputs


def _read_openai(table: Table) -> OpenAi:
    openai = OpenAi(
        enabled=table.flag("enable_v1_api"),
        fallback_model=table.text("fallback_model"),
        models={name: _read_openai_model(name, each) for name, each in table.section("MODELS").sections().items()},
    )
    table.skip("enable_chat_completions")
    table.warn_of_unknown()
    return openai


def _read_openai_model(name: str, table: Table) -> OpenAiModel:
    created = table.anything("created_at", CREATED)
    try:
        seconds = int(created.timestamp()) if hasattr(created, "timestamp") else int(created)
    except (TypeError, ValueError):
        raise table.refuse("created_at", "it has to be a number of seconds since 1970") from None
    model = OpenAiModel(
        name=name,
        endpoint=table.required_text("endpoint"),
        created=seconds,
        owned_by=table.text("owned_by", "stepscope"),
        default_system_prompt=table.text("default_system_prompt") or None,
        legacy_context_format=table.flag("legacy_context_format"),
    )
    table.warn_of_unknown()
    return model


def _read_statics(table: Table) -> tuple[StaticRoute, ...]:
    return tuple(_read_static(route, each) for route, each in table.sections().items())


def _read_static(route: str, table: Table) -> StaticRoute:
    named = table.text("file") or table.text("path")
    table.skip("path", "file", "compiled_path")
    if not named:
        raise table.refuse("file", "a file or a path is missing")
    compiler = table.text("compile")
    if compiler not in ("", "md", "scss"):
        raise table.refuse("compile", f"{compiler!r} is unknown; known are md, scss")
    static = StaticRoute(
        route=_route(route),
        target=(table.file.parent / Path(named).expanduser()).absolute(),
        compile=compiler,
        css_file=table.text("css_file"),
    )
    table.warn_of_unknown()
    if not static.target.exists():
        log.warning("%s: %s: %s isn't there", table.file, table.path, static.target)
    return static


def _page_variables(name: str, title: str, demo_url: str) -> dict[str, str]:
    return {"endpoint_title": title, "endpoint_demo_url": demo_url, "endpoint_name": name}


def _read_templates(table: Table, server: Path | None, variables: Mapping[str, str]) -> tuple[TemplateRoute, ...]:
    """Read pages, whose templates lie in the server's folder `templates`, or beside the endpoint's file."""
    folders = (*([server / "templates"] if server is not None else []), table.file.parent.absolute())
    return tuple(_read_template(route, each, folders, variables) for route, each in table.sections().items())


def _read_template(route: str, table: Table, folders: tuple[Path, ...], variables: Mapping[str, str]) -> TemplateRoute:
    file = table.required_text("file")
    if table.text("type", "jinja2") != "jinja2":
        raise table.refuse("type", "only jinja2 is known")
    table.warn_of_unknown()
    return TemplateRoute(route=_route(route), file=file, folders=folders, variables=variables)


def _route(route: str) -> str:
    return "/" + route.strip("/")


def _read_model(worker: Table, root: Table) -> ModelRun | None:
    run = ModelRun(
        name=worker.text("model"),
        version=worker.text("model_version", "latest"),
        input=worker.text("model_input"),
        output=worker.text("model_output"),
        feature_limit=worker.count("feature_limit", 10),
    )
    if not run.name:
        return None
    try:
        input_name(root.mapping("INPUTS"), run.input)
    except TensorInvalid as fault:
        raise worker.refuse("model_input", str(fault)) from None
    if run.output and run.output not in root.mapping("OUTPUTS"):
        raise worker.refuse("model_output", f"there is no output {run.output!r}")
    return run


def _check(configuration: Configuration) -> None:
    for endpoint in configuration.endpoints.values():
        first = configuration.of_job_type(endpoint.job_type)
        assert first is not None
        if (first.model is None) != (endpoint.model is None):
            raise SettingsInvalid(f"{endpoint.name} and {first.name} share a job type, and one of them names a model.")
        if first.worker_key != endpoint.worker_key:
            log.warning("%s: workers of %s use the key of %s", endpoint.name, endpoint.job_type, first.name)
        if not endpoint.client_keys:
            log.warning("%s: there are no authorization_keys, so nobody may use it", endpoint.name)
    for model in configuration.server.openai.models.values():
        if model.endpoint not in configuration.endpoints:
            log.warning("the OpenAI model %s: there is no endpoint %s", model.name, model.endpoint)
