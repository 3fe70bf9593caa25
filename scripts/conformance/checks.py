"""What the checks with the Triton client share: running each by name, and remembering what failed."""

import sys
import traceback

from tritonclient.utils import InferenceServerException


class Checks:
    """Runs checks by name and remembers what failed."""

    def __init__(self):
        self.failed = []
        self.count = 0

    def run(self, name, function):
        self.count += 1
        try:
            note = function()
        except Exception as error:  # A check may fail in any way that the client can.
            self.failed.append(name)
            print(f"FAIL  {name}: {type(error).__name__}: {error}")
            traceback.print_exc(limit=-2, file=sys.stdout)
        else:
            print(f"ok    {name}" + (f"  ({note})" if note else ""), flush=True)

    def refuses(self, name, call, status, *words):
        """A call that must fail with this status, and a message that holds these words."""

        def check():
            try:
                call()
            except InferenceServerException as error:
                assert status in str(error.status()), f"status {error.status()}, wanted {status}: {error.message()}"
                for word in words:
                    assert word in error.message(), f"'{word}' is not in: {error.message()}"
                return error.message()
            raise AssertionError("it was accepted")

        self.run(name, check)

    def finish(self):
        """Says how it went; gives the exit code."""
        print(f"{self.count - len(self.failed)} of {self.count} checks passed")
        return 1 if self.failed else 0
