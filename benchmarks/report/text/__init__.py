"""Sentences of a report: the summary of a run or suite, and text that is safe in Markdown."""
