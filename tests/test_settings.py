"""Files, variables and options: which wins, and what each mistake is told."""

import pytest

from stepscope.core.errors import SettingsInvalid
from stepscope.settings import Settings, bound, known_keys, load

DIGEST = "a" * 64


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "stepscope.toml"
        path.write_text(text)
        return path

    return write


def read(file=None, options=None, **environment):
    return load(file, options or {}, environment)


def refused(file=None, options=None, **environment):
    with pytest.raises(SettingsInvalid) as error:
        read(file, options, **environment)
    return str(error.value)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STEPSCOPE_SERVER__PORT", "1")  # only the environment that is given counts
    return folder


def test_nothing_given_is_the_defaults():
    assert read() == Settings()
    assert (read().server.host, read().server.port) == ("127.0.0.1", 8080)


def test_options_win_over_variables_and_variables_over_the_file(file):
    path = file("[server]\nhost = 'localhost'\nport = 1\nshutdown_s = 7\n")
    settings = load(path, {"server": {"port": 3, "host": None}}, {"STEPSCOPE_SERVER__PORT": "2"})
    assert (settings.server.host, settings.server.port, settings.server.shutdown_s) == ("localhost", 3, 7)
    assert read(path, STEPSCOPE_SERVER__PORT="2").server.port == 2


def test_the_current_folders_file_is_read(elsewhere):
    (elsewhere / "stepscope.toml").write_text("[server]\nport = 5\n")
    assert read().server.port == 5


def test_paths_in_a_file_start_where_it_stands(file):
    path = file("[models]\nfolders = ['own', '/abs', '~/home']\ncache = 'cache'\n")
    models = read(path).models
    assert models.folders[0] == path.parent / "own"
    assert str(models.folders[1]) == "/abs"
    assert "~" not in str(models.folders[2])
    assert models.cache == path.parent / "cache"


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ('["files:8000", "b"]', ["files:8000", "b"]),
        ("files:8000,b", ["files:8000", "b"]),
        (" files:8000 , b ,", ["files:8000", "b"]),
        ("files", ["files"]),
        ("", []),
        ("[]", []),
    ],
)
def test_a_list_in_a_variable_is_json_or_has_commas(text, hosts):
    assert read(STEPSCOPE_FETCH__ALLOW_HOSTS=text).fetch.allow_hosts == hosts


def test_variables_are_read_without_case_and_as_their_keys_type():
    settings = read(
        stepscope_server__insecure="true",
        STEPSCOPE_PREDICT__LEASE_S="2.5",
        STEPSCOPE_FETCH__PORTS="80,8000",
        STEPSCOPE_MODELS__ALIASES='{"Old": "new"}',
    )
    assert settings.server.insecure is True
    assert settings.predict.lease_s == 2.5
    assert settings.fetch.ports == [80, 8000]
    assert settings.models.aliases == {"Old": "new"}


def test_a_map_may_have_a_variable_for_each_key():
    settings = read(STEPSCOPE_AUTH__KEYS__ADA=DIGEST, STEPSCOPE_AUTH__KEYS__BOB="b" * 64)
    assert settings.auth.keys == {"ada": DIGEST, "bob": "b" * 64}


def test_every_key_has_a_variable_of_its_own():
    pair = {"STEPSCOPE_TLS__CERTIFICATE": "a.crt", "STEPSCOPE_TLS__PRIVATE_KEY": "a.key"}  # none goes alone
    for key in known_keys():
        name = "STEPSCOPE_" + key.replace(".", "__").upper()
        section, field = key.split(".")
        value = getattr(getattr(Settings(), section), field)
        text = str(value) if not isinstance(value, list | dict) else "[]" if isinstance(value, list) else "{}"
        assert read(**pair | {name: text}) is not None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[server]\nprot = 1\n", "server.prot is unknown. Near ones: server.port"),
        ("[fetch]\nallow_host = []\n", "fetch.allow_host is unknown. Near ones: fetch.allow_hosts"),
        ("[fetsch]\nports = []\n", "fetsch is unknown. Near ones: fetch"),
        ("prot = 1\n", "prot is unknown."),
        ("server = 1\n", "server is a section; write [server]"),
        ("_env_prefix = 'x'\n", "_env_prefix is unknown."),
        ("[server]\nxyzzy = 1\n", "Near ones: server.port, server.host"),
        ("[server]\nport = 70000\n", "server.port: Input should be less than or equal to 65535 (it is 70000)"),
        ("[server]\nport = 'eighty'\n", "server.port: "),
        ("[predict]\nlease_s = 0\n", "predict.lease_s: "),
        ("[predict]\nlease_s = nan\n", "predict.lease_s: "),
        ("[predict]\nlease_s = inf\n", "predict.lease_s: "),
        ("[predict]\nlease_s = 1e300\n", "predict.lease_s: "),
        ("[predict]\nbatch_size = 5000\n", "predict.batch_size: "),
        ("[fetch]\nports = [0]\n", "fetch.ports.0: "),
        ("[models]\nfolders = 'one'\n", "models.folders: "),
        ("not toml", "isn't TOML"),
        ("a = 1\na = 2\n", "isn't TOML"),
    ],
)
def test_a_mistake_in_a_file_is_told(file, text, told):
    message = refused(file(text))
    assert told in message
    assert "\n" not in message


def test_all_mistakes_are_told_at_once(file):
    message = refused(file("[server]\nprot = 1\nport = -1\n[fetch]\nmax_md = 3\n"))
    assert "server.prot" in message
    assert "server.port" in message
    assert "fetch.max_mb" in message


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("STEPSCOPE_SERVER__PROT", "Near ones: STEPSCOPE_SERVER__PORT"),
        ("STEPSCOPE_FETCH__ALLOW_HOST", "STEPSCOPE_FETCH__ALLOW_HOSTS"),
        ("STEPSCOPE_SERVER_PORT", "STEPSCOPE_SERVER__PORT"),
        ("STEPSCOPE_SERVER", "is unknown"),
        ("STEPSCOPE_SERVER__PORT__MORE", "is unknown"),
        ("STEPSCOPE_", "is unknown"),
    ],
)
def test_an_unknown_variable_is_told_with_near_ones(name, told):
    message = refused(**{name: "1"})
    assert message.startswith(f"The variable {name} is unknown.")
    assert told in message


def test_other_programs_variables_are_no_matter():
    assert read(PATH="/bin", STEPSCOPES="1", XSTEPSCOPE_SERVER__PORT="2") == Settings()


@pytest.mark.parametrize(
    ("name", "text"),
    [("STEPSCOPE_FETCH__PORTS", "[80"), ("STEPSCOPE_AUTH__KEYS", "[]"), ("STEPSCOPE_MODELS__ALIASES", "a=b")],
)
def test_a_variable_that_is_no_json_is_told(name, text):
    assert name in refused(**{name: text})


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path):
    assert "can't be read" in refused(tmp_path / "missing.toml")
    assert "can't be read" in refused(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    assert "isn't TOML" in refused(tmp_path / "binary.toml")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "192.168.0.7", "models.example", "", "127.0.0.1.example"])
def test_a_wide_bind_needs_keys_or_an_explicit_word(host):
    options = {"server": {"host": host}}
    assert "--insecure" in refused(options=options)
    assert read(options={"server": {"host": host, "insecure": True}}).server.insecure
    assert read(options=options, STEPSCOPE_AUTH__KEYS__ADA=DIGEST).auth.keys


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "::1", "[::1]"])
def test_loopback_needs_neither(host):
    assert read(options={"server": {"host": host}}).server.host == host


def test_a_key_in_place_of_its_digest_is_not_shown(file):
    message = refused(file("[auth.keys]\nada = 'the secret itself'\n"))
    assert "auth.keys.ada" in message
    assert "secret" not in message


def test_tls_needs_all_of_its_files(file):
    path = file("[tls]\ncertificate = 'own.crt'\nprivate_key = '/abs.key'\ncustom_ca = 'absent.crt'\n")
    tls = read(path).tls
    assert tls.certificate == path.parent / "own.crt"
    assert str(tls.private_key) == "/abs.key"
    assert not tls.verify_client
    assert "both tls.certificate and tls.private_key" in refused(STEPSCOPE_TLS__CERTIFICATE="a")
    assert "both tls.certificate and tls.private_key" in refused(options={"tls": {"private_key": "a"}})
    assert "tls.verify_client needs TLS" in refused(STEPSCOPE_TLS__VERIFY_CLIENT="true")
    pair = {"certificate": "a", "private_key": "b", "verify_client": True}
    assert "tls.verify_client needs tls.custom_ca" in refused(options={"tls": pair})


def test_clients_with_certificates_may_come_from_elsewhere():
    options = {"server": {"host": "0.0.0.0"}, "tls": {"certificate": "a", "private_key": "b", "custom_ca": "c"}}
    assert "--insecure" in refused(options=options)
    assert read(options=options, STEPSCOPE_TLS__VERIFY_CLIENT="true").tls.verify_client


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        read().server.port = 5
    assert bound(read(), 99).server.port == 99
