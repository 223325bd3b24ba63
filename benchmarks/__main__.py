"""Print every benchmark's table."""

from benchmarks import sweep

sweep.main()
