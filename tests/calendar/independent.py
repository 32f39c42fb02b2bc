"""independent.py: what others say about working days, the ends of periods and midnights, to compare the product with.

Nothing here reads the product's data or code. One fact a line on standard output:

    source CALENDAR DATE SOURCE work|off     what a source says about a day
    end CALENDAR DATE PERIOD DATE            the last day of a period, counted day by day
    midnight ZONE DATE SECONDS               when a day begins, since 1970

China is read from two packages that were made apart from one another, Germany and the United States from a package and
from the statutes as they are written below. Ends are counted with what isn't the source of the product's data.
"""

import calendar
import datetime
import zoneinfo

import chinese_calendar
import holidays
from dateutil.easter import easter
from dateutil.relativedelta import relativedelta

DAY = datetime.timedelta(days=1)
SATURDAY = 5
FIRST, LAST = 2004, 2030
WORKING_DAYS = [1, 2, 5, 15, 45, 100]
MONTHS = [1, 3, 12]

# Days on which chinesecalendar is wrong, and what the notice says. Notice 35 of 2005: 12月31日（星期六）上班.
CORRECTED = {datetime.date(2005, 12, 31): True}

# With clock changes of an hour and of half an hour, at midnight, and with a skipped date; to a year whose rules stand.
ZONES = [
    "Asia/Shanghai",
    "Europe/Berlin",
    "America/Los_Angeles",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "America/Havana",
    "America/St_Johns",
]
ZONES_LAST = 2025


def dates(first, last):
    day = datetime.date(first, 1, 1)
    while day.year <= last:
        yield day
        day += DAY


def package(country):
    # New Year's Day may be observed in the year before.
    table = holidays.country_holidays(country, years=range(FIRST - 1, LAST + 2))
    return lambda day: table.is_working_day(day)


def china(day):
    return CORRECTED.get(day, chinese_calendar.is_workday(day))


def germany(day):
    """The Länder's laws where they agree, and Article 2(2) of the Unification Treaty."""
    sunday = easter(day.year)
    free = {datetime.date(day.year, *fixed) for fixed in [(1, 1), (5, 1), (10, 3), (12, 25), (12, 26)]}
    free |= {sunday + DAY * after for after in (-2, 1, 39, 50)}
    if day.year == 2017:  # 500 years after the Reformation, in every Land
        free.add(datetime.date(2017, 10, 31))
    return day.weekday() < SATURDAY and day not in free


def united_states(day):
    """5 U.S.C. 6103(a) and (b)."""

    def nth(month, weekday, number):
        weeks = [week[weekday] for week in calendar.monthcalendar(day.year, month) if week[weekday]]
        return datetime.date(day.year, month, weeks[number])

    monday, thursday = 0, 3
    free = {nth(1, monday, 2), nth(2, monday, 2), nth(5, monday, -1), nth(9, monday, 0), nth(10, monday, 1)}
    free.add(nth(11, thursday, 3))
    fixed = [datetime.date(day.year, month, number) for month, number in [(1, 1), (7, 4), (11, 11), (12, 25)]]
    fixed.append(datetime.date(day.year + 1, 1, 1))
    if day.year >= 2021:
        fixed.append(datetime.date(day.year, 6, 19))
    for holiday in fixed:
        free.add(holiday + {5: -DAY, 6: DAY}.get(holiday.weekday(), 0 * DAY))
    return day.weekday() < SATURDAY and day not in free


def ends(name, works, first, last):
    """Ends of periods that start on each day, as far as the source goes."""
    every = list(dates(first, last))
    worked = [day for day in every if works(day)]
    known = set(worked)
    done = 0
    for start in every:
        while done < len(worked) and worked[done] <= start:
            done += 1
        for count in WORKING_DAYS:
            if done + count <= len(worked):
                yield name, start, f"{count} working days", worked[done + count - 1]
        for count in MONTHS:
            end = start + relativedelta(months=count)
            yield name, start, f"{count} months", end
            moved = end
            while moved <= every[-1] and moved not in known:
                moved += DAY
            if moved <= every[-1]:
                yield name, start, f"{count} months ending on a working day", moved


def main():
    last_of_china = max(chinese_calendar.holidays).year
    sources = [
        ("cn", "chinesecalendar", china, last_of_china),
        ("cn", "holidays", package("CN"), last_of_china),
        ("de", "statutes", germany, LAST),
        ("de", "holidays", package("DE"), LAST),
        ("us", "statutes", united_states, LAST),
        ("us", "holidays", package("US"), LAST),
    ]
    for name, source, works, last in sources:
        for day in dates(FIRST, last):
            print("source", name, day, source, "work" if works(day) else "off", sep="\t")
        if source != "holidays":
            for calendar_name, start, period, end in ends(name, works, FIRST, last):
                print("end", calendar_name, start, period, end, sep="\t")
    for day, works in CORRECTED.items():
        # A correction that is no longer needed must go.
        assert chinese_calendar.is_workday(day) is not works, f"{day} needs no correction any more"

    # The package's zones and not the machine's.
    zoneinfo.reset_tzpath(to=[])
    for name in ZONES:
        zone = zoneinfo.ZoneInfo(name)
        for day in dates(FIRST, ZONES_LAST):
            midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=zone)
            print("midnight", name, day, int(midnight.timestamp()), sep="\t")


main()
