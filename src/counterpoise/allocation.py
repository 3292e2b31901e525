"""Allocations that failed, whoever made them: on a GPU PyTorch has an error of its own for it, on a CPU it has none.

What the libraries raise: Python, NumPy and Arrow a ``MemoryError``; PyTorch its ``OutOfMemoryError`` for a device, and
a bare ``RuntimeError`` of its CPU allocator, of C++'s ``std::bad_alloc``, of cuDNN and cuBLAS, and of oneDNN, whose
message is "could not create a primitive"; a system call ``ENOMEM``. Code in Rust (tokenizers, safetensors) and threads
of C++ end the process. So does the kernel where it has promised more memory than there is. None of these can be caught.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from counterpoise.errors import OutOfMemoryError, first_line

_OF_LIBRARIES = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "std::bad_alloc",
    "out of memory",
    "could not create a primitive",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What a ``RuntimeError`` says that is one of memory; ``torch.OutOfMemoryError`` is a ``RuntimeError`` too."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had, on a device or on the host."""
    if isinstance(error, OutOfMemoryError):
        return False  # said already
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if not isinstance(error, RuntimeError):
        return False
    return type(error).__name__ == "OutOfMemoryError" or any(text in str(error) for text in _OF_LIBRARIES)


def said(error: BaseException) -> str:
    """What such an error says, in one line, without the place in a library's source."""
    text = first_line(error)
    for mark in ("DefaultCPUAllocator: ", "] "):
        text = text.rpartition(mark)[2] if mark in text else text
    return text


@contextmanager
def as_out_of_memory(what: str) -> Iterator[None]:
    """While inside, an allocation that fails is an :class:`~counterpoise.errors.OutOfMemoryError`.

    Args:
        what: what is done, for the message.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        message = said(error)
    else:
        return
    raise OutOfMemoryError(what, message)
