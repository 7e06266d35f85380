"""A worker of another server: takes its jobs over AIME's worker protocol, and runs them with the engine here."""
