"""The console client that MLModelScope's users have runs against this server to its last line."""

import subprocess
import sys
from pathlib import Path

import pytest
import requests  # noqa: TID251 - reads the headers that fuller versions of the old client read

OLD = Path(__file__).parent / "old_console.py"
LENET = ("--framework_name", "PyTorch", "--framework_version", "*", "--model_name", "lenet", "--model_version", "1.0.0")


@pytest.mark.parametrize("options", [(), LENET], ids=["its own defaults", "lenet"])
def test_it_reaches_its_last_line(options, server, files, samples, tmp_path, environment):
    urls = tmp_path / "example.txt"
    urls.write_text("".join(f"{files}/{sample.name}\n" for sample in samples[::2]) + "\n")
    # The folder has the default file, so that nothing but the server's address is given.
    ran = subprocess.run(
        [sys.executable, OLD, "--MLModelScope_url", server + "/", *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    first, *labels, last = ran.stdout.splitlines()
    assert first.startswith("predictor ")
    assert [line.split()[1] for line in labels[:10]] == [str(digit) for digit in range(10)]
    assert labels[10] == "labels "
    site, _, trace_id = last.partition("/api/traces/")
    assert site == "http://trace.mlmodelscope.org:16686"
    check_trace(server, trace_id, len(samples[::2]))


def check_trace(server, trace_id, urls):
    """The address that it prints has Jaeger's JSON behind it, with a span for each step of each URL."""
    answer = requests.get(f"{server}/api/traces/{trace_id}", timeout=60).json()
    (trace,) = answer["data"]
    assert trace["traceID"] == trace_id
    for step in ("fetch", "decode", "preprocess", "queue", "predict", "postprocess"):
        spans = [span for span in trace["spans"] if span["operationName"] == step]
        inputs = {tag["value"] for span in spans for tag in span["tags"] if tag["key"] == "input_id"}
        # The blank line at the file's end is a URL too, which goes no further.
        assert len(spans) == len(inputs) == urls + (step == "fetch"), step
    for span in trace["spans"]:
        assert {"traceID", "spanID", "operationName", "references", "startTime", "duration", "tags"} <= set(span)
        assert trace["processes"][span["processID"]]["serviceName"] == "stepscope"


def test_its_close_really_closes_and_open_has_the_headers_that_it_copied(server):
    opened = requests.post(f"{server}/api/predict/open", json={"model_name": "lenet"}, timeout=60)
    headers = {name: opened.headers[name] for name in ("X-B3-Sampled", "X-B3-Spanid", "X-B3-Traceid", "X-Request-Id")}
    assert headers["X-B3-Traceid"] == opened.json()["trace_id"]["id"]
    body = {"id": opened.json()["id"]}
    closes = [requests.post(f"{server}/api/predict/close", json=body, headers=headers, timeout=60) for _ in range(2)]
    assert [close.status_code for close in closes] == [200, 404]
