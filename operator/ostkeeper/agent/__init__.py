"""The agent's shell: the host machine on a real server. It mounts, unmounts and reports, and never decides.

Belongs here: block devices, mounts, locks, the lease, the OSS report, over plain aiohttp. Does not: kopf, kubernetes,
device protocols (weight on a storage server), nor any decision (`core`).
"""
