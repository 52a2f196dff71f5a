"""Reports as text, Markdown, HTML, CSV and JSON: the same story, and no words in it can do harm."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import unicodedata
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.reporting.activity import What
from jobctl.core.reporting.billing import Bill
from jobctl.core.reporting.incidents import Began
from jobctl.core.reporting.outages import Affected, Cause, Outage
from jobctl.model.names import to_shown
from jobctl.report.billing_page import billing_csv, billing_page
from jobctl.report.envelope import to_json
from jobctl.report.markup import element
from jobctl.report.page import Page
from jobctl.report.page_html import to_html
from jobctl.report.page_markdown import escaped, to_markdown
from jobctl.report.page_screen import shares, to_text
from jobctl.report.story_page import story_data, story_page
from jobctl.report.users_page import outage_item, users_page
from reported import DAY, HOSTILE, NOW, ZONE, a_story, at, some_bills, users

LONG = HOSTILE + "x" * 1_000_000
PAGES = ["story", "users", "billing"]


def page_of(name: str, hostile: str = "") -> Page:
    if name == "story":
        return story_page(a_story(hostile))
    if name == "users":
        return users_page(users(hostile), DAY, ZONE, NOW)
    return billing_page(some_bills(hostile), DAY)


class _Reader(HTMLParser):
    """What a browser makes of a document: its elements with their attributes, and its text."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]


def unprintable(text: str) -> set[str]:
    return {char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs"}} - {"\n"}


@pytest.mark.parametrize("name", PAGES)
def test_hostile_words_change_no_element_of_the_html(name: str) -> None:
    plain, hostile = _Reader(to_html(page_of(name, "words"))), _Reader(to_html(page_of(name, HOSTILE)))
    assert plain.open == hostile.open == []
    assert hostile.shape == plain.shape
    assert {tag for tag, _ in hostile.elements} & {"script", "img", "a", "iframe", "object", "link"} == set()
    assert any("<script>" in words for words in hostile.words)


@pytest.mark.parametrize("name", PAGES)
def test_the_html_is_one_file_that_loads_and_runs_nothing(name: str) -> None:
    document = to_html(page_of(name, HOSTILE))
    found = _Reader(document)
    for _, attributes in found.elements:
        assert not {"src", "href", "srcset", "style", "action"} & attributes.keys()
        assert not [attribute for attribute in attributes if attribute.startswith("on")]
    (policy,) = (
        attributes["content"] or ""
        for tag, attributes in found.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    (style,) = re.findall("<style>(.*?)</style>", document, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("render", [to_html, to_markdown, lambda page: to_text(page, 80)])
def test_no_form_holds_what_moves_a_cursor_or_turns_a_line_around(name: str, render: object) -> None:
    for words in (HOSTILE, LONG):
        assert unprintable(render(page_of(name, words))) == set()  # type: ignore[operator]


def test_what_came_back_without_a_restart_in_a_log_is_told_once() -> None:
    text = to_text(story_page(replace(a_story(), incidents=[], elsewhere=2)), 80)
    assert "2 jobs came back; no log that was read tells of a restart that took them." in text
    assert "tell of no restart" not in text
    assert "these restarts" not in text


@pytest.mark.parametrize("name", PAGES)
def test_markdown_ends_with_a_note_and_no_empty_quotation(name: str) -> None:
    *_, last = to_markdown(page_of(name)).splitlines()
    assert re.fullmatch("> .+", last)


@pytest.mark.parametrize("name", PAGES)
def test_a_megabyte_of_words_does_not_make_a_megabyte_of_page(name: str) -> None:
    for render in (to_html, to_markdown):
        assert len(render(page_of(name, LONG))) < 50_000
    assert max(map(len, to_text(page_of(name, LONG), 80).splitlines())) <= 80


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("words", [HOSTILE, HOSTILE[100:]])
def test_hostile_words_change_no_row_or_heading_of_the_markdown(name: str, words: str) -> None:
    plain, hostile = to_markdown(page_of(name, "words")), to_markdown(page_of(name, words))

    def shape(text: str) -> list[tuple[str, int]]:
        lines = text.splitlines()
        return [(each[:2] if each[:1] in "#|>" else "", each.replace("\\|", "").count("|")) for each in lines]

    assert shape(hostile) == shape(plain)
    for harm in ("<script", "<img", "://", "](", "@everyone"):
        assert harm not in hostile


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-22 10:05:03", "2026-11-22 10:05:03"),
        ("- not a list", r"\- not a list"),
        ("a_b*c*", r"a\_b\*c\*"),
        ("ada@example.org", "ada@example.org"),
        ("@ada", "@<!-- -->ada"),
        ("see www.example.org", "see www&#46;example.org"),
        (":bomb:", "&#58;bomb:"),
        ("&lt;", "&amp;lt;"),
        ("\x1b[1m", r"\\x1b\[1m"),
    ],
)
def test_markdown_shows_just_the_text(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text())
def test_an_attribute_ends_where_it_should(text: str) -> None:
    found = _Reader(element("td", text, title=text))
    assert found.shape == [("td", ["title"])]
    assert found.elements[0][1]["title"] == "".join(found.words) == to_shown(text)


@pytest.mark.parametrize(
    "words", [HOSTILE, "=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "'x", "a,b", '"', "a\nb", ""]
)
def test_no_cell_of_the_csv_is_a_formula(words: str) -> None:
    bills = [replace(some_bills()[0], owner=words)]
    text = billing_csv(bills, DAY)
    assert unprintable(text.replace("\r\n", "\n")) == set()
    heading, row = csv.reader(io.StringIO(text))
    assert heading[:4] == ["since", "until", "owner", "jobs"]
    assert len(row) == len(heading)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in row)


def test_the_csv_tells_minutes_that_were_measured_and_jobs_that_were_not() -> None:
    _, ada, _, nobody = csv.reader(io.StringIO(billing_csv(some_bills(), DAY)))
    assert ada[2:] == ["ada@example.org", "1204", "7224.01", "3", "98", "1"]
    assert nobody[2:] == ["", "2", "0.0", "2", "0", "0"]


def test_a_screen_shows_as_many_rows_as_anybody_reads_and_a_file_all() -> None:
    bills = [Bill(f"owner-{number:05}", jobs=1) for number in range(1_200)]
    page = billing_page(bills, DAY)
    shown = to_text(page, 100)
    assert "The first 500; 700 more: --json, or a pipe." in shown
    assert (shown.count("owner-"), to_html(page).count("owner-")) == (500, 1_200)
    assert "1,200 completed jobs" in shown


def test_every_form_tells_the_same_numbers() -> None:
    story = a_story()
    page = story_page(story)
    for text in (to_text(page, 160), to_markdown(page), " ".join(_Reader(to_html(page)).words)):
        for words in ("107 jobs", "98", "restart 1 of app-1", "10:30:00", "12.9 GiB"):
            assert words in text
    data = json.loads(to_json(story_data(story)))
    assert sum(data["activity"].values()) == data["events"] == story.activity.lines
    by_time = [sum(value for key, value in part.items() if key != "since") for part in data["by_time"]]
    assert sum(by_time) == data["events"]
    assert data["incidents"][1]["not_later"] is None


def test_the_chart_draws_each_number_as_high_as_it_is() -> None:
    story = a_story()
    heights: dict[str, float] = {}
    document = to_html(story_page(story))
    drawn_bar = r'height="([\d.]+)" class="s\d"><title>[\d:]+: [\d,]+ (\w+)</title>'
    for height, name in re.findall(drawn_bar, document):
        heights[name] = heights.get(name, 0.0) + float(height)
    drawn = {
        "recovered": story.activity.counts[What.RECOVERED],
        "created": story.activity.counts[What.CREATED],
        "lost": story.lost,
    }
    per_job = {name: heights[name] / count for name, count in drawn.items()}
    assert max(per_job.values()) == pytest.approx(min(per_job.values()), rel=0.01)


def test_each_series_of_the_chart_is_one_of_the_counts() -> None:
    story = a_story()
    (chart,) = (section.chart for section in story_page(story).sections if section.chart)
    counted = {what.value: story.activity.counts[what] for what in What} | {"lost": story.lost}
    for one in chart.series:
        assert sum(one.values) == counted[one.name]
    assert {"failed", "interrupted"} <= {one.name for _, one in chart.drawn}


def test_a_day_that_is_not_over_says_so() -> None:
    page = story_page(a_story(now=DAY.since + timedelta(hours=20)))
    assert page.title == "2026-11-22, so far"
    assert page.notes[0] == "As of 2026-11-22 20:00:00 UTC."


def test_where_nothing_tells_of_an_outage_none_is_ruled_out() -> None:
    """Videos that came back without a log were out of reach, and nobody can say since when."""
    text = " ".join(to_text(users_page([], DAY, ZONE, NOW), 80).split())
    assert "No log and no history tells of a video that could not be reached." in text
    assert "nothing tells when after that its record was lost, or whether it had one before." in text


def test_a_begin_that_is_not_known_is_bounded_and_not_guessed() -> None:
    text = to_text(page_of("users"), 160)
    assert "between 02:00:00 and 04:00:00" in text
    assert "unknown, since before 05:00:00" in text
    assert "after 2026-11-20 18:00:00" in text
    items = [outage_item(outage) for one in users() for outage in one.outages]
    assert [item["not_before"] is None for item in items] == [False, False, True, False]


def test_of_an_outage_that_may_have_begun_at_any_time_no_length_is_told() -> None:
    outage = Outage("j1", "ada", Cause.RECORD_LOST, Began(), at(5), has_video=True)
    text = to_text(users_page([Affected("ada", [outage])], DAY, ZONE, NOW), 160)
    assert "j1" in text
    assert "≥" not in text


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=5), st.integers(5, 60))
def test_a_bar_is_never_longer_than_its_place_and_hides_nothing(values: list[int], length: int) -> None:
    cells = shares(values, sum(values), length)
    assert sum(cells) <= length
    assert all(bool(cell) == bool(value) for cell, value in zip(cells, values, strict=True))
