"""The large arrays of an exported module: they lie in a file beside it, which is the one that was written with it.

Exported modules hold this text too.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping

import numpy as np

from scg.errors import SCGError


def packed(arrays: Mapping[str, np.ndarray]) -> tuple[bytes, str]:
    """What a file of arrays holds, and the digest that tells it from every other one."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stubs take each array for an option
    return file.getvalue(), digest_of(file.getvalue())


def digest_of(content: bytes) -> str:
    """The digest of a file."""
    return hashlib.sha256(content).hexdigest()


def arrays_beside(module: str, name: str, digest: str) -> dict[str, np.ndarray]:
    """The arrays in the file of that name in a module's folder.

    Nothing of the file is interpreted before its digest is known to be that of the file that was written.

    Parameters
    ----------
    module : str
        The path of the module.
    name : str
        The file's.
    digest : str
        As of `packed`.

    Raises
    ------
    SCGError
        If there is no such file, or if it is another one.
    """
    where, what = os.path.basename(module), f"The arrays of this module are in {name!r}, beside it."
    path = os.path.join(os.path.dirname(module), name)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as why:
        raise SCGError(where, what, f"That file cannot be read: {why}.",
                       "Copy it there with the module, or export the module anew.") from None
    if digest_of(content) != digest:
        raise SCGError(where, what, "That file is damaged, or another one: its digest is not the one that the module "
                                    "knows.", "Copy it anew from where the module was exported, or export that anew.")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            return {key: found[key] for key in found.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as why:
        raise SCGError(where, what, f"This version of NumPy cannot read it: {why}.",
                       "Export the module anew.") from None
