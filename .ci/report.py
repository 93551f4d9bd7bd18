"""Reads what go test -json says, and shows how each package ended and all that the tests said that failed.

A test that skipped counts as failed, unless it says that qemu-user is the reason: an emulator cannot show everything.
"""

import json
import sys

said = {}
failed = skipped = 0
for line in sys.stdin:
    event = json.loads(line)
    test = event.get("Test")
    key = event.get("Package", event.get("ImportPath")), test
    match event["Action"]:
        case "output" | "build-output":
            said.setdefault(key, []).append(event["Output"])
        case "fail" | "build-fail":
            failed += 1
            print("".join(said.pop(key, [])), end="")
        case "skip" if test:
            skipped += 1
            text = "".join(said.pop(key, []))
            if ": qemu-user " not in text:
                failed += 1
                print(f"{key[0]}: no test may skip here\n{text}", end="")
        case "pass" if not test:
            print(said[key][-1], end="")
        case "pass":
            said.pop(key, None)
if skipped:
    print(skipped, "skipped")
sys.exit(failed > 0)
