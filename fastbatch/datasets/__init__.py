"""Data sets for the command line: read, split, and prepared for a network.

A source is the name of a bundled data set or a CSV, Parquet, NPY or NPZ file. What was done to the
data for training is kept as a `Preparation`, which is stored with the model, so that
``fastbatch predict`` does the same to new data and answers in the terms of the source.
"""

from fastbatch.datasets.bundled import BUNDLED
from fastbatch.datasets.dataset import Dataset, count_held_out, split
from fastbatch.datasets.preparation import Preparation
from fastbatch.datasets.sources import MOST_CLASSES, SUFFIXES, read, read_features
from fastbatch.datasets.streamed import digest, stream, stream_features

__all__ = [
    "BUNDLED",
    "MOST_CLASSES",
    "SUFFIXES",
    "Dataset",
    "Preparation",
    "count_held_out",
    "digest",
    "read",
    "read_features",
    "split",
    "stream",
    "stream_features",
]
