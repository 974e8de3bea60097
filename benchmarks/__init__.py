"""The benchmarks (`run.py bench`), and the demo (`run.py demo`)."""
