"""The demo, as `make demo` runs it."""

import re
import signal
import subprocess
import sys
import time

import psutil

from tests.clients.conftest import ROOT

DEMO = ROOT / "clients/python/examples/demo.py"


def test_it_recognises_the_digits():
    ran = subprocess.run([sys.executable, "-W", "error", DEMO], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(re.findall(r"\d\d_label\d\.png", ran.stdout)) == 20
    assert all(step in ran.stdout for step in ("fetch", "decode", "preprocess", "queue", "predict", "postprocess"))


def test_it_stops_its_server_when_it_is_stopped():
    with subprocess.Popen([sys.executable, DEMO], stdout=subprocess.DEVNULL) as demo:
        process = psutil.Process(demo.pid)
        while not (children := process.children()):
            time.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 130
        assert not any(child.is_running() for child in children)
