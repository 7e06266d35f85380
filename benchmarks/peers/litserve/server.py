"""LitServe with its batching on, one worker."""

import os

import litserve
import torch
from recognition import MAX_BATCH, PORT, Recognition

TIMEOUT_S = float(os.environ.get("BENCH_TIMEOUT", "0.002"))


class Api(litserve.LitAPI):
    def setup(self, device):  # noqa: ARG002 - the method that LitServe calls
        self.recognition = Recognition()

    def decode_request(self, request):
        return self.recognition.decode(request["image"])

    def batch(self, inputs):
        return torch.stack(inputs)

    def predict(self, images):
        return self.recognition.probabilities(images)

    def unbatch(self, probabilities):
        return self.recognition.answers(probabilities)

    def encode_response(self, answer):
        return answer


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=MAX_BATCH, batch_timeout=TIMEOUT_S), workers_per_device=1, timeout=False
    )
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="warning")
