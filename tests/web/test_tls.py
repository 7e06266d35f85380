"""TLS as clients meet it, and the files that it is made of."""

import signal
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager

import httpx2
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stepscope.app.listening import tls_context
from stepscope.app.server import build
from stepscope.core.errors import SettingsInvalid
from stepscope.web import serve
from stepscope.web.connection import Connection
from stepscope.web.tls import ServerContext
from tests.web.certificates import DAY, NOW, Authority, Identity, curl
from tests.web.served import listening, process, raw, received
from tests.web.servers import write_models

PROBE = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def server(ca):
    return ca.issue("server")


@pytest.fixture
def stranger(tmp_path):
    return Authority(tmp_path, "stranger")


@pytest.fixture
def port(settings, runtime, contract, server):
    """A server with one-way TLS."""
    with serving(settings(tls=server.section), runtime) as port:
        yield port


@pytest.fixture
def mutual(settings, runtime, contract, ca, server):
    """A server that asks for certificates of its CA."""
    section = server.section | {"verify_client": True, "custom_ca": str(ca.file)}
    with serving(settings(tls=section), runtime) as port:
        yield port


@contextmanager
def serving(settings, runtime):
    with listening(build(settings, runtime), tls=tls_context(settings)) as port:
        yield port


@contextmanager
def secure(port, context):
    with raw(port) as plain, context.wrap_socket(plain, server_hostname="localhost") as connection:
        yield connection


def sent(port, context, data):
    """Send something, and return the beginning of the answer."""
    with secure(port, context) as connection:
        connection.sendall(data)
        return connection.recv(4096)


def answers(port, ca, *options):
    """Whether curl gets an answer; else what it told."""
    code, out, told = curl(f"https://localhost:{port}/livez", "--cacert", str(ca.file), *options)
    assert (code == 0) == ('"ok"' in out), (code, out, told)
    return told or code == 0


# --- one way --------------------------------------------------------------------------------------


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
def test_a_client_that_knows_the_ca(port, ca, newest):
    assert answers(port, ca, "--tls-max", newest, f"--tlsv{newest}") is True


def test_a_client_that_does_not_know_the_ca(port, stranger):
    assert "unable to get local issuer" in str(answers(port, stranger))
    code, out, _ = curl(f"https://localhost:{port}/livez", "--insecure")
    assert (code, '"ok"' in out) == (0, True)


def test_no_certificate_is_asked_for(port, ca, stranger):
    shown = stranger.issue("client").curl
    _, _, told = curl(f"https://localhost:{port}/livez", "--cacert", str(ca.file), "-v", *shown)
    assert "Request CERT" not in told
    assert "200 OK" in told


@pytest.mark.parametrize("old", ["1.0", "1.1"])
def test_old_versions_are_refused_with_an_alert(port, ca, old):
    told = str(answers(port, ca, "--tls-max", old, "--ciphers", "DEFAULT@SECLEVEL=0"))
    assert "alert protocol version" in told
    assert answers(port, ca) is True


@pytest.mark.parametrize("suite", ["AES128-SHA256", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256"])
def test_suites_without_secrecy_or_authentication_are_refused(port, ca, suite):
    assert "alert handshake failure" in str(answers(port, ca, "--tls-max", "1.2", "--ciphers", suite))


@pytest.mark.parametrize(
    "suite", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-CCM", "ECDHE-ECDSA-CHACHA20-POLY1305"]
)
def test_suites_that_are_taken(port, ca, suite):
    assert answers(port, ca, "--tls-max", "1.2", "--ciphers", suite) is True


def test_all_suites_are_of_the_good_kind(server):
    names = [suite["name"] for suite in ServerContext.load(server.certificate, server.private_key).get_ciphers()]
    assert names
    for name in names:
        assert name.startswith(("TLS_", "ECDHE-")), name
        assert any(kind in name for kind in ("GCM", "CHACHA20", "CCM")), name
        assert "CCM8" not in name


def test_a_certificate_with_an_rsa_key(settings, runtime, contract, ca):
    identity = ca.issue("rsa", kind=trustme.KeyType.RSA)
    with serving(settings(tls=identity.section), runtime) as port:
        assert answers(port, ca, "--tls-max", "1.2") is True


@pytest.mark.parametrize("message", [PROBE, b"POST / HTTP/1.0\r\ncontent-length: 3\r\n\r\n{}\n"])
def test_plain_http_gets_no_byte(port, ca, message):
    with raw(port) as connection:
        connection.sendall(message)
        assert received(connection) == b""
    assert answers(port, ca) is True


def test_a_handshake_that_never_ends_is_ended(settings, runtime, contract, server, ca, monkeypatch):
    monkeypatch.setattr(serve, "HANDSHAKE_S", 1.0)
    with serving(settings(tls=server.section), runtime) as port:
        silent, begun = socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port))
        with silent, begun:
            begun.sendall(b"\x16\x03\x01\x02\x00\x01")
            for connection in (silent, begun):
                connection.settimeout(5)
                assert received(connection) == b""
        assert answers(port, ca) is True


def test_a_head_that_does_not_end_is_ended(port, ca, monkeypatch):
    monkeypatch.setattr(Connection, "head_s", 0.5)
    with secure(port, ca.client()) as connection:
        connection.sendall(PROBE[:-4])
        connection.settimeout(5)
        assert received(connection) == b""


def test_the_gate_works(port, ca):
    with httpx2.Client(base_url=f"https://localhost:{port}", verify=ca.client(), trust_env=False) as client:
        assert client.get("/readyz", headers={"host": "elsewhere.example"}).status_code == 403
        assert client.get("/readyz", headers={"origin": "https://elsewhere.example"}).status_code == 403
        assert client.get("/readyz", headers={"origin": f"https://localhost:{port}"}).status_code == 200


def test_megabytes_in_and_out(port, ca):
    with httpx2.Client(base_url=f"https://localhost:{port}", verify=ca.client(), trust_env=False) as client:
        predictor = client.post("/api/predict/open", json={"model_name": "echo"}).json()["id"]
        body = {"predictor": {"id": predictor}, "tensors": [{"shape": [500_000], "data": [0.5] * 500_000}]}
        answer = client.post("/api/predict/tensors", json=body)
    assert answer.status_code == 200
    assert len(answer.content) > 2**20


# --- mutual ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_only_certificates_of_the_ca_are_let_in(mutual, ca, stranger, version):
    only = ["--tls-max", version]
    assert answers(mutual, ca, *only, *ca.issue("client").curl) is True
    missing = {"1.2": "alert handshake failure", "1.3": "alert certificate required"}[version]
    assert missing in str(answers(mutual, ca, *only))
    assert "alert unknown ca" in str(answers(mutual, ca, *only, *stranger.issue("theirs").curl))
    assert answers(mutual, ca, *only, *ca.issue("client").curl) is True


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_expired_certificate_is_not_let_in(mutual, ca, version):
    context = ca.client(ca.issue("expired", first=NOW - 3 * DAY, last=NOW - DAY))
    context.maximum_version = version
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_EXPIRED"):
        sent(mutual, context, PROBE)


def test_a_client_that_sends_much_still_hears_the_alert(mutual, ca):
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        sent(mutual, ca.client(), bytes(2**22))


def test_the_systems_cas_are_not_trusted(tmp_path, ca, server, stranger):
    """OpenSSL takes the system's store from this variable."""
    environment = {
        "SSL_CERT_FILE": str(stranger.file),
        "STEPSCOPE_TLS__VERIFY_CLIENT": "true",
        "STEPSCOPE_TLS__CUSTOM_CA": str(ca.file),
    }
    with process("--port", "0", *options(server), cwd=tmp_path, environment=environment) as served:
        port = int(served.address.rpartition(":")[2])
        assert "alert unknown ca" in str(answers(port, ca, *stranger.issue("theirs").curl))
        assert answers(port, ca, *ca.issue("client").curl) is True


# --- the command ----------------------------------------------------------------------------------


def options(identity: Identity) -> list[str]:
    return ["--certificate", str(identity.certificate), "--private-key", str(identity.private_key)]


def test_the_line_says_https_and_the_second_port_speaks_it_too(tmp_path, ca, server):
    with socket.create_server(("127.0.0.1", 0)) as free:
        second = free.getsockname()[1]
    environment = {"STEPSCOPE_TRACES__JAEGER_PORT": str(second)}
    with process("--port", "0", *options(server), cwd=tmp_path, environment=environment) as served:
        assert served.address.startswith("https://127.0.0.1:")
        assert answers(served.address.rpartition(":")[2], ca) is True
        assert answers(second, ca) is True
        with raw(second) as connection:
            connection.sendall(PROBE)
            assert received(connection) == b""


def test_a_stop_waits_for_requests_and_not_for_idle_clients(tmp_path, ca, server):
    models = write_models(tmp_path / "models")
    with process("--port", "0", "--models", str(models), *options(server), cwd=tmp_path) as served:
        url = served.address
        with (
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as plain,
            ca.client().wrap_socket(plain, server_hostname="localhost") as idle,
            httpx2.Client(base_url=url, verify=ca.client(), trust_env=False, timeout=20) as client,
        ):
            idle.sendall(PROBE)
            assert idle.recv(4096).startswith(b"HTTP/1.1 200")
            assert client.get("/livez").status_code == 200
            served.signal(signal.SIGTERM)
            time.sleep(0.2)
            assert client.get("/readyz").status_code == 503
            code, _, told, took_s = served.ended()
    assert (code, took_s < 5) == (0, True), told
    assert "Traceback" not in told


def test_a_fault_is_told_in_one_line(tmp_path, server):
    with process("--port", "0", "--certificate", "absent.crt", "--private-key", "k", cwd=tmp_path, wait=False) as bad:
        code, out, told, _ = bad.ended()
    assert (code, out) == (1, "")
    assert told == "Error: load certificate_chain from absent.crt failed: No such file or directory.\n"


# --- files that can't be used ---------------------------------------------------------------------


def refused(certificate, private_key, client_ca=None):
    with pytest.raises(SettingsInvalid) as error:
        ServerContext.load(certificate, private_key, client_ca)
    return str(error.value)


def test_files_that_are_missing(tmp_path, server):
    absent = tmp_path / "absent"
    assert refused(absent, server.private_key).startswith(f"load certificate_chain from {absent} failed: No such")
    assert refused(server.certificate, absent).startswith(f"load private_key from {absent} failed: No such")
    told = refused(server.certificate, server.private_key, absent)
    assert told.startswith(f"load root certificate from {absent} failed: No such")


def test_files_that_cannot_be_read(tmp_path, server):
    assert refused(tmp_path, server.private_key) == f"load certificate_chain from {tmp_path} failed: Is a directory."
    assert refused(server.certificate, tmp_path) == f"load private_key from {tmp_path} failed: Is a directory."


@pytest.mark.parametrize(
    "content", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_files_that_hold_something_else(tmp_path, server, content):
    other = tmp_path / "other.pem"
    other.write_bytes(content)
    assert refused(other, server.private_key).startswith(f"load certificate_chain from {other} failed: it holds no")
    assert refused(server.certificate, other).startswith(f"load private_key from {other} failed: it holds no")
    told = refused(server.certificate, server.private_key, other)
    assert told.startswith(f"load root certificate from {other} failed: it holds no")


@pytest.mark.parametrize("kind", list(trustme.KeyType))
def test_a_key_of_another_certificate(ca, server, kind):
    other = ca.issue("other", kind=kind)
    told = refused(server.certificate, other.private_key)
    assert told == (
        f"load private_key from {other.private_key} failed: it doesn't belong to the certificate in "
        f"{server.certificate}."
    )


def test_an_encrypted_key_is_refused_and_the_terminal_not_asked(tmp_path, server):
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", str(server.private_key), "-aes256", "-passout", "pass:secret", "-out", locked]
    subprocess.run(command, check=True)
    assert refused(server.certificate, locked).startswith(f"load private_key from {locked} failed: it is encrypted")


def test_dates(ca):
    for name, first, last, reason in [
        ("late", NOW - 3 * DAY, NOW - DAY, "it has expired"),
        ("early", NOW + DAY, NOW + 3 * DAY, "it isn't valid yet"),
    ]:
        identity = ca.issue(name, first=first, last=last)
        told = refused(identity.certificate, identity.private_key)
        assert told == f"load certificate_chain from {identity.certificate} failed: {reason}."


def test_dates_of_the_clients_ca(ca, server):
    """A file in which no CA is valid would let nobody in."""
    late = expired_root(ca.file.with_name("late.crt"))
    told = refused(server.certificate, server.private_key, late)
    assert told == f"load root certificate from {late} failed: it has expired."
    late.write_bytes(late.read_bytes() + ca.file.read_bytes())
    ServerContext.load(server.certificate, server.private_key, late)


def expired_root(path):
    """A CA with dates, which trustme doesn't make."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "late")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - 3 * DAY)
        .not_valid_after(NOW - DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path
