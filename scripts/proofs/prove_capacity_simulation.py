"""Capacity searches of 60 simulated servers, three times each: how far off, and how many intervals hold."""

import sys

from harness import ignored_test

if __name__ == "__main__":
    sys.exit(ignored_test("capacity", "many_unknown_servers_are_found"))
