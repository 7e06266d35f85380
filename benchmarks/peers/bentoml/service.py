"""BentoML with adaptive batching, one worker. A batchable endpoint takes a list; requests are joined along it."""

import bentoml
from recognition import MAX_BATCH, Recognition


@bentoml.service(workers=1, traffic={"timeout": 120})
class Recogniser:
    def __init__(self) -> None:
        self.recognition = Recognition()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=60000)
    def predict(self, images: list[str]) -> list[dict]:
        return self.recognition.recognise(images)
