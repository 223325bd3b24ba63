"""Benchmarks: ratios of interleaved runs, with the physical limit in the same table. `make bench` prints them."""
