"""A real Triton over HTTP and gRPC: its own count of successes is ours; its batches, phases and streams are seen."""

import collections
import statistics
import time

import pyarrow.parquet

from harness import OUTCOMES, Claims, Workplace, findings, manifest
from triton import DATATYPES, GAP_S, SERVICE_S, TOKENS, Triton

# Beyond this many a second the model `timed` cannot go: batches of four.
CAPACITY = 4 / SERVICE_S
PROTOCOLS = {"json": "kserve-http-json", "binary": "kserve-http-binary", "grpc": "kserve-grpc"}
INPUTS = 'inputs = [{ name = "x", datatype = "FP32", shape = [1, 16], data = "random" }]\noutputs = ["y"]'


def scenario(load, model, protocols, thresholds="", inputs=INPUTS):
    mix = "".join(
        f'[[mix]]\nname = "{name}"\nprotocol = "{PROTOCOLS[name]}"\nmodel = "{model}"\n{inputs}\n' for name in protocols
    )
    return f'kind = "sustained"\n{thresholds}\n[load]\n{load}\n{mix}'


CLOSED = 'model = "closed"\nusers = 4\nduration = "4s"'
OPEN = 'arrivals = "constant"\nrate = "150/s"\nduration = "4s"'
# Half as much again as the model can do, with less patience than the queue grows to.
OVERLOAD = f'arrivals = "constant"\nrate = "{int(CAPACITY * 1.5)}/s"\nduration = "4s"\nrequest_timeout = "300ms"'


def settled(server, model):
    """The count once it stands still: a Triton counts a little after it has answered."""
    before = None
    while (count := server.successes(model)) != before:
        before = count
        time.sleep(0.5)
    return count


def drive(place, server, name, model, text, target=None):
    """Runs a scenario; gives the exit code, the folder, and by how much Triton's own count grew."""
    before = settled(server, model)
    target = target or ["--target", server.http, "--grpc-target", server.grpc]
    code, folder = place.run(place.scenario(name, text), name, *target)
    return code, folder, settled(server, model) - before


def outcomes(folder):
    """Our successes, and what we sent and hold no whole answer of, from the samples themselves."""
    rows = pyarrow.parquet.read_table(folder / "samples-00000.parquet", columns=["outcome", "sent_ns"]).to_pylist()
    counts = collections.Counter(OUTCOMES[row["outcome"]] for row in rows if row["sent_ns"] > 0)
    given_up = {"timeout", "in_flight", "transport_error", "bad_body"}
    return dict(counts), counts["ok"], sum(n for outcome, n in counts.items() if outcome in given_up)


def counted(claims, name, folder, theirs, model):
    """Whether Triton's count fits ours; gives our successes and what was given up."""
    counts, ours, given_up = outcomes(folder)
    print(f"{name}: Triton counted {theirs}; we {ours} successes and {given_up} given up ({counts})")
    if given_up == 0:
        claims.claim(theirs == ours, f"{name}: Triton's count equals our successes")
    else:
        claims.claim(ours <= theirs <= ours + given_up, f"{name}: Triton's count is ours, or ours and some given up")
    balance = [row for row in findings(folder)["conservation"] if row["model"] == model][0]
    claims.claim(balance["balance"] == "balanced", f"{name}: the report says so too: {balance['sentence']}")
    return ours, given_up


def bears(claims, place, server):
    """Every transport, closed and open, below capacity: nothing is given up, so the counts are equal."""
    for name, protocols in [*((name, [name]) for name in PROTOCOLS), ("mixed", list(PROTOCOLS))]:
        for kind, load in (("closed", CLOSED), ("open", OPEN)):
            run = f"{name}-{kind}"
            code, folder, theirs = drive(place, server, run, "echo", scenario(load, "echo", protocols))
            ours, given_up = counted(claims, run, folder, theirs, "echo")
            claims.claim(code == 0 and given_up == 0 and ours > 100, f"{run}: passes and gives nothing up")
            if kind == "open":
                claims.claim(ours == manifest(folder)["load"]["planned_arrivals"], f"{run}: every planned arrival answered")
    target = manifest(folder)["target"]
    claims.claim(target["server"].startswith("triton "), f"it calls itself {target['server']}")
    claims.claim(target["metrics_url"] == server.metrics, f"its metrics are found at {target['metrics_url']}")


def batches(claims, place, server):
    """A known service time and batches of at most four bound what a closed model can see."""
    load = 'model = "closed"\nusers = 16\nduration = "6s"'
    before = server.metric("nv_inference_exec_count", "timed")
    code, folder, theirs = drive(place, server, "batches", "timed", scenario(load, "timed", ["grpc"]))
    ours, _ = counted(claims, "batches", folder, theirs, "timed")
    executions = server.metric("nv_inference_exec_count", "timed") - before
    found = findings(folder)
    rate, p50_ms = found["rates"]["throughput_per_s"], found["latency"]["percentiles"][0]["latency_ns"] / 1e6
    print(f"{rate:.0f}/s where {CAPACITY:.0f}/s is the most, p50 {p50_ms:.1f} ms, {theirs / executions:.2f} requests a batch")
    claims.claim(code == 0, "batches: passes")
    claims.claim(2 < theirs / executions <= 4, "batches: Triton put requests together, at most four")
    claims.claim(rate <= CAPACITY * 1.01, "batches: no more than the model can do")
    claims.claim(p50_ms >= SERVICE_S * 1e3, "batches: no faster than the model is")
    # Little's law: 16 users are always in flight.
    mean_s = found["latency"]["mean_ns"] / 1e9
    claims.claim(abs(rate * mean_s / 16 - 1) < 0.02, f"batches: rate x mean latency = {rate * mean_s:.2f} of 16 users")


def overload(claims, place, server):
    """More than the model can do and little patience: what we gave up Triton may have counted."""
    for name in PROTOCOLS:
        run = f"overload-{name}"
        code, folder, theirs = drive(place, server, run, "timed", scenario(OVERLOAD, "timed", [name]))
        _, given_up = counted(claims, run, folder, theirs, "timed")
        claims.claim(given_up > 50, f"{run}: {given_up} were given up after 300 ms")
        claims.claim(code == 1, f"{run}: the run fails")


def phases(claims, place, server):
    """Where the time went, from counters alone: means of the phases that lie within the model's known time."""
    code, folder, _ = drive(place, server, "phases", "timed", scenario(OPEN, "timed", ["binary"]))
    rows = findings(folder)["server_phases"]
    claims.claim(code == 0 and len(rows) == 1 and rows[0]["n"] > 100, f"phases: stated for {rows[0]['n']} successes")
    means = {part["name"]: part["mean_ns"] / 1e6 for part in rows[0]["parts"]}
    latency_ms = findings(folder)["latency"]["mean_ns"] / 1e6
    print(f"phases from {rows[0]['source']}: {means}, mean latency {latency_ms:.2f} ms")
    claims.claim(means["compute infer"] >= SERVICE_S * 1e3, "phases: computing takes at least the service time")
    claims.claim(sum(means.values()) < latency_ms, "phases: together less than the latency that we saw")
    return rows[0]["source"]


STREAMS = {
    "generate-stream": 'protocol = "generate-stream"\nprompt = "Tell me about the sea."\nmax_tokens = 10',
    "kserve-grpc-stream": 'protocol = "kserve-grpc-stream"\n'
    'inputs = [{ name = "text_input", datatype = "BYTES", shape = [1], data = "random" }]',
}


def streams(claims, place, server):
    """Pieces that come at known times, as events and as messages: all are seen, and when they came."""
    for name, request in STREAMS.items():
        load = 'model = "closed"\nusers = 1\nduration = "5s"'
        text = f'kind = "sustained"\n[load]\n{load}\n[[mix]]\nname = "tokens"\nmodel = "tokens"\n{request}\n'
        code, folder, theirs = drive(place, server, name, "tokens", text)
        ours, _ = counted(claims, name, folder, theirs, "tokens")
        columns = ["sent_ns", "first_token_ns", "last_token_ns", "tokens_out"]
        rows = pyarrow.parquet.read_table(folder / "samples-00000.parquet", columns=columns).to_pylist()
        first_ms = statistics.median((row["first_token_ns"] - row["sent_ns"]) / 1e6 for row in rows)
        gap_ms = statistics.median((row["last_token_ns"] - row["first_token_ns"]) / 1e6 / (TOKENS - 1) for row in rows)
        print(f"{name}: first piece after {first_ms:.2f} ms, then one every {gap_ms:.2f} ms; in truth {GAP_S * 1e3:.0f} ms each")
        claims.claim(code == 0 and ours >= 20, f"{name}: passes")
        claims.claim({row["tokens_out"] for row in rows} == {TOKENS}, f"{name}: every answer has {TOKENS} pieces")
        claims.claim(0 <= first_ms - GAP_S * 1e3 < 10, f"{name}: the time to the first piece")
        claims.claim(abs(gap_ms / (GAP_S * 1e3) - 1) < 0.03, f"{name}: the time between pieces")


def tensors(claims, place, server):
    """Tensors of every datatype, and of 4 MB: Triton takes all of them, and gives them back whole."""
    given = ", ".join(f'{{ name = "in_{kind}", datatype = "{kind}", shape = [1, 3], data = "random" }}' for kind in DATATYPES)
    wanted = ", ".join(f'"out_{kind}"' for kind in DATATYPES)
    one = 'inputs = [{{ name = "x", datatype = "{}", shape = [1, {}], data = "random" }}]\noutputs = ["y"]'
    asked = {
        "types": f"inputs = [{given}]\noutputs = [{wanted}]",
        "halves": one.format("FP16", 3),
        "wide": one.format("FP32", 1_000_000),
    }
    for model, inputs in asked.items():
        for name in PROTOCOLS:
            if (model, name) == ("halves", "json"):
                continue
            run = f"{model}-{name}"
            text = scenario('model = "closed"\nusers = 2\nduration = "2s"', model, [name], "", inputs)
            code, folder, theirs = drive(place, server, run, model, text)
            ours, _ = counted(claims, run, folder, theirs, model)
            claims.claim(code == 0 and ours > 2, f"{run}: passes")


def refusals(claims, place, server):
    """A queue that is full: what Triton refuses is a shed over every transport, and no error."""
    for name in PROTOCOLS:
        run = f"refusals-{name}"
        _, folder, theirs = drive(place, server, run, "narrow", scenario(OVERLOAD, "narrow", [name], 'thresholds = ["shed_rate < 100%"]'))
        counted(claims, run, folder, theirs, "narrow")
        totals = findings(folder)["totals"]["outcomes"]
        claims.claim(totals.get("shed", 0) > 100 and "server_error" not in totals, f"{run}: refused, and no error: {totals}")


def grpc_alone(claims, place, server):
    """Nothing but the gRPC side, and where the metrics are: that is enough to compare counts."""
    target = ["--grpc-target", server.grpc, "--metrics", server.metrics]
    code, folder, theirs = drive(place, server, "grpc-alone", "echo", scenario(CLOSED, "echo", ["grpc"]), target)
    counted(claims, "grpc-alone", folder, theirs, "echo")
    claims.claim(code == 0, "grpc-alone: passes")


def main():
    claims = Claims()
    with Workplace() as place:
        with Triton() as server:
            claims.claim(server.status("/v2/models/stats") == 403, "statistics are closed, as PyTriton has them by default")
            bears(claims, place, server)
            batches(claims, place, server)
            overload(claims, place, server)
            streams(claims, place, server)
            tensors(claims, place, server)
            refusals(claims, place, server)
            grpc_alone(claims, place, server)
            claims.claim(phases(claims, place, server) == "nv_inference_* metrics", "phases: from the metrics")
    with Workplace() as place, Triton(statistics=True) as server:
        code, folder, theirs = drive(place, server, "statistics", "echo", scenario(CLOSED, "echo", list(PROTOCOLS)))
        counted(claims, "statistics", folder, theirs, "echo")
        claims.claim(phases(claims, place, server) == "v2/models/stats", "phases: from the statistics")
    claims.finish()


if __name__ == "__main__":
    main()
