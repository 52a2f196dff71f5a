"""``curl`` as the README of the example calls it, by somebody who asks again until there is an end to tell.

A server that does not listen yet is asked again, and so is one whose job is still open. The id that a
request made is kept in the file ``job``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

_PATIENCE_S = float(os.environ.get("PATIENCE", "120"))
_OPEN = ("queued", "processing")


def main() -> None:
    """Print what was answered."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-X", dest="method", default="GET")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="body", default="")
    asked = parser.parse_args()
    headers = dict(each.split(": ", 1) for each in asked.headers)
    request = Request(asked.url, asked.body.encode() or None, headers, method=asked.method)
    deadline = time.monotonic() + _PATIENCE_S
    while (answer := ask(request)) is None:
        if time.monotonic() > deadline:
            raise SystemExit("there was no end to tell")
        time.sleep(0.05)
    if asked.method == "POST":
        Path("job").write_text(json.loads(answer)["jobId"])
    print(answer)


def ask(request: Request) -> str | None:
    """Ask once; ``None`` where it is too early."""
    try:
        with urlopen(request, timeout=_PATIENCE_S) as response:
            answer: str = response.read().decode()
    except HTTPError as refused:
        return refused.read().decode()
    except URLError:
        return None
    is_open = request.method == "GET" and json.loads(answer)["status"] in _OPEN
    return None if is_open else answer


if __name__ == "__main__":
    main()
