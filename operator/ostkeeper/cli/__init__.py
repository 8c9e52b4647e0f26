"""`ostkeeper ...` and the kubectl plugin `kubectl ost ...`: fetch, a pure view, print.

Belongs here: arguments, tables, exit codes. Does not: logic that a test would want without a terminal.
"""
