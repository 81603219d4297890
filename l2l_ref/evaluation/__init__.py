"""Learned against hand-designed: tuning, curves, tables and figures; and the audit of the catalogue."""
