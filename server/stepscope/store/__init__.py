"""Where records live behind `core.ports.Store`. Imports only core; the only importer of SQLAlchemy and its drivers."""
