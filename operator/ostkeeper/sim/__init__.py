"""The same machines in a simulated world: a heap of (time, seq, actor, event), a seed, and the invariants.

Belongs here: simulated disks, devices, network and API server, and the faults. Does not: sockets, files, the wall
clock, or a second implementation of any decision.
"""
