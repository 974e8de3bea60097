"""Functions that run in threads, with an end to hangs."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait

TIMEOUT = 60  # seconds; what hangs, hangs for ever


def together(*functions):
    """Run functions in threads of their own; raise what one of them raises, or on a hang."""
    with ThreadPoolExecutor(len(functions)) as pool:
        futures = [pool.submit(function) for function in functions]
        _, pending = wait(futures, TIMEOUT)
        if pending:
            os.abort()  # threads that hang cannot be ended otherwise; faulthandler shows them
        return [future.result() for future in futures]
