"""Which names are whose: exact, linear-time, and foreign for everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.layout import PRESENTATIONS, layout_from_mapping
from jobctl.core.urls import job_id_of
from jobctl.errors import ConfigurationError
from jobctl.model.files import Role

J = "0b9e6f6e-8a53-4d8f-9a43-0e4f5b1d7c11"

NAMES = {
    f"presentation_{J}.mp4": (Role.VIDEO, J),
    f"thumbnail_{J}.jpg": (Role.THUMBNAIL, J),
    f"slide_1_{J}.mp4": (Role.SLIDE, J),
    f"slide_with_uploaded_{J}.mp4": (Role.SLIDE, J),
    f"slide_12_with_uploaded_{J}.mp4": (Role.SLIDE, J),
    f"avatar_{J}.mp4": (Role.INTERMEDIATE, J),
    f"debug_render_{J}.mp4": (Role.INTERMEDIATE, J),
    f"remotion_input_{J}.json": (Role.INTERMEDIATE, J),
    f"slide_image_{J}.png": (Role.INTERMEDIATE, J),
    "avatar_690a6f7ec2a1b34d5e6f7a8b.mp4": (Role.AVATAR, ""),
    "slide_image_debug_3.png": (Role.INTERMEDIATE, ""),
    "avatar_slide_two-column_20251104_210134.mp4": (Role.INTERMEDIATE, ""),
    "avatar_presentation_3slides_20251104_210134.mp4": (Role.INTERMEDIATE, ""),
    "temp_composition_1762300800.mp4": (Role.INTERMEDIATE, ""),
}

FOREIGN = [
    f"presentation_{J}.mp4\n",
    f"presentation_{J.upper()}.mp4",
    f"presentation_{J}.webm",
    f".presentation_{J}.mp4.0a1b2c.part",
    f"presentation_{J}.mp4.bak",
    f"xpresentation_{J}.mp4",
    f"presentation_processed_{J}.mp4",
    f"slide__{J}.mp4",
    ".nfs000000000001",
    "avatar_xyz.mp4",
    "",
    "presentation_.mp4",
    f"présentation_{J}.mp4",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_service_tells_role_and_job(name: str) -> None:
    assert PRESENTATIONS.classify(name) == NAMES[name]


@pytest.mark.parametrize("name", FOREIGN)
def test_every_other_name_is_foreign(name: str) -> None:
    assert PRESENTATIONS.classify(name) is None


def test_a_layout_of_ones_own_by_glob_and_by_expression() -> None:
    layout = layout_from_mapping(
        "invoices",
        {
            "rules": [
                {"role": "video", "glob": "invoice_{uuid}.mp4"},
                {"role": "thumbnail", "regex": "(?P<job_id>[a-z]{3})[.]jpe?g"},
                {"role": "intermediate", "glob": "tmp-*.mov"},
            ],
            "exclude": ["uploads"],
        },
    )
    assert layout.classify(f"invoice_{J}.mp4") == ("video", J)
    assert layout.classify("abc.jpeg") == ("thumbnail", "abc")
    assert layout.classify("tmp-1.mov") == ("intermediate", "")
    assert layout.classify("tmp-1.mp4") is None
    assert layout.exclude == {"uploads"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "no rules"),
        ({"rulez": []}, "unknown key 'rulez'"),
        ({"rules": [{"role": "video"}]}, "either glob or regex"),
        ({"rules": [{"role": "vidio", "glob": "*"}]}, "unknown role 'vidio'"),
        ({"rules": [{"role": "video", "regex": "("}]}, "no regular expression"),
        ({"rules": [{"role": "video", "regex": "(a)(?P<job_id>b)"}]}, "groups other than job_id"),
        ({"rules": [{"role": "video", "regex": "(?P<job_id>(?:a+)+)b"}]}, "can take forever"),
    ],
)
def test_a_wrong_layout_is_refused_with_what_is_wrong(table, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        layout_from_mapping("mine", table)


def test_the_digest_follows_the_rules() -> None:
    one = layout_from_mapping("a", {"rules": [{"role": "video", "glob": "{job_id}.mp4"}]})
    same = layout_from_mapping("a", {"rules": [{"role": "video", "glob": "{job_id}.mp4"}]})
    other = layout_from_mapping("a", {"rules": [{"role": "video", "glob": "{job_id}.mov"}]})
    assert one.digest == same.digest != other.digest


@given(st.text(max_size=300))
def test_any_name_gets_an_answer(name: str) -> None:
    found = PRESENTATIONS.classify(name)
    assert found is None or (found[0] in set(Role) and (found[1] == "" or found[1] in name))


@pytest.mark.parametrize(
    "url",
    [
        f"/presentations/{J}/video",
        f"/presentations/{J}/thumbnail",
        f"/presentations/{J}",
        f"/api/custom/presentations/{J}/video",
        f"/api/custom-projects-backend/presentations/{J}/video",
        f"/api/custom/download/presentation_{J}.mp4",
        f"https://cdn.example.org/api/custom/presentations/{J}/video?sig=secret#t=1",
    ],
)
def test_all_forms_of_a_url_name_the_same_job(url: str) -> None:
    assert job_id_of(url) == J


@pytest.mark.parametrize(
    "url", ["", "/", f"/users/{J}", f"/presentations/{J}x", "/presentations/unknown/video", "x" * 9_999]
)
def test_other_urls_name_none(url: str) -> None:
    assert job_id_of(url) is None


@given(st.text())
def test_any_text_is_a_url_or_not(text: str) -> None:
    assert job_id_of(text) is None
