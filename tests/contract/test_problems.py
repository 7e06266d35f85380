"""Errors and problems cover each other, and no fact that isn't meant for clients gets into one."""

import json

import pytest

from stepscope.core import errors
from stepscope.core.predictions import FeatureType, TraceLevel
from stepscope.dialects.mlmodelscope.wire import LEVELS, WIRE_TYPES
from stepscope.web.problems import MEDIA_TYPE, PROBLEMS, entry_of, problem
from stepscope_api import models as wire

NEVER_TOLD = {
    errors.ManifestInvalid: "the catalog logs it and leaves the model out",
    errors.ServableInvalid: "the server logs it and leaves the servable out",
    errors.NoticeUntaken: "it ends the notice, a job of the server's own",
    errors.SettingsInvalid: "the command ends with it before there is a server",
}
"""Errors that never reach HTTP, and why."""

SAMPLES: dict[type[errors.StepscopeError], errors.StepscopeError] = {
    errors.MalformedBody: errors.MalformedBody("it is nested too deep"),
    errors.InvalidField: errors.InvalidField("/a", "it is wrong", ["b"]),
    errors.BodyTooLarge: errors.BodyTooLarge(5),
    errors.TooManyInputs: errors.TooManyInputs(5, 4),
    errors.UnsupportedMediaType: errors.UnsupportedMediaType("text/plain", ["application/json"]),
    errors.NotAcceptable: errors.NotAcceptable("text/plain", ["application/json"]),
    errors.KeyReused: errors.KeyReused("k"),
    errors.RouteNotFound: errors.RouteNotFound("/x"),
    errors.MethodNotAllowed: errors.MethodNotAllowed("GET", ["POST"]),
    errors.ModelNotFound: errors.ModelNotFound("a", "1", ["b"]),
    errors.FrameworkNotFound: errors.FrameworkNotFound("a", "1", ["b"]),
    errors.DatasetNotFound: errors.DatasetNotFound("a", "b", ["c"]),
    errors.PredictorNotFound: errors.PredictorNotFound("p"),
    errors.PredictorExpired: errors.PredictorExpired("p", 900),
    errors.TraceNotFound: errors.TraceNotFound("0af7"),
    errors.CredentialsMissing: errors.CredentialsMissing(),
    errors.CredentialsInvalid: errors.CredentialsInvalid(),
    errors.OriginRefused: errors.OriginRefused("http://x"),
    errors.HostRefused: errors.HostRefused("x"),
    errors.JobNotFound: errors.JobNotFound("j"),
    errors.JobNotEnded: errors.JobNotEnded("queued"),
    errors.JobWithoutResult: errors.JobWithoutResult("failed", "The model is gone."),
    errors.JobQueueFull: errors.JobQueueFull(5),
    errors.JobTooLarge: errors.JobTooLarge("input", 5),
    errors.Overloaded: errors.Overloaded(5),
    errors.TooManyRequests: errors.TooManyRequests(5),
    errors.ShuttingDown: errors.ShuttingDown(),
    errors.StoreUnavailable: errors.StoreUnavailable(),
    errors.DeadlineExceeded: errors.DeadlineExceeded(0.5, 1, 2),
    errors.ModelUnavailable: errors.ModelUnavailable("a", "1", "its manifest asks for it"),
    errors.InternalFailure: errors.InternalFailure(),
}


def input_failures() -> list[type[errors.InputFailed]]:
    return errors.InputFailed.__subclasses__()


def leaves(kind: type[errors.StepscopeError]) -> set[type[errors.StepscopeError]]:
    below = kind.__subclasses__()
    return set.union(*(leaves(child) for child in below)) if below else {kind}


def test_every_error_is_told_or_is_listed_as_never_told():
    own = {kind for kind in leaves(errors.StepscopeError) if kind.__module__ == errors.__name__}
    assert own - set(PROBLEMS) - set(input_failures()) == set(NEVER_TOLD)
    assert all(entry_of_class(kind) is PROBLEMS[errors.InputFailed] for kind in input_failures())


def entry_of_class(kind):
    return next(PROBLEMS[parent] for parent in kind.__mro__ if parent in PROBLEMS)


def test_every_problem_is_an_error_of_the_tree():
    assert {kind for kind in PROBLEMS if not issubclass(kind, errors.StepscopeError)} == set()
    assert set(PROBLEMS) == set(SAMPLES) | {errors.InputFailed}


def test_types_are_unique_and_titles_too():
    entries = list(PROBLEMS.values())
    assert len({entry.type for entry in entries}) == len(entries)
    assert len({entry.title for entry in entries}) == len(entries)


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_a_problem_is_what_the_contract_says(contract, kind):
    error = SAMPLES[kind]
    status, body, _ = problem(error, "a" * 32)
    told = json.loads(body)
    contract.validate({"$ref": "#/components/schemas/Problem"}, told)
    assert (told["status"], told["trace_id"]) == (status, "a" * 32)
    assert told["detail"] == str(error)
    assert told["detail"].endswith((".", "?"))


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        (errors.Overloaded, b"retry-after"),
        (errors.TooManyRequests, b"retry-after"),
        (errors.ShuttingDown, b"retry-after"),
        (errors.StoreUnavailable, b"retry-after"),
        (errors.MethodNotAllowed, b"allow"),
        (errors.CredentialsMissing, b"www-authenticate"),
        (errors.CredentialsInvalid, b"www-authenticate"),
    ],
)
def test_some_problems_need_a_header(kind, header):
    assert header in dict(problem(SAMPLES[kind], "")[2])


def test_a_wait_is_never_rounded_to_none():
    for wait_s, told in ((0.0, b"1"), (0.4, b"1"), (1.2, b"2")):
        assert dict(problem(errors.Overloaded(1, wait_s), "")[2])[b"retry-after"] == told


def test_what_isnt_in_the_table_is_told_as_a_fault_of_ours():
    assert entry_of(errors.StepscopeError("an inner thing")).status == 500
    for kind in NEVER_TOLD:
        assert next((PROBLEMS[p] for p in kind.__mro__ if p in PROBLEMS), None) is None


def test_the_contracts_responses_are_the_tables(contract):
    entries = {entry.type: entry for entry in PROBLEMS.values()}
    for name, response in contract.document["components"]["responses"].items():
        if MEDIA_TYPE not in response["content"]:  # a wire with errors of its own
            continue
        for example in response["content"][MEDIA_TYPE]["examples"].values():
            told = contract.resolve(example)["value"]
            contract.validate({"$ref": "#/components/schemas/Problem"}, told)
            assert entries[told["type"]].title == told["title"], name
            assert entries[told["type"]].status == told["status"], name


def test_statuses_are_those_that_the_contract_knows(contract):
    told = {status for _, _, operation in contract.operations() for status in operation["responses"]}
    # A path or method that isn't in the contract has no operation to tell its answer.
    assert {str(entry.status) for entry in PROBLEMS.values()} - {"405"} <= told


def test_codes_of_inputs_are_the_contracts():
    codes = {errors.InputFailed.code, *(kind.code for kind in input_failures())}
    assert codes == {code.value for code in wire.InputProblemCode}


def test_enumerations_of_the_wire_and_the_core_cover_each_other():
    assert set(LEVELS) == set(wire.TraceLevel)
    assert set(LEVELS.values()) == set(TraceLevel)
    assert set(WIRE_TYPES) == set(FeatureType)
    # UNKNOWN is an old reader's name for a type that it doesn't have; no model gives it.
    assert set(WIRE_TYPES.values()) == set(wire.FeatureType) - {wire.FeatureType.UNKNOWN}
