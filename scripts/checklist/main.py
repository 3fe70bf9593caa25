"""Goes through the security checklist, prints each item with its reason, and the score."""

import pathlib
import sys
import tempfile
import traceback

import doors
import identity
import repository
from items import ITEMS, NotTried

# Of the items, so many have to pass.
ENOUGH = 0.95


def main():
    print("the daemon's security checklist\n")
    passed = 0
    with tempfile.TemporaryDirectory(prefix="proofload-security-") as folder:
        place = pathlib.Path(folder)
        for group in [doors, identity, repository]:
            group.prepare(place)
        try:
            for item in ITEMS:
                try:
                    item.check()
                    verdict, note = "pass", ""
                    passed += 1
                except NotTried as why:
                    verdict, note = "NOT TRIED", str(why)
                except Exception as error:  # An item may fail in any way that a socket can.
                    verdict, note = "FAIL", f"{type(error).__name__}: {error}"
                    traceback.print_exc(limit=-1, file=sys.stdout)
                print(f"{verdict:<9} {item.group}: {item.name}\n          because {item.reason}", flush=True)
                if note:
                    print(f"          {note}")
        finally:
            for group in [doors, identity, repository]:
                group.finish()
    score = passed / len(ITEMS)
    print(f"\n{passed} of {len(ITEMS)} items pass: {score:.1%}, {ENOUGH:.0%} are asked for")
    return 0 if score >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
