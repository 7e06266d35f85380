"""The mindspore wire: every case of its tables, through the whole web stack over the echo runtime."""

import asyncio
import base64
import contextlib
import hashlib
import json
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepscope.dialects.mindspore.answers import write_outcomes
from stepscope.dialects.mindspore.refusals import cut
from stepscope.dialects.mindspore.requests import read_instances, read_json
from tests.dialects import servables

P = "Parser request failed, "


@pytest.fixture
async def wire(serve, models):
    servables.write(models)
    async with serve() as client:
        yield client


async def post(client, path, body):
    sent = body if isinstance(body, bytes) else body.encode()
    reply = await client.request("POST", path, sent)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    return reply.body.decode()


async def told(client, path, body):
    document = json.loads(await post(client, path, body))
    assert list(document) == ["error_msg"], document
    return document["error_msg"]


async def same(client, text):
    """Send a value through a method without stages, and return it as it comes back."""
    reply = await post(client, "/model/wire:same", '{"instances":{"x":' + text + "}}")
    head, tail = '{"instances":[{"x":', "}]}"
    return reply[len(head) : -len(tail)] if reply.startswith(head) else json.loads(reply)["error_msg"]


TARGETS = {
    "/model/wire:same": None,
    "/model/wire/:same": None,
    "/model/wire/version/1:same": None,
    "/version/1/model/wire:same": None,
    "/model/wire/version/0:same": None,
    "/model/wire/version/01:same": None,
    "/model/wire/version/+1:same": None,
    "/model/wire/version/1abc:same": None,
    "/model/wire/version/1.5:same": None,
    "/model/wire/version/2:same": "Request servable(wire) method(same)  version(2) , servable is not available",
    "/model/wire/version/4294967294:same": "Request servable(wire) method(same)  version(4294967294) , "
    "servable is not available",
    "/model/nope:same": "Request servable(nope) method(same) , servable is not available",
    "/model/wire:nope": "Request servable(wire) method(nope) , method is not available",
    "/model/wire/version/-1:same": "please check url, version number range failed, request version number -1",
    "/model/wire/version/4294967295:same": "please check url, version number range failed, "
    "request version number 4294967295",
    "/model/wire/version/99999999999999999999999:same": "please check url, version number range failed, "
    "request version number 99999999999999999999999",
    "/model/wire/version/x:same": "please check url, the keyword:[version] value invalid, request version number x",
    "/model/wire/version/:same": "please check url, the keyword:[version] value invalid, request version number ",
    "/model/wire/version": "please check url, the keyword:[version] value invalid, request version number ",
    "/model/wire": "please check url, the keyword:[service method] must contain.",
    "/model/wire:": "please check url, the keyword:[service method] must contain.",
    "/model": "please check url, the keyword:[model] must contain.",
    "/model/": "please check url, the keyword:[model] must contain.",
    "/model/:same": "please check url, the keyword:[model] must contain.",
    "/version": "please check url, the keyword:[model] must contain.",
    "/version/1:same": "please check url, the keyword:[model] must contain.",
    "/x/:same": "please check url, the keyword:[model] must contain.",
    "/v1/model/wire:same": "please check url, the keyword:[model] must contain.",
}


@pytest.mark.parametrize(("path", "text"), TARGETS.items(), ids=str)
async def test_targets(wire, path, text):
    body = '{"instances":[{"x":1}]}'
    if text is None:
        assert await post(wire, path, body) == body
    else:
        assert await told(wire, path, body) == text


async def test_the_version_without_a_number_is_the_highest(serve, models):
    servables.write(models, versions=("1", "3", "10"))
    version = (
        "import pathlib\nfrom stepscope.mindspore import register\n@register.register_method('y')\ndef f(x): return x\n"
    )
    servables.write(models, version, name="other", versions=("2",))
    async with serve() as client:
        assert await post(client, "/model/wire/version/10:same", '{"instances":{"x":1}}')
        assert await post(client, "/model/other/version/2:f", '{"instances":{"x":1}}') == '{"instances":[{"y":1}]}'
        text = await told(client, "/model/other/version/1:f", '{"instances":{"x":1}}')
        assert text == "Request servable(other) method(f)  version(1) , servable is not available"


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE", "HEAD"])
async def test_other_verbs(wire, verb):
    reply = await wire.request(verb, "/model/wire:same", b"")
    assert (reply.status, reply.json()) == (200, {"error_msg": "http message only support POST right now"})


@pytest.mark.parametrize("verb", ["PATCH", "OPTIONS", "TRACE", "BREW"])
async def test_unknown_verbs(wire, verb):
    assert (await wire.request(verb, "/model/wire:same", b"")).status == 501


async def test_the_order_of_checks(wire):
    assert await told(wire, "/model", b"") == "http message invalid"
    assert (await told(wire, "/model", b"{")).startswith("Illegal JSON format.")
    assert await told(wire, "/model", b"[]") == "please check url, the keyword:[model] must contain."
    assert (await told(wire, "/model/a/version/x", b"[]")).startswith("please check url, the keyword:[version]")
    assert await told(wire, "/model/a", b"[]") == "please check url, the keyword:[service method] must contain."
    assert (await told(wire, "/model/nope:nope", b"[]")).startswith(P)
    assert (await told(wire, "/model/nope:nope", b'{"instances":{"x":1}}')).endswith(", servable is not available")
    assert (await told(wire, "/model/wire:nope", b'{"instances":{"x":1}}')).endswith(", method is not available")
    missing = "Cannot find input x in instance input , servable wire, method same"
    assert await told(wire, "/model/wire:same", b'{"instances":[{"x":1},{"y":1}]}') == missing


async def test_the_limit_of_a_body(serve, models):
    servables.write(models)
    async with serve(mindspore={"max_msg_mb": 1}) as client:
        head, tail = b'{"instances":{"x":"', b'"}}'
        whole = head + b"a" * (2**20 - len(head) - len(tail)) + tail
        assert len(await post(client, "/model/wire:same", whole)) == 2**20 + 2
        text = "http message is bigger than 1048576"
        assert await told(client, "/model/wire:same", whole + b" ") == text
        assert json.loads((await client.request("POST", "/model", [whole, b" "])).body) == {"error_msg": text}


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"[1,]", b"{'a':1}", b"NaN", b"[Infinity]", b"[01]", b"{} x", b"1e400", b'"\\ud800"', b'"\xff"'),
        *(b"/* */1", b'{"a":1,}', b"tru", b"\x00", b'"\x01"', b'{"instances":{"x":"\xc3"}}'),
    ],
)
async def test_what_is_not_json(wire, body):
    assert (await told(wire, "/model/wire:same", body)).startswith("Illegal JSON format.")


async def test_what_is_json(wire):
    reply = '{"instances":[{"x":1}]}'
    assert await post(wire, "/model/wire:same", b"\xef\xbb\xbf" + reply.encode()) == reply
    assert await post(wire, "/model/wire:same", '{"instances":5,"instances":{"x":2,"x":1}}') == reply
    assert await post(wire, "/model/wire:same", '{"other":[[]],"instances":{"x":1}}') == reply


TOP = {
    "[]": "key 'instances' expects to exist once, but actually 0 times",
    "5": "key 'instances' expects to exist once, but actually 0 times",
    "{}": "key 'instances' expects to exist once, but actually 0 times",
    '{"instances":{}}': "json object, value is empty",
    '{"instances":[]}': "instances value is array type, but no value",
    '{"instances":null}': "instances no key mode is not supported",
    '{"instances":5}': "instances no key mode is not supported",
    '{"instances":[1,{"x":1}]}': "instances no key mode is not supported",
    '{"instances":[[]]}': "instances no key mode is not supported",
    '{"instances":[{"x":1},2]}': "json array, instance is not object type",
    '{"instances":[{"x":1},{}]}': "json array, instance is object type, but no value",
    '{"instances":[{}]}': "json array, instance is object type, but no value",
    '{"instances":{"":1}}': "string key is empty",
    '{"instances":{"x":1,"other":null}}': "json value is null, it is not supported",
    '{"instances":{"x":[],"a":null}}': "json value is null, it is not supported",
}


@pytest.mark.parametrize(("body", "text"), TOP.items())
async def test_the_top_level(wire, body, text):
    assert await told(wire, "/model/wire:same", body) == P + text


SCALARS = {
    "1": "1",
    "-0": "0",
    "2147483647": "2147483647",
    "2147483648": "-2147483648",
    "-2147483649": "2147483647",
    "4294967296": "0",
    "18446744073709551615": "-1",
    "18446744073709551616": "1.8446744073709552e+19",
    "-9223372036854775809": "-9.223372036854776e+18",
    "1.0": "1.0",
    "1e2": "100.0",
    "0.1": "0.10000000149011612",
    "1e39": "null",
    "-1e300": "null",
    "1e-300": "0.0",
    "-0.0": "-0.0",
    "1e-5": "9.999999747378752e-06",
    "true": "true",
    "false": "false",
    '"a\\u0000\\u00fc\\ud83d\\ude00"': '"a\\u0000ü😀"',
    '""': '""',
    "null": P + "json value is null, it is not supported",
}


@pytest.mark.parametrize(("text", "reply"), SCALARS.items())
async def test_scalars(wire, text, reply):
    assert await same(wire, text) == reply


async def test_integers_may_be_refused_instead(serve, models):
    servables.write(models)
    async with serve(mindspore={"wrap_integers": False}) as client:
        assert await same(client, "2147483647") == "2147483647"
        for text in ("2147483648", "[1,-2147483649]", "18446744073709551615"):
            assert await same(client, text) == P + "json value is out of the range of int32"


SINGLE = "json array, string or bytes type only support one item"
LISTS = {
    "[1]": "[1]",
    "[[1,2],[3,4]]": "[[1,2],[3,4]]",
    "[true]": "[true]",
    '["a"]': '["a"]',
    '[{"b64":"YQ=="}]': '[{"b64":"YQ=="}]',
    '[{"b64":"YQ==","type":"str"}]': '["a"]',
    "[]": P + "json array, shape is empty",
    "[null]": P + "json array, data type is unknown",
    "[[]]": P + "json array, data type is unknown",
    "[[],[1]]": P + "json array, data type is unknown",
    "[[1,2],[3]]": P + "invalid json array: json size is 1, the dim 1 expected to be 2",
    "[[[1,2]],[[3]]]": P + "invalid json array: json size is 1, the dim 2 expected to be 2",
    "[[[1]],[[2],[3]]]": P + "invalid json array: json size is 2, the dim 1 expected to be 1",
    "[[1],2]": P + "invalid json array: json type is not array",
    "[1,[2]]": P + "json array, data should be number, bool, string or bytes",
    "[1,null]": P + "json array, data should be number, bool, string or bytes",
    '[1,{"b64":"AA=="}]': P + "json array, data should be number, bool, string or bytes",
    "[1,2.0]": P + "json array, elements type is not equal",
    "[true,1]": P + "json array, elements type is not equal",
    '[1,"a"]': P + "json array, elements type is not equal",
    "[[1,2.0],[3]]": P + "json array, elements type is not equal",
    "[[1,2],[3],4.5]": P + "invalid json array: json size is 1, the dim 1 expected to be 2",
    '["a","b"]': P + SINGLE,
    '["a",["b"]]': P + SINGLE,
    '[["a","b"],[1]]': P + SINGLE,
    '[{"b64":"AA=="},{"b64":"AA=="}]': P + SINGLE,
    '[{"b64":"AA==","type":"int8"}]': P + "json array, item is object type, object only support string or bytes type",
    '[{"b64":"AA==","type":"int"}]': P + "json array, data type is unknown",
    '[{"b64":"AA==","type":1}]': P + "json object, key is 'type', value should be string type",
    '[["a"]]': "Instances input x check failed, detail: Instance tensor check failed: bytes or string type input  "
    "shape can only be (1,) or empty, but given shape is [1, 1]",
    "[" * 33 + "1" + "]" * 33: P + "invalid json array: the dims are 33, expected to be at most 32",
    "[" * 32 + "1" + "]" * 32: "[" * 32 + "1" + "]" * 32,
}


@pytest.mark.parametrize(("text", "reply"), LISTS.items())
async def test_lists(wire, text, reply):
    assert await same(wire, text) == reply


def big(text, value):
    return f"[{','.join([text] * 99)},{value}]"


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        (big("1", "2.0"), "json array, elements type is not equal"),
        (big("[1]", "2"), "invalid json array: json type is not array"),
        (big("[1]", "[1,2]"), "invalid json array: json size is 2, the dim 1 expected to be 1"),
        (big("1.5", "null"), "json array, data should be number, bool, string or bytes"),
    ],
)
async def test_long_lists_are_judged_alike(wire, text, reply):
    assert await same(wire, text) == P + reply


ONLY_ONE = "json object, only support scalar when data type is string or bytes, please check 'type' or 'shape'"
UNSIGNED = "json object, key is 'shape', array value should be unsigned integer"
OBJECTS = {
    '{"b64":"YQ=="}': '{"b64":"YQ=="}',
    '{"b64":"AR=="}': '{"b64":"AQ=="}',
    '{"b64":""}': '{"b64":""}',
    '{"b64":"YQ==","type":"str"}': '"a"',
    '{"b64":"YQ==","type":"str","shape":[1]}': '["a"]',
    '{"b64":"","type":"str"}': '""',
    '{"b64":"AQACAAIAAwADAAQA","type":"int16","shape":[3,2]}': "[[1,2],[2,3],[3,4]]",
    '{"b64":"AQAAAA==","type":"int32"}': "1",
    '{"b64":"AQAAAA==","type":"int32","shape":[1]}': "[1]",
    '{"b64":"//////////8=","type":"uint64"}': "18446744073709551615",
    '{"b64":"AAAAAAAAAIA=","type":"int64"}': "-9223372036854775808",
    '{"b64":"Zi4=","type":"fp16"}': "0.0999755859375",
    '{"b64":"AQA=","type":"float16"}': "5.960464477539063e-08",
    '{"b64":"AQAAAA==","type":"fp32"}': "1.401298464324817e-45",
    '{"b64":"mpmZmZmZuT8=","type":"fp64"}': "0.1",
    '{"b64":"AAEC","type":"bool","shape":[3]}': "[false,true,true]",
    '{"b64":"","type":"int8","shape":[0]}': "[]",
    '{"b64":"","type":"float32","shape":[2,0]}': "[[],[]]",
    "{}": P + "json object, value is empty",
    '{"b64":"","a":1,"b":2,"c":3}': P
    + "json object, items size is more than 3, only support specified ['b64', 'type', 'shape']",
    '{"b64":"","B64":1}': P + "json object, key is not ['b64', 'type', 'shape'], fail key:B64",
    '{"shape":5,"zzz":1}': P + "json object, key is 'shape', value should be array type",
    '{"type":"bytes"}': P + "json object, 'b64' should be specified only one time",
    '{"b64":"","type":5}': P + "json object, key is 'type', value should be string type",
    '{"b64":"","type":"int"}': P + "json object, specified type:'int' is illegal",
    '{"b64":"","type":"INT32"}': P + "json object, specified type:'INT32' is illegal",
    '{"b64":"","type":""}': P + "json object, specified type:'' is illegal",
    '{"b64":"","shape":null}': P + "json object, key is 'shape', value should be array type",
    '{"b64":"","shape":[-1]}': P + UNSIGNED,
    '{"b64":"","shape":[1.0]}': P + UNSIGNED,
    '{"b64":"","shape":["1"]}': P + UNSIGNED,
    '{"b64":"","shape":[[1]]}': P + UNSIGNED,
    '{"b64":"","shape":[true]}': P + UNSIGNED,
    '{"b64":"","shape":[2147483648]}': P
    + "json object, key is 'shape', number value should not be negative number, shape value: [2147483648]",
    '{"b64":"","type":"int8","shape":[0,2]}': P + "json object, key is 'shape', invalid shape value [0,2]",
    '{"b64":"","type":"int8","shape":[1,2,0,1]}': P + "json object, key is 'shape', invalid shape value [1,2,0,1]",
    '{"b64":"YQ==","shape":[0]}': P + ONLY_ONE,
    '{"b64":"YQ==","type":"str","shape":[2]}': P + ONLY_ONE,
    '{"b64":5}': P + "get scalar data failed, type is string, but json is not string type",
    '{"b64":null,"type":"int8"}': P + "get scalar data failed, type is string, but json is not string type",
    '{"b64":"AQI"}': P + "'AQI' is illegal b64 encode string",
    '{"b64":"AQ==AQ=="}': P + "decode base64 failed, size is not matched.",
    '{"b64":"AQ=A"}': P + "decode base64 failed, size is not matched.",
    '{"b64":"AQI=","type":"int32"}': P
    + "size is not matched, decode base64 size:2; Given info: type:int32; type size:4; element nums:1",
    '{"b64":"AQ==","type":"fp16","shape":[2,0]}': P
    + "size is not matched, decode base64 size:1; Given info: type:float16; type size:2; element nums:0",
    '{"b64":"YQ==","shape":[1,1]}': "Instances input x check failed, detail: Instance tensor check failed: bytes or "
    "string type input  shape can only be (1,) or empty, but given shape is [1, 1]",
}


@pytest.mark.parametrize(("text", "reply"), OBJECTS.items())
async def test_objects(wire, text, reply):
    assert await same(wire, text) == reply


DEADLY = {
    **{
        f'{{"b64":"{text}"}}': f"'{text}' is illegal b64 encode string"
        for text in ("AA-_", "A  A", "ÄÖ", "====", "A===")
    },
    '{"b64":"","type":"int8","shape":[2147483647,2147483647,2147483647]}': "size is not matched, decode base64 size:0; "
    f"Given info: type:int8; type size:1; element nums:{(2**31 - 1) ** 3}",
    '{"b64":"/w==","type":"str"}': "decode str failed, the decoded base64 is not UTF-8",
    "[" * 200_000: "invalid json array: the nesting is too deep",
    "[" * 200_000 + "1" + "]" * 200_000: "invalid json array: the nesting is too deep",
    '[{"b64":"YQ==","type":1}]': "json object, key is 'type', value should be string type",
}


@pytest.mark.parametrize(("text", "reply"), DEADLY.items(), ids=range(len(DEADLY)))
async def test_what_hangs_or_ends_other_servers_is_answered(wire, text, reply):
    started = time.monotonic()
    for _ in range(20):
        assert await same(wire, text) == P + reply
    assert time.monotonic() - started < 5
    assert await same(wire, "1") == "1"


async def test_a_thousand_deadly_requests_leave_the_server_well(wire):
    bodies = [text for text in DEADLY if len(text) < 1000]
    for _ in range(1000 // len(bodies) + 1):
        await asyncio.gather(*[same(wire, text) for text in bodies])
    assert await same(wire, "1") == "1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("int", "5"),
        ("float", "0.5"),
        ("bool", "true"),
        ("str", '"ü"'),
        ("bytes", '{"b64":"YWI="}'),
        ("half", "0.0999755859375"),
        ("empty", "[]"),
        ("rows", "[[],[],[]]"),
        ("unsigned", "18446744073709551615"),
        ("turned", "[[0,3],[1,4],[2,5]]"),
        ("special", "[null,null,null,-0.0,1e+22,1e+15,1e-05]"),
    ],
)
async def test_outputs(wire, text, shown):
    body = f'{{"instances":{{"x":"{text}"}}}}'
    assert await post(wire, "/model/wire:kinds", body) == f'{{"instances":[{{"y":{shown}}}]}}'


@pytest.mark.parametrize("text", ["none", "dict", "complex", "object", "big", "surrogate"])
async def test_outputs_without_a_place_on_the_wire(wire, text):
    call = "Call Function 'wire.kinds' Failed, method: 'kinds', stage index(begin with 1): 1, error msg: "
    found = await told(wire, "/model/wire:kinds", f'{{"instances":{{"x":"{text}"}}}}')
    assert found.startswith(call + "Push py task result cause exception: ")
    assert await post(wire, "/model/wire:kinds", '{"instances":{"x":"int"}}') == '{"instances":[{"y":5}]}'


async def test_names_are_sorted_and_compact(wire):
    reply = await post(wire, "/model/wire:two", '{"instances":{"a":1,"b":"ü"}}')
    assert reply == '{"instances":[{"a":1,"z":"ü"}]}'


def failed(name, text, tag=None):
    tag = tag or f"Function 'wire.{name}'"
    return f"Call {tag} Failed, method: '{name}', stage index(begin with 1): 1, error msg: {text}"


async def test_partial_failures(wire):
    async def run(method, *values):
        body = json.dumps({"instances": [{"x": value} for value in values]})
        return json.loads(await post(wire, f"/model/wire:{method}", body))

    bad = {"error_msg": failed("picky", "no 3 please")}
    assert await run("picky", 1, 3, 2) == {"instances": [{"y": 1}, bad, {"y": 2}]}
    assert await run("picky", 3) == bad
    assert await run("picky", 3, 3) == bad
    assert await run("tagged", 3) == {"error_msg": failed("tagged", "no 3 please", "Preprocess")}
    bad = {"error_msg": failed("generated", "no 3 from a generator")}
    assert await run("generated", 1, 3, 2, 3, 5) == {"instances": [{"y": 1}, bad, {"y": 2}, bad, {"y": 5}]}
    assert await run("listed", 1, 2) == {"instances": [{"y": 1}, {"y": 2}]}
    assert await run("listed", 3) == {"error_msg": failed("listed", "no 3 in a list")}
    assert (await run("none", 1))["error_msg"].endswith("Get illegal result data with type <class 'NoneType'>")
    assert await run("more", 1) == {
        "error_msg": failed(
            "more",
            "The outputs number 3 of one instance returned by function 'wire.more' is not equal to the outputs number "
            "2  registered in method more",
        )
    }
    assert await run("fewer", 1) == {
        "error_msg": failed(
            "fewer",
            "The number 0 of instances returned by function 'wire.fewer' is not equal to the number 1 of instances "
            "provided to this function.",
        )
    }
    assert "tried to end the server" in (await run("leaving", 1))["error_msg"]
    assert await run("argmax", [1.0, 5.0, 2.0]) == {"instances": [{"y": 1}]}
    assert await run("called", [[1.0, 2.0], [3.0, 4.0]]) == {"instances": [{"y": [[1.0, 2.0], [3.0, 4.0]]}]}


async def test_model_inputs_are_checked_by_bytes_and_type(wire):
    async def run(x1):
        body = '{"instances":{"x1":' + x1 + ',"x2":[[1.0,2.0],[3.0,4.0]]}}'
        return json.loads(await post(wire, "/model/wire:given", body))

    assert await run("[1.0,2.0,3.0,4.5]") == {"instances": [{"y": [[1.0, 2.0], [3.0, 4.5]]}]}
    size = "Given model input 0 size {} not match the size 16 defined in model"
    assert await run("[1.0,2.0]") == {"error_msg": size.format(8)}
    assert await run('"abcd"') == {"error_msg": size.format(0)}
    kind = "Given model input 0 data type kMSI_{} not match the data type kMSI_Float32 defined in model"
    assert await run("[1,2,3,4]") == {"error_msg": kind.format("Int32")}
    octets = base64.b64encode(bytes(16)).decode()
    assert await run(f'{{"b64":"{octets}","type":"uint16","shape":[8]}}') == {"error_msg": kind.format("Uint16")}


async def test_long_texts_keep_both_ends(wire):
    text = await told(wire, "/model/wire:long", '{"instances":{"x":1}}')
    octets = text.encode()
    assert 380 <= len(octets) <= 387
    assert text.startswith("Call Function 'wire.long' Failed, method")
    assert "..." in text
    assert cut("a" * 400) == "a" * 192 + "..." + "a" * 192
    assert cut("a" * 384) == "a" * 384


async def test_statuses_can_be_told_too(serve, models):
    servables.write(models)
    async with serve(mindspore={"http_status": True}) as client:
        for path, body, status in [
            ("/model/wire:same", b'{"instances":{"x":1}}', 200),
            ("/model/wire:same", b"{", 400),
            ("/model/nope:same", b'{"instances":{"x":1}}', 404),
        ]:
            assert (await client.request("POST", path, body)).status == status
        assert (await client.request("GET", "/model/wire:same")).status == 405


async def test_a_full_server_says_so(serve, models):
    servables.write(models)
    async with serve(limits={"inputs": 2, "inputs_per_owner": 2}) as client:
        body = '{"instances":[{"x":1},{"x":1},{"x":1}]}'
        text = "Serving Error: enqueued requests count exceeds the limit 2"
        assert await told(client, "/model/wire:picky", body) == text


async def test_time_is_bounded(serve, models):
    servables.write(models)
    async with serve(predict={"timeout_s": 0.05}) as client:
        assert await told(client, "/model/wire:slow", '{"instances":{"x":0.3}}') == "Time out"


async def test_a_client_that_goes_away_leaves_the_queue(wire):
    gone = asyncio.Event()
    first = asyncio.ensure_future(wire.request("POST", "/model/wire:slow", b'{"instances":{"x":0.3}}'))
    await asyncio.sleep(0.1)
    body = json.dumps({"instances": [{"x": 5.0}] * 3}).encode()
    second = asyncio.ensure_future(_ignored(wire.request("POST", "/model/wire:slow", body, gone=gone)))
    await asyncio.sleep(0.1)
    gone.set()
    await asyncio.gather(first, second)
    started = time.monotonic()
    assert await post(wire, "/model/wire:slow", '{"instances":{"x":0.0}}')
    assert time.monotonic() - started < 2


async def _ignored(request):
    with contextlib.suppress(IndexError):  # no answer was sent
        await request


async def test_keys_are_asked_for(serve, models):
    servables.write(models)
    keys = {"ada": hashlib.sha256(b"key").hexdigest()}
    async with serve(auth={"keys": keys}) as client:
        for path in ("/model/wire:same", "/model", "/x:y", "/version/1/model/wire:same"):
            for verb in ("POST", "GET"):
                assert (await client.request(verb, path, b"")).status == 401
        opened = client.with_headers(authorization="Bearer key")
        assert await same(opened, "1") == "1"


async def test_native_paths_stay_where_they_are(wire):
    assert (await wire.get("/version")).json()["server"]
    assert (await wire.request("POST", "/nowhere", b"{}")).problem == "route-not-found"


async def test_models_have_predict_from_their_manifests(wire):
    reply = await post(wire, "/model/echo:predict", '{"instances":[{"x0":[1.0,2.0]}]}')
    assert reply == '{"instances":[{"y0":[1.0,2.0]}]}'
    assert (await told(wire, "/model/broken:predict", '{"instances":{"x0":1.0}}')).endswith("is not available")
    assert await told(wire, "/model/failing:predict", '{"instances":{"x0":1.0}}') == "Predict Failed"
    reply = json.loads(await post(wire, "/model/picky:predict", '{"instances":[{"x0":[1.0]},{"x0":[-1.0]}]}'))
    assert reply == {"instances": [{"y0": [1.0]}, {"error_msg": "Predict Failed"}]}


async def test_strangers_instances_run_together_and_are_not_mixed_up(wire, runtime):
    async def one(number):
        body = json.dumps({"instances": [{"x1": [float(number)] * 4, "x2": [0.0] * 4}] * 3})
        reply = json.loads(await post(wire, "/model/wire:given", body))
        assert reply == {"instances": [{"y": [[float(number)] * 2] * 2}] * 3}

    await asyncio.gather(*[one(number) for number in range(50)])
    assert sum(runtime.batches) == 150
    assert len(runtime.batches) < 100


DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
)


@st.composite
def tensors(draw):
    shape = tuple(draw(st.lists(st.integers(1, 4), max_size=5)))
    if draw(st.booleans()) and shape:
        shape = (*shape[:-1], 0)
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    count = int(np.prod(shape)) * dtype.itemsize
    octets = draw(st.binary(min_size=count, max_size=count))
    array = np.frombuffer(octets, np.uint8 if dtype == np.bool_ else dtype)
    return array.astype(np.bool_).reshape(shape) if dtype == np.bool_ else array.reshape(shape)


MANY = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def echoed(value):
    document = read_json(json.dumps({"instances": [{"x": value}]}).encode())
    return json.loads(write_outcomes(read_instances(document, wrap=True)))["instances"][0]["x"]


def finite(value):
    """What JSON has no place for is null."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


@MANY
@given(tensors())
def test_any_tensor_goes_in_as_base64_and_comes_out_the_same(array):
    value = {"b64": base64.b64encode(array.tobytes()).decode(), "type": array.dtype.name, "shape": list(array.shape)}
    assert repr(echoed(value)) == repr(finite(array.tolist()))


@MANY
@given(tensors().filter(lambda array: array.size and array.dtype.name in ("bool", "int32", "float32")))
def test_any_tensor_goes_in_as_json_and_comes_out_the_same(array):
    array = np.nan_to_num(array) if array.dtype.kind == "f" else array
    assert repr(echoed(array.tolist())) == repr(array.tolist())


@MANY
@given(st.lists(st.floats(), min_size=1, max_size=200))
def test_floats_are_written_as_python_and_others_write_them(numbers):
    text = write_outcomes([{"x": np.array(numbers)}]).decode()
    assert text[:20] == '{"instances":[{"x":['
    for number, shown in zip(numbers, text[20:-4].split(","), strict=True):
        if not np.isfinite(number):
            assert shown == "null"
        elif not 1e15 <= abs(number) < 1e16:
            assert shown == repr(number)
        else:
            assert "e+15" in shown
            assert float(shown) == number
