"""Files that are fetched once, verified and kept: one sentence for whatever a network does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .errors import DataError

if TYPE_CHECKING:
    from requests.exceptions import RequestException

#: Seconds without a byte after which a server counts as silent.
TIMEOUT = 30.0


def own_cache(name: str) -> Path:
    """A folder of that name in the user's own cache."""
    import pooch

    return Path(pooch.os_cache("uadbench")) / name


def download(
    url: str, sha256: str | None, path: Path, check: Callable[[bytes], None], remedy: str, *, timeout: float = TIMEOUT
) -> None:
    """Have a file at a path: it stays if its hash is right, otherwise it is fetched whole or not at all.

    Args:
        url: where it is.
        sha256: what it must be; None where only `check` can tell.
        path: where it is kept; its folder is made.
        check: raises DataError, saying why, for content that is not what was meant.
        remedy: what the user can do about a network that fails.
        timeout: seconds without a byte after which the server counts as silent.

    Raises:
        DataError: the network failed, or `check` did.
        OSError: it cannot be kept there.
    """
    import pooch
    from requests.exceptions import RequestException

    def fetch(url: str, output: str, _: object) -> None:
        pooch.HTTPDownloader(timeout=timeout)(url, output, None)
        check(Path(output).read_bytes())  # before pooch does: our sentence, not its

    known = None if sha256 is None else f"sha256:{sha256}"
    if known is None:
        _drop_unless(check, path)
    try:
        with _quiet(pooch.get_logger()):
            pooch.retrieve(url, known, fname=path.name, path=path.parent, downloader=fetch)
    except RequestException as error:  # an OSError too, so it must not pass as one
        raise DataError(f"{url} cannot be fetched: {_what_happened(url, error, timeout)}; {remedy}") from error


def _drop_unless(check: Callable[[bytes], None], path: Path) -> None:
    """Remove a file that is not what was meant, as pooch does where it knows the hash."""
    try:
        if path.is_file():
            check(path.read_bytes())
    except DataError:
        path.unlink()


def reason(error: OSError) -> str:
    """The short reason; pooch wraps it into a longer text of its own."""
    first = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return first.strerror or str(first)


def _what_happened(url: str, error: RequestException, timeout: float) -> str:
    """What went wrong between us and the server."""
    from requests import exceptions as net
    from urllib3.exceptions import ReadTimeoutError

    silent = isinstance(error, net.Timeout) or isinstance(next(iter(error.args), None), ReadTimeoutError)
    if isinstance(error, net.HTTPError) and error.response is not None:
        return f"the server answers HTTP {error.response.status_code}"
    if silent:
        return f"the server was silent for {timeout:g} s"
    if isinstance(error, net.ChunkedEncodingError | net.ContentDecodingError):
        return "the connection broke off in the middle of the file"
    if isinstance(error, net.SSLError):
        return "the server's certificate is not trusted"
    if isinstance(error, net.ConnectionError):
        return f"there is no connection to {urlsplit(url).netloc}"
    return str(error)


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep a library's remarks out of the progress bar."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
