"""A server for aime's clients and workers: endpoints as configuration files, on a port of this machine."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from stepscope.app.server import App, build
from stepscope.runtimes.echo import EchoRuntime
from stepscope.settings import Settings
from tests.web.aime_peers import JavaScriptClient, PythonClient, Worker, get, post
from tests.web.served import listening

SERVER = """
[SERVER]
port = 7777
host = "0.0.0.0"
[SANIC]
response_timeout = 60
request_max_size = 3000000
[CLIENTS]
default_authorization_keys = { alice = "key-alice", bob = "key-bob" }
default_provide_worker_meta_data = true
[WORKERS]
default_auth_key = "wkey-echo"
default_request_timeout = 60
[ENDPOINTS]
default_max_queue_length = 1000
default_max_time_in_queue = 3600
default_job_inactivity_timeout = 360
default_result_lifetime = 900
[OPENAI]
enable_v1_api = true
fallback_model = "chatty"
[OPENAI.MODELS.chatty]
endpoint = "chat"
created_at = 1717700001
default_system_prompt = "Be kind."
[OPENAI.MODELS.legacy]
endpoint = "old_chat"
legacy_context_format = true
[OPENAI.MODELS.lost]
endpoint = "nowhere"
"""

ECHO = """
[ENDPOINT]
name = "echo"
title = "Echo"
version = 3
category = "test"
[WORKER]
job_type = "echo_jobs"
[INPUTS]
text = { type = "string", max_length = 1000 }
n = { type = "integer", minimum = 0, maximum = 100 }
picture = { type = "image", format = { supported = ["png", "jpeg"] } }
sound = { type = "audio" }
numbers = { type = "json" }
[SESSION.VARS]
counter = { type = "integer", default = 0 }
[OUTPUTS]
text = { type = "string" }
[PROGRESS.OUTPUTS]
status = { type = "string" }
"""

PLAIN = """
[ENDPOINT]
name = "plain"
methods = ["POST"]
[WORKER]
job_type = "plain_jobs"
[CLIENTS]
authorization_keys = { bob = "key-bob" }
[INPUTS]
text = { type = "string" }
[OUTPUTS]
text = { type = "string" }
"""

CHAT = """
[ENDPOINT]
name = "chat"
category = "chat"
[WORKER]
job_type = "chat_jobs"
[INPUTS]
chat_context = { type = "chat_context", support = ["image"] }
temperature = { type = "float", default = 0.8 }
max_gen_tokens = { type = "integer", default = 100 }
[OUTPUTS]
text = { type = "string" }
num_generated_tokens = { type = "integer" }
prompt_length = { type = "integer" }
current_context_length = { type = "integer" }
error = { type = "string" }
[PROGRESS.OUTPUTS]
text = { type = "string" }
"""

FILES = {
    "echo": ECHO,
    "plain": PLAIN,
    "chat": CHAT,
    "old_chat": CHAT.replace('"chat"\ncat', '"old_chat"\ncat').replace("[INPUTS]", "[INPUTS]\nprompt_input = {}"),
}


@dataclass(frozen=True, slots=True)
class Aime:
    """A server that listens."""

    url: str
    app: App

    def worker(self, *arguments: Any, **more: Any) -> Worker:
        return Worker(self.url, *arguments, **more)

    def client(self, endpoint: str = "echo", key: str | None = "key-alice") -> PythonClient:
        return PythonClient(self.url, endpoint, key)

    def page(self, endpoint: str = "echo", key: str = "key-alice") -> JavaScriptClient:
        return JavaScriptClient(self.url, endpoint, key)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return get(self.url + path, headers=headers)

    def post(self, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        return post(self.url + path, json=body, **more)


def write(folder: Path, files: dict[str, str] = FILES, server: str = SERVER) -> Path:
    """Write configuration files; return the server's."""
    for name, text in files.items():
        path = folder / "endpoints" / name / "aime_api_endpoint.cfg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    file = folder / "aime_api_server.cfg"
    file.write_text(server)
    return file


@contextlib.contextmanager
def serving(
    folder: Path, files: dict[str, str] = FILES, server: str = SERVER, **sections: dict[str, Any]
) -> Iterator[Aime]:
    """Serve endpoints for the length of the block."""
    options = {"endpoints": [folder / "endpoints"], "server_config": write(folder, files, server)}
    settings = Settings.model_validate(
        {
            "models": {"folders": [], "builtin": False, "cache": folder / "cache"},
            "store": {"url": "memory:"},
            "aime": options,
        }
        | sections
    )
    app = build(settings, EchoRuntime())
    with listening(app, shutdown_s=3) as port:
        aime = Aime(f"http://127.0.0.1:{port}", app)
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if aime.get("/readyz").status_code == 200:
                    break
        yield aime
