"""Trains the digit classifier of this directory and writes it: see README.md.

    python testdata/digits/train.py

Needs numpy and scikit-learn (for the images). The same versions write the
same bytes again.
"""

import json
import os
import struct
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the order of additions must not depend on the number of cores

import numpy as np
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
WIDTHS = [64, 128, 64, 10]
TESTS, EPOCHS, BATCH, RATE, DECAY, SHIFT = 360, 150, 32, 1e-3, 1e-4, 0.5


def bf16(a):
    """The upper halves of float32 values, rounded to nearest, ties to even."""
    bits = a.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def save(path, tensors, metadata):
    """Writes {name: (dtype, array)} with the layout of the reference, and the metadata's keys sorted."""
    rank = ["U8", "BF16", "F32"]
    header, data = {"__metadata__": dict(sorted(metadata.items()))}, b""
    for name in sorted(tensors, key=lambda n: (-rank.index(tensors[n][0]), n)):
        dtype, array = tensors[name]
        raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def forward(params, x):
    """The activations of every layer, the input first and the ten scores last."""
    activations = [x]
    for i, (w, b) in enumerate(params):
        z = activations[-1] @ w.T + b
        activations.append(z if i == len(params) - 1 else np.maximum(z, 0))
    return activations


def gradients(params, x, y):
    """The gradient of the mean cross entropy, for each weight and bias."""
    activations = forward(params, x)
    p = np.exp(activations[-1] - activations[-1].max(1, keepdims=True))
    delta = (p / p.sum(1, keepdims=True) - np.eye(10)[y]) / len(x)
    found = []
    for (w, _), a in zip(params[::-1], activations[-2::-1]):
        found.append((delta.T @ a, delta.sum(0)))
        delta = delta @ w * (a > 0)
    return found[::-1]


def shifted(rng, x):
    """The images, about half of them moved by one pixel in a random direction."""
    images = x.reshape(-1, 8, 8).copy()
    for i in np.flatnonzero(rng.random(len(x)) < SHIFT):
        images[i] = np.roll(images[i], rng.choice([-1, 1]), axis=rng.integers(2))
    return images.reshape(x.shape)


def train(rng, x, y):
    """Adam with decoupled weight decay and a rate that falls to zero."""
    params = [(rng.normal(0, np.sqrt(2 / m), (n, m)), np.zeros(n)) for m, n in zip(WIDTHS, WIDTHS[1:])]
    flat = [p for pair in params for p in pair]
    mean, square = [np.zeros_like(p) for p in flat], [np.zeros_like(p) for p in flat]
    step, steps = 0, EPOCHS * -(-len(x) // BATCH)
    for _ in range(EPOCHS):
        moved = shifted(rng, x)
        for batch in np.array_split(rng.permutation(len(x)), steps // EPOCHS):
            step += 1
            rate = RATE * (1 - step / steps)
            for p, m, s, g in zip(flat, mean, square, [g for pair in gradients(params, moved[batch], y[batch]) for g in pair]):
                m += 0.1 * (g - m)
                s += 0.001 * (g * g - s)
                p -= rate * (m / (1 - 0.9**step) / (np.sqrt(s / (1 - 0.999**step)) + 1e-8) + DECAY * p)
    return params


def main():
    digits = load_digits()
    rng = np.random.default_rng(20)
    order = rng.permutation(len(digits.target))
    images, labels = digits.images.astype(np.uint8)[order], digits.target.astype(np.uint8)[order]
    x, y = images.reshape(-1, 64) / 16, labels
    params = train(rng, x[TESTS:], y[TESTS:])

    # What counts is the accuracy of the weights as stored.
    stored = [((bf16(w).astype(np.uint32) << 16).view(np.float32), b.astype(np.float32)) for w, b in params]
    right = int((forward(stored, x[:TESTS].astype(np.float32))[-1].argmax(1) == y[:TESTS]).sum())
    print(f"{right} of {TESTS} test images right: {right / TESTS:.1%}")

    tensors = {}
    for i, (w, b) in enumerate(params):
        tensors[f"layers.{i}.weight"] = ("BF16", bf16(w))
        tensors[f"layers.{i}.bias"] = ("F32", b.astype(np.float32))
    metadata = {
        "format": "pt",
        "dataset": "UCI Optical Recognition of Handwritten Digits, as in scikit-learn",
        "test_accuracy": f"{right / TESTS:.3f}",
    }
    weight_map = {}
    for i, layers in enumerate([[0], [1, 2]], start=1):
        shard = f"model-{i:05}-of-00002.safetensors"
        held = {n: t for n, t in tensors.items() if int(n.split(".")[1]) in layers}
        save(HERE / shard, held, metadata)
        weight_map.update(dict.fromkeys(held, shard))
    index = {"metadata": {"total_size": sum(a.nbytes for _, a in tensors.values())}, "weight_map": weight_map}
    (HERE / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    save(HERE / "samples" / "test.safetensors", {"images": ("U8", images[:TESTS]), "labels": ("U8", labels[:TESTS])},
         {"dataset": metadata["dataset"]})


main()
