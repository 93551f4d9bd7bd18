"""Prints what the Python package safetensors reads from files: one JSON object
that maps the names of their tensors to dtype, shape, SHA-256 of the bytes, and
the sum of the elements as float64, added one by one.

    python tensors.py FILE...
"""

import hashlib
import json
import sys

import ml_dtypes  # gives numpy the types that it lacks
import numpy as np
from safetensors import safe_open

tensors = {}
for path in sys.argv[1:]:
    with safe_open(path, "np") as file:
        for name in file.keys():
            array = file.get_tensor(name)
            tensors[name] = {
                "dtype": file.get_slice(name).get_dtype(),
                "shape": list(array.shape),
                "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
                "sum": float(array.astype(np.float32).cumsum(dtype=np.float64)[-1:].sum()),
            }
json.dump(tensors, sys.stdout)
