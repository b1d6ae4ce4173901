#!/usr/bin/env python3
"""Sums what the stages of tools/test.sh reported: test_summary.py RESULTS [FAILED_STAGE...]

RESULTS holds one ctest report STAGE.xml per stage and, in STAGE/, one report per gtest program. A gtest
program counts with its cases, anything else (script, fuzzer, a program that crashed before it could
report) as one test. Prints failures and skips by name, last the line 'N passed, N failed, N skipped';
exits 1 if anything failed.
"""

import pathlib
import sys
import xml.etree.ElementTree as xml
from collections import Counter

SHOWN_LINES, SHOWN_COLUMNS = 12, 300  # of the message of a failure; the log has the rest


def gtest_cases(report):
    """Yields (name, outcome, message) for every case of one gtest program."""
    for case in xml.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        failures = case.findall("failure")
        skips = case.findall("skipped")
        if failures:
            yield name, "failed", failures[0].get("message", "")
        elif skips:
            # The message is the place, then the text.
            text = (skips[0].get("message") or "").strip().splitlines()
            yield name, "skipped", text[-1].strip() if text else ""
        elif case.get("status") == "run":
            yield name, "passed", ""


def stage_cases(results, stage):
    """Yields the outcomes of one stage: ctest's tests, gtest programs opened up into their cases."""
    for test in xml.parse(results / f"{stage}.xml").getroot().iter("testcase"):
        name = test.get("name")
        passed = test.get("status") == "run"
        report = results / stage / f"{name}.xml"
        cases = []
        try:
            cases = list(gtest_cases(report)) if report.exists() else []
        except xml.ParseError:
            pass  # the program died while it wrote: ctest counts it as failed below
        yield from cases
        if passed and not cases:
            yield name, "passed", ""
        elif test.get("status") in ("notrun", "disabled"):
            yield name, "skipped", "ctest did not run it"
        elif not passed and not any(outcome == "failed" for _, outcome, _ in cases):
            # What a sanitizer or a check says stands near the end of the output.
            output = (test.findtext("system-out") or "").strip().splitlines()
            yield name, "failed", "\n".join(output[-SHOWN_LINES:])


def main(results, broken):
    results = pathlib.Path(results)
    count = Counter()
    skips = {}
    reported = set()
    for report in sorted(results.glob("*.xml")):
        stage = report.stem
        for name, outcome, message in stage_cases(results, stage):
            count[outcome] += 1
            if outcome == "failed":
                reported.add(stage)
                print(f"failed: {stage}: {name}")
                for line in message.splitlines()[:SHOWN_LINES]:
                    print(f"    {line[:SHOWN_COLUMNS]}")
            elif outcome == "skipped":
                skips.setdefault(message, {}).setdefault(name, []).append(stage)
    for stage in broken:
        if stage not in reported:  # it did not build, or ended without a word
            count["failed"] += 1
            print(f"failed: {stage}")
    for stage in broken:
        print(f"the whole output of {stage}: {results / (stage + '.log')}")
    for message, names in skips.items():
        print(f"skipped: {message or 'no reason given'}")
        for name, stages in names.items():
            print(f"    {name} ({', '.join(stages)})")
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
