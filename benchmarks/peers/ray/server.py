"""Ray Serve with `@serve.batch`, one replica."""

import os
import signal
import threading

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from recognition import MAX_BATCH, PORT, Recognition
from starlette.requests import Request

WAIT_S = float(os.environ.get("BENCH_TIMEOUT", "0.002"))


# The harness holds the whole of Ray still between turns; a replica isn't ill because of that.
@serve.deployment(num_replicas=1, max_ongoing_requests=512, health_check_timeout_s=600)
class Recogniser:
    def __init__(self) -> None:
        self.recognition = Recognition()

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=WAIT_S)
    async def predict(self, images: list[str]) -> list[dict]:
        return self.recognition.recognise(images)

    async def __call__(self, request: Request) -> dict:
        return await self.predict((await request.json())["image"])


if __name__ == "__main__":
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    ray.init(
        include_dashboard=False,
        configure_logging=True,
        logging_level="warning",
        log_to_driver=True,
        _temp_dir=os.environ["BENCH_TEMP"],
        object_store_memory=200 * 2**20,
    )
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=PORT))
    serve.run(Recogniser.bind(), route_prefix="/predict")
    print("BENCH ready", flush=True)
    stopped.wait()
    serve.shutdown()
    ray.shutdown()
