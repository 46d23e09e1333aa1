"""The table of what was tried."""

from collections.abc import Mapping


def table(tried: Mapping[str, int], lost: Mapping[str, int]) -> str:
    """Return the counts of each area as a table for the screen.

    >>> print(table({"csvs": 12}, {}))
    area        tried  survived  lost
    csvs           12        12     0
    all            12        12     0
    """
    rows = [
        *((area, tried[area], lost.get(area, 0)) for area in tried),
        ("all", sum(tried.values()), sum(lost.values())),
    ]
    width = max(len("area      "), *(len(area) for area, _, _ in rows))
    lines = [f"{'area':{width}}  tried  survived  lost"]
    lines += [f"{area:{width}}  {total:5d}  {total - bad:8d}  {bad:4d}" for area, total, bad in rows]
    return "\n".join(lines)
