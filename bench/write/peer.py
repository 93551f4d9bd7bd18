"""Saves a model with the Python package, as often as it is told to.

    pip install safetensors==0.8.0 numpy==2.4.6

Each line on stdin is a path to save to, or two: one to load from and one to
save to. The answer is how many nanoseconds that took, and how many with an
fsync of the file after it.
"""

import os
import sys
import time

import numpy
from safetensors.numpy import load_file, save_file

DIFFERENT = 64
data = numpy.random.default_rng(1).standard_normal((DIFFERENT, 1024, 1024), dtype=numpy.float32)
model = {f"layers.{i}.weight": data[i % DIFFERENT] for i in range(512)}

for line in sys.stdin:
    *source, path = line.split()
    start = time.perf_counter_ns()
    save_file(load_file(source[0]) if source else model, path)
    plain = time.perf_counter_ns() - start
    with open(path, "rb") as f:
        os.fsync(f.fileno())
    print(plain, time.perf_counter_ns() - start, flush=True)
