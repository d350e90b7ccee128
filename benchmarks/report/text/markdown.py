"""Text that stays text in Markdown, whatever names people choose."""

from __future__ import annotations

import re


class Raw(str):
    """Markdown of our own that is not escaped again."""

    __slots__ = ()


def escape(value: object) -> object:
    r"""Escape what Markdown, HTML or a forge's mentions would take for something else; `Raw` and None are left alone.

    >>> escape("<b> a|b *c* snake_case")
    '&lt;b&gt; a\\|b \\*c\\* snake_case'
    """
    if not isinstance(value, str) or isinstance(value, Raw):
        return value
    # "&" first, else the entities of "<" and ">" would be escaped again.
    text = re.sub(r"\s+", " ", value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # what begins emphasis, code, links, tables, strikes and headings
    text = re.sub(r"([\\`*{}\[\]|~#])", r"\\\1", text)
    # within a word an underscore is no emphasis, and names stay readable
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
    return text.replace("@", "@\u2060")  # a word joiner: nobody called so is notified


def fenced(text: str) -> Raw:
    """A code block that the text cannot leave."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)  # a fence longer than any in the text
    fence = "`" * max(3, longest + 1)
    return Raw(f"{fence}\n{text}\n{fence}")
