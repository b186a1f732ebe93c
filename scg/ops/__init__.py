"""The ops: one record each, in a file per family. Importing this package fills the registry."""

from scg.ops import (  # noqa: F401
    arithmetic,
    cancelling,
    contract,
    control,
    density,
    elementary,
    implicit,
    indices,
    leaves,
    measure,
    normal_functions,
    numpy_protocol,
    randomness,
    reduce,
    scan,
    special,
    structure,
)
