"""Three and ten times the capacity of a model and of the relief service: goodput stays at its peak, who is let in is served in time, recovery in 2 s. And 1,500 users."""

import pathlib
import threading
from dataclasses import dataclass

from harness import ROOT, Claims, Daemon, Workplace, answers, findings, percentile

# A stage has settled after so long.
SETTLE_S = 2.0
STAGE_S = 12
SCENARIO = """
kind = "sustained"
seed = 1
thresholds = ["error_rate <= 100%", "shed_rate <= 100%"]
[target]
http = "http://{http}"
[load]
{load}
[[mix]]
name = "asked"
{mix}
"""
SLOTS = """
protocol = "kserve-http-binary"
model = "sim_4x10ms"
inputs = [{ name = "input", datatype = "FP32", shape = [16], data = "random" }]
"""
# Of a size at which two processors make some dozens a second, so that the generator has its share while they are shed.
RELIEF = f"""
protocol = "http"
model = "relief_depth"
method = "POST"
path = "/api/v1/generate-3d?format=stl&resolution=128"
files = ["{ROOT}/scenarios/payloads/coins.png"]
"""


@dataclass
class Service:
    """What is driven, how much it can do a second (measured where that is not declared), and how soon it has to answer."""

    name: str
    mix: str
    capacity_per_s: float
    slo_s: float
    # What is left of the SLO for the wait, so that who is served at the end of it is still in time.
    deadline_ms: int
    memory_mb: float


class Memory(threading.Thread):
    """Samples the resident memory of a process, in MB, until it is told to stop."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.status, self.samples, self.done = pathlib.Path(f"/proc/{pid}/status"), [], threading.Event()

    def run(self):
        while not self.done.wait(0.5):
            line = next(line for line in self.status.read_text().splitlines() if line.startswith("VmRSS"))
            self.samples.append(int(line.split()[1]) / 1024)


def stage_figures(rows, begin, end, slo_s):
    """Goodput a second, p99 of the answered (s), and the share that was shed, of arrivals from `begin` to `end`."""
    inside = [row for row in rows if begin <= row[0] < end]
    served = [took for _, took, outcome in inside if outcome == "ok"]
    shed = sum(outcome == "shed" for _, _, outcome in inside)
    good = sum(took <= slo_s for took in served)
    return good / (end - begin), percentile(served, 0.99) if served else 0.0, shed / max(1, len(inside))


def closed(place, http, mix, users, seconds, name):
    """Goodput, errors and sheds of so many users without a pause."""
    load = f'model = "closed"\nusers = {users}\nduration = "{seconds}s"\nrequest_timeout = "60s"\nwarm_up = "{SETTLE_S}s"'
    code, folder = place.run(place.scenario(name, SCENARIO.format(http=http, load=load, mix=mix)), name)
    rates = findings(folder)["rates"]
    print(f"  {users:5d} users  goodput {rates['goodput_per_s']:7.1f}/s  errors {rates['errors']['count']}  sheds {rates['sheds']['count']}  exit {code}")
    return rates


def overload(claims, place, service):
    with Daemon() as daemon:
        memory = Memory(daemon.process.pid)
        capacity = service.capacity_per_s or closed(place, daemon.http, service.mix, 4, 12, f"{service.name}-capacity")["goodput_per_s"]
        stages = [("capacity", capacity), ("3x", 3 * capacity), ("10x", 10 * capacity), ("after", capacity / 2)]
        stage = '[[load.stages]]\nlevel = "{:.0f}/s"\nduration = "{}s"'
        load = 'model = "open"\narrivals = "poisson"\nrequest_timeout = "5s"\n' + "\n".join(stage.format(rate, STAGE_S) for _, rate in stages)
        mix = f'{service.mix}\nheaders = {{ x-request-timeout-ms = "{service.deadline_ms}" }}'
        memory.start()
        code, folder = place.run(place.scenario(service.name, SCENARIO.format(http=daemon.http, load=load, mix=mix)), service.name)
        memory.done.set()
    rows = answers(folder)
    begin, figures = 0.0, {}
    for name, rate in stages:
        goodput, p99, shed = stage_figures(rows, begin + SETTLE_S, begin + STAGE_S, service.slo_s)
        figures[name] = goodput, p99
        print(f"  {service.name} {name:>9} {rate:5.0f}/s  goodput {goodput:7.1f}/s  p99 {p99 * 1e3:6.1f} ms  shed {shed:6.1%}")
        begin += STAGE_S
    claims.claim(code in (0, 1), f"exit code {code}: the run is valid")
    peak = max(goodput for goodput, _ in figures.values())
    for name in ["3x", "10x"]:
        goodput, p99 = figures[name]
        claims.claim(goodput >= 0.95 * peak, f"{name}: goodput {goodput:.1f}/s, 95 % of {peak:.1f}/s at least")
        claims.claim(p99 < 2 * service.slo_s, f"{name}: p99 of the answered {p99 * 1e3:.1f} ms, below {2 * service.slo_s * 1e3:.0f}")
    recovered = begin - STAGE_S + SETTLE_S
    late = [row for row in rows if row[0] >= recovered and (row[2] != "ok" or row[1] > service.slo_s)]
    claims.claim(not late, f"{SETTLE_S:.0f} s after the burst all arrivals are served within the SLO; {len(late)} are not")
    # What it needs for as many at once as it lets in, it has when the first stage has settled.
    before, most = memory.samples[int(STAGE_S / 2)], max(memory.samples)
    claims.claim(most < before + service.memory_mb, f"the daemon's memory goes from {before:.1f} to {most:.1f} MB at most")


def many_users(claims, place):
    with Daemon() as daemon:
        fewer = [closed(place, daemon.http, SLOTS, users, 10, f"users-{users}")["goodput_per_s"] for users in (8, 32, 128, 500)]
        many = closed(place, daemon.http, SLOTS, 1500, 20, "users-1500")
    claims.claim(many["errors"]["count"] == 0, f"1,500 users see no error in {many['errors']['n']} requests")
    claims.claim(many["goodput_per_s"] >= 0.9 * max(fewer), f"their goodput is {many['goodput_per_s']:.1f}/s, 90 % of {max(fewer):.1f}/s at least")


def main():
    claims = Claims()
    with Workplace() as place:
        # Four slots of exactly 10 ms.
        overload(claims, place, Service("slots", SLOTS, 400.0, 0.2, 150, 30))
        overload(claims, place, Service("relief", RELIEF, 0.0, 1.0, 600, 100))
        many_users(claims, place)
    claims.finish()


if __name__ == "__main__":
    main()
