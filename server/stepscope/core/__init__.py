"""Values and rules of serving. No I/O, no asyncio, no torch, no SQL, no web: all of it is tested without a fixture."""
