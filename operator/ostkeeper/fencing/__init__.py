"""The drivers: one file per family of fence devices, each behind `ports.PowerDevice`, one operation at a time.

Belongs here: protocols on the wire, deadlines before every packet, worker processes that can be killed.
Does not: which device to ask, how often, or what an answer proves (`core`); retries that hide a silence.
"""
