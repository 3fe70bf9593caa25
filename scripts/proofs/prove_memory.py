"""Ten minutes at 5,000/s: memory flat after the first minute, nothing lost, sums exact."""

import sys

import pyarrow.parquet

from harness import Claims, Nginx, Workplace, generator_series, manifest

RATE = 5000
# Bounded, since each takes about 30 KB and a machine that stalls for a moment opens many: this is about what leaks.
CONNECTIONS = 512
SCENARIO = """
kind = "endurance"
[target]
http = "{url}"
[load]
arrivals = "poisson"
rate = "{rate}/s"
duration = "{seconds}s"
max_connections = {connections}
[[mix]]
name = "get"
protocol = "http"
path = "/"
"""


def slope(points):
    """Least squares: growth of the value per second."""
    n = len(points)
    mean_t, mean_v = sum(t for t, _ in points) / n, sum(v for _, v in points) / n
    over = sum((t - mean_t) ** 2 for t, _ in points)
    return sum((t - mean_t) * (v - mean_v) for t, v in points) / over


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    claims = Claims()
    with Nginx() as server, Workplace() as place:
        scenario = place.scenario("memory", SCENARIO.format(url=server.url, rate=RATE, seconds=seconds, connections=CONNECTIONS))
        _, folder = place.run(scenario, "memory")
        memory = generator_series(folder, "process_resident_bytes")
        settled = [(t, value) for t, value in memory if 60 <= t <= seconds]
        growth = slope(settled) * 60 / 1e6
        print(f"{settled[0][1] / 1e6:.1f} MB after a minute, {settled[-1][1] / 1e6:.1f} MB at the end, {growth:+.3f} MB/min")
        opened = {round(t): value for t, value in generator_series(folder, "connections")}
        at = [min(opened, key=lambda t, wanted=wanted: abs(t - wanted)) for wanted in (60, seconds)]
        print(f"{opened[at[0]]:.0f} connections after a minute, {opened[at[1]]:.0f} at the end")
        end, planned = manifest(folder)["end"], manifest(folder)["load"]["planned_arrivals"]
        samples = pyarrow.parquet.read_metadata(folder / "samples-00000.parquet").num_rows
        counted = sum(end["outcomes"].values())
        print(f"{planned} planned, {end['intended']} intended, {counted} counted, {samples} samples: {end['outcomes']}")
        claims.claim(abs(growth) < 1, "less than 1 MB a minute")
        claims.claim(planned == end["intended"] == counted == samples, "every planned arrival has its sample")
        claims.claim(end["lost_samples"] == 0, "no sample was lost")
    claims.finish()


if __name__ == "__main__":
    main()
