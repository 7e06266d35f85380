"""Measurements: both sides of a claim in one run, as a ratio. `make bench` runs them all."""
