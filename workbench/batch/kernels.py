"""Jupyter kernels that see one GPU: a kernel spec each, for JupyterLab, papermill and `workbench batch --kernel`."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

from workbench.errors import InputError


def install_kernel(name: str = "", *, gpu: str = "", prefix: str = "") -> tuple[str, Path]:
    """Write the spec of a kernel of this Python, with CUDA_VISIBLE_DEVICES set where a GPU is named.

    Returns its name and folder. `prefix`: such as a virtual environment; by default the user's own Jupyter folder.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    name = name or (f"workbench-gpu{gpu.replace(',', '-')}" if gpu else "workbench")
    if not re.fullmatch(r"[a-zA-Z0-9._\-]+", name):
        raise InputError(f"{name!r}: a kernel is named with letters, digits, dot, dash and underscore")
    if gpu and not re.fullmatch(r"[\w.\-:/,]+", gpu):
        raise InputError(f"--gpu {gpu}: say which as CUDA_VISIBLE_DEVICES does, such as 0 or 0,1")
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": f"workbench ({f'GPU {gpu}' if gpu else 'Python ' + sys.version.split()[0]})",
        "language": "python",
        "metadata": {"debugger": True},
        "env": {"CUDA_VISIBLE_DEVICES": gpu} if gpu else {},
    }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.json").write_text(json.dumps(spec, indent=1))
        try:
            place = KernelSpecManager().install_kernel_spec(folder, name, user=not prefix, prefix=prefix or None)
        except OSError as e:
            raise InputError(f"{e.filename}: {e.strerror}; choose a place with --prefix") from None
    return name.lower(), Path(place)
