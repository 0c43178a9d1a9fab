"""Import pyarrow only where it is needed: it is an extra, and importing it takes 0.25 s."""

from typing import Any

from service.errors import InputError


def pyarrow() -> Any:
    """Return pyarrow, with its modules `compute` and `parquet` imported.

    Raises:
        InputError: pyarrow is missing.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            "Parquet needs pyarrow: pip install 'fashion-lenet-bn[parquet]', or pip install pyarrow"
        ) from error
    return pyarrow
