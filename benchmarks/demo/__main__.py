"""Run the demo: `python3 run.py demo`."""

import sys

from benchmarks.demo.command import main

sys.exit(main())
