"""Models that the benchmarks make: no weights are fetched."""
