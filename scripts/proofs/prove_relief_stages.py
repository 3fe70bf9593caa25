"""8 reliefs at once at 256 samples: mean below 1.5 s; 8 progressive ones: the first look of each within 0.5 s."""

import concurrent.futures
import http.client
import os
import time

from harness import ROOT, Claims, Daemon

AT_ONCE = 8
ROUNDS = 10


def ask(address, path, picture):
    """Seconds to the first line behind the head, to the first look, and to the end."""
    start = time.monotonic()
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("POST", f"/api/v1/{path}", picture, {"content-type": "image/png"})
    answer = connection.getresponse()
    look = None
    while line := answer.readline() if "progressive" in path else answer.read():
        if look is None and (b'"preview"' in line[:40] or "progressive" not in path):
            look = time.monotonic() - start
    assert answer.status == 200, answer.status
    return look, time.monotonic() - start


def rounds(address, path, picture):
    """All first looks and all ends, in seconds."""
    found = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(ROUNDS):
            found += pool.map(lambda _: ask(address, path, picture), range(AT_ONCE))
    return zip(*found)


def main():
    claims = Claims()
    picture = (ROOT / "scenarios" / "payloads" / "chelsea.png").read_bytes()
    with Daemon() as daemon:
        print(f"  {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
        _, ends = rounds(daemon.http, "generate-3d?resolution=256&format=stl", picture)
        mean = sum(ends) / len(ends)
        claims.claim(mean < 1.5, f"{AT_ONCE} at once at 256 samples, {ROUNDS} rounds: mean {mean:.3f} s, worst {max(ends):.3f} s")
        looks, ends = rounds(daemon.http, "generate-progressive?resolution=256&format=stl", picture)
        looks = sorted(looks)
        claims.claim(
            looks[-1] < 0.5,
            f"{AT_ONCE} progressive ones at once, {ROUNDS} rounds: first look p50 {looks[len(looks) // 2]:.3f} s, "
            f"worst {looks[-1]:.3f} s, all four stages {sum(ends) / len(ends):.3f} s on average",
        )
    claims.finish()


if __name__ == "__main__":
    main()
