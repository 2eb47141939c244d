"""Kernels whose slow imports are already made: each is forked from one interpreter that made them.

torch, transformers, ranx and matplotlib take seconds to import, and a kernel started the usual way
does so again for every chapter. Here the first kernel of a process starts a fork server, which
imports PRELOADED and does nothing else; a chapter still gets a process and a namespace of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

NAME = "forked"
LAUNCHER = "ipykernel_launcher"
#: What most chapters import, and what a child imports with the script that started it.
PRELOADED = (
    "ipykernel.kernelapp",
    "jupytext",
    "nbclient",
    "disco_lib.experiments",
    "disco_lib.tables",
)
#: Set before anything is imported: the backend that a kernel would choose, and a way to ask for a
#: GPU that leaves CUDA untouched, which could not be used in a fork otherwise.
BEFORE_IMPORTS = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}


def use_forked_kernels(environment: Mapping[str, str]) -> None:
    """Start this process's kernels by forking from now on, where the system can do so safely.

    environment: what has to be set before anything is imported, such as numbers of threads; it is
    set in this process too. Elsewhere than on Linux, where libraries that were imported may not be
    forked, kernels are started as usual.
    """
    os.environ.update(environment)
    if sys.platform != "linux":
        return
    os.environ.update(BEFORE_IMPORTS)
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    factory = KernelProvisionerFactory.instance()
    entry = EntryPoint(NAME, f"{__name__}:{ForkedProvisioner.__name__}", factory.GROUP_NAME)
    factory.provisioners[NAME] = entry
    factory.default_provisioner_name = NAME


class ForkedProvisioner(LocalProvisioner):
    """jupyter_client's way to a local kernel, with a fork where it starts an interpreter."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start the kernel that a command describes; see LocalProvisioner.launch_kernel."""
        arguments = cmd[cmd.index(LAUNCHER) + 1 :]
        self.cwd = kwargs.get("cwd") or Path.cwd()
        self.process = ForkedKernel(arguments, kwargs["env"], Path(self.cwd))
        self.pid = self.pgid = self.process.pid
        return self.connection_info


class ForkedKernel:
    """A kernel in a process of its own, with as much of subprocess.Popen as a provisioner needs."""

    stdin = stdout = stderr = None

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        self._process = context.Process(
            target=serve, args=(list(arguments), dict(environment), str(folder))
        )
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Exit status; None while the kernel runs."""
        return self._process.exitcode

    def wait(self) -> int | None:
        """Exit status, once the kernel has ended."""
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel alone."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End the kernel at once."""
        self._process.kill()

    def terminate(self) -> None:
        """Ask the kernel to end."""
        self._process.terminate()


def serve(arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
    """Run a kernel in this process, which was forked for it, until it is shut down."""
    from ipykernel.kernelapp import launch_new_instance

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Told of a parent, it does not advise how to connect to it.
    launch_new_instance(argv=[*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])


def _end_with_parent() -> None:
    """End this process when the one that asked for it is gone; a fork server would go on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
