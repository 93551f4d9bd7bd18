"""Prints what numpy and ml_dtypes make of float32 values in narrower types.

    pip install numpy==2.4.6 ml_dtypes==0.6.0
    python casts.py > casts.txt

The values are those whose upper 20 bits are any and whose lower 12 bits are one
of LOW: all that lies on, just below and just above what is representable or
half way between. A line has the name of an element type and the SHA-256 of the
results, each as one or two bytes, little-endian. What is too large is the
largest finite value, with its sign, and so are infinities where the type has
none; a NaN is zero here.
"""

import hashlib

import ml_dtypes
import numpy

TYPES = {
    "F16": (numpy.float16, 65504.0),
    "BF16": (ml_dtypes.bfloat16, float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)),
    "F8_E4M3": (ml_dtypes.float8_e4m3fn, 448.0),
    "F8_E5M2": (ml_dtypes.float8_e5m2, 57344.0),
}
LOW = (0x000, 0x001, 0x7FF, 0x800, 0x801, 0xFFF)

high = numpy.arange(1 << 20, dtype=numpy.uint32)[:, None] << 12
x = (high | numpy.array(LOW, dtype=numpy.uint32)).reshape(-1).view(numpy.float32)
for name, (dtype, largest) in TYPES.items():
    with numpy.errstate(all="ignore"):
        y = x.astype(dtype)
        back = y.astype(numpy.float32)
    over = ~numpy.isfinite(back) & numpy.isfinite(x)
    clip = over | (numpy.isinf(x) & numpy.isnan(back))
    y[clip] = (numpy.sign(x[clip]) * largest).astype(dtype)
    y[numpy.isnan(x)] = 0
    bits = y.view(numpy.uint16 if y.itemsize == 2 else numpy.uint8)
    print(name, hashlib.sha256(bits.tobytes()).hexdigest())
