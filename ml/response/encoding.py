"""Features to numbers: everything the encoding learns (scales, fillings, categories) is part of the model's state."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from ml.response.examples import ResponseError

MISSING = "missing"
OTHER = "other"
# So many numbers are worked on at a time: 1 MB.
_NUMBERS_IN_CACHE = 131_072


def is_numeric(column: pd.Series) -> bool:
    """Tell whether a column holds numbers or truth values (all else is a category)."""
    return bool(pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))


def as_numbers(column: pd.Series) -> np.ndarray:
    """Return a column as float64 with NaN for missing and infinite values."""
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def as_words(column: pd.Series) -> np.ndarray:
    """Return a column as an array of text with a word for missing values."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        words = np.array([*map(str, column.cat.categories), MISSING], dtype=object)
        return words[column.cat.codes.to_numpy()]
    return column.astype(object).where(column.notna(), MISSING).astype(str).to_numpy(dtype=object)


def number_columns(frame: pd.DataFrame, names: Sequence[str]) -> list[np.ndarray]:
    """Return columns as float64 with NaN for missing values, each as it lies in the frame if it can be taken so."""
    columns = (frame[name] for name in names)
    return [
        column.to_numpy() if column.dtype == np.float64 else column.to_numpy(dtype=np.float64, na_value=np.nan)
        for column in columns
    ]


def codes_of(column: pd.Series, words: Sequence[str]) -> np.ndarray:
    """Return the position of each row's word among `words`, len(words) for any other, int64 of shape (rows,)."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        position = {word: number for number, word in enumerate(words)}
        known = [*map(str, column.cat.categories), MISSING]
        return np.array([position.get(word, len(words)) for word in known])[column.cat.codes.to_numpy()]
    codes = pd.Categorical(as_words(column), categories=list(words)).codes.astype(np.int64)
    return np.where(codes < 0, len(words), codes)


class FeatureEncoder:
    """Chooses the usable columns of a frame and encodes them, the same way for one row as for a million.

    Columns that are constant or empty in training are left out. Numbers become signed log(1 + |x|), because counts and
    amounts are skewed and one huge payment must not decide a score; the gaps are filled with the training median and
    marked by a flag. Categories become one-hot columns; rare and unseen ones share the column "other".

    Args:
        maximum_categories: categories kept per column, by frequency.
    """

    def __init__(self, maximum_categories: int = 20) -> None:
        self.maximum_categories = maximum_categories

    def fit(self, frame: pd.DataFrame) -> Self:
        """Learn columns, medians, scales and categories from a frame of shape (rows, features)."""
        self.numeric_names_: list[str] = []
        self.category_names_: list[str] = []
        self.categories_: dict[str, list[str]] = {}
        medians, means, scales, has_gaps = [], [], [], []
        for name in sorted(frame.columns):
            if is_numeric(frame[name]):
                logs = _signed_log(as_numbers(frame[name]))
                known = logs[~np.isnan(logs)]
                gaps = len(known) < len(logs)
                if len(known) == 0 or (not gaps and known.min() == known.max()):
                    continue
                median = float(np.median(known))
                filled = np.where(np.isnan(logs), median, logs)
                scale = float(filled.std())
                self.numeric_names_.append(name)
                medians.append(median)
                means.append(float(filled.mean()))
                scales.append(scale if scale > 1e-12 else 1.0)
                has_gaps.append(gaps)
            else:
                counts = pd.Series(as_words(frame[name])).value_counts()
                if len(counts) < 2:
                    continue
                ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
                self.category_names_.append(name)
                self.categories_[name] = [str(word) for word, _ in ordered[: self.maximum_categories]]
        self.medians_ = np.array(medians, dtype=np.float64)
        self.means_ = np.array(means, dtype=np.float64)
        self.scales_ = np.array(scales, dtype=np.float64)
        self.has_gaps_ = np.array(has_gaps, dtype=bool)
        return self

    @property
    def names_(self) -> list[str]:
        """Names of the columns that are used, numbers first."""
        return [*self.numeric_names_, *self.category_names_]

    def column_names(self) -> list[str]:
        """Names of the columns of `to_matrix`, in order."""
        gaps = [f"{name} unknown" for name, gap in zip(self.numeric_names_, self.has_gaps_, strict=True) if gap]
        words = [f"{name} = {word}" for name in self.category_names_ for word in [*self.categories_[name], OTHER]]
        return [*self.numeric_names_, *gaps, *words]

    def to_matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode for a linear model: float64 of shape (rows, len(column_names()))."""
        matrix = np.empty((len(frame), len(self.column_names())))
        for rows, part in self.matrices(frame):
            matrix[rows] = part
        return matrix

    def matrices(self, frame: pd.DataFrame) -> Iterator[tuple[slice, np.ndarray]]:
        """Give rows and what `to_matrix` says of them, some at a time: what is small stays in the processor's cache.

        Columns lie one after another, as they do in frames, so that each is worked on as one piece of memory.
        """
        self._require(frame)
        numbers = number_columns(frame, self.numeric_names_)
        codes = [codes_of(frame[name], self.categories_[name]) for name in self.category_names_]
        widths = [len(self.categories_[name]) + 1 for name in self.category_names_]
        of_gaps = len(self.numeric_names_)
        of_words = of_gaps + int(self.has_gaps_.sum()) + np.cumsum([0, *widths])
        rows_at_a_time = max(_NUMBERS_IN_CACHE // max(int(of_words[-1]), 1), 1)
        medians, means, scales = (part[:, np.newaxis] for part in (self.medians_, self.means_, self.scales_))
        for start in range(0, len(frame), rows_at_a_time):
            rows = slice(start, min(start + rows_at_a_time, len(frame)))
            logs = np.empty((of_gaps, rows.stop - rows.start))
            for log, column in zip(logs, numbers, strict=True):
                log[:] = column[rows]
            _signed_log_of(logs)
            # What is infinite is no number either.
            gaps = ~np.isfinite(logs)
            np.copyto(logs, medians, where=gaps)
            logs -= means
            logs /= scales
            columns = np.zeros((of_words[-1], logs.shape[1]))
            # Beyond six standard deviations a straight line is a guess; the clip keeps outliers from owning the score.
            np.clip(logs, -6.0, 6.0, out=columns[:of_gaps])
            columns[of_gaps : of_words[0]] = gaps[self.has_gaps_]
            for first, code in zip(of_words[:-1], codes, strict=True):
                columns[first + code[rows], np.arange(logs.shape[1])] = 1.0
            yield rows, columns.T

    def to_boosting_frame(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Encode for gradient boosting: float32 columns with gaps left open, and category columns of words."""
        self._require(frame)
        numbers = np.empty((len(self.numeric_names_), len(frame)), dtype=np.float32)
        for row, values in zip(numbers, number_columns(frame, self.numeric_names_), strict=True):
            row[:] = values
        numbers[np.isinf(numbers)] = np.nan
        encoded = pd.DataFrame(numbers.T, columns=self.numeric_names_, copy=False)
        for name in self.category_names_:
            column = frame[name]
            words = column.array if isinstance(column.dtype, pd.CategoricalDtype) else pd.Categorical(as_words(column))
            # Categories that differ, such as the number 1 and the text "1", may be one word; a gap has the code -1.
            spoken = [*map(str, words.categories), MISSING]
            known = list(dict.fromkeys(spoken))
            codes = np.array([known.index(word) for word in spoken])[words.codes]
            encoded[name] = pd.Categorical.from_codes(codes, pd.Index(known))
        return encoded

    def part(self, names: Sequence[str]) -> "FeatureEncoder":
        """Return an encoder of some of the features, which encodes them as this one does."""
        wanted = set(names)
        kept = np.array([name in wanted for name in self.numeric_names_], dtype=bool)
        encoder = FeatureEncoder(self.maximum_categories)
        encoder.numeric_names_ = [name for name, keep in zip(self.numeric_names_, kept, strict=True) if keep]
        encoder.category_names_ = [name for name in self.category_names_ if name in wanted]
        encoder.categories_ = {name: self.categories_[name] for name in encoder.category_names_}
        encoder.medians_, encoder.means_ = self.medians_[kept], self.means_[kept]
        encoder.scales_, encoder.has_gaps_ = self.scales_[kept], self.has_gaps_[kept]
        return encoder

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays and JSON values."""
        return {
            "maximum_categories": self.maximum_categories,
            "numeric_names": self.numeric_names_,
            "category_names": self.category_names_,
            "categories": self.categories_,
            "medians": self.medians_,
            "means": self.means_,
            "scales": self.scales_,
            "has_gaps": self.has_gaps_,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild a fitted encoder from `to_state`."""
        encoder = cls(state["maximum_categories"])
        encoder.numeric_names_ = list(state["numeric_names"])
        encoder.category_names_ = list(state["category_names"])
        encoder.categories_ = {name: list(words) for name, words in state["categories"].items()}
        encoder.medians_ = state["medians"]
        encoder.means_ = state["means"]
        encoder.scales_ = state["scales"]
        encoder.has_gaps_ = state["has_gaps"].astype(bool)
        return encoder

    def _require(self, frame: pd.DataFrame) -> None:
        missing = [name for name in self.names_ if name not in frame.columns]
        if missing:
            raise ResponseError(
                f"The features {', '.join(missing)} were used in training and are missing now; "
                "rebuild the feature tables or retrain the models."
            )


def _signed_log(numbers: np.ndarray) -> np.ndarray:
    logs = numbers.copy()
    _signed_log_of(logs)
    return logs


def _signed_log_of(numbers: np.ndarray) -> None:
    """Turn numbers into their signed logarithms where they lie."""
    logs = np.abs(numbers)
    np.log1p(logs, out=logs)
    np.copysign(logs, numbers, out=numbers)
