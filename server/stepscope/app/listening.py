"""How a server listens: at which address, and with which TLS."""

import logging
import ssl

from stepscope.dialects.aime import configuration
from stepscope.settings import Settings, is_loopback
from stepscope.web.tls import ServerContext

log = logging.getLogger("stepscope.app")


def at_configured_address(settings: Settings) -> Settings:
    """Return the settings with the address of aime's server configuration, where no other one is given.

    A host that other machines reach is left, with a warning, as long as nothing protects the rest of the server.
    Raises `SettingsInvalid`.
    """
    if settings.aime.server_config is None:
        return settings
    asked, own = configuration.read_server(settings.aime.server_config), settings.server
    address = {"port": asked.port, "host": asked.host}
    changes = {key: value for key, value in address.items() if value is not None and key not in own.model_fields_set}
    host = changes.get("host", own.host)
    if not (is_loopback(str(host)) or settings.auth.keys or settings.tls.verify_client or own.insecure):
        log.warning("%s asks for %s, which needs [auth] keys or --insecure", settings.aime.server_config, host)
        changes.pop("host", None)
    return settings.model_copy(update={"server": own.model_copy(update=changes)})


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return what the listeners need to speak TLS; None without a certificate. Raises `SettingsInvalid`."""
    tls = settings.tls
    if tls.certificate is None or tls.private_key is None:
        return None
    return ServerContext.load(
        tls.certificate.expanduser(),
        tls.private_key.expanduser(),
        tls.custom_ca.expanduser() if tls.verify_client and tls.custom_ca else None,
    )
