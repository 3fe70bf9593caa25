"""5,000 closed-model users with 1 s of thought: under 1 GB of memory, all of them on time."""

import pyarrow.parquet

from harness import Claims, Nginx, Workplace, findings, generator_series, manifest

USERS = 5000
SCENARIO = """
kind = "sustained"
[target]
http = "{url}"
[load]
model = "closed"
users = {users}
think_time = "1s"
duration = "30s"
[[mix]]
name = "get"
protocol = "http"
path = "/"
"""


def main():
    claims = Claims()
    with Nginx() as server, Workplace() as place:
        scenario = place.scenario("users", SCENARIO.format(url=server.url, users=USERS))
        code, folder = place.run(scenario, "users")
        columns = ["connection", "intended_ns", "generator_late_ns", "outcome"]
        table = pyarrow.parquet.read_table(folder / "samples-00000.parquet", columns=columns)
        rows = table.sort_by("intended_ns").to_pydict()
        users = len(set(rows["connection"]))
        first = {}
        for user, intended, late in zip(rows["connection"], rows["intended_ns"], rows["generator_late_ns"]):
            first.setdefault(user, (intended, late))
        late_ms = sorted(late / 1e6 for _, late in first.values())
        memory = max(value for _, value in generator_series(folder, "process_resident_bytes")) / 1e6
        rate = findings(folder)["rates"]["throughput_per_s"]
        print(f"{users} users, {rate:.0f} requests/s, {memory:.0f} MB at most, exit {code}")
        print(f"first requests late: p50 {late_ms[len(late_ms) // 2]:.2f} ms, p99 {late_ms[int(len(late_ms) * 0.99)]:.2f} ms")
        claims.claim(users == USERS, f"every one of {USERS} users sent something")
        claims.claim(max(intended for intended, _ in first.values()) < 1e9, "each began within its first thought")
        claims.claim(late_ms[int(len(late_ms) * 0.99)] < 20, "99 % of first requests less than 20 ms late")
        claims.claim(memory < 1000, "less than 1 GB of memory")
        claims.claim(manifest(folder)["end"]["lost_samples"] == 0, "no sample was lost")
        claims.claim(rate > 0.95 * USERS, "the users keep the pace that their thought allows")
        claims.claim(code == 0, "the run passes")
    claims.finish()


if __name__ == "__main__":
    main()
