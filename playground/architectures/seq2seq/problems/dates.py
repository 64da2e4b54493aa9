"""Dates in words, as people write them, and as ISO 8601 has them. Imports no torch."""

from __future__ import annotations

import datetime
import random
import re

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

FORMS = (
    "{day} {month} {year}",
    "{day} {mon} {year}",
    "{month} {day}, {year}",
    "{mon} {day}, {year}",
    "{month} {day}{th}, {year}",
    "{day}{th} {month} {year}",
    "{day}{th} of {month} {year}",
    "the {day}{th} of {month}, {year}",
    "{weekday} {day} {month} {year}",
    "{weekday} {day} {mon} {year}",
    "{weekday}, {month} {day}, {year}",
    "{week}, {mon} {day}{th}, {year}",
    "{year} {month} {day}",
    "{day}-{mon}-{year}",
)

FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)

ALPHABET = sorted(set("".join((*MONTHS, *WEEKDAYS, "0123456789 ,-", "stndrdth", "of", "the"))))

LONGEST = max(len(form.format(day=30, month="september", mon="sep", year=2000, th="th", weekday="wednesday", week="wed")) for form in FORMS)


def ordinal(day: int) -> str:
    """The suffix of a day: st, nd, rd or th."""
    return "th" if 11 <= day % 100 <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def write(date: datetime.date, form: str) -> str:
    """`date` in one of the `FORMS`."""
    month, weekday = MONTHS[date.month - 1], WEEKDAYS[date.weekday()]
    return form.format(day=date.day, month=month, mon=month[:3], year=date.year, th=ordinal(date.day), weekday=weekday, week=weekday[:3])


def draw(rng: random.Random) -> tuple[str, str]:
    """A random day in a random form, and its ISO date."""
    date = FIRST + datetime.timedelta(days=rng.randrange((LAST - FIRST).days + 1))
    return write(date, rng.choice(FORMS)), date.isoformat()


def read(text: str) -> str | None:
    """The ISO date of a date in words, in any order of its parts; None if it is not a date."""
    months = [index for word in re.findall(r"[a-z]+", text) for index, month in enumerate(MONTHS, 1) if word in (month, month[:3])]
    numbers = re.findall(r"\d+", text)
    years = [int(number) for number in numbers if len(number) == 4]
    days = [int(number) for number in numbers if len(number) <= 2]
    if (len(months), len(years), len(days), len(numbers)) != (1, 1, 1, 2):
        return None
    try:
        return datetime.date(years[0], months[0], days[0]).isoformat()
    except ValueError:
        return None
