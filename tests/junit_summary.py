"""Counts a suite by the JUnit file it wrote: junit_summary.py FILE prints `PASSED FAILED`.

Lists on stderr the tests that did not run. Appends each failed test to the file of --failures, with the
last lines of its output: the whole log may be long or truncated.
"""
import argparse
import sys
import xml.etree.ElementTree as xml

LINES_OF_A_FAILURE = 25


def has_failed(case):
    return any(case.find(name) is not None for name in ("failure", "error")) or case.get("status") == "fail"


def was_skipped(case):
    return case.find("skipped") is not None or case.get("status") == "disabled"


def has_passed(case):
    # ctest gives a status ("run"), vitest none.
    return not has_failed(case) and not was_skipped(case) and case.get("status") in (None, "run")


def end_of_its_output(case):
    texts = [part.text or "" for name in ("system-out", "failure", "error") for part in case.findall(name)]
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return lines[-LINES_OF_A_FAILURE:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--failures", help="where those that failed are told", required=True)
    parser.add_argument("--suite", help="the name they go by there", required=True)
    options = parser.parse_args()
    cases = list(xml.parse(options.file).iter("testcase"))
    failed = [case for case in cases if has_failed(case)]
    with open(options.failures, "a", encoding="utf-8") as failures:
        for case in failed:
            print(f"FAILED  {options.suite}: {case.get('name')}", file=failures)
            for line in end_of_its_output(case):
                print(f"        {line}", file=failures)
    for case in filter(was_skipped, cases):
        print("not run:", case.get("name"), file=sys.stderr)
    print(sum(map(has_passed, cases)), len(failed))


main()
