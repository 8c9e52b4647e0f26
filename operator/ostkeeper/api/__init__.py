"""The five kinds of `ostkeeper.dev/v1alpha1`, one pydantic model each, and what generates `crds/` from them.

Here: the wire format, its units, defaults and effects, as `kubectl explain` shows them; what one object alone can
have refused. Not here: anything that needs a second object, time or the caller (`core`, `controller`, `deploy/`).
Models are frozen: parsed once per resourceVersion and shared by reference.
"""

from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST

__all__ = ["OSS", "OST", "Failover", "FenceDevice", "OSSPair"]
