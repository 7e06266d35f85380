"""What a start script imports: servables and a listener for this program, until it is stopped.

    from stepscope.mindspore import server

    server.start_servables(server.ServableStartConfig("models", "lenet"))
    server.start_restful_server("127.0.0.1:5500")

The server runs on a thread of this process. A script that comes to its end waits for a signal then. All faults are
`RuntimeError`s, and a call that fails leaves alone what runs already.
"""

from collections.abc import Sequence

from stepscope.mindspore.deployment import Deployment
from stepscope.mindspore.start_arguments import (
    LARGEST_MB,
    ServableStartConfig,
    SSLConfig,
    check_integer,
    read_address,
)

_deployment = Deployment()


def start_servables(
    servable_configs: ServableStartConfig | Sequence[ServableStartConfig], enable_lite: bool = False
) -> None:
    """Start servables: import their configurations and load their models, all of them or none.

    A version that runs already is replaced. `enable_lite` says nothing here.
    """
    configs = [servable_configs] if isinstance(servable_configs, ServableStartConfig) else servable_configs
    if not isinstance(configs, list | tuple) or not all(isinstance(each, ServableStartConfig) for each in configs):
        raise RuntimeError(
            "Parameter 'servable_configs' should be ServableStartConfig or a list or tuple of them, but actually "
            f"{type(servable_configs)}"
        )
    if not isinstance(enable_lite, bool):
        raise RuntimeError(f"Parameter 'enable_lite' should be bool, but actually {type(enable_lite)}")
    _deployment.deploy(configs)


def start_restful_server(address: str, max_msg_mb_size: int = 100, ssl_config: SSLConfig | None = None) -> None:
    """Listen on an address, `HOST:PORT`, before or after servables are started."""
    place = read_address(address)
    check_integer("max_msg_mb_size", max_msg_mb_size, 1, LARGEST_MB)
    if ssl_config is not None and not isinstance(ssl_config, SSLConfig):
        raise RuntimeError("The type of ssl_config should be class of SSLConfig")
    _deployment.listen(place, max_body_bytes=max_msg_mb_size * 2**20, tls=ssl_config)


def stop() -> None:
    """Finish the requests under way, close the listener, and give everything back."""
    _deployment.stop()


__all__ = ["SSLConfig", "ServableStartConfig", "start_restful_server", "start_servables", "stop"]
