"""One file per kind of target: how it is recognised, probed, cleared, mounted and unmounted.

Belongs here: what a file system needs and says, its refusals in its own words. Does not: when any of it happens
(`core.host`), locks and children (`agent`).
"""
