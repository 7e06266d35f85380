"""Operations and handlers cover each other: what is missing or mistyped fails before a server listens."""

import inspect

import pytest

from stepscope.dialects.mlmodelscope.jobs import JobQueue
from stepscope.dialects.mlmodelscope.predict import Predict
from stepscope.dialects.mlmodelscope.registry import Registry
from stepscope.dialects.system import System
from stepscope.dialects.traces import TraceQueries
from stepscope.web.auth import Authenticator
from stepscope.web.contract import check_handler, contract_app
from stepscope_api.operations import OPERATIONS, PROTOCOLS

HANDLERS = {"predict": Predict, "jobs": JobQueue, "registry": Registry, "system": System, "traces": TraceQueries}


def public(kind: type) -> set[str]:
    return {name for name, value in vars(kind).items() if inspect.isfunction(value) and not name.startswith("_")}


def test_every_tag_has_its_handler_and_every_handler_its_tag(contract):
    assert contract.tags() == set(PROTOCOLS) == set(HANDLERS)


@pytest.mark.parametrize("tag", HANDLERS)
def test_a_handler_has_the_operations_of_its_tag_and_no_others(tag):
    wanted = {operation.name for operation in OPERATIONS.values() if operation.tag == tag}
    assert wanted == public(HANDLERS[tag]) == public(PROTOCOLS[tag])


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.operation_id)
def test_a_handlers_parameters_are_the_operations(operation):
    given = inspect.signature(getattr(HANDLERS[operation.tag], operation.name)).parameters
    wanted = ["self", "context", *(["body"] if operation.requests else [])]
    assert list(given) == [*wanted, *(parameter.python_name for parameter in operation.parameters)]


def test_the_table_of_operations_is_the_contracts(contract):
    told = {(method, path, operation["operationId"]) for method, path, operation in contract.operations()}
    assert told == {(entry.method, entry.path, entry.operation_id) for entry in OPERATIONS.values()}


def test_what_the_contract_leaves_open_is_what_needs_no_key(contract):
    for _, _, operation in contract.operations():
        secured = operation.get("security", contract.document["security"]) != []
        assert OPERATIONS[operation["operationId"]].secured == secured


class Wanted:
    async def look(self, context, body, *, limit=1): ...
    async def touch(self, context): ...


class Good(Wanted):
    pass


class Lacking:
    async def look(self, context, body, *, limit=1): ...


class Plain(Good):
    def touch(self, context): ...


class Other:
    async def touch(self, context): ...
    async def look(self, context, body, *, other=1): ...


def test_a_good_handler_passes():
    check_handler("tag", Wanted, Good())


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (None, "nothing handles it"),
        (Lacking(), "lacks 'async def touch'"),
        (Plain(), "lacks 'async def touch'"),
        (Other(), "takes .*other.* asks for .*limit"),
    ],
)
def test_another_handler_is_refused(handler, told):
    with pytest.raises(TypeError, match=told):
        check_handler("tag", Wanted, handler)


def test_a_server_with_a_missing_handler_is_not_built(contract):
    with pytest.raises(TypeError, match="'jobs'"):
        contract_app(contract.document, {"predict": Predict(*[None] * 4)}, Authenticator({}), 1)  # type: ignore[arg-type]
