#!/usr/bin/env python3
"""Checks scenarios/schema.json as an editor uses it: it is a schema, every scenario that ships fits it and names it,
and files whose keys, types or words are wrong do not. Checks that findings fit reports/findings.schema.json, and that
findings with a wrong figure do not."""

import json
import pathlib
import sys
import tomllib

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "scenarios" / "schema.json"
FINDINGS = ROOT / "reports" / "findings.schema.json"
GOLDEN = ROOT / "analyzer" / "tests" / "golden" / "findings.json"
BROKEN = ROOT / "loadgen" / "tests" / "broken"
# Files of loadgen/tests/broken whose mistake a schema can see, and the key it must be found at.
SEEN = {
    "duration_without_unit": "load.duration",
    "negative_rate": "load.rate",
    "negative_shape": "mix.0.inputs.0.shape.0",
    "no_kind": "",
    "no_load": "",
    "no_mix": "",
    "unknown_key": "load",
    "unknown_kind": "kind",
    "wrong_datatype": "mix.0.inputs.0.datatype",
    "wrong_type": "load.duration",
}

failed = []


def check(name, ok, why=""):
    print(f"{'ok   ' if ok else 'FAIL '} {name}{'' if ok else ': ' + why}")
    if not ok:
        failed.append(name)


def mistakes(validator, path):
    found = validator.iter_errors(tomllib.loads(path.read_text()))
    return {".".join(str(part) for part in e.absolute_path): e.message for e in found}


def check_findings():
    schema = json.loads(FINDINGS.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    golden = json.loads(GOLDEN.read_text())
    found = [f"{'.'.join(map(str, e.absolute_path))}: {e.message}" for e in validator.iter_errors(golden)]
    check("findings fit their schema", not found, "; ".join(found[:3]))
    unknown = sorted(set(golden) - set(schema["properties"]))
    check("the schema knows every field at the top", not unknown, str(unknown))
    for wrong in ({"verdict": "FINE"}, {"rates": {**golden["rates"], "goodput_per_s": "many"}}, {"totals": None}):
        check(f"findings with {list(wrong)[0]} wrong do not fit", not validator.is_valid({**golden, **wrong}))


def main():
    check_findings()
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    shipped = sorted((ROOT / "scenarios").rglob("*.toml"))
    check("scenarios ship", len(shipped) >= 19, str(len(shipped)))
    for path in shipped:
        name = str(path.relative_to(ROOT))
        check(f"{name} fits", not (found := mistakes(validator, path)), str(found))
        directive, _, named = path.read_text().split("\n", 1)[0].partition(" ")
        check(f"{name} names it", directive == "#:schema" and (path.parent / named).resolve() == SCHEMA, named)
    for name, key in SEEN.items():
        found = mistakes(validator, BROKEN / f"{name}.toml")
        check(f"{name}.toml: the mistake is at `{key}`", key in found, str(found))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
