"""FastAPI by hand, one process, uvicorn with uvloop and httptools. No batching: FastAPI has none.

The handler is a plain `def` or an `async def` (BENCH_FASTAPI=thread|inline).
"""

import os

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from recognition import PORT, Recognition

app = FastAPI()
recognition = Recognition()


class Request(BaseModel):
    image: str


class Class(BaseModel):
    index: int
    label: str
    probability: float


class Answer(BaseModel):
    top: list[Class]


if os.environ.get("BENCH_FASTAPI", "inline") == "thread":

    @app.post("/predict")
    def predict(request: Request) -> Answer:
        return recognition.recognise([request.image])[0]

else:

    @app.post("/predict")
    async def predict(request: Request) -> Answer:
        return recognition.recognise([request.image])[0]


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, loop="uvloop", http="httptools", access_log=False)
