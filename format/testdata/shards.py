"""Prints how the hub's library divides tensors into shards, and the index that it writes.

    pip install huggingface_hub==2.4.0
    python shards.py > shards.jsonl

A line is a case: the names and sizes of tensors in their order, the limit of a
shard, the metadata; then the tensors of each shard by its file name, and the
text of the index, or null where one file is enough.
"""

import json
import random

from huggingface_hub.serialization import split_state_dict_into_shards_factory

CASES = [
    ("one file", [("a", 3), ("b", 4)], 7, {}),
    ("exactly full", [("a", 3), ("b", 4), ("c", 7), ("d", 1)], 7, {}),
    ("over by one", [("a", 3), ("b", 5), ("c", 3)], 7, {}),
    ("no optimizing", [("a", 6), ("b", 6), ("c", 2), ("d", 6), ("e", 2), ("f", 2)], 10, {}),
    ("larger than the limit", [("a", 1), ("b", 20), ("c", 1), ("d", 1), ("e", 30), ("f", 3)], 3, {}),
    ("larger at the end", [("a", 1), ("b", 20)], 3, {}),
    ("only larger", [("a", 20), ("b", 20)], 3, {}),
    ("empty tensors", [("a", 0), ("b", 3), ("c", 0), ("d", 3), ("e", 0)], 3, {}),
    ("metadata", [("a", 3), ("b", 3)], 3, {"format": "pt", "note": "ünï\n\"quoted\"\\"}),
    ("escapes", [("a.b/c d", 1), ("é\u2028<&>", 1), ("\U0001f600", 1), ("\x00\x1f\x7f\t", 1), ("", 1)], 1, {}),
]
random.seed(17)
many = [(f"layers.{i // 7}.{i % 7}", random.choice([1, 2, 3, 50, 400])) for i in range(120)]
CASES += [(f"many, {limit}", many, limit, {}) for limit in (1, 100, 399, 400, 1000, 5000)]

for name, tensors, limit, metadata in CASES:
    split = split_state_dict_into_shards_factory(
        dict(tensors), get_storage_size=lambda size: size, filename_pattern="model{suffix}.safetensors", max_shard_size=limit
    )
    index = {"metadata": {**split.metadata, **metadata}, "weight_map": split.tensor_to_filename}
    case = {
        "name": name,
        "tensors": tensors,
        "limit": limit,
        "metadata": metadata,
        "shards": [{"file": file, "tensors": names} for file, names in split.filename_to_tensors.items()],
        "index": json.dumps(index, indent=2) if split.is_sharded else None,
    }
    print(json.dumps(case))
