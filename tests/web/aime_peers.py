"""Workers and clients of AIME's wire, as they behave: what they send, and what they make of each answer.

Written from observation of worker interface 0.9.12, Python client 0.8.9 and JavaScript client 0.8.5. Each of them is
as thin-skinned as the original: an answer that ends the original ends this one.
"""

import json
import ssl
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx2

LOGIN_AGAIN = "Client session authentication key not registered in API Server"
ENVELOPE = ("cmd", "endpoint_name", "input_descriptions", "progress_output_descriptions", "final_output_descriptions")


PATIENT_S = 60
"""How long a client waits here; the original ones wait for ever, or for 300 s."""
TLS = ssl.create_default_context()
"""Never used here, and made once: making one takes longer than a request."""


def request(method: str, url: str, **more: Any) -> httpx2.Response:
    """Send a request on a connection of its own, as workers and clients do."""
    return httpx2.request(method, url, **{"timeout": 30, "trust_env": False, "verify": TLS, **more})


def get(url: str, **more: Any) -> httpx2.Response:
    return request("GET", url, **more)


def post(url: str, **more: Any) -> httpx2.Response:
    return request("POST", url, **more)


class Hung(Exception):
    """The original would print something and then do nothing any more."""


class Worker:
    """A worker process: takes jobs, reports, sends results."""

    def __init__(
        self, url: str, job_type: str = "echo_jobs", key: str = "wkey-echo", name: str = "vm#0_1xTest_GPU", **more: Any
    ) -> None:
        self.url = url
        self.name = name
        self.job_type = job_type
        self.key = key
        self.progress_stopped = False
        self.canceled: list[str] = []
        self.warnings = 0
        self.requests: list[tuple[str, int]] = []
        self.told = {"request_timeout": 60, "version": "AIME API Worker Interface 0.9.12", **more}

    def post(self, route: str, body: Any, timeout_s: float = 60) -> httpx2.Response:
        """Send a request on a connection of its own, as the original does."""
        answer = post(self.url + route, json=body, timeout=timeout_s)
        self.requests.append((route, answer.status_code))
        return answer

    def check(self) -> Any:
        answer = self.post("/worker_check_server_status", {"auth_key": self.key, "job_type": self.job_type})
        return answer.json()

    def ask(self, count: int = 1, **more: Any) -> list[dict[str, Any]]:
        """Ask for jobs once; none when there is no job."""
        body = {
            "auth": self.name,
            "job_type": self.job_type,
            "auth_key": self.key,
            "worker_version": 2,
            "gpu_name": "Test_GPU",
            "num_gpus": 1,
            "max_job_batch": count,
            "model_label": "echo-1",
            **dict.fromkeys(("model_quantization", "model_size", "model_family", "model_type", "model_repo_name")),
            **dict.fromkeys(("framework", "framework_version", "pytorch_version")),
            **self.told,
            **more,
        }
        answer = self.post("/worker_job_request", body, timeout_s=_patience_s(body["request_timeout"]))
        assert answer.status_code == 200, f"it would ask again without a pause: {answer.status_code} {answer.text}"
        told = answer.json()
        assert isinstance(told, dict), "it would crash"
        if told["cmd"] == "no_job":
            return []
        if told["cmd"] == "warning":
            self.warnings += 1
        if told["cmd"] != "job":
            raise Hung(told)
        assert isinstance(told["progress_output_descriptions"], dict)
        assert isinstance(told["final_output_descriptions"], dict)
        self.envelope = told
        jobs: list[dict[str, Any]] = told["job_data"]
        assert all(isinstance(job["start_time"], float) for job in jobs)
        return jobs

    def take(self, count: int = 1) -> list[dict[str, Any]]:
        """Ask until there is a job."""
        while not (jobs := self.ask(count)):
            pass
        return jobs

    def report(self, job: dict[str, Any], percent: float, data: dict[str, Any] | None) -> Any:
        """Report on one job."""
        if data is not None:
            data = {**data, "version": self.told["version"], "auth": self.name}
        return self._report({**self._about(job), "auth": self.name, "progress": percent, "progress_data": data})

    def report_batch(self, entries: list[tuple[dict[str, Any], float, dict[str, Any] | None]]) -> Any:
        """Report on several jobs; their worker is named in the data alone."""
        told = []
        for job, percent, data in entries:
            if data is not None:
                data = {**data, "version": self.told["version"], "auth": self.name}
            told.append({**self._about(job), "progress": percent, "progress_data": data})
        return self._report(told)

    def finish(self, job: dict[str, Any], **outputs: Any) -> Any:
        """Send a result."""
        body = {**outputs, "version": self.told["version"], "auth": self.name, **self._about(job)}
        answer = self.post("/worker_job_result", body)
        assert answer.status_code == 200, f"it would send it again for ever: {answer.status_code} {answer.text}"
        return answer.json()

    def _about(self, job: dict[str, Any]) -> dict[str, Any]:
        return {"job_id": job["job_id"], "job_type": self.job_type, "auth_key": self.key}

    def _report(self, body: Any) -> Any:
        if self.progress_stopped:
            return None
        try:
            told = self.post("/worker_job_progress", body).json()
            entries = told if isinstance(told, list) else [told]
            self.canceled += [entry["job_id"] for entry in entries if "job_id" in entry and entry.get("canceled")]
        except (httpx2.TransportError, ValueError, AttributeError):
            self.progress_stopped = True
            raise
        return told


def _patience_s(timeout_s: float) -> float:
    """Return when it gives up: as long as it told, but for times that are too short for this machine."""
    return timeout_s if timeout_s >= 2 else 10


class Working:
    """A worker that goes on in a thread until the block ends."""

    def __init__(self, worker: Worker, work: Callable[[Worker, dict[str, Any]], None]) -> None:
        self.worker = worker
        self._work = work
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self.failure: BaseException | None = None

    def __enter__(self) -> Worker:
        self._thread.start()
        return self.worker

    def __exit__(self, *fault: object) -> None:
        self._over.set()
        self._thread.join(20)
        assert self.failure is None, self.failure

    def _go_on(self) -> None:
        try:
            while not self._over.is_set():
                for job in self.worker.ask(request_timeout=0.5):
                    self._work(self.worker, job)
        except BaseException as fault:
            traceback.print_exc()  # whoever waits for its results won't get any
            self.failure = fault


def echo(worker: Worker, job: dict[str, Any]) -> None:
    worker.report(job, 50, {"status": "half"})
    worker.finish(job, text=f"{job.get('text', '')}!", metrics={"more": 1})


class PythonClient:
    """The Python client, synchronous; the asynchronous one parses before it looks at the status, and so does this."""

    def __init__(self, url: str, endpoint: str = "echo", key: str | None = "key-alice") -> None:
        self.url = url
        self.endpoint = endpoint
        self.key = key
        self.session: str | None = None
        self.polls = 0

    def validate_key(self) -> Any:
        return self._read(self._get("/api/validate_key", version="Python AIME API Client 0.8.9", key=self.key))

    def login(self) -> Any:
        told = self._read(self._get(f"/{self.endpoint}/login", version="Python AIME API Client 0.8.9", key=self.key))
        if not told["success"]:
            raise ConnectionError(told)
        self.session = told["client_session_auth_key"]
        return told

    def start(self, **params: Any) -> str:
        told = self._read(self._post(params, wait=False))
        assert told["success"]
        job_id: str = told["job_id"]
        return job_id

    def request(self, **params: Any) -> Any:
        return self._read(self._post(params, wait=True))

    def poll(self, job_id: str) -> Any:
        self.polls += 1
        answer = self._get(f"/{self.endpoint}/progress", key=self.key, job_id=job_id)
        told = answer.json()
        if answer.status_code != 200:
            raise BrokenPipeError(answer.status_code, told)
        if told["job_state"] != "done":
            assert told["job_state"] in ("queued", "processing"), "it would poll without a pause"
            assert isinstance(told["progress"], dict)
            assert isinstance(told["progress"]["progress"], int | float)
        return told

    def follow(self, job_id: str, every_s: float = 0.02) -> list[Any]:
        """Poll until it is done; return all that was told."""
        told = [self.poll(job_id)]
        while not (told[-1]["job_state"] == "done" and isinstance(told[-1]["job_result"], dict)):
            time.sleep(every_s)
            told.append(self.poll(job_id))
        return told

    def endpoints(self) -> Any:
        return self._read(self._get("/api/endpoints", key=self.key))

    def details(self) -> Any:
        return self._read(self._get(f"/api/{self.endpoint}"))

    def _post(self, params: dict[str, Any], *, wait: bool) -> httpx2.Response:
        body = {**params, "client_session_auth_key": self.session, "key": self.key, "wait_for_result": wait}
        return post(f"{self.url}/{self.endpoint}", json=body, timeout=PATIENT_S)

    def _get(self, path: str, **query: Any) -> httpx2.Response:
        given = {name: value for name, value in query.items() if value is not None}
        return get(f"{self.url}{path}", params=given)

    def _read(self, answer: httpx2.Response) -> Any:
        assert answer.headers["content-type"].startswith("application/json")
        told = answer.json()
        if answer.status_code != 200:
            error = told.get("error") or ""
            if answer.status_code == 401 and LOGIN_AGAIN in error:
                raise ConnectionRefusedError(error)
            raise ConnectionError(answer.status_code, told)
        return told


class JavaScriptClient:
    """The JavaScript client: looks at no status, and posts bodies that nobody should read."""

    def __init__(self, url: str, endpoint: str = "echo", key: str = "key-alice") -> None:
        self.url = url
        self.endpoint = endpoint
        self.key = key
        self.session: str | None = None

    def validate_key(self) -> Any:
        query = urlencode({"key": self.key, "version": "JavaScript AIME API Client 0.8.5"})
        return self._post(f"/api/validate_key?{query}", b"false").json()

    def login(self, user: str = "alice") -> Any:
        query = urlencode({"user": user, "key": self.key, "version": "JavaScript AIME API Client 0.8.5"})
        told = self._post(f"/{self.endpoint}/login?{query}", b"").json()
        self.session = told.get("client_session_auth_key")
        return told

    def request(self, progress: list[Any] | None = None, **params: Any) -> Any:
        """Return what the result's callback gets; collect in `progress` what the other one gets."""
        told = {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in params.items()}
        body = {**told, "client_session_auth_key": self.session, "key": self.key, "wait_for_result": progress is None}
        answer = self._post(f"/{self.endpoint}", json.dumps(body).encode()).json()
        if progress is None or not answer["success"]:
            return answer
        while True:
            time.sleep(0.02)
            query = urlencode({"key": self.key, "job_id": answer["job_id"]})
            polled = get(f"{self.url}/{self.endpoint}/progress?{query}").json()
            assert polled["success"], "no callback would ever be called"
            if polled["job_state"] == "done":
                return polled["job_result"]
            assert polled["job_state"] != "canceled", "no callback would ever be called"
            progress.append(polled["progress"])

    def _post(self, path: str, body: bytes) -> httpx2.Response:
        headers = {"content-type": "application/json; charset=utf-8"}
        return post(self.url + path, content=body, headers=headers, timeout=PATIENT_S)
