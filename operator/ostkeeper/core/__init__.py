"""The two machines that decide, without I/O: events and time in, effects with reasons out.

Nothing here reads a clock, a file, a socket or a random number; `now` is handed in (seconds on the observer's
monotonic clock). What the words mean stands in `api`; how effects are carried out, in the shells (`controller`, `agent`).
"""
