"""Data as they lie on disk, also larger than memory: sources of rows, and streams of batches."""

from fastbatch.data.array_source import ArraySource
from fastbatch.data.csv_source import CSVSource
from fastbatch.data.held_out import hold_out
from fastbatch.data.parquet_source import ParquetSource
from fastbatch.data.prepared_source import PreparedSource
from fastbatch.data.source import Source
from fastbatch.data.stream import Stream

__all__ = [
    "ArraySource",
    "CSVSource",
    "ParquetSource",
    "PreparedSource",
    "Source",
    "Stream",
    "hold_out",
]
