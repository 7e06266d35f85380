"""The wire of AIME's API server: its configuration files, and what its clients and workers say. No HTTP here."""
