"""Errors are counted by what they have in common, and told with their code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.reasons import failure_said, gist_of


@pytest.mark.parametrize(
    ("error", "gist"),
    [
        ("ValueError: no such slide", "ValueError: no such slide"),
        ("slide 7 of /srv/out/a.mp4 timed out", "slide … of /… timed out"),
        ("slide 12 of /srv/b.mp4 timed out", "slide … of /… timed out"),
        ("the renderer answered 502 after 12.5s", "the renderer answered … after …"),
        ("no job 4ec967c0-30a9-5b7d-90a3-eb2a5eeb13eb (gone)", "no job … (gone)"),
        ("presentation_4ec967c0.mp4: cannot be opened", "…: cannot be opened"),
        ("https://elai.example/v1/videos/690a2adf: 404", "…: …"),
        ("renderer-14.internal has no slide_7", "renderer-….internal has no slide_…"),
        ("codec h264 is not known", "codec h264 is not known"),
        ("[Errno 28] No space left on device: '/tmp/x1'", "[Errno …] No space left on device: '/…'"),
        ("pages 1 2 3 are bad", "pages … are bad"),
        ("first\nsecond", "first"),
        ("  \n", ""),
        ("", ""),
    ],
)
def test_what_differs_from_job_to_job_is_left_out(error: str, gist: str) -> None:
    assert gist_of(error) == gist


@given(st.text())
def test_a_gist_is_one_short_line(error: str) -> None:
    gist = gist_of(error)
    assert len(gist) <= 120
    assert len(gist.splitlines()) <= 1


@given(st.integers(0), st.integers(0))
def test_errors_that_differ_in_a_number_alone_are_one(one: int, other: int) -> None:
    assert gist_of(f"page {one} is bad") == gist_of(f"page {other} is bad")


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        ("timeout", "it ran too long", "timeout: it ran too long"),
        ("ValueError", "ValueError: no", "ValueError: no"),
        ("killed", "killed by SIGKILL", "killed by SIGKILL"),
        ("interrupted", "interrupted at 75 %: it is gone", "interrupted at 75 %: it is gone"),
        ("kill", "killed by SIGKILL", "kill: killed by SIGKILL"),
        ("KeyboardInterrupt", "KeyboardInterrupt", "KeyboardInterrupt"),
        ("timeout", None, "timeout"),
        (None, "broken", "broken"),
        (None, None, ""),
    ],
)
def test_a_code_and_an_error_are_told_as_one_text(code: str | None, error: str | None, said: str) -> None:
    assert failure_said(code, error) == said
