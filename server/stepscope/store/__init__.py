"""Where records live behind `core.ports.Store`. Imports only core."""
