#!/usr/bin/env python3
"""generate.py [--through YEAR] [--check]: writes the calendars beside it from the PyPI package `holidays`.

Days that a statute fixes are written to the end of YEAR, four years from now unless it is said; China as far as it is
published. --check writes nothing and exits with 1 if a file isn't what the installed package would give for the years
that the file covers.
"""

import argparse
import datetime
import pathlib
import re
import sys

import holidays

FOLDER = pathlib.Path(__file__).parent
DAY = datetime.timedelta(days=1)

# From here two independent sources can be compared for China.
FIRST = 2004
YEARS_AHEAD = 4
# The notice for a year has changed days of the December before as early as the 29th (2007, 2018), so the last week of
# the last published year isn't for sure.
SURE_UNTIL = (12, 24)

CN_COMMENT = """\
Mainland China: what the General Office of the State Council publishes year by year, usually in November, with the days
off and the weekend days that are worked for them.

Covered to 24 December of the last published year: the next notice may still change the days before New Year.
Sources differ on one day, Saturday 2005-12-31: chinesecalendar 1.11.0 has it free. Notice 35 of 2005 (国办发明电〔2005〕35号,
"12月31日（星期六）上班") has it worked, and so has this file."""

DE_COMMENT = """\
Germany: public holidays of the whole country. A holiday of one state only (Corpus Christi, for instance) counts as a
working day, so a period never ends later than it may; a company that answers from one state needs another calendar.

Fixed by statute and computed; a new statute may still change a year that has not begun."""

US_COMMENT = """\
United States: legal public holidays, 5 U.S.C. 6103, with the Friday before a Saturday and the Monday after a Sunday. Days
on which a president sends the government home, and holidays of a state, count as working days.

Fixed by statute and computed; a new statute may still change a year, even the running one (Juneteenth in 2021)."""


def china(_through):
    """The published years. A year without a single day that is worked in exchange has not been published."""
    def of(years):
        return holidays.country_holidays("CN", years=years, language="en_US")

    last = max(day.year for day in of(range(FIRST, FIRST + 100)).weekend_workdays)
    table = of(range(FIRST - 1, last + 2))
    special = {}
    for day, name in table.items():
        exchange = re.fullmatch(r"Day off \(substituted from (\d\d)/(\d\d)/(\d{4})\)", name)
        if exchange:
            month, number, year = map(int, exchange.groups())
            worked = datetime.date(year, month, number)
            special[day] = ("off", f"In exchange for {worked}")
            special[worked] = ("work", f"In exchange for {day}")
        else:
            special.setdefault(day, ("off", name))
    unnamed = {day for day in table.weekend_workdays if special.get(day, ("", ""))[0] != "work"}
    for day in unnamed:
        special[day] = ("work", "In exchange for another day")
    return special, datetime.date(last, *SURE_UNTIL)


def statutory(country):
    def table(through):
        # New Year's Day on a Saturday is observed in the year before.
        days = holidays.country_holidays(country, years=range(FIRST - 1, through + 2), language="en_US")
        return {day: ("off", name) for day, name in days.items()}, datetime.date(through, 12, 31)

    return table


CALENDARS = {
    "cn": (china, CN_COMMENT),
    "de": (statutory("DE"), DE_COMMENT),
    "us": (statutory("US"), US_COMMENT),
}


def text(name, through):
    table, comment = CALENDARS[name]
    special, last = table(through)
    first = datetime.date(FIRST, 1, 1)
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [
        "",
        f"name: {name}",
        f"version: holidays-{holidays.__version__}-{last.year}",
        f"source: PyPI holidays {holidays.__version__}, {name.upper()}",
        "weekend: Saturday Sunday",
        f"covered: {first} to {last}",
    ]
    year = None
    for day, (kind, label) in sorted(special.items()):
        if first <= day <= last:
            if day.year != year:
                year = day.year
                lines.append("")
            lines.append(f"{day} {kind:<4} {label}")
    return "\n".join(lines) + "\n"


def covered_through(path):
    found = re.search(r"^covered: .* to (\d{4})-", path.read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1])


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--through", metavar="YEAR", type=int, default=datetime.date.today().year + YEARS_AHEAD)
    arguments.add_argument("--check", action="store_true")
    options = arguments.parse_args()
    stale = []
    for name in CALENDARS:
        path = FOLDER / f"{name}.txt"
        if not options.check:
            path.write_text(text(name, options.through), encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text(name, covered_through(path)):
            stale.append(path.name)
    for name in stale:
        print(f"{name} is not what holidays {holidays.__version__} gives", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
