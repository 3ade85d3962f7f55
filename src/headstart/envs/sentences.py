"""Texts as numbers: pieces of characters, hashed; or a model of sentences that the user has."""

import zlib
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from headstart.errors import HeadstartError

TEXT_SIZE = 64
"""Numbers that a text is told as, without a model."""
GRAMS = (3, 4, 5)
"""Characters of the pieces that a text is cut into."""


def size_of(folder: str) -> int:
    """How many numbers a text is told as, by the model in a folder or, if it is "", without one.

    Raises:
        HeadstartError: see `embedded`.
    """
    return int(_model(folder).dim) if folder else TEXT_SIZE


@lru_cache(maxsize=1024)
def embedded(text: str, folder: str = "") -> np.ndarray:
    """A text as numbers of length 1.

    Without a model they are counts of its pieces of 3 to 5 characters, added or subtracted at
    places that a hash gives them (Weinberger et al., 2009, 0902.2206): texts that share words are
    near to each other. With one of Model2Vec's, texts that mean much the same are.

    Args:
        text: in any language that the model knows.
        folder: of a model as Model2Vec saves it; none if "".

    Raises:
        HeadstartError: there is no model in the folder, or Model2Vec is not installed.
    """
    found = np.asarray(_model(folder).encode([text])[0], np.float32) if folder else _hashed(text)
    return found / max(float(np.linalg.norm(found)), 1e-8)


def _hashed(text: str) -> np.ndarray:
    counts = np.zeros(TEXT_SIZE, np.float32)
    padded = f" {' '.join(text.lower().split())} "
    for size in GRAMS:
        for i in range(len(padded) - size + 1):
            code = zlib.crc32(padded[i : i + size].encode())
            counts[code % TEXT_SIZE] += 1.0 if code >> 16 & 1 else -1.0
    return counts


@lru_cache(maxsize=8)
def _model(folder: str) -> Any:
    """From a folder alone: what a file names is never fetched from elsewhere."""
    if find_spec("model2vec") is None:
        raise HeadstartError(
            "a model of sentences needs Model2Vec: install it by pip install 'headstart[text]', or "
            "show the text without a model, as in task:text"
        )
    if not Path(folder).is_dir():
        raise HeadstartError(
            f"{folder!r} is not a folder with a model of sentences: save one there by "
            "model2vec.StaticModel.from_pretrained(…).save_pretrained(folder)"
        )
    try:
        return import_module("model2vec").StaticModel.from_pretrained(folder)
    except Exception as error:
        raise HeadstartError(
            f"the model of sentences in {folder} cannot be read: {error}"
        ) from error
