"""What was kept, dropped and sent of traces, for Prometheus."""

import hashlib

from tests.dialects.test_traces import opened, predicted


async def test_counters_tell_what_was_kept_and_dropped(serve):
    async with serve(traces={"queue": 30}) as client:
        predictor = await opened(client, level="NO_TRACE")
        for _ in range(3):
            reply = await predicted(client, predictor, [1.0, 2.0], "STEP_TRACE")
            await client.get(f"/api/traces/{reply.headers['x-b3-traceid']}")
        await predicted(client, predictor, [float(number) for number in range(20)], "STEP_TRACE")
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    told = dict(line.split() for line in answer.body.decode().splitlines() if not line.startswith("#"))
    assert float(told["stepscope_trace_notes_kept_total"]) == 3 * 9
    assert float(told["stepscope_trace_notes_dropped_total"]) == 81
    assert "# HELP stepscope_trace_notes_dropped_total" in answer.body.decode()


async def test_with_keys_the_counters_need_one(serve):
    async with serve(auth={"keys": {"ada": hashlib.sha256(b"key").hexdigest()}}) as client:
        assert (await client.get("/metrics")).status == 401
        assert (await client.get("/metrics", authorization="Bearer key")).status == 200
