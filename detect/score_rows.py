"""Score rows in little memory: names as numbers (pandas' categories, sorted), some 40 bytes a row in place of 200."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from detect.scoring import read_arrow

_AT_ONCE = 1 << 17  # rows whose names are held as text


def compact(table: pd.DataFrame) -> pd.DataFrame:
    """Return score rows whose columns of text are categories, which sort and compare as their names do.

    Args:
        table: score rows; columns that are no text, or text beside other values, stay as they are.
    """
    return table.astype({name: "category" for name, kind in table.dtypes.items() if isinstance(kind, pd.StringDtype)})


def read_compact(files: Iterable[Path]) -> pd.DataFrame:
    """Read files of score rows as one compact table, in their order.

    Raises:
        InputError, CorruptError: of `read_scores`.
    """
    table = stacked([compact(part) for part in _batches(files)])
    pa.default_memory_pool().release_unused()  # what Arrow keeps of the text would stay to the end
    return table


def _batches(files: Iterable[Path]) -> Iterator[pd.DataFrame]:
    """Yield the rows of some files at a time, whose columns are alike: a table takes 30 kB even where it is small."""
    batch: list[pa.Table] = []
    for table in map(read_arrow, files):
        if batch and (sum(map(len, batch)) >= _AT_ONCE or not table.schema.equals(batch[0].schema)):
            yield pa.concat_tables(batch).to_pandas()
            batch = []
        batch.append(table)
    if batch:
        yield pa.concat_tables(batch).to_pandas()


def stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Lay compact tables one below the other, as `pandas.concat` does with text; a column may be absent from some."""
    if len(tables) == 1:
        return tables[0].reset_index(drop=True)
    names = list(dict.fromkeys(name for table in tables for name in table.columns))
    kinds = {name: {table[name].dtype.name for table in tables if name in table} for name in names}
    texts = {name for name in names if kinds[name] == {"category"}}
    # numbers, and text in some tables beside other values in others: what pandas makes of them
    rest = pd.concat(
        [_plain(table[[name for name in table if name not in texts]]) for table in tables], ignore_index=True
    )
    columns = {name: _joined(name, tables) if name in texts else rest[name] for name in names}
    return pd.DataFrame(columns, copy=False)


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with text in place of categories."""
    return table.astype({name: "str" for name, kind in table.dtypes.items() if kind.name == "category"})


def _joined(name: str, tables: Sequence[pd.DataFrame]) -> pd.Categorical:
    """Join a column of categories, which some tables may lack."""
    known = [table[name].array.categories for table in tables if name in table]
    every = known[0]
    for categories in known[1:]:
        if not categories.equals(every):
            every = every.union(categories)  # sorted
    kind = np.min_scalar_type(-max(1, len(every)))
    codes = np.full(sum(map(len, tables)), -1, kind)
    start = 0
    for table in tables:
        if name in table:
            values = table[name].array
            # -1, of what is absent, takes the last place
            place = np.append(every.get_indexer(values.categories), -1).astype(kind)
            codes[start : start + len(table)] = place[values.codes]
        start += len(table)
    return pd.Categorical.from_codes(codes, every, validate=False)
