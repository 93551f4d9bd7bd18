"""Answers whether the Python package safetensors reads a file: accept or reject.

Whole files come on stdin and answers go to stdout, one for one and in order,
each as a little-endian u64 length and that many bytes.
"""

import struct
import sys

import safetensors


def verdict(file):
    try:
        safetensors.deserialize(file)
    except safetensors.SafetensorError:
        return b"reject"
    return b"accept"


while length := sys.stdin.buffer.read(8):
    answer = verdict(sys.stdin.buffer.read(*struct.unpack("<Q", length)))
    sys.stdout.buffer.write(struct.pack("<Q", len(answer)) + answer)
    sys.stdout.buffer.flush()
