"""The JavaScript clients, generated and hand-written, under Node against the real server."""

import subprocess
from pathlib import Path

from tests.clients.conftest import ROOT

HERE = Path(__file__).parent


def node(environment, *arguments):
    return subprocess.run(["node", *arguments], env=environment, capture_output=True, text=True, timeout=60)


def test_the_life_cycle(server, files, samples, environment):
    ran = node(environment, HERE / "life_cycle.mjs", server, files, samples[14])
    assert (ran.stdout, ran.returncode) == ("ok\n", 0), ran.stderr


def test_jobs(server, files, samples, environment):
    ran = node(environment, HERE / "jobs.mjs", server, files, samples[14])
    assert (ran.stdout, ran.returncode) == ("ok\n", 0), ran.stderr


def test_the_example_says_which_digit_it_is(server, samples, environment):
    ran = node(environment, ROOT / "clients/javascript/examples/predict.mjs", samples[14], server)
    assert ran.stdout.startswith("7 ("), ran.stderr
    assert ran.returncode == 0


def test_the_example_tells_an_error_in_one_line(server, environment):
    ran = node(environment, ROOT / "clients/javascript/examples/predict.mjs", ROOT / "README.md", server)
    assert (ran.stderr.count("\n"), ran.returncode) == (1, 1)
    assert "image" in ran.stderr
