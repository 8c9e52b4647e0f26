"""The operator's shell: the pair machine on the real API server, the leader election, the supervisor of both.

Belongs here: watches, writes, leases, events; the only place that imports kopf. Does not: any decision (`core`), any
disk, any device protocol (`fencing`).
"""
