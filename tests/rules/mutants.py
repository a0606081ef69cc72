"""Runs cargo-mutants over controller/core, and says which share of its changes no test notices.

In two steps, because most changes are noticed by the quick tests: first without the properties, then what survived once
more with all tests. What is left is to be killed by a new test, or excluded in .cargo/mutants.toml with the reason.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# The properties, by their names: each tries hundreds of cases.
PROPERTIES = [
    "tests::any_", "tests::whatever_", "tests::every_world_without", "tests::in_no_world", "tests::the_contract_holds",
    "tests::nothing_that_is_not_ours", "tests::in_any_world", "tests::a_crash_at_any_point", "tests::no_declared_bucket",
]


def run(output, jobs, more, tests):
    command = [
        "cargo", "mutants", "-p", "ssm-ready-core", "--output", str(output), "--jobs", str(jobs),
        "--no-times", "--minimum-test-timeout", "60", *more,
        # The policies of iam/ are tested from outside of the crate.
        "--", "--lib", "--test", "iam", *tests,
    ]
    print("$", *command, file=sys.stderr)
    # 2: some were missed; 3: some timed out. Anything else is no result.
    # Without a shared target folder: jobs would wait for one another.
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    code = subprocess.run(command, cwd=ROOT, env=environment).returncode
    if code not in (0, 2, 3):
        sys.exit(f"cargo-mutants failed with {code}")


def outcomes(output):
    """What became of each mutant, by its name."""
    with open(output / "mutants.out" / "outcomes.json") as file:
        all_outcomes = json.load(file)["outcomes"]
    return {o["scenario"]["Mutant"]["name"]: o["summary"] for o in all_outcomes if isinstance(o["scenario"], dict)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder for what cargo-mutants says")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("more", nargs="*", help="further arguments for cargo-mutants, after --")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.output, ignore_errors=True)
    arguments.output.mkdir(parents=True)
    run(arguments.output, arguments.jobs, arguments.more, ["--", *(f for p in PROPERTIES for f in ("--skip", p))])
    found = outcomes(arguments.output)
    if any(summary in ("MissedMutant", "Timeout") for summary in found.values()):
        run(arguments.output, arguments.jobs, [*arguments.more, "--iterate"], [])
        found.update(outcomes(arguments.output))
    count = lambda *summaries: sum(summary in summaries for summary in found.values())
    tried = count("CaughtMutant", "MissedMutant", "Timeout")
    missed = sorted(name for name, summary in found.items() if summary == "MissedMutant")
    print(f"{len(found)} changes: {count('CaughtMutant')} noticed by a test, {count('Timeout')} by a timeout, "
          f"{count('Unviable')} do not build, {len(missed)} not noticed")
    for name in missed:
        print(f"  not noticed: {name}")
    if tried:
        print(f"surviving: {len(missed)} of {tried} ({100 * len(missed) / tried:.1f} %)")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
