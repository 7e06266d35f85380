"""The command `stepscope-client`, run as its users run it."""

import subprocess

from tests.clients.conftest import PROGRAMS


def run(*options, environment):
    program = PROGRAMS / "stepscope-client"
    return subprocess.run([program, *options], env=environment, capture_output=True, text=True, timeout=60)


def write(folder, *lines):
    file = folder / "urls.txt"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_it_prints_the_best_features_and_last_the_address_of_the_trace(server, files, samples, tmp_path, environment):
    urls = write(tmp_path, *(f"{files}/{sample.name}" for sample in samples), "", "")
    ran = run("--mlmodelscope_url", server, "--urls", urls, environment=environment | {"COLUMNS": "120"})
    assert ran.returncode == 0, ran.stderr
    *table, trace = ran.stdout.splitlines()
    assert len(table) == 21
    assert all(f" {place // 2} " in line for place, line in enumerate(table[1:]))
    assert trace.startswith("http://127.0.0.1:16686/api/traces/")
    assert "20/20" in ran.stderr


def test_a_list_can_be_a_job(server, files, samples, tmp_path, environment):
    urls = write(tmp_path, *(f"{files}/{sample.name}" for sample in samples))
    ran = run("--mlmodelscope_url", server, "--urls", urls, "--job", environment=environment | {"COLUMNS": "120"})
    assert ran.returncode == 0, ran.stderr
    *table, trace = ran.stdout.splitlines()
    assert all(f" {place // 2} " in line for place, line in enumerate(table[1:]))
    assert "/api/traces/" in trace
    assert ran.stderr.startswith("job ")
    assert "100%" in ran.stderr


def test_all_the_old_options_are_taken_in_any_writing(server, files, samples, tmp_path, environment):
    urls = write(tmp_path, f"{files}/{samples[0].name}")
    options = {
        "--MLModelScope_url": server.removeprefix("http://") + "/",
        "--urls": urls,
        "--framework-name": "MXNet",
        "--framework_version": "1.3.0",
        "--model-name": "BVLC-AlexNet",
        "--model_version": "1.0",
        "--batch-size": "256",
        "--trace_url": "trace.example.org",
        "--trace-level": "STEP_TRACE",
    }
    ran = run(*(part for option in options.items() for part in option), environment=environment)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1].startswith("http://trace.example.org:16686/api/traces/")


def test_more_inputs_than_a_part_keep_their_order(server, files, samples, tmp_path, environment):
    urls = write(tmp_path, *(f"{files}/{sample.name}" for sample in samples * 2))
    ran = run("--mlmodelscope_url", server, "--urls", urls, "--batch_size", "1", environment=environment)
    assert ran.returncode == 0, ran.stderr
    assert "40/40" in ran.stderr


def test_an_input_that_fails_is_told_and_makes_the_exit_code(server, files, samples, tmp_path, environment):
    urls = write(tmp_path, f"{files}/{samples[0].name}", f"{files}/[gone].png")
    ran = run("--mlmodelscope_url", server, "--urls", urls, environment=environment | {"COLUMNS": "120"})
    assert ran.returncode == 1
    assert "url_failed" in ran.stdout
    assert "[gone].png" in ran.stdout
    assert "/api/traces/" in ran.stdout.splitlines()[-1]
    assert ran.stderr.splitlines()[-1] == "Error: 1 of 2 inputs failed."


def test_problems_are_told_in_one_line(server, tmp_path, environment):
    urls = write(tmp_path, "http://example.org/x.png")
    gone = run("--mlmodelscope_url", "http://127.0.0.1:1", "--urls", urls, environment=environment)
    assert (gone.returncode, gone.stderr) == (1, "Error: http://127.0.0.1:1 can't be reached: Connection refused.\n")
    unknown = run("--mlmodelscope_url", server, "--urls", urls, "--model_name", "lenett", environment=environment)
    assert unknown.returncode == 1
    assert unknown.stderr.count("\n") == 1
    assert "lenet" in unknown.stderr
    empty = run("--mlmodelscope_url", server, "--urls", write(tmp_path, ""), environment=environment)
    assert (empty.returncode, empty.stderr.count("\n")) == (1, 1)


def test_it_draws_the_trace_when_asked(server, files, samples, tmp_path, environment):
    urls = write(tmp_path, f"{files}/{samples[0].name}")
    ran = run("--mlmodelscope_url", server, "--urls", urls, "--trace", environment=environment | {"COLUMNS": "120"})
    assert ran.returncode == 0, ran.stderr
    for shown in ("session", "open", "POST /api/predict/urls", "fetch (0)", "decode (0)", "predict (0)"):
        assert shown in ran.stdout, shown
    assert "\N{FULL BLOCK}" in ran.stdout
