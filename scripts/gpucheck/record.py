"""The table of results: every row is on the disk as soon as it is known, so that a run that is cut off keeps what it has."""

import json
import os
import time

PASS, FAIL = "pass", "FAIL"
# Why there is no figure: it cannot be had here, or time was up.
NOT_MEASURABLE, NOT_RUN = "not measurable here", "not run"
# A figure that nothing is asked of.
MEASURED = "measured"


class Table:
    def __init__(self, folder, rehearsal):
        self.folder, self.rehearsal = folder, rehearsal
        self.markdown, self.lines = folder / "table.md", folder / "rows.jsonl"

    def begin(self, about):
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in (self.markdown, self.lines):
            file.unlink(missing_ok=True)
        heading = "GPU check, a rehearsal: its figures say nothing about a GPU" if self.rehearsal else "GPU check"
        self._append(self.markdown, f"# {heading}\n\n{about}\n\n| row | asked | seen | verdict | why |\n|---|---|---|---|---|\n")
        self._append(self.lines, json.dumps({"machine": about, "rehearsal": self.rehearsal, "unix_s": time.time()}) + "\n")
        print(about, flush=True)

    def add(self, row, asked, seen, verdict, why=""):
        shown = f"rehearsed: {verdict}" if self.rehearsal else verdict
        line = {"row": row, "asked": asked, "seen": seen, "verdict": shown, "why": why, "unix_s": time.time()}
        self._append(self.lines, json.dumps(line) + "\n")
        cells = [str(cell).replace("|", "\\|").replace("\n", " ") for cell in (row, asked, seen, shown, why)]
        self._append(self.markdown, f"| {' | '.join(cells)} |\n")
        print(f"{shown:<10} {row}: {seen}{f' ({why})' if why else ''}", flush=True)

    @staticmethod
    def _append(file, text):
        with open(file, "a", encoding="utf-8") as target:
            target.write(text)
            target.flush()
            os.fsync(target.fileno())

    def rows(self):
        with open(self.lines, encoding="utf-8") as source:
            return [json.loads(line) for line in source][1:]

    def count(self):
        return len(self.rows())

    def finish(self, took_s):
        verdicts = [row["verdict"].removeprefix("rehearsed: ") for row in self.rows()]
        counts = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
        said = f"{', '.join(f'{count} {verdict}' for verdict, count in counts.items())}; {took_s:.0f} s"
        self._append(self.markdown, f"\n{said}\n")
        print(said)
        return 1 if FAIL in verdicts else 0
