"""Which names are ours, what they mean, and which rules are refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobctl.core.effort import why_costly
from jobctl.core.layout import JOB_ID, PRESENTATIONS, Layout, Rule, layout_from_mapping, make_layout
from jobctl.core.urls import job_id_of
from jobctl.errors import ConfigurationError, ExitCode
from jobctl.model.files import Role

ID = "0b9e6f6e-8a53-4d8f-9a43-0e4f5b1d7c11"
HEX_24 = "68d1f2a30b9e6f6e8a534d8f"

OURS = [
    (f"presentation_{ID}.mp4", "video", ID),
    (f"thumbnail_{ID}.jpg", "thumbnail", ID),
    (f"slide_1_{ID}.mp4", "slide", ID),
    (f"slide_with_uploaded_{ID}.mp4", "slide", ID),
    (f"slide_12_with_uploaded_{ID}.mp4", "slide", ID),
    (f"avatar_{HEX_24}.mp4", "avatar", ""),
    (f"avatar_{ID}.mp4", "intermediate", ID),
    (f"debug_render_{ID}.mp4", "intermediate", ID),
    (f"remotion_input_{ID}.json", "intermediate", ID),
    (f"slide_image_{ID}.png", "intermediate", ID),
    ("slide_image_debug_3.png", "intermediate", ""),
    ("avatar_slide_two_columns_20251105_081530.mp4", "intermediate", ""),
    ("avatar_slide_two-column_20251105_081530.mp4", "intermediate", ""),
    ("avatar_presentation_3slides_20251105_081530.mp4", "intermediate", ""),
    ("temp_composition_1762329600.mp4", "intermediate", ""),
]
FOREIGN = [
    "",
    "notes.txt",
    ID,
    f"presentation_{ID}.mp4.part",
    f".presentation_{ID}.mp4",
    f".presentation_{ID}.mp4.part",
    ".nfs000000000123abcd00000001",
    f"presentation_{ID.upper()}.mp4",
    f"presentation_{ID[:-1]}.mp4",
    f"presentation_{ID}.mp4\n",
    f"presentation_{ID}.MP4",
    f"presentation_{ID}.webm",
    f"presentation_processed_{ID}.mp4",
    f"old presentation_{ID}.mp4",
    f"slide__{ID}.mp4",
    f"slide_one_{ID}.mp4",
    f"présentation_{ID}.mp4",
    f"xpresentation_{ID}.mp4",
    "avatar_68d1f2a3.mp4",
    "temp_composition_.mp4",
    "caf\udce9.mp4",
]


@pytest.mark.parametrize(("name", "role", "job_id"), OURS)
def test_the_names_of_the_service_tell_role_and_job(name: str, role: str, job_id: str) -> None:
    assert PRESENTATIONS.classify(name) == (role, job_id)


@pytest.mark.parametrize("name", FOREIGN)
def test_every_other_name_is_foreign(name: str) -> None:
    assert PRESENTATIONS.classify(name) is None


@pytest.mark.parametrize(
    ("directory", "is_excluded"),
    [
        ("", False),
        ("presentations", False),
        ("static_design_images", True),
        ("presentations/static_design_images/2025", True),
        ("not_static_design_images", False),
    ],
)
def test_uploads_are_foreign_wherever_their_directory_lies(directory: str, is_excluded: bool) -> None:
    assert PRESENTATIONS.excludes(directory) is is_excluded


NAMES = st.one_of(
    st.text(max_size=80),
    st.sampled_from([name for name, _, _ in OURS]),
    st.from_regex(r"(presentation|slide|thumbnail|avatar)_[0-9a-f-]{34,38}\.(mp4|jpg)", fullmatch=True),
)


@given(NAMES)
@example("caf\udce9")
def test_one_pattern_for_all_rules_says_what_the_rules_say_one_by_one(name: str) -> None:
    expected = None
    for rule in PRESENTATIONS.rules:
        match = re.compile(rule.pattern).fullmatch(name)
        if match:
            expected = (rule.role.value, match.groupdict().get("job_id") or "")
            break
    assert PRESENTATIONS.classify(name) == expected


# --- layouts of one's own ---------------------------------------------------------------------


def own(*rules: dict[str, str], **table: object) -> Layout:
    return layout_from_mapping("mine", {"rules": list(rules), **table})


def test_a_glob_names_the_job_and_leaves_room() -> None:
    layout = own(
        {"role": "video", "glob": "{job_id}.mp4"},
        {"role": "thumbnail", "glob": "thumb-?-{uuid}.*"},
        {"role": "intermediate", "glob": "*.tmp[1]"},
    )
    assert layout.classify("job-7.mp4") == ("video", "job-7")
    assert layout.classify(f"thumb-1-{ID}.jpg") == ("thumbnail", ID)
    assert layout.classify(f"thumb-12-{ID}.jpg") is None
    assert layout.classify("scratch.tmp[1]") == ("intermediate", "")
    assert layout.classify("scratch.tmp1") is None


def test_the_first_rule_that_fits_wins() -> None:
    layout = own(
        {"role": "thumbnail", "glob": "poster-{job_id}.mp4"}, {"role": "video", "glob": "{job_id}.mp4"}
    )
    assert layout.classify("poster-7.mp4") == ("thumbnail", "7")
    assert layout.classify("7.mp4") == ("video", "7")


def test_hidden_names_are_foreign_to_any_rule() -> None:
    layout = own({"role": "video", "glob": "*"})
    assert layout.classify("a") == ("video", "")
    assert layout.classify(".a") is None


@pytest.mark.parametrize("job_id", ["a b", "-x", "ü", "x\n", "x" * 201, "\udce9"])
def test_what_a_regular_expression_takes_for_a_job_id_must_be_one(job_id: str) -> None:
    layout = own({"role": "video", "regex": r"(?P<job_id>.*)\.mp4"})
    assert layout.classify("a.b:c_d-1.mp4") == ("video", "a.b:c_d-1")
    assert layout.classify(f"{job_id}.mp4") is None


def test_an_alternative_without_an_id_has_none() -> None:
    layout = own(
        {"role": "video", "regex": r"v-(?P<job_id>[a-z]{1,9})\.mp4|last\.mp4"},
        {"role": "slide", "glob": "s-{job_id}.mp4"},
    )
    assert layout.classify("last.mp4") == ("video", "")
    assert layout.classify("v-abc.mp4") == ("video", "abc")
    assert layout.classify("s-9.mp4") == ("slide", "9")


def test_a_digest_names_the_rules_and_nothing_else() -> None:
    rules = [Rule(Role.VIDEO, r"a\.mp4"), Rule(Role.SLIDE, r"b\.mp4")]
    first = make_layout("mine", rules)
    assert first.digest == make_layout("mine", list(rules)).digest
    changed = [
        make_layout("mine", rules[::-1]),
        make_layout("mine", rules[:1]),
        make_layout("mine", [Rule(Role.AVATAR, r"a\.mp4"), rules[1]]),
        make_layout("mine", rules, exclude=["uploads"]),
    ]
    assert len({first.digest, *(layout.digest for layout in changed)}) == 5


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"rules": []}, "has no rules"),
        ({"rules": 5}, "has no rules"),
        (5, "not a table"),
        ({}, "has no rules"),
        ({"rules": [{"role": "video", "glob": "*"}], "exlude": []}, "unknown key 'exlude'"),
        ({"rules": [{"role": "video", "glob": "*"}], "exclude": "uploads"}, "exclude is not a list"),
        ({"rules": ["*.mp4"]}, "rule 1 is not a table"),
        ({"rules": [{"role": "video", "glob": "*", "job": 1}]}, "unknown key 'job'"),
        ({"rules": [{"role": "film", "glob": "*"}]}, "unknown role 'film'"),
        ({"rules": [{"glob": "*"}]}, "unknown role None"),
        ({"rules": [{"role": "video"}]}, "either glob or regex"),
        ({"rules": [{"role": "video", "glob": "*", "regex": ".*"}]}, "either glob or regex"),
        ({"rules": [{"role": "video", "glob": 7}]}, "either glob or regex"),
        ({"rules": [{"role": "video", "glob": "{job_id}-{uuid}"}]}, "more than once"),
        ({"rules": [{"role": "video", "regex": "("}]}, "no regular expression"),
        ({"rules": [{"role": "video", "regex": "a{99999999999}"}]}, "no regular expression"),
        ({"rules": [{"role": "video", "regex": "[[a]"}]}, "no regular expression"),
        ({"rules": [{"role": "video", "regex": "(a)b"}]}, "groups other than job_id"),
        ({"rules": [{"role": "video", "regex": "(?P<id>a)b"}]}, "groups other than job_id"),
        ({"rules": [{"role": "video", "regex": "(?:a+)+b"}]}, "can take forever"),
    ],
)
def test_a_layout_that_is_wrong_is_refused_with_what_and_how(table: object, told: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(told)) as refused:
        layout_from_mapping("mine", table)  # type: ignore[arg-type]
    assert refused.value.exit_code == ExitCode.USAGE
    assert "layout mine" in refused.value.message
    assert refused.value.hint


# --- patterns that would take forever ---------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        "(?:a+)+b",
        "(?:a*)*b",
        "(?:a|a)*b",
        "(?:a|ab?)+c",
        "(?:a?){40}a{40}",
        "a?" * 40 + "a" * 40,
        ".*.*.*.*x",
        "(?:(?:ab?){2}c){19}",
        "(?i)a",
        "(?=a+)+",
        "(?<!a)b",
        "(?>a)",
        "(?#x)a",
    ],
)
def test_a_pattern_whose_work_explodes_or_cannot_be_told_is_refused(pattern: str) -> None:
    assert why_costly(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        *(rule.pattern for rule in PRESENTATIONS.rules),
        f"(?P<job_id>{JOB_ID})_[0-9]+.*",
        r"(?:[0-9]{1,2}_){0,3}end",
        r"[]*+?{}()|]\*\+\(\[x{}",
        r"\[a\]{,3}",
        "(?:a|b|c)d?e?",
        "a*?b++c",
        "{}",
    ],
)
def test_a_harmless_pattern_is_not_refused(pattern: str) -> None:
    re.compile(pattern)
    assert why_costly(pattern) is None


@given(st.text(alphabet="ab*+?{}0123,()|[]^\\.", max_size=30))
def test_the_cost_of_anything_that_compiles_can_be_told(pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, FutureWarning):
        return
    assert isinstance(why_costly(pattern), str | None)


# --- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"/presentations/{ID}/video",
        f"/presentations/{ID}/thumbnail",
        f"presentations/{ID}/video",
        f"/presentations/{ID}",
        f"/api/custom/presentations/{ID}/video",
        f"/api/custom-projects-backend/presentations/{ID}/video",
        f"/api/custom/download/presentation_{ID}.mp4",
        f"/api/custom/download/thumbnail_{ID}.jpg",
        f"https://videos.example:8443/api/custom/presentations/{ID}/video/?t=1#x",
    ],
)
def test_all_forms_of_a_url_name_the_same_job(url: str) -> None:
    assert job_id_of(url) == ID


@pytest.mark.parametrize(
    "url",
    [
        "",
        f"/presentations/{ID[:-1]}/video",
        f"/presentations/{ID}/slides",
        f"/presentations/{ID}x",
        f"/users/{ID}",
        f"/presentations/{ID}/video\n",
        f"/api/other/download/presentation_{ID}.mp4",
        f"/notpresentations/{ID}/video",
        f"/{'x' * 2_000}/presentations/{ID}/video",
    ],
)
def test_other_urls_name_no_job(url: str) -> None:
    assert job_id_of(url) is None
