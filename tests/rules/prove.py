"""Shows that the rules of the design are kept by the code that keeps them, and guarded by tests that say so.

Each entry of rules.toml takes a rule out of the code: a text of one file is replaced by another. In a copy of the
workspace the named test has to pass before that, and to fail after it. A text that is not there exactly once, a copy
that does not build and a test that did not run are errors of the table, not proofs.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# How the tests of a suite are run; the names of tests follow. Those of "cloud-sdk" build the AWS SDK.
SUITES = {
    "core": ["-p", "ssm-ready-core", "--lib"],
    "crds": ["-p", "ssm-ready-crds", "--lib"],
    "controller": ["-p", "ssm-ready", "--no-default-features", "--lib"],
    "cloud": ["-p", "ssm-ready-cloud", "--no-default-features", "--lib"],
    "cloud-sdk": ["--workspace", "--lib"],
    "simulation": ["-p", "ssm-ready-tests", "--no-default-features", "--test", "simulation"],
}
SDK = {"cloud-sdk"}

# Seconds that a suite may take: the first time it builds what the workspace depends on; later a test may hang for want
# of a rule, which proves nothing.
FIRST, LATER = 7200, 1200

Break = collections.namedtuple("Break", "rule how file text by suite test")


class Wrong(Exception):
    """The table does not fit the code."""


def load():
    with open(HERE / "rules.toml", "rb") as file:
        table = tomllib.load(file)
    rules = {rule["number"]: rule["sentence"] for rule in table["rule"]}
    breaks = []
    for entry in table["break"]:
        unknown = set(entry) - set(Break._fields)
        missing = set(Break._fields) - set(entry)
        if unknown or missing:
            raise Wrong(f"{entry.get('how')}: unknown {sorted(unknown)}, missing {sorted(missing)}")
        if entry["suite"] not in SUITES:
            raise Wrong(f"{entry['how']}: no suite {entry['suite']}, there are {', '.join(SUITES)}")
        if entry["rule"] not in rules:
            raise Wrong(f"{entry['how']}: no rule {entry['rule']}")
        breaks.append(Break(**entry))
    for number, sentence in rules.items():
        if not any(entry.rule == number for entry in breaks):
            raise Wrong(f"rule {number} ({sentence}) is not taken out by anything")
    return rules, breaks


def broken(entry, root):
    """The file's text with the rule taken out."""
    text = (root / entry.file).read_text()
    count = text.count(entry.text)
    if count != 1:
        raise Wrong(f"{entry.how}: {entry.file} has the text {count} times, not once:\n{entry.text}")
    if entry.text == entry.by:
        raise Wrong(f"{entry.how}: replaced by itself")
    return text.replace(entry.text, entry.by)


def copy(to):
    """The workspace as it is on disk, without what git ignores. What has not changed is left, so that it need not be
    built anew."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")
    names = {name for name in listed if name and (ROOT / name).is_file()}
    for name in names:
        source, target = ROOT / name, to / name
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    for old in [path for path in to.rglob("*") if path.is_file()]:
        if str(old.relative_to(to)) not in names:
            old.unlink()


class Cargo:
    """Runs tests in the copy."""

    def __init__(self, tree, target, log):
        self.tree, self.target, self.log = tree, target, log

    def test(self, suite, names, patience):
        """What became of each of these tests: ok, FAILED, or nothing."""
        command = ["cargo", "test", "--no-fail-fast", "--target-dir", str(self.target), *SUITES[suite], "--", "--exact", *names]
        # In a group of its own: cargo does not end the test that it runs.
        run = subprocess.Popen(
            command, cwd=self.tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )
        try:
            said, _ = run.communicate(timeout=patience)
        except subprocess.TimeoutExpired as expired:
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()
            raise Wrong(f"{suite} {' '.join(names)}: not done after {patience} s") from expired
        with open(self.log, "a") as log:
            print("$", *command, file=log)
            print(said, file=log)
        if "could not compile" in said or not re.search(r"^running \d+ test", said, re.M):
            raise Wrong("the copy does not build or run:\n" + "\n".join(said.splitlines()[-30:]))
        found = re.findall(r"^test (\S+) (?:- should panic )?\.\.\. (ok|FAILED)$", said, re.M)
        # A test that prints is told in two lines.
        failed = re.findall(r"^---- (\S+) stdout ----$", said, re.M)
        outcome = dict(found)
        outcome.update({name: "FAILED" for name in failed})
        return {name: outcome.get(name) for name in names}


def baseline(cargo, breaks):
    """Every named test exists, and passes as long as nothing is taken out."""
    wrong = []
    for suite in SUITES:
        names = sorted({entry.test for entry in breaks if entry.suite == suite})
        if not names:
            continue
        print(f"{suite}: {len(names)} tests without any change", file=sys.stderr)
        for name, outcome in cargo.test(suite, names, FIRST).items():
            if outcome != "ok":
                wrong.append(f"{suite} {name}: {outcome or 'there is no such test'}")
    if wrong:
        raise Wrong("without any change:\n" + "\n".join(wrong))


def prove(cargo, entry):
    """Whether the test turns red when the rule is taken out."""
    file = cargo.tree / entry.file
    whole = file.read_text()
    file.write_text(broken(entry, cargo.tree))
    try:
        return cargo.test(entry.suite, [entry.test], LATER)[entry.test] == "FAILED"
    finally:
        file.write_text(whole)


def chosen(breaks, arguments):
    if arguments.only:
        breaks = [entry for entry in breaks if entry.rule in arguments.only]
    if arguments.suites:
        breaks = [entry for entry in breaks if entry.suite in arguments.suites]
    if arguments.without_sdk:
        breaks = [entry for entry in breaks if entry.suite not in SDK]
    return breaks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=pathlib.Path, help="folder for the copy, kept for the next time")
    parser.add_argument("--target", type=pathlib.Path, help="folder for what is built, of no other copy; default: in the scratch folder")
    parser.add_argument("--only", type=int, nargs="+", metavar="RULE", help="these rules alone")
    parser.add_argument("--suites", choices=sorted(SUITES), nargs="+", metavar="SUITE", help="what these suites guard alone: " + ", ".join(SUITES))
    parser.add_argument("--without-sdk", action="store_true", help="leave out what needs the AWS SDK to be built")
    parser.add_argument("--check", action="store_true", help="only see whether the table fits the code")
    arguments = parser.parse_args()
    try:
        rules, breaks = load()
        for entry in breaks:
            broken(entry, ROOT)
    except Wrong as wrong:
        sys.exit(f"rules.toml: {wrong}")
    breaks = chosen(breaks, arguments)
    if arguments.check:
        print(f"{len(breaks)} changes, each of a text that is there once")
        return
    kept = arguments.scratch is not None
    scratch = arguments.scratch.resolve() if kept else pathlib.Path(tempfile.mkdtemp(prefix="ssm-ready-rules-"))
    tree, target = scratch / "tree", (arguments.target or scratch / "target").resolve()
    if ROOT == tree or ROOT in tree.parents:
        sys.exit("the scratch folder must not be in the workspace")
    tree.mkdir(parents=True, exist_ok=True)
    log = scratch / "log.txt"
    log.write_text("")
    holes, useless = [], []
    try:
        copy(tree)
        cargo = Cargo(tree, target, log)
        baseline(cargo, breaks)
        print(f"{'rule':4}  {'taken out':66}  red test")
        for entry in breaks:
            began = time.monotonic()
            try:
                red = prove(cargo, entry)
            except Wrong as wrong:
                # It proves nothing, but the others may.
                useless.append(f"{entry.rule}: {entry.how}: {wrong}")
                continue
            shown = entry.test if red else f"NONE: {entry.test} passes"
            print(f"{entry.rule:4}  {entry.how:66}  {shown}  ({time.monotonic() - began:.0f} s)", flush=True)
            if not red:
                holes.append(entry)
    except Wrong as wrong:
        sys.exit(f"{wrong}\n(the whole output is in {log})" if kept else str(wrong))
    finally:
        if not kept:
            shutil.rmtree(scratch, ignore_errors=True)
    numbers = sorted({entry.rule for entry in breaks})
    red = len(breaks) - len(holes) - len(useless)
    print(f"{red} of {len(breaks)} changes turn a test red; rules {', '.join(map(str, numbers))} of {len(rules)}")
    if holes:
        print("not guarded:", *(f"  {entry.rule}: {entry.how} ({entry.file})" for entry in holes), sep="\n")
    if useless:
        print("no proof:", *useless, sep="\n")
    sys.exit(1 if holes or useless else 0)


if __name__ == "__main__":
    main()
