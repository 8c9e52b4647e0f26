"""ostkeeper keeps Lustre OSTs mounted on pairs of servers, and never on two at once.

Layers, each importing only those to its right:
`cli` → `testbed | sim` → `controller | agent` → `fencing` → `shell` → `ports` → `core` → `api`.
"""
