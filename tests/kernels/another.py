"""Another process: one that starts a kernel and tells its process, as a server does, or one that opens the store."""

import sys
import time

from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from pybuild_magic.builders import embedded_builder
from pybuild_magic.store.collect import collect_garbage

if sys.argv[1] == "store":
    collect_garbage(embedded_builder().store)
    embedded_builder().close()
else:
    manager = KernelManager(kernel_name=sys.argv[1])
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    assert isinstance(manager.provisioner, LocalProvisioner)
    print("pid", manager.provisioner.pid, flush=True)
    time.sleep(600)
