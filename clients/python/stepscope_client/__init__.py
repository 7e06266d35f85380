"""The Python client of Stepscope, a thin typed layer over the generated one in `stepscope_generated`.

Layers: `console` > `client` > `predictor`, `submissions` > `jobs`, `traces` > `transport` > `results`, `errors`,
`options`, `events`.
Nothing of the server is imported here.

    from stepscope_client import Client

    with Client("http://127.0.0.1:8080") as client, client.open("lenet") as predictor:
        print(predictor.images(["seven.png"]).answers[0].best.label)
"""

__version__ = "0.1.0"

from stepscope_client.client import Client
from stepscope_client.errors import (
    AccessDenied,
    AnswerTimedOut,
    AnswerUnreadable,
    ArgumentInvalid,
    ClientError,
    Conflict,
    DeadlineExceeded,
    InputFailed,
    InvalidRequest,
    JobFailed,
    ModelUnavailable,
    NotFound,
    Overloaded,
    ProblemError,
    ServerFailed,
    ServerUnreachable,
)
from stepscope_client.jobs import Job
from stepscope_client.options import Options
from stepscope_client.predictor import Predictor
from stepscope_client.results import (
    Answer,
    Closed,
    Feature,
    InputError,
    RawOutputs,
    Result,
    Step,
    Summary,
    trace_url,
)
from stepscope_client.retries import Retries
from stepscope_client.site import Agent, Framework, Model, Version
from stepscope_client.submissions import Terms
from stepscope_client.traces import Span, Trace

__all__ = [
    "Client",
    "Predictor",
    "Job",
    "Terms",
    "Options",
    "Retries",
    "Result",
    "Answer",
    "Feature",
    "InputError",
    "Step",
    "Summary",
    "RawOutputs",
    "Closed",
    "Model",
    "Framework",
    "Agent",
    "Version",
    "Trace",
    "Span",
    "trace_url",
    "ClientError",
    "ServerUnreachable",
    "AnswerTimedOut",
    "AnswerUnreadable",
    "ArgumentInvalid",
    "InputFailed",
    "JobFailed",
    "ProblemError",
    "InvalidRequest",
    "AccessDenied",
    "Conflict",
    "NotFound",
    "Overloaded",
    "ModelUnavailable",
    "DeadlineExceeded",
    "ServerFailed",
]
