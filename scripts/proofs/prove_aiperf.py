"""AIPerf and proofload in turn on one text generator: first token, inter-token latency and whole answers as its own log has them."""

import json
import os
import resource
import subprocess
import sys
import pathlib

from harness import Claims, Workplace, findings, percentile

RATE, SECONDS, TOKENS, ROUNDS = 20, 20, 24, 2
FIGURES = ("ttft", "itl", "latency")
SHARES = (0.5, 0.9, 0.95)
# Of the server's own figure; and what the way to it and back, and a wake-up, may add.
TOLERANCE, SLACK_MS = 0.03, 2.0
SCENARIO = """
kind = "sustained"
[target]
http = "{url}"
[load]
rate = "{rate}/s"
duration = "{seconds}s"
[[mix]]
name = "chat"
protocol = "openai-chat"
model = "words"
prompt_words = 150
max_tokens = {tokens}
"""
TOKENIZER = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
bytes_of = pre_tokenizers.ByteLevel
made = Tokenizer(models.BPE(unk_token="[UNK]"))
made.pre_tokenizer, made.decoder = bytes_of(), decoders.ByteLevel()
special = ["[UNK]", "<s>", "</s>"]
made.train_from_iterator(["the sea and the sky"] * 9, trainers.BpeTrainer(vocab_size=300, special_tokens=special,
                                                                          initial_alphabet=bytes_of.alphabet()))
PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", bos_token="<s>", eos_token="</s>").save_pretrained(sys.argv[1])
"""


class TokenServer:
    """The text generator, with the part of its log that belongs to one client."""

    def __init__(self, place):
        self.log = place.path / "served.jsonl"
        script = pathlib.Path(__file__).with_name("token_server.py")
        self.process = subprocess.Popen([sys.executable, script, self.log], stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}"
        self.seen = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def since(self):
        """Figures in ms of what it answered since it was last asked."""
        rows = [json.loads(line) for line in self.log.read_text().splitlines()]
        new, self.seen = rows[self.seen :], len(rows)
        return {name: [percentile([row[name] * 1e3 for row in new], share) for share in SHARES] for name in FIGURES}


def by_proofload(place, server, name):
    text = SCENARIO.format(url=server.url, rate=RATE, seconds=SECONDS, tokens=TOKENS)
    code, folder = place.run(place.scenario(name, text), name)
    found = findings(folder)
    times = {"ttft": found["tokens"]["ttft"], "itl": found["tokens"]["itl"], "latency": found["latency"]}
    of = {name: {p["percentile"]: p["latency_ns"] / 1e6 for p in time["percentiles"]} for name, time in times.items()}
    return code, {name: [of[name][share * 100] for share in SHARES] for name in FIGURES}


def by_aiperf(place, server, name, tokenizer):
    artifacts = place.path / name
    command = [os.environ["AIPERF"], "profile", "-m", "words", "--url", server.url, "--endpoint-type", "chat", "--streaming"]
    command += ["--request-rate", str(RATE), "--request-rate-mode", "poisson", "--request-count", str(RATE * SECONDS)]
    command += ["--synthetic-input-tokens-mean", "200", "--output-tokens-mean", str(TOKENS), "--tokenizer", tokenizer]
    command += ["--use-server-token-count", "--ui", "none", "--artifact-dir", artifacts]
    done = subprocess.run(command, cwd=place.path, capture_output=True, text=True, timeout=180, check=False)
    reports = list(artifacts.rglob("profile_export_aiperf.json"))
    if done.returncode != 0 or not reports:
        raise RuntimeError(f"AIPerf ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    found = json.loads(reports[0].read_text())
    keys = {"ttft": "time_to_first_token", "itl": "inter_token_latency", "latency": "request_latency"}
    return 0, {name: [found[keys[name]][f"p{share * 100:g}"] for share in SHARES] for name in FIGURES}


def processor_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def worst(measured, served):
    """Largest relative difference beyond the slack."""
    pairs = [(m, s) for name in FIGURES for m, s in zip(measured[name], served[name])]
    return max(max(0.0, abs(m - s) - SLACK_MS) / s for m, s in pairs)


def main():
    claims = Claims()
    with Workplace() as place, TokenServer(place) as server:
        tokenizer = place.path / "tokenizer"
        python = pathlib.Path(os.environ["AIPERF"]).with_name("python")
        subprocess.run([python, "-c", TOKENIZER, tokenizer], check=True, capture_output=True)
        print(f"{RATE}/s, {SECONDS} s, {TOKENS} tokens an answer; ms at {', '.join(f'p{s * 100:g}' for s in SHARES)}")
        spent = {"proofload": [], "AIPerf": []}
        for number in range(ROUNDS):
            for tool in spent:
                before = processor_s()
                name = f"{tool}-{number}"
                code, measured = by_proofload(place, server, name) if tool == "proofload" else by_aiperf(place, server, name, tokenizer)
                spent[tool].append(processor_s() - before)
                served = server.since()
                for figure in FIGURES:
                    print(f"  {tool:<10} {figure:<8}", *(f"{m:8.2f}" for m in measured[figure]), "  served", *(f"{s:8.2f}" for s in served[figure]))
                off = worst(measured, served)
                print(f"  {tool:<10} worst difference beyond {SLACK_MS} ms: {off * 100:.2f} %; {spent[tool][-1]:.1f} s of processor time")
                if tool == "proofload":
                    claims.claim(off <= TOLERANCE and code in (0, 3), f"round {number + 1}: proofload is within {TOLERANCE * 100:.0f} % of the server's log")
        cost = {tool: min(times) for tool, times in spent.items()}
        ratio = cost["proofload"] / cost["AIPerf"]
        claims.claim(ratio < 1, f"proofload takes {cost['proofload']:.1f} s of processor time, AIPerf {cost['AIPerf']:.1f} s ({ratio:.2f}x)")
    claims.finish()


main()
