"""What the crash test runs: servers and workers as processes of their own, and the clients."""
