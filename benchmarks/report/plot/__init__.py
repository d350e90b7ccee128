"""Figures of a report: `Plot` for curves and `RowPlot` for estimates, one a row, both written as SVG text."""
