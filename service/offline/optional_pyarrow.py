"""pyarrow, which is an extra and takes a quarter of a second to import: where it is needed."""

from typing import Any

from service.errors import InputError


def pyarrow() -> Any:
    """Import it, its modules `compute` and `parquet` with it.

    Raises:
        InputError: it is missing.
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
