"""A page: one HTML file with everything inside, that opens from disk without a network."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from headstart.errors import HeadstartError
from headstart.knowledge import write_atomically


def write_page(path: Path, template: str, **values: Any) -> None:
    """Write a page from a template and what it names.

    Raises:
        HeadstartError: it cannot be written.
    """
    jinja = Environment(
        loader=PackageLoader("headstart.report"), undefined=StrictUndefined,
        autoescape=select_autoescape(["html", "html.jinja"]), trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    html = jinja.get_template(template).render(**values)
    try:
        write_atomically(path, html.encode())
    except OSError as error:
        raise HeadstartError(f"cannot write {path}: {error.strerror}") from None
