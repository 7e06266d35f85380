"""Live objects: what waits, owns a thread or a socket. Decisions are taken in core; no wire shapes, no torch here."""
