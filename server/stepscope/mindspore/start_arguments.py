"""What start scripts say: servables, TLS files and addresses, checked. All faults are `RuntimeError`s."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEVICE_TYPES = ("CPU", "GPU")
KEY_MODES = ("AES-GCM", "AES-CBC")
LARGEST_MB = 512
MOST_WORKERS = 64
_PORT = re.compile(r"\s*([+-]?[0-9]+)")


class ServableStartConfig:
    """A version of a servable to start; version 0 is the newest.

    `num_parallel_workers` are threads for the functions of stages. `device_ids` are CUDA devices, on which requests
    run in turn; without CUDA they say nothing.
    """

    def __init__(
        self,
        servable_directory: str,
        servable_name: str,
        device_ids: int | Sequence[int] | None = None,
        version_number: int = 0,
        device_type: str | None = None,
        num_parallel_workers: int = 0,
        dec_key: bytes | None = None,
        dec_mode: str = "AES-GCM",
    ) -> None:
        self.servable_directory = check_text("servable_directory", servable_directory)
        self.servable_name = check_text("servable_name", servable_name)
        self.version_number = check_integer("version_number", version_number, 0, 2**32 - 2)
        self.num_parallel_workers = check_integer("num_parallel_workers", num_parallel_workers, 0, MOST_WORKERS)
        self.device_ids = _device_ids(device_ids)
        self.device_type = _device_type(device_type)
        _check_key(dec_key, dec_mode)

    @property
    def directory(self) -> Path:
        """The folder that holds the servable's, as it is meant from the current one."""
        return Path(self.servable_directory).expanduser().resolve()

    @property
    def threads(self) -> int:
        """Threads for its functions: each device brings one."""
        return max(1, self.num_parallel_workers, len(self.device_ids))


class SSLConfig:
    """TLS by PEM files. With `verify_client` only clients with a certificate of `custom_ca` are let in."""

    def __init__(
        self, certificate: str, private_key: str, custom_ca: str | None = None, verify_client: bool = False
    ) -> None:
        self.certificate = check_text("certificate", certificate)
        self.private_key = check_text("private_key", private_key)
        if not isinstance(verify_client, bool):
            raise _wrong_type("verify_client", "bool", verify_client)
        self.verify_client = verify_client
        self.custom_ca = check_text("custom_ca", custom_ca) if verify_client else custom_ca


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: the text as it was given, and what it says."""

    text: str
    host: str
    port: int


def read_address(address: object) -> Address:
    """Read `HOST:PORT`; the last colon divides them, and `*` is every address."""
    text = check_text("address", address)
    if text.startswith("unix:"):
        raise native("RESTful server does not support binding to unix domain socket")
    host, colon, last = text.rpartition(":")
    if not colon:
        raise native(f"The format of the RESTful server address '{text}' is illegal")
    if not host or not last:
        raise native(f"Missing ip or port of the RESTful server address '{text}'")
    number = _PORT.match(last)
    if number is None:
        raise native(f"The type of RESTful server address '{text}' port is not a number")
    port = int(number[1]) if len(number[1]) < 10 else 0
    if not 1 <= port <= 65535:
        raise native(f"The port of the RESTful server address '{text}' is out of legal range [1 ~ 65535]")
    return Address(text, "0.0.0.0" if host == "*" else host, port)  # noqa: S104 - what the star means


def native(text: str) -> RuntimeError:
    """Return a fault of starting to listen; scripts know these by their first words."""
    return RuntimeError(f"Raise failed: Serving Error: {text}")


def check_text(name: str, value: object) -> str:
    """Return a text that isn't empty."""
    if not isinstance(value, str):
        raise _wrong_type(name, "str", value)
    if not value:
        raise RuntimeError(f"Parameter '{name}' should not be empty str")
    return value


def check_integer(name: str, value: object, lowest: int, highest: int) -> int:
    """Return an integer within its bounds."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, "int", value)
    if not lowest <= value <= highest:
        raise RuntimeError(f"Parameter '{name}' should be in range [{lowest},{highest}]")
    return value


def _wrong_type(name: str, wanted: str, value: object) -> RuntimeError:
    return RuntimeError(f"Parameter '{name}' should be {wanted}, but actually {type(value)}")


def _device_ids(given: Any) -> tuple[int, ...]:
    if given is None:
        return ()
    ids = given if isinstance(given, list | tuple) else [given]
    return tuple(dict.fromkeys(check_integer("device_ids", each, 0, 2**16) for each in ids))


def _device_type(given: object) -> str | None:
    if given is None:
        return None
    kind = check_text("device_type", given).upper()
    if kind not in DEVICE_TYPES:
        raise RuntimeError(f"Parameter 'device_type' should be CPU, GPU or None, but actually '{given}'")
    return kind


def _check_key(dec_key: object, dec_mode: object) -> None:
    if dec_key is not None:
        raise RuntimeError(
            "Parameter 'dec_key' should be None: encrypted models aren't served; decrypt the files first"
        )
    if dec_mode not in KEY_MODES:
        raise RuntimeError(f"Parameter 'dec_mode' should be in {list(KEY_MODES)}, but actually {dec_mode!r}")
