"""Layouts: which file names mean what, and whose they are. Pure.

A layout is an ordered list of rules. The first that fits a name gives its role, and the
job id where the name bears one. A name that no rule fits is foreign and never touched.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobctl.errors import ConfigurationError
from jobctl.model.files import Role

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
JOB_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}"
_PLACEHOLDERS = {"job_id": JOB_ID, "uuid": UUID}
_LONGEST_NAME = 255
# A repeated group that repeats inside is how a pattern takes exponential time.
_NESTED_REPEAT = re.compile(r"[+*}]\)(?:[+*]|\{)|\\[1-9]|\(\?P=")


class Rule(NamedTuple):
    """One kind of name: a regular expression for the whole name, with a group ``job_id`` where it has one."""

    role: Role
    pattern: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The rules of one kind of outputs directory. ``digest`` changes whenever a rule does."""

    name: str
    rules: tuple[Rule, ...]
    exclude: frozenset[str]
    """Names of directories, anywhere, that hold nothing of ours."""
    digest: str
    _matcher: re.Pattern[str]
    _roles: tuple[str, ...]

    def classify(self, name: str) -> tuple[str, str] | None:
        """The role and job id (or an empty id) that a file name tells; ``None``: foreign."""
        match = self._matcher.fullmatch(name)
        if match is None:
            return None
        index = match.lastindex
        # Each rule is one outer group; its job id, where it has one, the group after it.
        role = self._roles[index or 0]
        if role[0] == "-":
            return role[1:], ""
        return role, match[(index or 0) + 1]


def make_layout(name: str, rules: Sequence[Rule], exclude: Sequence[str] = ()) -> Layout:
    """Compile a layout. Raises ``ConfigurationError`` naming the rule that is wrong."""
    parts: list[str] = []
    roles: list[str] = [""]
    for rule in rules:
        pattern = _checked(name, rule)
        bears_id = "(?P<job_id>" in pattern
        parts.append(f"({pattern.replace('(?P<job_id>', '(')})")
        roles.append(rule.role.value if bears_id else f"-{rule.role.value}")
        if bears_id:
            roles.append(rule.role.value)
    text = repr((name, [tuple(rule) for rule in rules], sorted(exclude)))
    return Layout(
        name=name,
        rules=tuple(rules),
        exclude=frozenset(exclude),
        digest=hashlib.sha256(text.encode()).hexdigest()[:16],
        _matcher=re.compile("|".join(parts), re.DOTALL),
        _roles=tuple(roles),
    )


def layout_from_mapping(name: str, table: Mapping[str, Any]) -> Layout:
    """The layout of a ``[layouts.NAME]`` table: ``rules`` of role and ``glob`` or ``regex``, ``exclude``.

    Raises ``ConfigurationError`` naming what is wrong.
    """
    unknown = set(table) - {"rules", "exclude"}
    if unknown:
        raise _wrong(name, f"unknown key {min(unknown)!r}", "known keys: rules, exclude")
    rules = [_rule(name, number, entry) for number, entry in enumerate(table.get("rules", ()), start=1)]
    if not rules:
        raise _wrong(name, "it has no rules", f"write [[layouts.{name}.rules]] with role and glob")
    return make_layout(name, rules, tuple(table.get("exclude", ())))


def _rule(layout: str, number: int, entry: Any) -> Rule:
    if not isinstance(entry, Mapping) or len({"glob", "regex"} & set(entry)) != 1:
        raise _wrong(layout, f"rule {number} needs a role and either glob or regex", 'write role = "video"')
    try:
        role = Role(entry.get("role", ""))
    except ValueError:
        known = ", ".join(role.value for role in Role)
        raise _wrong(
            layout, f"rule {number} has the unknown role {entry.get('role')!r}", f"roles: {known}"
        ) from None
    if "glob" in entry:
        return Rule(role, _from_glob(str(entry["glob"])))
    return Rule(role, str(entry["regex"]))


def _from_glob(glob: str) -> str:
    """A glob as a pattern: ``*`` and ``?``, and ``{job_id}`` or ``{uuid}`` for the id."""
    parts = re.split(r"(\*|\?|\{job_id\}|\{uuid\})", glob)
    placeholders = {f"{{{name}}}": f"(?P<job_id>{pattern})" for name, pattern in _PLACEHOLDERS.items()}
    wild = {"*": "[^/]*", "?": "[^/]"}
    return "".join(placeholders.get(part) or wild.get(part) or re.escape(part) for part in parts)


def _checked(layout: str, rule: Rule) -> str:
    pattern = rule.pattern
    if _NESTED_REPEAT.search(pattern):
        raise _wrong(
            layout, f"{pattern!r} repeats inside a repetition, which can take forever", "simplify it"
        )
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise _wrong(
            layout, f"{pattern!r} is no regular expression: {error}", "mend it, or use a glob"
        ) from None
    if compiled.groups != len(compiled.groupindex) or set(compiled.groupindex) - {"job_id"}:
        raise _wrong(layout, f"{pattern!r} has groups other than job_id", "use (?:…) for grouping")
    return pattern


def _wrong(layout: str, what: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"layout {layout}: {what}", hint=hint)


_ID = f"(?P<job_id>{UUID})"

PRESENTATIONS = make_layout(
    "presentations",
    [
        Rule(Role.VIDEO, rf"presentation_{_ID}\.mp4"),
        Rule(Role.THUMBNAIL, rf"thumbnail_{_ID}\.jpg"),
        Rule(Role.SLIDE, rf"slide_[0-9]{{1,4}}_{_ID}\.mp4"),
        Rule(Role.SLIDE, rf"slide_(?:[0-9]{{1,4}}_)?with_uploaded_{_ID}\.mp4"),
        Rule(Role.INTERMEDIATE, rf"(?:avatar|debug_render)_{_ID}\.mp4"),
        Rule(Role.INTERMEDIATE, rf"remotion_input_{_ID}\.json"),
        Rule(Role.INTERMEDIATE, rf"slide_image_{_ID}\.png"),
        Rule(Role.AVATAR, r"avatar_[0-9a-f]{24}\.mp4"),
        Rule(Role.INTERMEDIATE, r"slide_image_debug_[0-9]{1,9}\.png"),
        Rule(Role.INTERMEDIATE, r"avatar_slide_[A-Za-z0-9_-]{1,80}_[0-9]{8}_[0-9]{6}\.mp4"),
        Rule(Role.INTERMEDIATE, r"avatar_presentation_[0-9]{1,4}slides_[0-9]{8}_[0-9]{6}\.mp4"),
        Rule(Role.INTERMEDIATE, r"temp_composition_[0-9]{1,19}\.mp4"),
    ],
    exclude=["static_design_images"],
)
"""The outputs of the video-presentation service. User uploads under ``static_design_images`` look
like its results and are none."""
