"""Tables: the estimator for rows of numbers, categories, dates and holes, learnt by trees in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import _check_feature_names, check_is_fitted

from caminito._errors import ConfigError, DataError
from caminito._random import Stream, seed_from, uniform
from caminito.data import MAX_CELLS, Column, TableCodec, read_table
from caminito.estimators.boost_jumps import Boost
from caminito.estimators.choices import Choice, Description
from caminito.estimators.coded import CodedTable
from caminito.estimators.denoise_jumps import Denoise
from caminito.estimators.network_jumps import Network
from caminito.estimators.ranked import Ranked
from caminito.estimators.reveal_jumps import Reveal, draws
from caminito.estimators.table_checks import check_parameters, row_weights, warn_of_repeated_target
from caminito.estimators.table_choice import (
    JITTERS,
    STARTS,
    TRIED,
    Trial,
    candidates,
    judged,
    leaf_size,
    least_rows,
    smaller_leaf,
    tried,
)
from caminito.estimators.table_conditions import Asked, asked
from caminito.estimators.table_constrained import BoundReveal, Wanted, only_reveal, refilled, refuse_unmet, revealing
from caminito.estimators.table_constraints import Rules
from caminito.estimators.table_density import log_shares
from caminito.estimators.table_explain import Jump, tree_picture, tree_text
from caminito.estimators.table_fill import filled
from caminito.estimators.table_impute import Imputer
from caminito.estimators.table_progress import done, expect

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TableDiffusion"]

Floats = NDArray[np.float64]


class TableDiffusion(OneToOneFeatureMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """Diffusion model of tables, each reverse jump made by trees; a CPU and seconds are enough.

    Parameters
    ----------
    mode : 'auto', 'reveal', 'denoise', 'boost' or 'network'
        Family of jumps. reveal: each jump reveals a column, by a donor row of the leaf that fits what is known; for any
        columns, and what answers conditions in all modes. denoise: forests lead noised rows back; for numbers without
        holes. boost, network: `reveal` draws categories and holes, and numbers come from noise given those, led by
        boosted trees or by a network, which takes minutes. auto: reveal or denoise, whichever does better on rows kept
        aside, under a gate of privacy.
    min_rows : 'auto' or int
        Different rows in a leaf of `reveal`, at least; twice as many where a category is said in more than 5000 rows.
        auto: 5; 3 where `reveal` draws the samples and they keep .88 of the distance of real rows from training rows.
    start, jitter : 'auto' or float
        Of `denoise`: noise that rows begin with, in standard deviations, and noise added at the end, as a share of what
        is not known. More of either takes samples farther from single rows. auto: as the gate asks.
    max_steps, minutes : int, float, optional
        Training budget of `network`, as for `DiffusionModel`.
    copies : 'auto' or 'allow'
        How many samples may repeat a training row. auto: as many as of the rows kept aside do.
    privacy_k : int
        Every leaf has at least so many different rows. A network has no leaves, and refuses it.
    missing : 'model' or 'fill'
        Whether missing values are data, to be drawn like any, or to be filled, as `impute` does, before all else: then
        no sample has one.
    types : mapping of name to kind, optional
        What columns are, where their dtype does not say; see `TableCodec`.
    constraints : sequence of str or mapping
        What every row meets, as the training rows have to: orders "start <= end", ranges "0 <= age <= 120" or
        {"age": (0, 120)}, choices {"sex": ["F", "M"]} or "sex in ['F', 'M']", formulas "total = price * amount". Orders
        and formulas are for `reveal`, where differences are drawn and formulas computed; nothing is rejected.
    random_state : int, RandomState or None
    n_jobs : int, optional
        Trees or forests grown at once, in threads, which share the table; no result depends on it. Under
        `joblib.parallel_config(backend=...)` they are grown there, on a `dask.distributed` cluster too.

    Attributes
    ----------
    columns_ : list of Column, what was understood of the table
    revealed_ : names of the columns in the order in which `reveal` draws them
    mode_ : 'reveal', 'denoise', 'boost' or 'network'
    trials_ : list of Trial, what candidates did on rows kept aside, the best first
    choices_ : what was chosen, and why
    n_features_in_, feature_names_in_ : as in scikit-learn

    Examples
    --------
    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> age = rng.integers(18, 80, 400)
    >>> frame = pd.DataFrame({"age": age, "work": np.where(age < 65, "yes", "no")})
    >>> model = TableDiffusion(random_state=0).fit(frame)
    >>> sample = model.sample(200, condition={"age": (65, 80)})
    >>> bool((sample["age"] >= 65).all()), float((sample["work"] == "no").mean()) > 0.9
    (True, True)
    """

    trials_: list[Trial]
    _family: Reveal | Denoise | Ranked

    def __init__(
        self,
        *,
        mode: Literal["auto", "reveal", "denoise", "boost", "network"] = "auto",
        min_rows: int | Literal["auto"] = "auto",
        start: float | Literal["auto"] = "auto",
        jitter: float | Literal["auto"] = "auto",
        max_steps: int | None = None,
        minutes: float | None = None,
        copies: Literal["auto", "allow"] = "auto",
        privacy_k: int = 1,
        missing: Literal["model", "fill"] = "model",
        types: Mapping[Any, Any] | None = None,
        constraints: Sequence[str | Mapping[Any, Any]] = (),
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.mode = mode
        self.min_rows = min_rows
        self.start = start
        self.jitter = jitter
        self.max_steps = max_steps
        self.minutes = minutes
        self.copies = copies
        self.privacy_k = privacy_k
        self.missing = missing
        self.types = types
        self.constraints = constraints
        self.random_state = random_state
        self.n_jobs = n_jobs

    @property
    def columns_(self) -> list[Column]:
        """What was understood of the columns of X."""
        check_is_fitted(self, "codec_")
        return self.codec_.columns_

    @property
    def revealed_(self) -> list[Any]:
        """Names of the columns in the order in which `reveal` draws them."""
        check_is_fitted(self, "codec_")
        names = self._names()
        return [names[column] for column in self._reveal.order]

    def fit(self, X: Any, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the law of the rows of X.

        Parameters
        ----------
        X : table (n, p): pandas, polars or pyarrow frame, or array; or the path of a file
            Of a file with more than `caminito.data.MAX_CELLS` cells a sample of rows, however large it is.
        y : array (n,), optional
            One more column, to ask for by `condition={"y": ...}`; samples come without it.
        sample_weight : array (n,), optional
            How many rows like it each row stands for; where that is more than two on average, leaves may have fewer
            different rows.
        """
        check_parameters(self)
        if isinstance(X, str | Path):
            X = read_table(X, max_cells=MAX_CELLS)
        self.codec_ = TableCodec(self.missing, types=self.types)
        matrix = self.codec_.fit_encode(X)
        self._rules = Rules(self.constraints, self.codec_)
        self._rules.refuse_broken(matrix)
        if self._rules.formulas:
            self._rules = Rules(self.constraints, codec := self._rules.exact_codec(matrix))
            self.codec_ = codec
        self._target = None
        if y is not None:
            given = np.asarray(y)
            if given.shape != (len(matrix),):
                raise DataError(f"y: expected one value for each of {len(matrix)} rows, got shape {given.shape}.")
            self._target = TableCodec().fit(given[:, None])
            matrix = np.column_stack([matrix, self._target.encode(given[:, None])])
            warn_of_repeated_target(matrix, self._all_columns())
        weights = row_weights(sample_weight, len(matrix))
        if weights is not None:
            matrix, weights = matrix[weights > 0], weights[weights > 0]
        seed = seed_from(self.random_state) % 2**32
        self.n_features_in_ = len(self.codec_.columns_)
        if all(isinstance(name, str) for name in self.codec_.names_):
            self.feature_names_in_ = np.array(self.codec_.names_, dtype=object)
        self._seed = seed
        self._training = X
        if self.missing == "fill":
            self._keep(CodedTable(matrix, self._all_columns(), weights))
            holes, filled_in = np.isnan(matrix), self._filler(matrix.shape[1]).fill(matrix, seed)
            least = leaf_size(self._observed, self.min_rows, self.privacy_k).value
            family = self._revealing(self._observed, least, seed)
            matrix = refilled(family, filled_in, holes, seed)[0]
        trees = matrix.shape[1] * max(1, len(matrix) // TRIED)
        expect(trees)
        self._fit(matrix, weights, seed)
        done("the model", trees)
        if self.missing == "model":
            self._keep(self._reveal.table)
        return self

    def _fit(self, matrix: Floats, weights: Floats | None, seed: int) -> None:
        columns = self._all_columns()
        table = CodedTable(matrix, columns, weights)
        leaf = leaf_size(table, self.min_rows, self.privacy_k)
        least = leaf.value
        order = self._order(len(columns))
        modes = only_reveal(candidates(self.mode, table), self._rules, asked=self.mode != "auto")
        self.choices_ = Description()
        self._reveal = self._revealing(table, least, seed)
        self._family = self._reveal
        how: dict[str, Any] = {"min_rows": least, "seed": seed, "n_jobs": self.n_jobs}
        if modes == ["network"]:
            budget: dict[str, Any] = {"max_steps": self.max_steps, "minutes": self.minutes}
            network = Network(table, self._reveal, seed=seed, **budget).fit()
            self._family, self.trials_ = network, [judged(network, order, **how)]
        else:
            self.trials_ = tried(
                matrix,
                columns,
                weights,
                modes,
                order,
                starts=STARTS if self.start == "auto" else [float(self.start)],
                jitters=JITTERS if self.jitter == "auto" else [float(self.jitter)],
                rules=self._rules,
                smaller=smaller_leaf(table, self.min_rows, self.privacy_k),
                **how,
            )
        best = self.trials_[0]
        if best.mode == "reveal" and best.options["min_rows"] < least:
            leaf = leaf_size(table, self.min_rows, self.privacy_k, best)
            self._reveal = self._family = self._revealing(table, leaf.value, seed)
        self.mode_ = best.mode
        if best.mode == "boost":
            self._family = Boost(table, self._reveal, **how).fit()
        elif best.mode == "denoise":
            start, jitter, spread = (best.options[name] for name in ("start", "jitter", "spread"))
            self._family = Denoise(
                table, start=start, jitter=jitter, along=best.options["along"], seed=seed, n_jobs=self.n_jobs
            ).fit()
            self._family.spread = np.array(spread)
            if best.options["straight"]:
                self._family.straighten()
        elif best.mode == "reveal":
            self._reveal.fit()
        self._tell(best, modes, leaf)

    def sample(
        self,
        n_samples: int = 1,
        *,
        condition: Mapping[Any, Any] | Any = None,
        random_state: int | np.random.RandomState | None = None,
        first: int = 0,
    ) -> Any:
        """Draw rows like those of X.

        Parameters
        ----------
        n_samples : int >= 1
        condition : mapping of column to what is asked of it, or a table with holes, optional
            A value; (low, high), both included; a list of values; or None, missing. A table has a row for each sample,
            and what is missing there is free. Nothing is rejected.
        random_state : int, optional
            Sample number i depends on (random_state, first + i) alone.

        Returns
        -------
        table, shape (n_samples, p), in the container, with the columns and dtypes of the training table

        Raises
        ------
        ConditionError
            If a column is unknown, or no training row meets what is asked of one, or of several together.
        """
        check_is_fitted(self, "codec_")
        if n_samples < 1:
            raise ConfigError(f"n_samples: expected at least 1, got {n_samples}.")
        seed = self._seed + 1 if random_state is None else seed_from(random_state)
        wanted = asked(condition, n_samples, self._names(), self._codecs(), self._reveal.table)
        if wanted is not None:
            refuse_unmet(wanted.matrix, self._rules)
        return self.codec_.decode(self._rows(n_samples, seed, first, wanted)[:, : self.n_features_in_])

    def impute(
        self,
        X: Any = None,
        *,
        n_draws: int = 1,
        how: str = "sample",
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """X with its missing values drawn from what they may be, given all that is known of their rows.

        Parameters
        ----------
        X : table, optional
            With the columns of the training table, which it is unless given.
        n_draws : int >= 1
            Draws differ where the rows leave it open: what a later analysis makes of each says how much that matters.
        how : 'sample' or 'centre'
            Values drawn as they may be; or the one in the middle, nearest to the truth on average: medians of numbers,
            and the most frequent of categories. Centres vary less than data do, and do not say how sure they are.
        random_state : int, optional
            A row of X is filled as a function of its values, random_state and its place alone.

        Returns
        -------
        table, or a list of n_draws of them
            In the container of X, with its index; every observed cell as it came.
        """
        check_is_fitted(self, "codec_")
        if not (isinstance(n_draws, int | np.integer) and n_draws >= 1):
            raise ConfigError(f"n_draws: expected a whole number >= 1, got {n_draws!r}.")
        if how not in ("sample", "centre"):
            raise ConfigError(f"how: expected 'sample' or 'centre', got {how!r}.")
        if how == "centre" and n_draws > 1:
            raise ConfigError(f"n_draws: expected 1, since how='centre' has one answer, got {n_draws}.")
        X = self._training if X is None else X
        if X is None:
            raise DataError("impute: expected a table; a model read from a folder does not hold the training table.")
        own = self.codec_.encode(X)
        self._rules.refuse_broken(own, "impute")
        beside = len(self._all_columns()) - own.shape[1]
        matrix = np.column_stack([own, np.full((len(own), beside), np.nan)])
        seed = self._seed + 2 if random_state is None else seed_from(random_state)
        found = self._imputer.centre(matrix)[None] if how == "centre" else self._imputer.fill(matrix, seed, n_draws)
        drawn = refilled(self._reveal, found, np.isnan(own), None if how == "centre" else seed)
        drawn = drawn[:, :, : own.shape[1]]
        tables = [filled(X, np.isnan(own), each, self.codec_) for each in drawn]
        return tables if n_draws > 1 else tables[0]

    def transform(self, X: Any) -> Any:
        """X without missing values: `impute`, one draw."""
        check_is_fitted(self, "codec_")
        self._check_names(X)
        return self.impute(X)

    def score_samples(self, X: Any) -> Floats:
        """Log-density of rows under the chain of jumps of `reveal`, in nats, shape (n,).

        A probability for categories, missing values, atoms, and numbers with at most 40 different values; a density, in
        units of the column (dates: days), for others. It sums, and integrates over the range of the training rows, to 1
        exactly; beyond that range, and for numbers of few values that are none of them, it is -inf. The shares of a
        leaf are smoothed by those of the nodes above it, as samples are not: see `caminito.estimators.table_density`.

        Raises
        ------
        ConfigError
            If the mode is another than 'reveal': its jumps have no density in closed form.
        """
        check_is_fitted(self, "codec_")
        self._only_reveal("score_samples")
        if self._rules.bind:
            raise ConfigError(
                "score_samples: expected a table whose columns are free, got one with orders or formulas, under which "
                "rows have no density over all columns. Fit without those constraints."
            )
        self._check_names(X)
        own = self.codec_.encode(X)
        matrix = np.full((len(own), len(self._all_columns())), np.nan)
        columns = [column for column in self._reveal.order if column < own.shape[1]]  # y comes last, and is left out
        matrix[:, : own.shape[1]] = own
        chain = self._reveal.chain((), () if self._target is None else tuple(columns))
        return log_shares(chain, self._reveal.table, matrix, columns)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-density of X, in nats."""
        return float(np.mean(self.score_samples(X)))

    def explain_jump(self, column: Any, *, max_depth: int = 4) -> str:
        """The tree of the jump that reveals a column, as text: its rules, and what the rows of its leaves have.

        Parameters
        ----------
        column : name of a column, or 'y'
        max_depth : int >= 1
            Rules deeper than that are left out, and counted.

        Raises
        ------
        ConfigError
            If the mode is another than 'reveal': there a jump moves all numbers at once.
        DataError
            If there is no such column.
        """
        text = self._computed(column)
        return tree_text(self._jump("explain_jump", column, max_depth), max_depth) if text is None else text

    def draw_jump(
        self, column: Any, *, max_depth: int = 3, title: str | None = None, caption: str | None = None
    ) -> Figure:
        """The same as a picture: questions from left to right, and at the end of each path the law of its rows.

        Parameters
        ----------
        column, max_depth
            As for `explain_jump`.
        title, caption : str, optional
            What is seen, and what to look at.

        Returns
        -------
        matplotlib Figure
            To be saved by `savefig`, or as a file with its recipe by `caminito.plot.png_bytes`.

        Raises
        ------
        ConfigError, DataError
            As `explain_jump`; and for a column that a formula gives, which has no tree.
        """
        text = self._computed(column)
        if text is not None:
            raise ConfigError(f"draw_jump: expected a column that a tree reveals, got {column!r}, which is {text}.")
        return tree_picture(self._jump("draw_jump", column, max_depth), max_depth, title, caption)

    def _computed(self, column: Any) -> str | None:
        check_is_fitted(self, "codec_")
        names = self._names()
        formula = self._rules.formula_of(names.index(column)) if column in names else None
        return None if formula is None else f"{formula}: computed"

    def _jump(self, what: str, column: Any, max_depth: int) -> Jump:
        self._only_reveal(what)
        names = self._names()
        if column not in names:
            self.codec_.position(column)  # tells the nearest name
        if not (isinstance(max_depth, int) and max_depth >= 1):
            raise ConfigError(f"max_depth: expected a whole number >= 1, got {max_depth!r}.")
        place, codecs = names.index(column), self._codecs()

        def values(of: int, numbers: Sequence[float]) -> list[Any]:
            return codecs[of][0].decode_values(codecs[of][1], numbers)

        if isinstance(self._reveal, BoundReveal):
            return self._reveal.told(place, names, values)
        return Jump(self._reveal.chain(()).trees[place], place, self._reveal.table, names, values)

    def describe(self) -> Description:
        """What was chosen, and why."""
        check_is_fitted(self, "codec_")
        return self.choices_

    def save(self, path: str | Path) -> None:
        """Write the model to a folder: JSON and arrays, no code."""
        from caminito.estimators.table_store import save_table

        check_is_fitted(self, "codec_")
        save_table(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> TableDiffusion:
        """The model that `save` wrote."""
        from caminito.estimators.table_store import load_table

        return load_table(Path(path))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _rows(self, rows: int, seed: int, first: int, wanted: Asked | None) -> Floats:
        """Encoded samples; those that repeat a training row are drawn again, as often as they have to be."""
        matrix = self._drawn(np.arange(rows), seed, first, 0, wanted)
        trial = self.trials_[0] if wanted is None else self._answering()
        if self.copies == "allow" or trial.kept_copies >= 1:
            return matrix
        coin = np.asarray(uniform(seed, Stream.TABLE, 0, rows, start=first)) >= trial.kept_copies
        again = np.flatnonzero(self._reveal.table.holds(matrix) & coin)
        for attempt in range(1, trial.attempts + 1):
            if not len(again):
                break
            matrix[again] = self._drawn(again, seed, first, attempt, wanted)
            again = again[self._reveal.table.holds(matrix[again])]
        return matrix

    def _answering(self) -> Trial:
        """The trial of what answers conditions, as far as it was tried."""
        revealed = (trial for trial in self.trials_ if trial.mode == "reveal")
        return next((t for t in revealed if t.options["min_rows"] == self._reveal.min_rows), self.trials_[0])

    def _drawn(self, where: NDArray[np.intp], seed: int, first: int, attempt: int, wanted: Asked | None) -> Floats:
        """Samples number first + where, which rises, as they come at an attempt."""
        low, span = int(where[0]), int(where[-1] - where[0]) + 1
        if wanted is None:
            drawn = self._family.draw(span, seed, first=first + low, attempt=attempt, where=where - low)
            return self._rules.within(drawn)
        table = self._reveal.table
        matrix = np.empty((len(where), len(table.columns)))
        u = draws(seed, attempt, span, len(table.columns), first + low)[where - low]
        for pattern, places in wanted.patterns(where):
            if isinstance(self._reveal, BoundReveal):
                asked_of = Wanted(wanted.matrix[where[places]], pattern, wanted.chosen, wanted.allowed, wanted.within)
                matrix[places] = self._reveal.answer(u[places], asked_of)
                continue
            chain = self._reveal.chain(pattern, wanted.chosen)
            made = chain.reveal(u[places], wanted.codes[where[places]], wanted.allowed)
            matrix[places] = table.numbers(made.codes)
            for column in pattern:
                matrix[places, column] = wanted.matrix[where[places], column]
        return matrix

    def _revealing(self, table: CodedTable, least: int, seed: int) -> Reveal:
        order = self._order(len(table.columns))
        return revealing(table, order, self._rules, min_rows=least, seed=seed, n_jobs=self.n_jobs)

    def _keep(self, observed: CodedTable) -> None:
        """The table as it came, with its holes, and what fills them."""
        self._observed = observed
        self._imputer = self._filler(len(self.codec_.columns_))

    def _filler(self, columns: int) -> Imputer:
        least = max(self.privacy_k, min(3, least_rows(self._observed)))
        return Imputer(self._observed, range(columns), min_rows=least, seed=self._seed)

    def _check_names(self, X: Any) -> None:
        if hasattr(self, "feature_names_in_"):
            _check_feature_names(self, X, reset=False)

    def _only_reveal(self, what: str) -> None:
        if self.mode_ != "reveal":
            raise ConfigError(
                f"{what}: expected a model of mode 'reveal', got {self.mode_!r}, whose jumps move all "
                "numbers at once. Fit TableDiffusion(mode='reveal')."
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    def _order(self, count: int) -> list[int]:
        """Labels first: y, else a last column that is a category."""
        last = self._all_columns()[-1]
        led = self._target is not None or last.kind in ("category", "boolean")
        return [count - 1, *range(count - 1)] if led else list(range(count))

    def _all_columns(self) -> list[Column]:
        return self.codec_.columns_ + ([] if self._target is None else self._target.columns_)

    def _codecs(self) -> list[tuple[TableCodec, Any]]:
        own = [(self.codec_, name) for name in self.codec_.names_]
        return own + ([] if self._target is None else [(self._target, self._target.names_[0])])

    def _names(self) -> list[Any]:
        return [*self.codec_.names_, *([] if self._target is None else ["y"])]

    def _tell(self, best: Trial, modes: Sequence[str], leaf: Choice) -> None:
        first = next((trial for trial in self.trials_ if trial.mode == "reveal"), best)
        compared = [trial for trial in self.trials_ if trial.mode != "reveal" or trial is first]
        why = (
            ", ".join(f"{t.mode} {t.score:.2f} (nearest row {t.nearest:.2f})" for t in compared)
            if len(modes) > 1
            else ("asked for" if self.mode != "auto" else "denoise is for numbers without holes, of at most 5000 rows")
        )
        if self.mode == "auto" and (self._rules.bind or self._rules.choices):
            why = "constraints, which it alone keeps to"
        self.choices_["mode"] = Choice(best.mode, f"distance to rows kept aside over that of real rows: {why}")
        if best.mode == "denoise":
            self.choices_["start, jitter"] = Choice(
                f"{best.options['start']:g}, {best.options['jitter']:.2g}",
                "as far from training rows as real rows are"
                if np.isfinite(best.nearest)
                else "most real rows are training rows, so that no distance says how far samples should be",
            )
        if isinstance(self._family, Network):
            names = ("network", "budget", "noise levels trained on")
            self.choices_ |= {name: c for name, c in self._family.model.describe().items() if name in names}
        if self._rules.rules:
            self.choices_["constraints"] = Choice(self._rules.describe(), "met by every row")
        self.choices_["rows in a leaf"] = leaf
        self.choices_["copies of training rows"] = Choice(
            f"{best.real_copies:.1%}", f"as among rows kept aside; {best.copies:.1%} of samples were before"
        )
