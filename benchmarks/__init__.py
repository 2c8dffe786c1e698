"""pyindex beside its peers and beside the limit, in one run: ``python -m benchmarks``."""
