"""Numbers as text, with no more digits than the data justify."""

from __future__ import annotations

import math
from typing import NamedTuple

from benchmarks.evaluation.interval import two_sided

Z95 = two_sided(0.95)
_MIN_DIGITS, _MAX_DIGITS = 2, 6
_NEAR_ONE_DIGITS = 4  # that distinguish values near 1


class Estimate(NamedTuple):
    """A value and its interval, with the same number of decimals where the value does not need more."""

    value: str
    low: str
    high: str

    def __str__(self) -> str:
        return f"{self.value} [{self.low}, {self.high}]"


def decimals(half_width: float) -> int:
    """Return the decimals that show one digit of the uncertainty: 2 to 6, and 2 where it is unknown.

    >>> decimals(0.025), decimals(0.002), decimals(0.0004)
    (2, 3, 4)
    """
    if not half_width > 0:
        return _MIN_DIGITS
    # -floor(log10(half width)) is the place of its first digit
    return min(max(-math.floor(math.log10(half_width)), _MIN_DIGITS), _MAX_DIGITS)


def estimate(value: float, low: float, high: float) -> Estimate:
    """Round a share and its interval by their uncertainty.

    The ends are rounded outwards. A value that is not perfect never looks so: where rounding would make it 1 (or 0), it
    gets up to four decimals, so that 0.998 and 0.9999 differ, and is cut beyond. Digits are added where an end would
    come to lie on 0.5, or where a value seems to lie beyond an end.
    Only exact 0 and 1 lose their zeros.

    >>> str(estimate(0.99812, 0.99511, 0.99893))
    '0.998 [0.995, 0.999]'
    >>> str(estimate(1.0, 0.9963, 1.0)), str(estimate(0.9996, 0.9796, 0.99999))
    ('1 [0.996, 1]', '0.9996 [0.97, 1.00]')
    >>> str(estimate(0.999996, 0.99868, 1.0))
    '0.9999 [0.9986, 1]'
    """
    # half the width: the uncertainty of the value
    digits = decimals((high - low) / 2)
    # until no rounded number says what the exact one does not: on 0.5 ("guessing"), or a value outside its interval
    while digits < _MAX_DIGITS and not _faithful(value, low, high, digits):
        digits += 1
    value_digits = digits
    while value_digits < _NEAR_ONE_DIGITS and value not in (0.0, 1.0) and round(value, value_digits) in (0.0, 1.0):
        value_digits += 1
    return Estimate(
        _fixed(_near(value, value_digits), value_digits),
        _end(low, _down(low, digits), digits),
        _end(high, _up(high, digits), digits),
    )


def _end(exact: float, shown: float, digits: int) -> str:
    return _fixed(exact, digits) if exact in (0.0, 1.0) else f"{shown:.{digits}f}"


def _faithful(value: float, low: float, high: float, digits: int) -> bool:
    ends = _down(low, digits), _up(high, digits)
    # an end on 0.5 reads as "compatible with guessing" and must be exact
    guessing = all((exact == 0.5) == (shown == 0.5) for exact, shown in zip((low, high), ends, strict=True))
    return guessing and ends[0] <= _near(value, digits) <= ends[1]


def _near(value: float, digits: int) -> float:
    """Round, but to 0 or 1 only where the value is exactly that."""
    # a value of 0.9996 with three decimals becomes 0.999 and not 1.000
    step = 10.0**-digits
    shown = round(value, digits)
    # at six decimals the text is as exact as a report gets
    return shown if value in (0.0, 1.0) or digits == _MAX_DIGITS else min(max(shown, step), 1 - step)


def _down(value: float, digits: int) -> float:
    # multiplying by a power of ten may give 98.99999999: rounded to 6 places before the floor; ends move outwards
    return max(0.0, math.floor(round(value * 10**digits, 6)) / 10**digits) if value >= 0 else -_up(-value, digits)


def _up(value: float, digits: int) -> float:
    return math.ceil(round(value * 10**digits, 6)) / 10**digits if value >= 0 else -_down(-value, digits)


def _fixed(value: float, digits: int) -> str:
    return f"{value:.0f}" if value in (0.0, 1.0) else f"{value:.{digits}f}"


def share(value: float, n: int) -> str:
    """A mean of n values in [0, 1] (Brier score, calibration error), digits after its largest possible error.

    >>> share(0.00312, 2000), share(0.1847, 200), share(1e-9, 2000)
    ('0.003', '0.18', '< 0.0001')
    """
    # binomial error: the largest a mean of n values in [0, 1] with this mean can have
    digits = min(decimals(Z95 * math.sqrt(max(value * (1 - value), 0) / n)), 4)
    if value > 0 and round(value, digits) == 0:
        return f"< {10.0**-digits:.{digits}f}"
    return _fixed(value, digits)


def percent(value: float, n: int) -> str:
    """A share of n images in per cent; 100 and 0 only where they are exact.

    >>> percent(0.9752, 1000), percent(1.0, 1000), percent(0.99996, 1000)
    ('97.5 %', '100 %', '99.996 %')
    """
    if value in (0.0, 1.0):
        return f"{100 * value:.0f} %"
    # per cent has two decimals fewer than a share
    digits = max(decimals(Z95 * math.sqrt(value * (1 - value) / n)) - 2, 1 if n >= 200 else 0)
    while digits < _MAX_DIGITS and round(100 * value, digits) in (0.0, 100.0):
        digits += 1
    return f"{100 * value:.{digits}f} %"


def percent_range(value: float, low: float | None, high: float | None, n: int) -> str:
    """A share in per cent with its interval, where it has one; the ends are rounded outwards.

    >>> percent_range(0.212, 0.193, 0.231, 1000), percent_range(1.0, 0.9981, 1.0, 2000)
    ('21 % [19, 24]', '100 % [99.81, 100]')
    """
    if low is None or high is None:
        return percent(value, n)
    digits = min(max(decimals((high - low) / 2) - 2, 0), 2)
    while digits < _MAX_DIGITS and (round(100 * value, digits) in (0.0, 100.0)) != (value in (0.0, 1.0)):
        digits += 1
    ends = (_down(100 * low, digits), _up(100 * high, digits))
    shown = [f"{v:.0f}" if v in (0.0, 100.0) else f"{v:.{digits}f}" for v in (100 * value, *ends)]
    return f"{shown[0]} % [{shown[1]}, {shown[2]}]"


def signed(value: float, low: float, high: float) -> Estimate:
    """A difference with its interval, every number with its sign; an interval beside zero does not seem to reach it.

    >>> str(signed(0.012, 0.002, 0.022)), str(signed(-0.01, -0.02, 0.001))
    ('+0.012 [+0.002, +0.022]', '−0.01 [−0.02, 0.00]')
    """
    # an interval that excludes zero must not seem to touch it after rounding
    digits = decimals((high - low) / 2)
    while digits < _MAX_DIGITS and (low > 0 or high < 0) and 0 in (round(low, digits), round(high, digits)):
        digits += 1
    return Estimate(*(_sign(v, digits) for v in (value, low, high)))


def _sign(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    # -0.00 is printed without its sign; a true minus instead of a hyphen
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def p_value(p: float) -> str:
    """A p-value the way papers print it.

    >>> p_value(0.00002), p_value(0.0312), p_value(0.4)
    ('p < 0.001', 'p = 0.031', 'p = 0.40')
    """
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.095 else f"p = {p:.2f}"


def count(n: int) -> str:
    """Format an integer with thousands separated.

    >>> count(12345)
    '12,345'
    """
    return f"{n:,}"


def amount(n: float) -> str:
    """A large number in three digits.

    >>> amount(3_574_017), amount(820), amount(20_811_050)
    ('3.57 M', '820', '20.8 M')
    """
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if n >= 0.9995 * size:
            scaled = n / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{unit}"
    return f"{n:.0f}"


def duration(seconds: float) -> str:
    """A wall time.

    >>> duration(0.42), duration(48.2), duration(370), duration(7500)
    ('0.4 s', '48 s', '6 min 10 s', '2 h 05 min')
    >>> duration(180)
    '3 min'
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def megabytes(value: float | None) -> str:
    """Format memory, or a dash where it was not measured."""
    if value is None:
        return "–"
    return f"{value / 1000:.1f} GB" if value >= 1000 else f"{value:.0f} MB"


def near_one(value: float) -> str:
    """A share in two decimals, or in up to four where it lies nearer to 1 or 0 than two can show; 1 and 0 if exact.

    >>> near_one(0.9999), near_one(0.998), near_one(0.954), near_one(0.99996), near_one(1.0), near_one(0.0004)
    ('0.9999', '0.998', '0.95', '0.9999', '1', '0.0004')
    """
    if value in (0.0, 1.0):
        return f"{value:.0f}"
    # decimals that are needed to see the distance from 1 (or 0): 0.998 needs three
    needed = math.ceil(-math.log10(min(value, 1 - value)) - 1e-9)
    digits = min(max(needed, _MIN_DIGITS), _NEAR_ONE_DIGITS)
    return _fixed(_near(value, digits), digits)
