"""Which pictures are meant: by folder, name, date, camera and shape."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from fnmatch import translate
from functools import lru_cache
from numbers import Integral
from typing import Literal, TypeAlias, get_args

from itl_infer.arguments import require_flags, require_instance, require_paths, require_text, wrong
from itl_infer.files import one_form

Orientation: TypeAlias = Literal["landscape", "portrait", "square"]
ORIENTATIONS: tuple[Orientation, ...] = get_args(Orientation)
DATE_FORM = "2019, 2019-07, 2019-07-03 or 2019-07-03T15:30"
RANGE_FORM = f"{DATE_FORM}, or a range as 2019-07..2019-08, 2019.. or ..2019"

_DATE = re.compile(
    r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2})(?:[T ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?)?)?)?"
)

Texts: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
When: TypeAlias = str | int | date | None  # a datetime is a date


@dataclass(frozen=True)
class Where:
    """Which pictures a search looks at: those that fit all that is given. ValueError for what means nothing.

    `under`: in one of these folders, at any depth; absolute, from the current folder on, or from a folder that the
    index remembers on. `name`: a glob of file names, as "IMG_*.jpg". `taken`: a date or a range of dates, both ends
    included, as "2019", "2019-07..2019-08", "2019-07-03.." (`RANGE_FORM`). `newer`: taken on a date or after it;
    `older`: taken before it. `camera`: words that its make and model hold, in any case. `orientation`: "landscape",
    "portrait" or "square", as displayed. `gps`: whether the place was noted.

    Of several folders, globs or cameras one must fit. Dates are those of the clock where a picture was taken, without
    a time zone; that of its file, where the picture has none. Names are compared as people see them, however a system
    writes their accents.
    """

    under: Texts = ()
    name: Texts = ()
    taken: When = None
    camera: Texts = ()
    orientation: Orientation | None = None
    newer: When = None
    older: When = None
    gps: bool | None = None

    def __post_init__(self) -> None:
        if self.orientation is not None:
            require_text("orientation", self.orientation)
        if self.gps is not None:
            require_flags(gps=self.gps)
        for field in ("under", "name", "camera"):
            object.__setattr__(self, field, _as_texts(field, getattr(self, field)))
        for field in ("taken", "newer", "older"):
            object.__setattr__(self, field, _as_date(field, getattr(self, field)))
        if wrong := [glob for glob in self.names if "/" in glob]:
            raise ValueError(f"name is {wrong[0]!r}, expected a glob of file names; folders go with under")
        if self.orientation not in (None, *ORIENTATIONS):
            raise ValueError(
                f"orientation is {self.orientation!r}, expected one of {', '.join(ORIENTATIONS)}"
            )
        self.period()

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return any(getattr(self, field.name) not in ((), None) for field in fields(self))

    @property
    def folders(self) -> tuple[str, ...]:
        """`under`, always several."""
        return self.under  # type: ignore[return-value]  # made so above

    @property
    def names(self) -> tuple[str, ...]:
        """`name`, always several."""
        return self.name  # type: ignore[return-value]

    @property
    def cameras(self) -> tuple[str, ...]:
        """`camera`, always several."""
        return self.camera  # type: ignore[return-value]

    def period(self) -> tuple[datetime | None, datetime | None]:
        """When pictures were taken: from the first on, and before the second; None where that is open."""
        starts, ends = [], []
        if self.taken is not None:
            start, end = _range_of(str(self.taken))
            starts.append(start)
            ends.append(end)
        if self.newer is not None:
            starts.append(_span_of("newer", str(self.newer), DATE_FORM)[0])
        if self.older is not None:
            ends.append(_span_of("older", str(self.older), DATE_FORM)[0])
        return (
            max((start for start in starts if start is not None), default=None),
            min((end for end in ends if end is not None), default=None),
        )

    def fits_name(self, name: str) -> bool:
        """Whether a file is called so that it is meant."""
        require_text("name", name)
        return not self.names or any(_glob(glob).fullmatch(one_form(name)) for glob in self.names)

    def fits_camera(self, camera: str) -> bool:
        """Whether this is a camera that is meant; "" is none."""
        require_text("camera", camera)
        held = one_form(camera).casefold()
        return not self.cameras or (
            camera != ""
            and any(all(word in held for word in one_form(text).casefold().split()) for text in self.cameras)
        )


def _as_texts(field: str, given: Texts) -> tuple[str, ...]:
    texts = tuple(os.fspath(text) for text in require_paths(field, given))
    if any(not text.strip() for text in texts):
        raise ValueError(f"{field} is empty")
    return texts


def require_where(where: object) -> None:
    """ArgumentError for what is neither a filter nor None."""
    if where is not None:
        require_instance("where", where, Where, 'a filter, such as Where(taken="2019")')


def _as_date(field: str, given: When) -> str | None:
    if isinstance(given, datetime):
        return given.isoformat(timespec="seconds")
    if isinstance(given, bool) or not isinstance(given, (str, Integral, date, type(None))):
        raise wrong(field, given, RANGE_FORM if field == "taken" else DATE_FORM)
    return None if given is None else str(given)


def _range_of(text: str) -> tuple[datetime | None, datetime | None]:
    first, dots, last = text.partition("..")
    if not dots:
        return _span_of("taken", text, RANGE_FORM)
    start = _span_of("taken", first, RANGE_FORM)[0] if first else None
    end = _span_of("taken", last, RANGE_FORM)[1] if last else None
    if not (first or last) or (start is not None and end is not None and start >= end):
        raise ValueError(f"taken is {text!r}, expected {RANGE_FORM}, the earlier date first")
    return start, end


def _span_of(field: str, text: str, form: str) -> tuple[datetime, datetime | None]:
    """When a year, month, day, minute or second begins, and the next one; None: there is none."""
    match = _DATE.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError
        parts = [int(part) for part in match.groups() if part is not None]
        start = datetime(*[*parts, 1, 1][: max(3, len(parts))])  # type: ignore[arg-type]
    except ValueError:
        raise ValueError(f"{field} is {text[:60]!r}, expected {form}") from None
    try:
        return start, _next(start, len(parts))
    except (ValueError, OverflowError):  # the end of the year 9999
        return start, None


def _next(start: datetime, parts: int) -> datetime:
    if parts == 1:
        return start.replace(year=start.year + 1)
    if parts == 2:
        return (start + timedelta(days=31)).replace(day=1)
    return start + {3: timedelta(days=1), 5: timedelta(minutes=1), 6: timedelta(seconds=1)}[parts]


@lru_cache(maxsize=64)
def _glob(glob: str) -> re.Pattern[str]:
    return re.compile(translate(one_form(glob)))
