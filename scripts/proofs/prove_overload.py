"""Three and ten times a model's capacity: goodput stays at its peak, who is let in is served in time, recovery in 2 s."""

import pathlib
import threading

from harness import Claims, Daemon, Workplace, answers, percentile

# Four slots of exactly 10 ms.
CAPACITY_PER_S = 400.0
SLO_S = 0.2
# What is left of the SLO for the wait, so that who is served at the end of it is still in time.
DEADLINE_MS = 150
STAGES = [("capacity", 400, 12), ("3x", 1200, 12), ("10x", 4000, 12), ("after", 200, 12)]
# A stage has settled after so long.
SETTLE_S = 2.0
SCENARIO = """
kind = "sustained"
seed = 1
thresholds = ["error_rate <= 100%", "shed_rate <= 100%"]
[target]
http = "http://{http}"
[load]
model = "open"
arrivals = "poisson"
request_timeout = "5s"
{stages}
[[mix]]
name = "slots"
protocol = "kserve-http-binary"
model = "sim_4x10ms"
headers = {{ x-request-timeout-ms = "{deadline}" }}
inputs = [{{ name = "input", datatype = "FP32", shape = [16], data = "random" }}]
"""


class Memory(threading.Thread):
    """Samples the resident memory of a process, in MB, until it is told to stop."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.status, self.samples, self.done = pathlib.Path(f"/proc/{pid}/status"), [], threading.Event()

    def run(self):
        while not self.done.wait(0.5):
            line = next(line for line in self.status.read_text().splitlines() if line.startswith("VmRSS"))
            self.samples.append(int(line.split()[1]) / 1024)


def stage_figures(rows, begin, end):
    """Goodput a second, p99 of the answered (s), and the share that was shed, of arrivals from `begin` to `end`."""
    inside = [row for row in rows if begin <= row[0] < end]
    served = [took for _, took, outcome in inside if outcome == "ok"]
    shed = sum(outcome == "shed" for _, _, outcome in inside)
    good = sum(took <= SLO_S for took in served)
    return good / (end - begin), percentile(served, 0.99) if served else 0.0, shed / max(1, len(inside))


def main():
    claims = Claims()
    with Workplace() as place, Daemon() as daemon:
        stage = '[[load.stages]]\nlevel = "{}/s"\nduration = "{}s"'
        stages = "\n".join(stage.format(rate, seconds) for _, rate, seconds in STAGES)
        text = SCENARIO.format(http=daemon.http, stages=stages, deadline=DEADLINE_MS)
        memory = Memory(daemon.process.pid)
        memory.start()
        code, folder = place.run(place.scenario("overload", text), "run")
        memory.done.set()
        rows = answers(folder)
        begin, figures = 0.0, {}
        for name, rate, seconds in STAGES:
            goodput, p99, shed = stage_figures(rows, begin + SETTLE_S, begin + seconds)
            figures[name] = goodput, p99
            print(f"  {name:>9} {rate:5d}/s  goodput {goodput:7.1f}/s  p99 {p99 * 1e3:6.1f} ms  shed {shed:6.1%}")
            begin += seconds
        claims.claim(code in (0, 1), f"exit code {code}: the run is valid")
        peak = max(goodput for goodput, _ in figures.values())
        for name in ["3x", "10x"]:
            goodput, p99 = figures[name]
            claims.claim(goodput >= 0.95 * peak, f"{name}: goodput {goodput:.1f}/s, 95 % of {peak:.1f}/s at least")
            claims.claim(p99 < 2 * SLO_S, f"{name}: p99 of the answered {p99 * 1e3:.1f} ms, below {2 * SLO_S * 1e3:.0f}")
        recovered = begin - STAGES[-1][2] + SETTLE_S
        late = [row for row in rows if row[0] >= recovered and (row[2] != "ok" or row[1] > SLO_S)]
        claims.claim(not late, f"{SETTLE_S:.0f} s after the burst all arrivals are served within the SLO; {len(late)} are not")
        before, most = memory.samples[2], max(memory.samples)
        claims.claim(most < before + 30, f"the daemon's memory goes from {before:.1f} to {most:.1f} MB at most")
    claims.finish()


if __name__ == "__main__":
    main()
