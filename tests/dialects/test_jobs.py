"""Native jobs over the wire: submitted, run by the server itself, watched, read, cancelled."""

import asyncio


def tensors(*values, kind="tensors", **more):
    items = [{"id": f"in-{place}", "data": [value], "shape": [1]} for place, value in enumerate(values)]
    return {"kind": kind, "model": {"model_name": "sum"}, "tensors": items} | more


async def submitted(client, request, **headers):
    reply = await client.post("/api/jobs", request, **headers)
    assert reply.status == 202, reply.body
    return reply.json()


async def ended(client, job_id):
    async with asyncio.timeout(20):
        while True:
            reply = await client.get(f"/api/jobs/{job_id}")
            assert reply.status == 200, reply.body
            if reply.json()["state"] not in ("queued", "processing"):
                return reply.json()
            await asyncio.sleep(0.02)


async def test_a_job_is_answered_as_its_request_would_have_been(client):
    reply = await client.post("/api/jobs", tensors(1.0, 2.0))
    assert reply.status == 202
    job = reply.json()
    assert reply.headers["location"] == f"/api/jobs/{job['id']}"
    done = await ended(client, job["id"])
    assert (done["state"], done["percent"], done["attempts"]) == ("done", 100, 1)
    predictor = (await client.post("/api/predict/open", {"model_name": "sum"})).json()["id"]
    waited = await client.post(
        "/api/predict/tensors", {"predictor": {"id": predictor}, "tensors": tensors(1.0, 2.0)["tensors"]}
    )
    for _ in range(2):  # as often as it is asked for
        result = (await client.get(f"/api/jobs/{job['id']}/result")).json()
        assert [plain(one) for one in result["responses"]] == [plain(one) for one in waited.json()["responses"]]


def plain(response):
    return response["input_id"], [(f["type"], f["probability"], f["raw"]) for f in response["features"]]
