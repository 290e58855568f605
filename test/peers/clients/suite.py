"""Runs psycopg's own tests and tells of each, one line: what came of it, its name, and the last line of its error."""
import sys
import unittest
import warnings


class Lines(unittest.TestResult):
    def say(self, outcome, test, error=None):
        last = str(error[1]).strip().split("\n")[0] if error else ""
        print(f"{outcome}\t{test.id()}\t{last}", flush=True)

    def addSuccess(self, test):
        self.say("ok", test)

    def addError(self, test, err):
        self.say("error", test, err)

    def addFailure(self, test, err):
        self.say("failed", test, err)

    def addSkip(self, test, reason):
        self.say("skipped", test)

    def addExpectedFailure(self, test, err):
        self.say("failed as expected", test)

    def addUnexpectedSuccess(self, test):
        self.say("ok unexpectedly", test)


warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
unittest.defaultTestLoader.loadTestsFromName("tests.test_suite").run(Lines())
