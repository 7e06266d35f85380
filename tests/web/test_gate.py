"""Which pages may call: rebound names and forms sent across sites are refused, this server's own page is not."""

import pytest

from stepscope.core.errors import HostRefused, OriginRefused
from stepscope.web.gate import Gate


def check(host, origin=None, *, origins=(), names=("127.0.0.1",), any_name=False):
    headers = {} if host is None else {b"host": host.encode()}
    if origin is not None:
        headers[b"origin"] = origin.encode()
    Gate(origins, names, any_name=any_name).check(headers)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "[::1]", "192.168.0.7:80", None]
)
def test_addresses_and_localhost_are_ours(host):
    check(host)


@pytest.mark.parametrize(
    "host", ["evil.example:8080", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "[evil]:80"]
)
def test_a_name_that_was_pointed_here_is_refused(host):
    with pytest.raises(HostRefused):
        check(host, f"http://{host}")


def test_a_configured_name_is_ours():
    check("Models.example:8080", names=("models.example",))
    check("anything.example", any_name=True)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:3000", "null", "", "file://", "http://", "chrome-extension://x"]
)
@pytest.mark.parametrize("host", ["127.0.0.1:8080", None])
def test_another_origin_is_refused(origin, host):
    with pytest.raises(OriginRefused):
        check(host, origin)


def test_the_own_page_and_configured_origins_may_call():
    check("127.0.0.1:8080", "http://127.0.0.1:8080")
    check("127.0.0.1:8080", "https://App.example", origins=["https://app.example/"])
    check("127.0.0.1:8080", "null", origins=["*"])


def test_keys_do_not_open_the_door_for_other_origins():
    with pytest.raises(OriginRefused):
        check("models.example", "http://evil.example", any_name=True)


async def test_a_form_sent_across_sites_is_refused_on_the_wire(client):
    body = b'{"model_name": "sum"}'
    form = {"content-type": "application/x-www-form-urlencoded", "origin": "http://evil.example"}
    reply = await client.request("POST", "/api/predict/open", body, headers=form)
    assert (reply.status, reply.problem) == (403, "origin-refused")
    text = await client.request("POST", "/api/predict/open", body, headers={"content-type": "text/plain"})
    assert text.status == 415  # the other type that a form can send without a permission


async def test_a_rebound_name_is_refused_on_every_path(client):
    for path in ("/version", "/ui", "/openapi.json", "/api/registry/models/manifest", "/nowhere"):
        reply = await client.get(path, host="evil.example:8080")
        assert (reply.status, reply.problem) == (403, "host-refused"), path


async def test_configured_origins_get_their_headers(serve):
    page = {"origin": "https://app.example"}
    async with serve(server={"cors_origins": ["https://app.example"]}) as client:
        ask = page | {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        allowed = await client.request("OPTIONS", "/api/predict/open", headers=ask)
        assert allowed.status == 200
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        assert "POST" in allowed.headers["access-control-allow-methods"]
        reply = await client.get("/version", **page)
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert "X-B3-Traceid" in reply.headers["access-control-expose-headers"]
        other = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        assert (await client.request("OPTIONS", "/api/predict/open", headers=other)).status == 400
        assert (await client.get("/version", origin="https://evil.example")).status == 403


async def test_without_configuration_nothing_is_allowed_across_origins(client):
    ask = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    reply = await client.request("OPTIONS", "/api/predict/open", headers=ask)
    assert reply.status == 403
    assert not any(name.startswith("access-control") for name in reply.headers)
