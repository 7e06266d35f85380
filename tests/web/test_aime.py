"""Aime's workers and clients over real sockets: the rules that end them when they are missed, and what we do better."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.web.aime_peers import LOGIN_AGAIN, TLS, Hung, Worker, Working, echo, get, post, request
from tests.web.aime_served import ECHO, FILES, PLAIN, SERVER, Aime, serving
from tests.web.schemas import Contract


@pytest.fixture(scope="module")
def shared(contract: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aime]:
    with serving(tmp_path_factory.mktemp("aime")) as aime:
        yield aime


@pytest.fixture
def aime(shared: Aime) -> Iterator[Aime]:
    """A server in whose queues nothing is left."""
    yield shared
    for job_type in ("echo_jobs", "plain_jobs", "chat_jobs"):
        sweeper = shared.worker(job_type, name="sweeper")
        while jobs := sweeper.ask(100, request_timeout=0.01):
            for job in jobs:
                sweeper.finish(job)


# --- the way of a job ---------------------------------------------------------------------------


def test_a_job_goes_from_a_client_to_a_worker_and_back(aime: Aime) -> None:
    client = aime.client()
    with Working(aime.worker(), echo):
        assert client.validate_key() == {"success": True, "error": None}
        told = client.request(text="hello", n=4)
    assert told["success"] is True
    assert told["text"] == "hello!"
    assert told["ep_version"] == 3
    assert told["auth"] == "vm#0_1xTest_GPU"
    assert told["worker_interface_version"].startswith("AIME API Worker Interface")
    assert "metrics" not in told
    assert told["total_duration"] >= told["compute_duration"] >= 0
    assert told["start_time"] <= told["start_time_compute"] <= told["result_received_time"]


def test_a_polled_job_is_told_whole_in_every_state(aime: Aime) -> None:
    client, worker = aime.client(), aime.worker()
    job_id = client.start(text="hello")
    queued = client.poll(job_id)
    assert queued["job_state"] == "queued"
    assert queued["progress"]["progress_data"] == {}
    assert queued["progress"]["queue_position"] == 1
    [job] = worker.take()
    assert job["job_id"] == job_id
    assert client.poll(job_id)["progress"]["queue_position"] == 0
    worker.report(job, 50, {"status": "half", "secret": "more"})
    processing = client.poll(job_id)
    assert processing["job_state"] == "processing"
    assert processing["progress"]["progress"] == 50
    assert processing["progress"]["progress_data"] == {"status": "half"}
    assert processing["progress"]["num_workers_online"] >= 1
    worker.finish(job, text="hello!")
    for _ in range(3):  # S3: as often as it is asked for
        done = client.poll(job_id)
        assert done["job_state"] == "done"
        assert done["job_result"]["text"] == "hello!"
        assert "progress" not in done


def test_javascript_pages_work(aime: Aime) -> None:
    page = aime.page()
    assert page.validate_key()["success"] is True
    assert page.login()["success"] is True
    seen: list[Any] = []
    with Working(aime.worker(), echo):
        assert page.request(text="a")["text"] == "a!"
        assert page.request(seen, text="b")["text"] == "b!"


def test_a_session_stands_for_its_key(aime: Aime) -> None:
    client = aime.client()
    told = client.login()
    assert told["key"] == "key-alice"
    client.key = None
    with Working(aime.worker(), echo):
        assert client.request(text="a")["text"] == "a!"
        assert client.follow(client.start(text="b"))[-1]["job_result"]["text"] == "b!"


# --- rules 1 to 8: what ends workers ------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"auth_key": "wrong"},
        {"auth_key": None},
        {"job_type": "other"},
        {"job_type": None},
        {"auth": ""},
        {"auth": "a\0"},
    ],
    ids=str,
)
def test_rule_1_and_8_a_request_that_is_refused_is_told_with_200(aime: Aime, change: dict[str, Any]) -> None:
    with pytest.raises(Hung, match="'cmd': 'error'"):
        aime.worker().ask(**change)


@pytest.mark.parametrize("body", [None, [], 5, "text", {}, {"auth": []}], ids=str)
def test_rule_1_any_json_is_answered_with_an_object(aime: Aime, body: Any) -> None:
    answer = aime.post("/worker_job_request", body)
    assert answer.status_code == 200
    assert answer.json()["cmd"] == "error"


def test_rule_2_a_job_has_lists_and_objects_where_they_are_expected(aime: Aime) -> None:
    aime.client("plain", "key-bob").start(text="x")
    worker = aime.worker("plain_jobs")
    [job] = worker.take()
    assert worker.envelope["progress_output_descriptions"] == {}
    assert worker.envelope["final_output_descriptions"] == {"text": {"type": "string"}}
    assert worker.envelope["input_descriptions"]["wait_for_result"] == {"type": "bool", "default": True}
    assert worker.envelope["endpoint_name"] == "plain"
    assert job["wait_for_result"] is False
    worker.finish(job)


def test_rule_3_a_request_is_answered_before_its_worker_gives_up(aime: Aime) -> None:
    assert aime.worker().ask(request_timeout=3) == []


@pytest.mark.parametrize("body", [[], {}, None, 5, [{}], [None], {"job_id": "x"}, "x", [[]]], ids=str)
def test_rule_4_progress_is_always_answered_with_json(aime: Aime, body: Any) -> None:
    told = aime.post("/worker_job_progress", body).json()
    assert told == [] if body == [] else isinstance(told, dict)


def test_rule_4_a_report_on_an_unknown_job_is_survived(aime: Aime) -> None:
    worker = aime.worker()
    [told] = worker.report({"job_id": "unknown"}, 5, {"status": "x"})
    assert told["success"] is False
    assert told["cmd"] == "warning"
    assert worker.requests[-1][1] == 200


def test_rule_5_progress_answers_name_no_job_without_need(aime: Aime) -> None:
    aime.client().start(text="x")
    worker = aime.worker()
    [job] = worker.take()
    assert worker.report(job, 5, None) == [{"success": True, "cmd": "ok"}]
    assert worker.report_batch([(job, 6, {"status": "y"}), (job, 7, None)]) == [{"success": True, "cmd": "ok"}] * 2
    worker.finish(job)


def test_rule_7_results_are_taken_with_200_whatever_they_are(aime: Aime) -> None:
    client, worker = aime.client(), aime.worker()
    job_id = client.start(text="x")
    [job] = worker.take()
    for _ in range(3):
        assert worker.finish(job, text="first")["cmd"] == "ok"
    worker.finish(job, text="second")
    assert client.poll(job_id)["job_result"]["text"] == "first"
    assert worker.finish({"job_id": "unknown"})["cmd"] == "warning"
    worker.key = "wrong"
    assert worker.finish(job)["success"] is False


def test_rule_7_a_result_that_is_too_large_is_not_asked_for_again(aime: Aime) -> None:
    aime.client().start(text="x")
    worker = aime.worker()
    [job] = worker.take()
    assert worker.finish(job, text="x" * 3_000_001)["success"] is False
    assert worker.finish(job, text="x")["success"] is True


@pytest.mark.parametrize("levels", [200, 300, 1000])
def test_rule_7_a_result_that_is_nested_deeply_is_taken_once(aime: Aime, levels: int) -> None:
    client, worker = aime.client(), aime.worker()
    job_id = client.start(text="x")
    [job] = worker.take()
    about = {"job_id": job["job_id"], "job_type": "echo_jobs", "auth": worker.name, "auth_key": worker.key}
    body = json.dumps({**about, "text": 0}).replace(": 0}", ": " + levels * "[" + levels * "]" + "}")
    assert post(f"{aime.url}/worker_job_result", content=body).json()["cmd"] == "ok"
    told = get(f"{aime.url}/echo/progress?job_id={quote(job_id)}")
    assert told.status_code == 200
    assert ("nested too deeply" in told.text) == (levels > 200)


def test_rule_7_a_result_with_nan_is_taken(aime: Aime) -> None:
    client, worker = aime.client(), aime.worker()
    job_id = client.start(text="x")
    [job] = worker.take()
    body = {"job_id": job["job_id"], "job_type": "echo_jobs", "auth": worker.name, "auth_key": worker.key}
    text = json.dumps({**body, "text": float("nan")})
    assert post(f"{aime.url}/worker_job_result", content=text).json()["cmd"] == "ok"
    assert client.poll(job_id)["job_result"]["text"] is None


# --- rules 9 to 17: what ends clients -----------------------------------------------------------

WRONG = [
    ("GET", "/nowhere", 404),
    ("GET", "/echo/nowhere", 404),
    ("GET", "/api/endpoints/nowhere", 404),
    ("DELETE", "/echo", 405),
    ("GET", "/plain", 405),
    ("PUT", "/echo/progress", 405),
    ("GET", "/worker_job_request", 405),
    ("GET", "/echo/progress", 402),
    ("GET", "/echo/progress?job_id=unknown", 402),
    ("POST", "/echo", 401),
    ("GET", "/echo?key=wrong", 401),
    ("GET", "/plain/login?key=wrong", 200),
    ("GET", "/api/endpoints?key=wrong", 401),
    ("GET", "/stream_progress", 402),
    ("GET", "/v1/models", 401),
]


@pytest.mark.parametrize(("method", "path", "status"), WRONG)
def test_rule_9_every_error_is_json(aime: Aime, method: str, path: str, status: int) -> None:
    answer = request(method, aime.url + path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json(), dict)
    assert status != 405 or answer.headers["allow"]


def test_rule_9_what_cannot_be_read_is_told_as_json(aime: Aime) -> None:
    for path in ("/echo", "/echo/progress", "/worker_job_request", "/worker_job_progress", "/worker_job_result"):
        answer = post(aime.url + path, content=b"{not json")
        assert answer.status_code == 400
        assert set(answer.json()) == {"description", "status", "message"}
    answer = post(aime.url + "/echo", content=b"x" * 3_000_001)
    assert answer.status_code == 413
    assert answer.json()["status"] == 413


@pytest.mark.parametrize("levels", [300, 1000])
def test_rule_9_what_is_nested_too_deeply_is_refused(aime: Aime, levels: int) -> None:
    context = levels * "[" + levels * "]"
    body = f'{{"key": "key-alice", "text": {context}}}'
    assert post(aime.url + "/echo", content=body).status_code == 400
    body = json.dumps({"key": "key-alice", "numbers": context})
    assert post(aime.url + "/echo", content=body).status_code == 400


def test_rule_10_null_is_absent(aime: Aime) -> None:
    client, worker = aime.client(), aime.worker()
    client.start(text=None, n=None)
    [job] = worker.take()
    assert set(job) == {"job_id", "counter", "wait_for_result", "start_time", "start_time_compute"}
    worker.finish(job)


def test_rule_11_login_and_key_check_read_no_body(aime: Aime) -> None:
    for path in ("/echo/login?key=key-alice", "/api/validate_key?key=key-alice", "/api/endpoints?key=key-alice"):
        for body in (b"", b"false", b"{not json"):
            headers = {"content-type": "application/json"}
            answer = post(aime.url + path, content=body, headers=headers)
            assert answer.status_code == 200
            assert answer.json().get("success", True) is True


def test_rule_12_polls_carry_the_job_in_the_query(aime: Aime) -> None:
    job_id = aime.client().start(text="x")
    assert "#" in job_id
    query = f"job_id={quote(job_id, safe='')}"
    assert aime.get(f"/echo/progress?key=key-alice&{query}").json()["job_id"] == job_id
    assert aime.get(f"/echo/progress?{query}&key=").json()["job_id"] == job_id
    assert aime.get(f"/echo/progress?{query}&job_id=second").json()["job_id"] == job_id
    assert aime.post("/echo/progress", {"job_id": job_id}).json()["job_id"] == job_id


def test_rule_14_a_canceled_job_ends_as_done_with_an_error(aime: Aime) -> None:
    client, worker = aime.client(), aime.worker()
    job_id = client.start(text="x")
    [job] = worker.take()
    told = aime.post("/echo/cancel", {"job_id": job_id, "key": "key-alice"}).json()
    assert told == {"success": True, "job_id": job_id, "ep_version": 3, "canceled": True}
    done = client.poll(job_id)
    assert done["job_state"] == "done"
    assert done["job_result"]["error"] == "The job was canceled"
    worker.report(job, 50, {"status": "x"})
    assert worker.canceled == [job_id]
    assert worker.finish(job, text="late")["cmd"] == "ok"
    assert client.poll(job_id)["job_result"]["error"] == "The job was canceled"
    worker.report(job, 60, {"status": "on its way when the result was sent"})
    assert worker.canceled == [job_id]  # rule 5: named now, the job would end all later reports


def test_rule_16_methods_leave_login_and_progress_alone(aime: Aime) -> None:
    client = aime.client("plain", "key-bob")
    client.login()
    assert client.poll(client.start(text="x"))["job_state"] == "queued"


def test_rule_17_the_type_in_a_data_uri_is_not_believed(aime: Aime) -> None:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/q842iQAAAABJRU5ErkJggg=="
    uri = f"data:image/WAV;base64,{pixel}"
    aime.client().start(picture=uri)
    worker = aime.worker()
    [job] = worker.take()
    assert job["picture"] == uri
    worker.finish(job)


# --- what is safer here -------------------------------------------------------------------------


def test_keys_reach_nobody_else(aime: Aime) -> None:
    """S11, S12."""
    client = aime.client()
    client.login()
    job_id = client.start(text="x")
    worker = aime.worker()
    [job] = worker.take()
    handed_over = json.dumps(worker.envelope["job_data"])
    worker.report(job, 50, {"status": "half"})
    polled = json.dumps(client.poll(job_id))
    worker.finish(job, text="y")
    ended = json.dumps(client.poll(job_id)) + aime.get("/api/endpoints/echo").text
    for secret in ("wkey-echo", "key-alice", str(client.session)):
        assert secret not in handed_over + polled + ended
    assert worker.name not in polled


def test_a_job_is_its_clients_alone(aime: Aime) -> None:
    """S13."""
    job_id = aime.client().start(text="x")
    with pytest.raises(BrokenPipeError, match="402"):
        aime.client(key="key-bob").poll(job_id)
    with pytest.raises(BrokenPipeError, match="401"):
        aime.client(key="key-nobody").poll(job_id)
    with pytest.raises(BrokenPipeError, match="402"):
        aime.client("plain").poll(job_id)
    for body in ({"key": "key-bob"}, {"client_session_auth_key": "x"}, {}):
        assert aime.post("/echo/cancel", {"job_id": job_id, **body}).status_code in (401, 402)
    assert aime.client().poll(job_id)["job_state"] == "queued"


def test_a_session_opens_what_its_key_may(aime: Aime) -> None:
    """S14."""
    client = aime.client()
    client.login()
    client.endpoint, client.key = "plain", None
    with pytest.raises(ConnectionError, match="402"):
        client.start(text="x")
    with pytest.raises(ConnectionError):
        aime.client("plain").login()
    client.session = "5b0e9bd2-6f77-4d2a-9d43-0d6a3d3f1f1e"
    with pytest.raises(ConnectionRefusedError) as refused:
        client.start(text="x")
    assert refused.value.args[0] == [LOGIN_AGAIN]


def test_a_worker_reports_on_its_own_jobs_alone(aime: Aime) -> None:
    """S15."""
    client, holder, other = aime.client(), aime.worker(), aime.worker(name="other#0")
    job_id = client.start(text="x")
    [job] = holder.take()
    [told] = other.report(job, 99, {"status": "wrong"})
    assert told["success"] is False
    assert other.finish(job, text="forged")["success"] is False
    assert client.poll(job_id)["progress"]["progress_data"] == {}
    holder.finish(job, text="right")
    assert client.poll(job_id)["job_result"]["text"] == "right"


def test_a_login_leaves_records_of_other_things_alone(aime: Aime) -> None:
    """S16."""
    told = {"auth": "w#1", "job_type": "echo_jobs", "auth_key": "wkey-echo", "max_batch_size": 4, "gpu_name": "G"}
    body = {"worker_parameters": {**told, "state": "x", "held": ["a"]}, "model_parameters": {"label": "m"}}
    answer = aime.post("/worker_login", body).json()
    assert answer == {"success": True, "request_timeout": 60, "api_server_version": answer["api_server_version"]}
    shown = {each["name"]: each for each in aime.get("/api/echo").json()["workers"]}["w#1"]
    assert shown["state"] == "waiting"
    assert shown["max_batch_size"] == 4
    assert shown["model"]["label"] == "m"
    assert shown["model"]["size"] == "Unknown"
    for wrong in ({}, None, {"worker_parameters": {**told, "job_type": "x"}}):
        assert aime.post("/worker_login", wrong).json()["success"] is False


def test_a_login_under_another_job_type_ends_the_old_record(aime: Aime) -> None:
    told = {"auth": "w#2", "job_type": "echo_jobs", "auth_key": "wkey-echo"}
    others = len(aime.get("/api/echo").json()["workers"])
    for job_type, count in (("echo_jobs", 1), ("plain_jobs", 0), ("echo_jobs", 1)):
        aime.post("/worker_login", {"worker_parameters": {**told, "job_type": job_type}})
        names = [each["name"] for each in aime.get("/api/echo").json()["workers"]]
        assert (names.count("w#2"), len(names)) == (count, others + count)
    assert "w#2" not in [each["name"] for each in aime.get("/api/plain").json()["workers"]]


def test_a_status_is_told_in_old_and_new_words(aime: Aime) -> None:
    aime.worker().ask(request_timeout=0.01)
    assert aime.worker().check() == {"cmd": "ok", "logged_in": False, "job_type_present": True, "key_valid": True}
    told = aime.post(
        "/worker_check_server_status", {"auth_key": "wkey-echo", "job_type": "echo_jobs", "auth": "vm#0_1xTest_GPU"}
    )
    assert told.json()["logged_in"] is True
    assert aime.worker(key="wrong").check()["key_valid"] is False
    assert aime.worker("other").check()["job_type_present"] is False
    assert "error" in aime.post("/worker_check_server_status").json()


def test_a_worker_that_goes_away_while_it_waits_takes_no_job_with_it(aime: Aime) -> None:
    """S4, S8."""
    worker = aime.worker()
    body = json.dumps({"auth": worker.name, "job_type": "echo_jobs", "auth_key": worker.key, "request_timeout": 60})
    head = f"POST /worker_job_request HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    port = int(aime.url.rpartition(":")[2])
    other = aime.worker(name="other")
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall((head + body).encode())
            time.sleep(0.1)
        job_id = aime.client().start(text="x")
        [job] = other.take()
        assert job["job_id"] == job_id
        other.finish(job)


def test_a_request_whose_client_goes_away_is_done_all_the_same(aime: Aime) -> None:
    body = json.dumps({"text": "left", "key": "key-alice"})
    port = int(aime.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        worker = aime.worker()
        [job] = worker.take()
    assert job["text"] == "left"
    worker.finish(job, text="done")
    assert aime.get(f"/echo/progress?job_id={quote(job['job_id'])}").json()["job_result"]["text"] == "done"


def test_batches_hold_jobs_of_one_endpoint(aime: Aime, contract: Any, tmp_path: Any) -> None:
    """S27."""
    twin = ECHO.replace('"echo"', '"twin"').replace("version = 3", "version = 4")
    with serving(tmp_path, FILES | {"twin": twin}) as both:
        for _ in range(2):
            both.client().start(text="a")
            both.client("twin").start(text="b")
        worker, seen = both.worker(), 0
        while seen < 4:
            jobs = worker.take(8)
            assert {job["text"] for job in jobs} == {"a" if worker.envelope["endpoint_name"] == "echo" else "b"}
            seen += len(jobs)


def test_session_variables_come_back_with_the_cookie(aime: Aime) -> None:
    worker = aime.worker()

    def count(worker: Worker, job: dict[str, Any]) -> None:
        worker.finish(job, text="x", counter=job["counter"] + 1)

    with Working(worker, count), httpx2.Client(base_url=aime.url, verify=TLS) as browser:
        first = browser.post("/echo", json={"key": "key-alice"})
        assert "HttpOnly" in first.headers["set-cookie"]
        assert "counter" not in first.json()
        browser.post("/echo", json={"key": "key-alice"})
        started = browser.post("/echo", json={"key": "key-alice", "wait_for_result": False}).json()
        while browser.get("/echo/progress", params={"job_id": started["job_id"]}).json()["job_state"] != "done":
            pass
    cookie = {"cookie": f"session={browser.cookies['session']}"}
    aime.post("/echo", {"key": "key-alice", "wait_for_result": False}, headers=cookie)
    aime.client().start()
    counters = {job["counter"] for job in worker.take(2)}
    assert counters == {3, 0}


# --- limits in time and number ------------------------------------------------------------------

HASTY = (
    SERVER.replace("max_queue_length = 1000", "max_queue_length = 2")
    .replace("max_time_in_queue = 3600", "max_time_in_queue = 3")
    .replace("job_inactivity_timeout = 360", "job_inactivity_timeout = 1")
    .replace("result_lifetime = 900", "result_lifetime = 2")
)


@pytest.fixture(scope="module")
def hasty(contract: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aime]:
    with serving(tmp_path_factory.mktemp("hasty"), server=HASTY) as aime:
        yield aime


def test_a_full_queue_is_told_as_a_text(hasty: Aime) -> None:
    for _ in range(2):
        hasty.client().start(text="x")
    answer = hasty.post("/echo", {"key": "key-alice", "text": "x"})
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)
    assert hasty.get("/api/echo").json()["free_queue_slots"] == 0
    worker = hasty.worker()
    for job in worker.take(9):
        worker.finish(job)


def test_a_job_that_nobody_takes_lapses_for_pollers_and_waiters(hasty: Aime) -> None:
    """S9, S30."""
    job_id = hasty.client().start(text="x")
    answer = hasty.post("/echo", {"key": "key-alice", "text": "waits"})
    assert answer.status_code == 400
    assert answer.json()["job_state"] == "lapsed"
    polled = hasty.get(f"/echo/progress?job_id={quote(job_id)}")
    assert polled.status_code == 400
    assert polled.json()["job_state"] == "lapsed"
    assert isinstance(polled.json()["error"], str)
    assert polled.json()["progress"]["progress"] == 0


def test_a_job_whose_worker_is_lost_goes_to_another_and_at_last_fails(hasty: Aime) -> None:
    """S2; and rule 14: failures are told as results."""
    client = hasty.client()
    job_id = client.start(text="x")
    [job] = hasty.worker(name="a").take()
    [again] = hasty.worker(name="b").take()
    assert again["job_id"] == job["job_id"] == job_id
    hasty.worker(name="c").take()
    told = client.follow(job_id, every_s=0.1)[-1]["job_result"]
    assert told["success"] is False
    assert "lost" in told["error"]
    late = hasty.worker(name="c").finish(job, text="late")
    assert late["cmd"] == "ok"


def test_a_lost_job_that_no_worker_takes_again_lapses(hasty: Aime) -> None:
    with ThreadPoolExecutor() as pool:
        waits = pool.submit(hasty.post, "/echo", {"key": "key-alice", "text": "x"})
        hasty.worker(name="lost").take()
        assert waits.result().json()["job_state"] == "lapsed"


def test_a_result_is_forgotten_after_its_time(hasty: Aime) -> None:
    client, worker = hasty.client(), hasty.worker()
    job_id = client.start(text="x")
    [job] = worker.take()
    worker.finish(job, text="y")
    assert client.poll(job_id)["job_result"]["text"] == "y"
    deadline = time.monotonic() + 15
    while hasty.get(f"/echo/progress?job_id={quote(job_id)}").status_code != 402:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_worker_that_asks_while_it_works_keeps_its_job(hasty: Aime) -> None:
    client, worker = hasty.client(), hasty.worker(name="batching")
    worker.ask(2, request_timeout=0.01)
    job_id = client.start(text="x")
    [job] = worker.take(2)
    for _ in range(12):
        assert worker.ask(1, request_timeout=0.3) == []
        time.sleep(0.05)
    assert client.poll(job_id)["job_state"] == "processing"
    worker.finish(job, text="y")
    assert client.poll(job_id)["job_result"]["text"] == "y"


def test_a_worker_started_anew_does_not_keep_what_it_has_forgotten(hasty: Aime) -> None:
    client, worker = hasty.client(), hasty.worker(name="restarted")
    job_id = client.start(text="x")
    worker.take()
    [job] = worker.take()
    assert job["job_id"] == job_id
    worker.finish(job, text="y")


# --- the rest of the wire -----------------------------------------------------------------------


def test_paths_are_taken_as_workers_and_clients_write_them(aime: Aime) -> None:
    assert aime.post("//worker_check_server_status", {}).status_code == 200
    assert aime.get("/api/endpoints/").json() == {"endpoints": ["chat", "echo", "old_chat", "plain"]}
    assert aime.get("/api/endpoints?key=key-bob").json()["endpoints"] == ["chat", "echo", "old_chat", "plain"]
    assert aime.get("/api/endpoints?key=key-alice").json()["endpoints"] == ["chat", "echo", "old_chat"]
    assert aime.get("/api/echo").json() == aime.get("/api/endpoints/echo").json()


def test_an_endpoint_takes_no_path_of_the_wires_own(contract: Any, tmp_path: Path) -> None:
    with serving(tmp_path, {"e": PLAIN.replace('"plain"', '"endpoints"')}) as aime:
        assert aime.get("/api/endpoints").json() == {"endpoints": ["endpoints"]}
        assert aime.get("/api/endpoints/endpoints").json()["name"] == "endpoints"


def test_an_endpoint_is_described(aime: Aime) -> None:
    told = aime.get("/api/endpoints/echo").json()
    assert told["name"] == "echo"
    assert told["http_methods"] == ["GET", "POST"]
    assert set(told["parameter_description"]["input"]) == {
        "text", "n", "picture", "sound", "numbers", "key", "client_session_auth_key", "wait_for_result",
    }  # fmt: skip
    assert told["parameter_description"]["progress"] == {"OUTPUTS": {"status": {"type": "string"}}}


def test_pages_of_any_origin_may_call(aime: Aime) -> None:
    origin = {"origin": "https://elsewhere.example", "access-control-request-headers": "content-type"}
    asked = request("OPTIONS", f"{aime.url}/echo", headers=origin)
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "*"
    assert asked.headers["access-control-allow-headers"] == "content-type"
    assert aime.get("/api/endpoints", **origin).headers["access-control-allow-origin"] == "*"
    assert aime.get("/livez", origin="https://elsewhere.example").status_code == 403
    assert aime.get("/api/endpoints", host="some-name.example").status_code == 200


def test_get_requests_take_their_parameters_from_the_query(aime: Aime) -> None:
    worker = aime.worker()
    started = aime.get("/echo?key=key-alice&text=hi&text=second&wait_for_result=false").json()
    [job] = worker.take()
    assert (job["text"], job["job_id"]) == ("hi", started["job_id"])
    worker.finish(job)
    assert aime.get("/echo?key=key-alice&n=5").json()["error"] == ["Parameter n: it has to be a whole number, not '5'"]


def test_all_faults_are_told_at_once(aime: Aime) -> None:
    answer = aime.post("/echo", {"key": "key-alice", "n": 101, "text": 5, "a": 1, "b": None})
    assert answer.status_code == 400
    told = answer.json()
    assert told["ep_version"] == 3
    assert len(told["error"]) == 3
    assert "a, b" in told["error"][0]


def test_sound_without_ffmpeg_is_refused_clearly(aime: Aime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    answer = aime.post("/echo", {"key": "key-alice", "sound": "data:audio/wav;base64,UklGRg=="})
    assert answer.status_code == 400
    assert "ffprobe isn't installed" in answer.json()["error"][0]


def test_progress_is_streamed(aime: Aime) -> None:
    """S26."""
    client, worker = aime.client(), aime.worker()
    client.login()
    job_id = client.start(text="x")
    seen: list[Any] = []
    query = {"client_session_auth_key": client.session, "job_id": job_id}

    def listen() -> None:
        with httpx2.stream("GET", f"{aime.url}/stream_progress", params=query) as told:
            assert told.headers["content-type"] == "text/event-stream"
            seen.extend(json.loads(line[6:]) for line in told.iter_lines() if line.startswith("data: "))

    thread = threading.Thread(target=listen)
    thread.start()
    while not seen:
        time.sleep(0.01)
    [job] = worker.take()
    worker.report(job, 50, {"status": "half"})
    while seen[-1]["progress"] != 50:
        time.sleep(0.01)
    worker.finish(job, text="y")
    thread.join(10)
    assert seen[0]["job_state"] == "queued"
    assert seen[-1]["job_state"] == "done"
    assert seen[-1]["job_result"]["text"] == "y"
    assert seen[-1]["success"] is True
    assert aime.get(f"/stream_progress?client_session_auth_key=x&job_id={quote(job_id)}").status_code == 401


# --- pages --------------------------------------------------------------------------------------


def test_pages_are_served_and_nothing_else(contract: Any, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# Hello\n\n| a |\n|---|\n| b |\n")
    (tmp_path / "docs" / "style.scss").write_text("$c: red; p { color: $c }")
    (tmp_path / "docs" / "plain.txt").write_text("plain")
    (tmp_path / "docs" / "away").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "endpoints" / "paged").mkdir(parents=True)
    (tmp_path / "endpoints" / "paged" / "page.html").write_text("<h1>{{ endpoint_title }}</h1>{{ ''.__class__ }}")
    server = (
        SERVER
        + """
[STATIC]
"/" = { file = "README.md", compile = "md", css_file = "/docs/style.css" }
"/docs" = { path = "docs", compile = "scss" }
"""
    )
    page = PLAIN.replace('"plain"', '"paged"').replace(
        "[OUTPUTS]", '[JINJA]\n"/pages/" = { file = "page.html" }\n[OUTPUTS]'
    )
    with serving(tmp_path, {"paged": page}, server) as aime:
        assert "<h1>Hello</h1>" in aime.get("/").text
        assert "<table>" in aime.get("/").text
        assert "color: red" in aime.get("/docs/style.css").text
        assert aime.get("/docs/plain.txt").text == "plain"
        assert aime.get("/docs/plain.txt").headers["access-control-allow-origin"] == "*"
        assert aime.get("/pages/").text.startswith("<h1>paged</h1>")
        assert "class" not in aime.get("/pages/").text
        for path in (
            "/docs/../secret.txt",
            "/docs/%2e%2e/secret.txt",
            "/docs/..%2fsecret.txt",
            "/docs/away",
            "/docs/x",
        ):
            answer = aime.get(path)
            assert answer.status_code == 404
            assert "secret" not in answer.text.replace("secret.txt", "")
        assert aime.post("/docs/plain.txt").status_code == 405
        assert aime.get("/ui").status_code == 200


# --- the contract -------------------------------------------------------------------------------


def test_examples_are_answered_as_the_contract_says(contract: Contract, tmp_path: Path) -> None:
    server = SERVER.replace('"key-alice"', '"a-key-for-clients"').replace('"wkey-echo"', '"a-key-for-workers"')
    server = server.replace('fallback_model = "chatty"', "")
    echo_endpoint = ECHO.replace("version = 3", "version = 1")
    jobs: list[str] = []
    with serving(tmp_path, FILES | {"echo": echo_endpoint}, server) as aime:
        started = aime.post("/echo", {"key": "a-key-for-clients", "text": "x", "wait_for_result": False}).json()
        jobs.append(started["job_id"])
        session = aime.get("/echo/login?key=a-key-for-clients").json()["client_session_auth_key"]
        chats = Worker(aime.url, "chat_jobs", "a-key-for-workers")
        for method, path, operation in contract.own_wire("aime"):
            told = operation["responses"]["200"]["content"]
            [media] = told
            body = example_of(contract, operation["requestBody"]["content"]) if "requestBody" in operation else None
            if body is not None:
                contract.validate(operation["requestBody"]["content"]["application/json"]["schema"], body)
            contract.validate(told[media]["schema"], example_of(contract, told))
            if media != "application/json":
                continue
            query = query_of(contract, operation).replace(JOB, quote(jobs[0])).replace(SESSION, session)
            with Working(chats, chat):
                url = f"{aime.url}{path.replace('{endpoint}', 'echo')}?{query}"
                sent = json.loads(json.dumps(body).replace("6f0c4c5e-5c3b-4f7f-9a3e-6a8f1f3f9f10#12", jobs[0]))
                bearer = {"authorization": "Bearer a-key-for-clients"}
                answer = request(method, url, json=sent, headers=bearer)
            assert answer.status_code == 200, f"{path}: {answer.text}"
            contract.validate(told[media]["schema"], answer.json())


JOB = quote("6f0c4c5e-5c3b-4f7f-9a3e-6a8f1f3f9f10#12")
SESSION = "0b8f7a52-8a5e-4b5e-9d0e-0f6d7a0f3a11"


def example_of(contract: Contract, content: dict[str, Any]) -> Any:
    [media] = content.values()
    return contract.resolve(media["examples"]["echo"])["value"]


def query_of(contract: Contract, operation: dict[str, Any]) -> str:
    named = [contract.resolve(each) for each in operation.get("parameters", [])]
    return "&".join(f"{each['name']}={quote(each['schema']['example'])}" for each in named if each["in"] == "query")


# --- the OpenAI layer ---------------------------------------------------------------------------

BEARER = {"authorization": "Bearer key-alice"}


def chat(worker: Worker, job: dict[str, Any]) -> None:
    for text in ("Hel", "Hello", "Hello wor"):
        worker.report(job, len(text), {"text": text})
    counts = {"num_generated_tokens": 2, "prompt_length": 5, "current_context_length": 7}
    failure = {"error": "out of memory"} if "fail" in str(job["chat_context"]) else {}
    worker.finish(job, text="Hello world", **counts, **failure)


def complete(
    aime: Aime, model: str = "chatty", text: Any = "hi", headers: Any = BEARER, **more: Any
) -> httpx2.Response:
    body = {"model": model, "messages": [{"role": "developer", "content": text}], **more}
    return post(f"{aime.url}/v1/chat/completions", json=body, headers=headers)


def test_models_are_listed(aime: Aime) -> None:
    told = aime.get("/v1/models", **BEARER).json()
    assert [each["id"] for each in told["data"]] == ["chatty", "legacy", "lost"]
    assert told["data"][0]["created"] == 1717700001
    assert isinstance(told["data"][1]["created"], int)
    assert aime.get("/v1/models").json()["error"]["code"] == "invalid_api_key"


def test_a_chat_is_completed(aime: Aime) -> None:
    with Working(aime.worker("chat_jobs"), chat):
        told = complete(aime, "unknown-model", temperature=0).json()
    assert told["object"] == "chat.completion"
    assert told["id"].startswith("chatcmpl-")
    assert told["model"] == "chatty"
    assert told["choices"][0]["message"]["content"] == "Hello world"
    assert (told["usage"]["prompt_tokens"], told["usage"]["completion_tokens"]) == (5, 2)


def test_a_chat_reaches_its_worker_as_a_context(aime: Aime) -> None:
    """S25: a temperature of 0 is kept."""
    parts = [{"type": "text", "text": "look"}, {"type": "strange"}]
    worker = aime.worker("chat_jobs")
    with ThreadPoolExecutor() as pool:
        told = pool.submit(complete, aime, "chatty", parts, temperature=0, max_tokens=5, top_k=3)
        [job] = worker.take()
        worker.finish(job, text="x")
        assert told.result().status_code == 200
    assert job["chat_context"] == [{"role": "system", "content": [{"text": "look"}]}]
    assert (job["temperature"], job["max_gen_tokens"]) == (0, 5)


def test_an_old_chat_gets_its_last_message_apart(aime: Aime) -> None:
    worker = aime.worker("chat_jobs")
    with ThreadPoolExecutor() as pool:
        told = pool.submit(complete, aime, "legacy", "last words")
        [job] = worker.take()
        worker.finish(job, text="x")
        assert told.result().status_code == 200
    assert (job["prompt_input"], job["chat_context"]) == ("last words", [])


def stream(aime: Aime, text: str) -> list[str]:
    with Working(aime.worker("chat_jobs"), chat):
        told = complete(aime, text=text, stream=True)
    assert told.headers["content-type"] == "text/event-stream"
    return [line[6:] for line in told.text.splitlines() if line.startswith("data: ")]


def test_a_chat_is_streamed(aime: Aime) -> None:
    *parts, last = stream(aime, "hi")
    assert last == "[DONE]"
    choices = [json.loads(part)["choices"][0] for part in parts]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "Hello world"
    assert [choice["finish_reason"] for choice in choices[-2:]] == [None, "stop"]


def test_a_chat_that_fails_does_not_end_as_success(aime: Aime) -> None:
    """S25."""
    parts = stream(aime, "fail")
    assert not any('"stop"' in part for part in parts)
    assert any('"error"' in part and "out of memory" in part for part in parts)
    with Working(aime.worker("chat_jobs"), chat):
        told = complete(aime, text="fail")
    assert (told.status_code, told.json()["error"]["code"]) == (404, "request_failed")
    assert told.json()["error"]["message"] == "out of memory"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/v1/responses", 500, "not_implemented"), ("/v1/audio/speech", 500, "not_implemented")],
)
def test_what_is_not_implemented_is_told(aime: Aime, path: str, status: int, code: str) -> None:
    told = post(aime.url + path, json={}, headers=BEARER)
    assert (told.status_code, told.json()["error"]["code"]) == (status, code)
    assert post(aime.url + path, json={}).status_code == 401


def test_a_chat_without_messages_is_refused(aime: Aime) -> None:
    bodies: list[Any] = [{}, [], {"messages": "x"}]
    for body in bodies:
        told = post(aime.url + "/v1/chat/completions", json=body, headers=BEARER)
        assert (told.status_code, told.json()["error"]["code"]) == (404, "request_failed")


def test_a_model_without_endpoint_is_not_found(aime: Aime) -> None:
    told = complete(aime, "lost")
    assert (told.status_code, told.json()["error"]["code"]) == (404, "model_not_found")
    assert complete(aime, headers={}).json()["error"]["code"] == "invalid_api_key"
