"""Who may ask: every route is walked without a key, and predictors belong to who opened them."""

import hashlib

import pytest

from tests.web.test_lifecycle import CLOSE, OPEN, RESET, opened, predicted, tensor

ADA, BOB = "ada's key", "bob's key ü"
KEYS = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in (("ada", ADA), ("bob", BOB))}
OPERATIONS_WITHOUT_A_KEY = {("GET", "/livez"), ("GET", "/readyz")}
PAGES = ("/", "/ui", "/ui/", "/ui/start.js", "/ui/swagger-ui.css", "/openapi.json", "/openapi.yaml", "/favicon.ico")


def bearer(key):
    return {"authorization": f"Bearer {key}".encode().decode("latin-1")}


@pytest.fixture
async def guarded(serve):
    async with serve(auth={"keys": KEYS}) as client:
        yield client


WRONG = {
    "nothing": {},
    "empty": {"authorization": ""},
    "no key": {"authorization": "Bearer"},
    "another": bearer("guess"),
    "digest": bearer(KEYS["ada"]),
    "basic": {"authorization": "Basic YWRhOmtleQ=="},
    "other scheme": {"authorization": f"Digest {ADA}"},
    "in the wrong place": {"x-api-key": ADA, "cookie": f"authorization={ADA}"},
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
async def test_every_operation_asks_for_a_key(guarded, contract, headers):
    operations = contract.operations()
    assert len(operations) >= 14
    for method, path, _ in operations:
        reply = await guarded.request(method, path, b"{}" if method == "POST" else b"", headers=headers)
        if (method, path) in OPERATIONS_WITHOUT_A_KEY:
            assert reply.status == 200, path
        else:
            assert reply.status == 401, f"{method} {path} is open"
            assert reply.headers["www-authenticate"] == "Bearer"
            assert reply.problem in ("credentials-missing", "credentials-invalid")


@pytest.mark.parametrize("trick", ["{}/", "/{}", "//{}", "/ui/..{}", "/ui/../..{}", "{}//", "{}%2f", "/./{}", "{};x"])
async def test_no_spelling_of_a_path_goes_around_the_key(guarded, contract, trick):
    for method, path, _ in contract.operations():
        if (method, path) in OPERATIONS_WITHOUT_A_KEY:
            continue
        reply = await guarded.request(method, trick.format(path), b"{}" if method == "POST" else b"")
        assert reply.status in (401, 404, 405), trick


async def test_pages_are_open(guarded):
    for path in PAGES:
        assert (await guarded.get(path)).status in (200, 307), path


async def test_the_body_is_not_read_before_the_key(guarded):
    reply = await guarded.request("POST", OPEN, [b"{", b"not json"])
    assert reply.status == 401


@pytest.mark.parametrize("key", [ADA, BOB])
async def test_a_key_opens(guarded, key):
    client = guarded.with_headers(**bearer(key))
    predictor = await opened(client)
    assert (await predicted(client, predictor, tensor(1))).status == 200


async def test_the_scheme_is_read_without_case(guarded):
    assert (await guarded.get("/version", authorization=f"bEARER  {ADA}")).status == 200


async def test_another_owners_predictor_is_not_there(guarded):
    ada, bob = guarded.with_headers(**bearer(ADA)), guarded.with_headers(**bearer(BOB))
    predictor = await opened(ada)
    for reply in (
        await predicted(bob, predictor, tensor(1)),
        await bob.post(RESET, {"id": predictor}),
        await bob.post(CLOSE, {"id": predictor}),
    ):
        assert (reply.status, reply.problem) == (404, "predictor-not-found")
    assert (await predicted(ada, predictor, tensor(1))).status == 200


async def test_without_keys_a_stray_header_is_no_matter(client):
    assert (await client.get("/version", authorization="Bearer whatever")).status == 200
