"""Prints the values of every small float as numpy and ml_dtypes know them.

    pip install numpy==2.4.6 ml_dtypes==0.6.0
    python smallfloats.py > smallfloats.txt

A line has the name of an element type and the values of its codes 0, 1, 2, ...
as float32 bit patterns in hex; for the 16-bit types it has the SHA-256 of those
65,536 patterns, each as four bytes, little-endian.
"""

import hashlib

import ml_dtypes
import numpy

TYPES = {
    "F4": (ml_dtypes.float4_e2m1fn, 4),
    "F6_E2M3": (ml_dtypes.float6_e2m3fn, 6),
    "F6_E3M2": (ml_dtypes.float6_e3m2fn, 6),
    "F8_E5M2": (ml_dtypes.float8_e5m2, 8),
    "F8_E4M3": (ml_dtypes.float8_e4m3fn, 8),
    "F8_E8M0": (ml_dtypes.float8_e8m0fnu, 8),
    "F8_E4M3FNUZ": (ml_dtypes.float8_e4m3fnuz, 8),
    "F8_E5M2FNUZ": (ml_dtypes.float8_e5m2fnuz, 8),
    "F16": (numpy.float16, 16),
    "BF16": (ml_dtypes.bfloat16, 16),
}

for name, (dtype, bits) in TYPES.items():
    codes = numpy.arange(1 << bits, dtype=numpy.uint16 if bits > 8 else numpy.uint8)
    values = codes.view(dtype).astype(numpy.float32).view("<u4")
    if bits > 8:
        print(name, "sha256", hashlib.sha256(values.tobytes()).hexdigest())
    else:
        print(name, *(f"{v:08x}" for v in values))
