"""Nested state (arrays, sparse matrices, numbers, text) in one safetensors file, and back: no pickle.

Arrays keep their place in the file; everything else, and the tree itself, is JSON in the file's metadata.
Models and training checkpoints are both stored this way.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import safetensors
import safetensors.numpy
import torch
from scipy.sparse import csr_array

from recae import durable
from recae.errors import ArtifactError, CheckpointError

Source = str | os.PathLike[str] | BinaryIO

FORMAT: Final = "recae-state"
FORMAT_VERSION: Final = "1"

_FIELD = "recae"
_ARRAY, _SPARSE = "@array", "@csr"


def write_state(file: Source, state: Mapping[str, Any], **metadata: str) -> None:
    """Write ``state`` to a path or an open binary file.

    A path is replaced in one step, with its bytes on the disk, so that a crash leaves the old file or the new one, never half of one.

    Args:
        file: where to.
        state: nested dicts and lists of arrays, tensors, ``csr_array``, numbers, text, booleans and None.
        metadata: short texts beside the state.

    Raises:
        TypeError: if the state holds anything else.
        ArtifactError: if the file cannot be written.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    tree = json.dumps(_flatten(state, "", arrays), allow_nan=True)
    fields = {"format": FORMAT, "format_version": FORMAT_VERSION, "tree": tree, **metadata}
    # In one field: safetensors writes several in random order, and the same state has to give the same file.
    header = {_FIELD: json.dumps(fields)}
    if not isinstance(file, str | os.PathLike):
        file.write(safetensors.numpy.save(arrays, metadata=header))
        return
    path = Path(file)
    try:
        with durable.new_file(path) as temporary:
            mode = temporary.stat().st_mode  # as this user's files have it
            safetensors.numpy.save_file(arrays, temporary, metadata=header)
            temporary.chmod(mode)  # safetensors writes for the owner alone
    except safetensors.SafetensorError as error:
        raise ArtifactError(f"{path} cannot be written: {error}; is there room on the disk?") from error


def check_folder(checkpoint: str | os.PathLike[str]) -> None:
    """Refuse a checkpoint that could not be written, before the epoch that it is to keep.

    Raises:
        CheckpointError: if there is no folder for it.
    """
    folder = Path(checkpoint).parent
    if not folder.is_dir():
        raise CheckpointError(
            f"checkpoint {checkpoint} cannot be written: there is no folder {folder}; make it first"
        )


def read_state(file: Source) -> tuple[dict[str, Any], dict[str, str]]:
    """``(state, metadata)`` as :func:`write_state` was given them; tensors come back as arrays.

    From a path the arrays are mapped: processes that read the same file share its pages in memory, and one that writes
    into an array gets those pages for itself. The file may be removed or replaced meanwhile, and not be written into.

    Raises:
        ArtifactError: if the file is missing, damaged, or of a format this version does not know.
    """
    try:
        if isinstance(file, str | os.PathLike):
            # As torch's tensors the arrays are the file itself, mapped into memory; as numpy's they would be copies.
            with safetensors.safe_open(file, framework="pt") as opened:
                header = _fields(opened.metadata())
                arrays = {key: opened.get_tensor(key).numpy() for key in opened.keys()}  # noqa: SIM118 - no mapping
        else:
            blob = file.read()
            header = _header_of(blob)
            arrays = safetensors.numpy.load(blob)
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        raise ArtifactError(f"cannot read {_name(file)}: {error}; save the model again") from error
    _check_format(file, header)
    try:
        return _restore(json.loads(header.pop("tree")), arrays), header
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"{_name(file)} is damaged: {error}; save the model again") from error


def arrays_of(state: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Every array in ``state`` with the name it has in the file, the data of sparse matrices among them."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    _flatten(state, "", arrays)
    yield from arrays.items()


def _flatten(value: Any, key: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, csr_array):
        parts = {"data": value.data, "indices": value.indices, "indptr": value.indptr}
        for part, array in parts.items():
            arrays[f"{key}.{part}"] = np.ascontiguousarray(array)
        return {_SPARSE: [key, *map(int, value.shape)]}
    if isinstance(value, np.ndarray):
        # safetensors has no arrays of no dimension: the shape goes into the tree
        arrays[key] = (
            np.ascontiguousarray(value).reshape(-1) if value.ndim == 0 else np.ascontiguousarray(value)
        )
        return {_ARRAY: [key, value.ndim]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(name): _flatten(part, f"{key}/{name}", arrays) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_flatten(part, f"{key}/{place}", arrays) for place, part in enumerate(value)]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"cannot store {type(value).__name__} at {key!r} without pickle")


def _restore(tree: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(tree, list):
        return [_restore(part, arrays) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if _ARRAY in tree:
        key, n_dimensions = tree[_ARRAY]
        return arrays[key] if n_dimensions else arrays[key].reshape(())
    if _SPARSE in tree:
        key, *shape = tree[_SPARSE]
        parts = (arrays[f"{key}.data"], arrays[f"{key}.indices"], arrays[f"{key}.indptr"])
        matrix = csr_array(parts, shape=tuple(shape))
        matrix.check_format(full_check=True)  # places outside the matrix would crash the process, later
        return matrix
    return {name: _restore(part, arrays) for name, part in tree.items()}


def _check_format(file: Source, header: Mapping[str, str]) -> None:
    found = (header.get("format"), header.get("format_version"))
    if found != (FORMAT, FORMAT_VERSION):
        raise ArtifactError(
            f"{_name(file)} holds format {found[0]!r} version {found[1]!r}, "
            f"this recae reads {FORMAT!r} version {FORMAT_VERSION!r}; save the model again with this version"
        )


def _header_of(blob: bytes) -> dict[str, str]:
    """Metadata of a safetensors file in memory: 8 bytes of little-endian length, then JSON."""
    length = int.from_bytes(blob[:8], "little")
    return _fields(json.loads(blob[8 : 8 + length]).get("__metadata__"))


def _fields(metadata: Mapping[str, str] | None) -> dict[str, str]:
    return dict(json.loads((metadata or {}).get(_FIELD, "{}")))


def _name(file: Source) -> str:
    return str(file) if isinstance(file, str | os.PathLike) else str(getattr(file, "name", "the file"))
