"""Jobs of several server processes over one store: any of them takes, runs, shows and cancels any job."""

import json
from pathlib import Path

from stepscope_client.events import read_events
from tests.system.live import serving

ZEROS = {
    "kind": "tensors",
    "model": {"model_name": "lenet"},
    "tensors": [{"id": "zero", "shape": [1, 28, 28], "data": [0.0] * 784}],
}


def test_any_process_tells_of_any_job(tmp_path: Path) -> None:
    with serving(tmp_path, "--processes", "2") as server:
        for _ in range(20):  # each on a connection of its own, which either process takes
            with server.client() as client:
                job = client.post("/api/jobs", json=ZEROS).json()
            with server.client() as client, client.stream("GET", f"/api/jobs/{job['id']}/events") as answer:
                events = list(read_events(answer.iter_raw()))
            assert [event.name for event in events][-1] == "end"
            assert json.loads(events[-1].data)["state"] == "done"
            with server.client() as client:
                result = client.get(f"/api/jobs/{job['id']}/result").json()
            assert [answer["input_id"] for answer in result["responses"]] == ["zero"]
        with server.client() as client:
            assert len(client.get("/api/jobs", params={"state": "done"}).json()["jobs"]) == 20
