"""Read images from a column of Parquet, as an Arrow array; too long values are never copied."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import InputError
from service.offline.inputs.image_contents import MAX_FILE_BYTES, size_error
from service.offline.inputs.types import Pictures, display_name
from service.offline.optional_pyarrow import pyarrow
from service.signature import ImageSpec

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_BYTES = 16 * 2**20
NOTHING = "the row is empty"


class Column(NamedTuple):
    """A column that holds images."""

    name: str
    path: str  # of its values in Parquet's schema
    of_files: bool  # True for image files, False for pixel values


def choose_column(path: str, schema: "pa.Schema", name: str | None, spec: ImageSpec) -> Column:
    """Return a file's image column.

    Args:
        path: path of the file.
        schema: schema of the file.
        name: name of the column; None for the only possible one.
        spec: of the model's images.

    Raises:
        InputError: the column does not exist.
    """
    can_be = {field.name: column for field in schema if (column := _column(field))}
    if name in can_be or (name is None and len(can_be) == 1):
        return can_be[name] if name is not None else next(iter(can_be.values()))
    kinds = f"bytes, structs with bytes, or lists of {spec.bytes} whole numbers"
    if name is None:
        raise InputError(
            f"{display_name(path)} has {len(can_be)} columns that can be images "
            f"({', '.join(can_be) or f'{kinds} would be'}): name one with --column"
        )
    raise InputError(
        f"{display_name(path)} has no column {name!r} of {kinds}; its image columns: "
        f"{', '.join(can_be) or 'none'}"
    )


def files(array: "pa.Array") -> Iterator[Sequence[bytes | str]]:
    """Yield the image files of some rows, a bounded number of bytes at a time.

    Rows with the same dictionary index share one file.
    """
    types = pyarrow().types
    if types.is_struct(array.type):
        array = array.flatten()[array.type.get_field_index("bytes")]
    values, places = array, list(range(len(array)))
    if types.is_dictionary(array.type):
        values, places = array.dictionary, array.indices.to_pylist()
    run: list[bytes | str] = []
    made: dict[int | None, bytes | str] = {}
    held = 0  # bytes
    for place in places:
        if place not in made:
            buffer = None if place is None else values[place].as_buffer()
            size = len(buffer) if buffer is not None and len(buffer) <= MAX_FILE_BYTES else 0
            if run and held + size > CHUNK_BYTES:
                yield run
                run, made, held = [], {}, 0
            made[place] = _file(buffer)
            held += size
        run.append(made[place])
    if run:
        yield run


def images(array: "pa.Array", spec: ImageSpec) -> Pictures:
    """Return the images of some rows, (N, C, H, W) uint8.

    If a row has an error, return a list instead: for each row its image (C, H, W) or its error.
    """
    lengths = pyarrow().compute.list_value_length(array).to_pylist()
    whole = [row for row, length in enumerate(lengths) if length == spec.bytes]
    values = array.take(pyarrow().array(whole, "int64")).flatten()
    missing = _as_images(values.is_null(), spec)  # (M, C, H, W)
    numbers = _as_images(values.fill_null(0), spec)  # (M, C, H, W)
    wrong = missing | (numbers < 0) | (numbers > 255)  # (M, C, H, W)
    pixels = numbers.astype(np.uint8)  # (M, C, H, W)
    if len(whole) == len(array) and not wrong.any():
        return pixels  # (N, C, H, W)
    found: list[NDArray[np.uint8] | str] = [_no_image(length, spec) for length in lengths]
    for at, row in enumerate(whole):
        found[row] = pixels[at]  # (C, H, W)
        if wrong[at].any():
            first = np.unravel_index(wrong[at].argmax(), spec.shape)
            value = None if missing[at][first] else numbers[at][first]
            found[row] = f"the row holds {value}, expected whole numbers from 0 to 255"
    return found


def _as_images(values: "pa.Array", spec: ImageSpec) -> NDArray[Any]:
    array: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return array.reshape(-1, *spec.shape)  # (N, C, H, W)


def _column(field: "pa.Field") -> Column | None:
    types = pyarrow().types
    kind, name = field.type, field.name
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        is_file = index >= 0 and _is_bytes(kind.field(index).type)
        return Column(name, f"{name}.bytes", True) if is_file else None
    if _is_bytes(kind):
        return Column(name, name, True)
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return Column(name, name, False) if is_list and types.is_integer(kind.value_type) else None


def _is_bytes(kind: "pa.DataType") -> bool:
    types = pyarrow().types
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _file(buffer: "pa.Buffer | None") -> bytes | str:
    if buffer is None:
        return NOTHING
    if len(buffer) > MAX_FILE_BYTES:
        return size_error("the row", f"{len(buffer):,}")
    content: bytes = buffer.to_pybytes()
    return content


def _no_image(length: int | None, spec: ImageSpec) -> str:
    if length is None:
        return NOTHING
    return f"the row has {length:,} numbers, expected {spec.bytes}"
