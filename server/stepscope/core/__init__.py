"""Values and rules of serving. No I/O, no asyncio, no torch, no SQL, no web: every line here can be tested without a fixture."""
