"""Layouts: which file names mean what, and whose they are. Pure.

A layout is an ordered list of rules. The first that fits a name gives its role, and the
job id where the name bears one. A name that no rule fits is foreign and never touched;
so is every hidden name, whatever the rules say: ``.x.part`` and ``.nfs…`` are not finished.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobctl.core.effort import why_costly
from jobctl.errors import ConfigurationError
from jobctl.model.files import Role

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
JOB_ID = "[A-Za-z0-9][A-Za-z0-9._:-]{0,199}"
_GROUP = "(?P<job_id>"
_FORM = 2
"""Raise it when names come to mean something else: what was skipped as unchanged is read again."""

TEMPORARY_END = ".part"
_TEMPORARY_NAME = re.compile(r"\.(.+)\.[0-9a-f]{12}\.part", re.DOTALL)
"""The hidden name a file grows under until it is published."""

_IDS = {f"{{{name}}}": f"{_GROUP}{pattern})" for name, pattern in {"job_id": JOB_ID, "uuid": UUID}.items()}
_WILD = {"*": "[^/]*", "?": "[^/]"}
_GLOB_PART = re.compile(r"(\*|\?|\{job_id\}|\{uuid\})")
_LAYOUT_KEYS = ("rules", "exclude")
_RULE_KEYS = ("role", "glob", "regex")

Classify = Callable[[str], "tuple[str, str] | None"]


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
    classify: Classify = field(compare=False, repr=False)
    """The role and job id (or an empty id) that a file name tells; ``None``: foreign."""

    def excludes(self, directory: str) -> bool:
        """Whether all names in this directory (relative to the root) are foreign."""
        return bool(directory) and not self.exclude.isdisjoint(directory.split("/"))


def make_layout(name: str, rules: Sequence[Rule], exclude: Sequence[str] = ()) -> Layout:
    """Compile a layout. Raises ``ConfigurationError`` naming the rule that is wrong."""
    for rule in rules:
        _check(name, rule)
    text = repr((_FORM, name, [(rule.role.value, rule.pattern) for rule in rules], sorted(exclude)))
    return Layout(
        name=name,
        rules=tuple(rules),
        exclude=frozenset(exclude),
        digest=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        classify=_classifier(rules),
    )


def layout_from_mapping(name: str, table: Mapping[str, Any]) -> Layout:
    """The layout of a ``[layouts.NAME]`` table: ``rules`` of role and ``glob`` or ``regex``, ``exclude``.

    Raises ``ConfigurationError`` naming what is wrong.
    """
    rules_hint = f"write [[layouts.{name}.rules]] with role and glob"
    if not isinstance(table, Mapping):
        raise _wrong(name, "it is not a table", rules_hint)
    _refuse_unknown(name, "", table, _LAYOUT_KEYS)
    entries, exclude = table.get("rules", []), table.get("exclude", [])
    if not isinstance(entries, list) or not entries:
        raise _wrong(name, "it has no rules", rules_hint)
    if not isinstance(exclude, list) or not all(isinstance(each, str) and each for each in exclude):
        raise _wrong(name, "exclude is not a list of directory names", 'write exclude = ["uploads"]')
    rules = [_rule(name, number, entry) for number, entry in enumerate(entries, start=1)]
    return make_layout(name, rules, exclude)


def video_name(layout: Layout, job_id: str) -> str | None:
    """A name under which the layout knows a job's video; ``None`` where its rules tell none."""
    for rule in layout.rules:
        if rule.role is Role.VIDEO and _GROUP in rule.pattern:
            begin, _, rest = rule.pattern.partition(_GROUP)
            for pattern in (UUID, JOB_ID):
                name = re.sub(r"\\(.)", r"\1", f"{begin}{job_id}{rest.removeprefix(pattern)[1:]}")
                if layout.classify(name) == (Role.VIDEO.value, job_id):
                    return name
    return None


def _classifier(rules: Sequence[Rule]) -> Classify:
    """One pattern for all rules: each is a group with one group inside, its job id or nothing."""
    parts = [f"({_with_id_group(rule.pattern)})" for rule in rules]
    fits = re.compile(rf"(?!\.)(?:{'|'.join(parts)})", re.DOTALL).fullmatch
    is_job_id = re.compile(JOB_ID).fullmatch
    # The group that closes last is a rule's own; its number is twice the rule's place, less one.
    roles = [role for rule in rules for role in ("", rule.role.value)]

    def classify(name: str) -> tuple[str, str] | None:
        match = fits(name)
        if match is None:
            return _temporary(name) if name.endswith(TEMPORARY_END) else None
        index = match.lastindex or 0
        return roles[index], match[index + 1] or ""

    def _temporary(name: str) -> tuple[str, str] | None:
        """A hidden file that grows beside the name it is to get."""
        hidden = _TEMPORARY_NAME.fullmatch(name)
        meant = fits(hidden[1]) if hidden else None
        return None if meant is None else (Role.TEMPORARY.value, meant[(meant.lastindex or 0) + 1] or "")

    def classify_checked(name: str) -> tuple[str, str] | None:
        known = classify(name)
        return known if known is None or not known[1] or is_job_id(known[1]) else None

    sure = all(
        _GROUP not in rule.pattern or any(each in rule.pattern for each in _IDS.values()) for rule in rules
    )
    return classify if sure else classify_checked


def _with_id_group(pattern: str) -> str:
    return pattern.replace(_GROUP, "(") if _GROUP in pattern else f"(?:{pattern})()"


def _rule(layout: str, number: int, entry: Any) -> Rule:
    what = f"rule {number}"
    if not isinstance(entry, Mapping):
        raise _wrong(layout, f"{what} is not a table", 'write role = "video" and glob = "{job_id}.mp4"')
    _refuse_unknown(layout, f"{what}: ", entry, _RULE_KEYS)
    forms = [entry[key] for key in ("glob", "regex") if key in entry]
    if len(forms) != 1 or not isinstance(forms[0], str) or not forms[0]:
        raise _wrong(layout, f"{what} needs a role and either glob or regex", 'write glob = "{job_id}.mp4"')
    try:
        role = Role(entry.get("role", ""))
    except ValueError:
        known = ", ".join(role.value for role in Role)
        raise _wrong(
            layout, f"{what} has the unknown role {entry.get('role')!r}", f"roles: {known}"
        ) from None
    return Rule(role, _from_glob(layout, forms[0]) if "glob" in entry else forms[0])


def _refuse_unknown(layout: str, where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise _wrong(layout, f"{where}unknown key {unknown[0]!r}", f"known keys: {', '.join(known)}")


def _from_glob(layout: str, glob: str) -> str:
    """A glob as a pattern: ``*`` and ``?``, and ``{job_id}`` or ``{uuid}`` for the id."""
    parts = _GLOB_PART.split(glob)
    if sum(part in _IDS for part in parts) > 1:
        raise _wrong(layout, f"{glob!r} names the job id more than once", "keep one of {job_id} and {uuid}")
    return "".join(_IDS.get(part) or _WILD.get(part) or re.escape(part) for part in parts)


def _check(layout: str, rule: Rule) -> None:
    pattern = rule.pattern
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled = re.compile(pattern, re.DOTALL)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        what = f"{pattern!r} is no regular expression: {error}"
        raise _wrong(layout, what, "mend it, or use a glob") from None
    if compiled.groups != len(compiled.groupindex) or set(compiled.groupindex) - {"job_id"}:
        raise _wrong(layout, f"{pattern!r} has groups other than job_id", "use (?:…) for grouping")
    costly = why_costly(pattern)
    if costly:
        raise _wrong(layout, f"{pattern!r} can take forever: {costly}", "simplify it, or use a glob")


def _wrong(layout: str, what: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"layout {layout}: {what}", hint=hint)


_ID = f"{_GROUP}{UUID})"

PRESENTATIONS = make_layout(
    "presentations",
    [
        Rule(Role.VIDEO, rf"presentation_{_ID}\.mp4"),
        Rule(Role.SIDECAR, rf"presentation_{_ID}\.mp4\.json"),
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
