"""Run the measurements: all, or those named."""

import sys

from benchmarks import contract_layer

MEASUREMENTS = {"contract_layer": contract_layer.main}

for name in sys.argv[1:] or MEASUREMENTS:
    MEASUREMENTS[name]()
