"""Attributes of signals as small codes, and tables that say which predicate is true of which code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import ahocorasick
import numpy as np
from numpy.typing import NDArray

from services.event.domain.predicates import Among, Atom, Text
from services.event.domain.sources import normal_text
from services.event.engine.columns import Signals, hours

MISSING, OTHER, FIRST = 0, 1, 2  # codes of a value column; named values follow from FIRST on

_DENSE = 1 << 23  # cells of a table above which only the true ones are kept
_TEXTS = 500_000  # texts whose class is remembered

# What a conjunct looks for first: attributes with many values lead to few candidates.
VALUE_ATTRIBUTES = (
    "tac_cell",
    "source_tac_cell",
    "current_county",
    "current_city",
    "home_city",
    "home_province",
    "roaming_type",
    "power_state",
    "hour",
)
TEXT_ATTRIBUTES = ("text", "brand")
KEY_ORDER = ("tac_cell", "source_tac_cell", "text", "brand", *VALUE_ATTRIBUTES[2:])


def values_of(attribute: str, signals: Signals, local: NDArray[np.int64]) -> NDArray[np.int64]:
    """The values of an attribute; 0 is missing, except for the hour, which never is."""
    if attribute == "hour":
        return hours(local)
    if attribute == "tac_cell":
        return signals.tac_cells.view(np.int64)
    if attribute == "source_tac_cell":
        return signals.source_tac_cells.view(np.int64)
    if attribute == "current_county":
        return signals.counties.astype(np.int64)
    if attribute == "current_city":
        return signals.counties.astype(np.int64) // 100 * 100
    if attribute == "home_city":
        return signals.home_cities.astype(np.int64)
    if attribute == "home_province":
        return signals.home_cities.astype(np.int64) // 10000 * 10000
    column = signals.roaming_types if attribute == "roaming_type" else signals.power_states
    return column.astype(np.int64)


class ValueAttribute:
    """An attribute whose values are numbers, coded by their place among the values that rules name."""

    def __init__(self, name: str, keys: Sequence[tuple[Among, int]], residuals: Sequence[Among]) -> None:
        """`keys` are (predicate, conjunct) that lead to conjuncts, `residuals` what `test` answers for."""
        self.name = name
        lists = [_array(predicate) for predicate, _ in keys]
        named = [*lists, *(_array(predicate) for predicate in residuals)]
        self._values = np.unique(np.concatenate(named)) if named else np.zeros(0, np.int64)
        codes = len(self._values) + FIRST
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        where = np.searchsorted(self._values, np.concatenate(lists) if lists else np.zeros(0, np.int64))
        items = np.repeat(np.fromiter((conjunct for _, conjunct in keys), np.int64, len(keys)), lengths)
        order = np.argsort(where, kind="stable")
        self.items = items[order]
        self.counts = np.bincount(where + FIRST, minlength=codes)
        self.starts = np.concatenate(([0], np.cumsum(self.counts)[:-1]))
        self._residuals(residuals, codes)

    def codes(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """The code of each value."""
        if not len(self._values):
            return (
                np.where(values == 0, MISSING, OTHER) if self.name != "hour" else np.full(len(values), OTHER)
            )
        at = np.minimum(np.searchsorted(self._values, values), len(self._values) - 1)
        found = np.where(self._values[at] == values, at + FIRST, OTHER)
        if self.name != "hour":
            found[values == 0] = MISSING
        return found

    def test(self, predicates: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each predicate (its number from 1, 0 being always true) holds for each code."""
        if self._table is not None:
            return np.asarray(self._table[codes, predicates])
        pair = predicates * self._width + codes
        at = np.minimum(np.searchsorted(self._named, pair), len(self._named) - 1)
        held = (self._named[at] == pair) == self._inside[predicates]
        return np.asarray(np.where(codes == MISSING, self._missing[predicates], held))

    def _residuals(self, residuals: Sequence[Among], codes: int) -> None:
        self._inside = np.array([False, *(predicate.inside for predicate in residuals)])
        self._missing = np.array([True, *(predicate.missing for predicate in residuals)])
        self._width = codes
        self._table: NDArray[np.bool_] | None = None
        places = [np.searchsorted(self._values, _array(predicate)) + FIRST for predicate in residuals]
        if codes * (len(residuals) + 1) <= _DENSE:
            table = np.broadcast_to(~self._inside, (codes, len(residuals) + 1)).copy()
            for number, place in enumerate(places, start=1):
                table[place, number] = self._inside[number]
            table[MISSING] = self._missing
            self._table = table
            return
        pairs = [number * codes + place for number, place in enumerate(places, start=1)]
        self._named = np.concatenate([*pairs, np.array([np.iinfo(np.int64).max])])


def _array(predicate: Among) -> NDArray[np.int64]:
    return np.array(sorted(predicate.values), np.int64)


class TextAttribute:
    """Texts fall into classes by the words that are true of them; classes are made as texts are seen."""

    def __init__(self, keys: Sequence[tuple[Text, int]], residuals: Sequence[Text]) -> None:
        """As ValueAttribute; the codes are classes."""
        self._exact: dict[str, list[Atom]] = defaultdict(list)
        self._inside = ahocorasick.Automaton()
        self._keys_by_atom: dict[Atom, list[int]] = defaultdict(list)
        self._keys = list(keys)
        self._residuals_by_atom: dict[Atom, list[int]] = defaultdict(list)
        self._residuals = list(residuals)
        self._learn()
        self._classes: dict[frozenset[Atom] | None, int] = {}
        self._known: dict[str, int] = {}
        self.items = np.zeros(64, np.int64)
        self._end = 0
        self.starts = np.zeros(64, np.int64)
        self.counts = np.zeros(64, np.int64)
        self._table = np.ones((64, len(residuals) + 1), bool)
        nothing: frozenset[Atom] = frozenset()
        self._plain = np.array([True, *(predicate.holds(nothing) for predicate in residuals)])
        self._class(None)  # MISSING
        self._class(nothing)  # OTHER

    def codes(self, texts: Sequence[str], indexes: NDArray[np.int32]) -> NDArray[np.int64]:
        """The class of each row's text."""
        known = self._known
        try:
            classes = [known[text] for text in texts]
        except KeyError:
            classes = [self._class_of(text) for text in texts]
        classes.append(MISSING)  # what index -1 points at
        return np.array(classes, np.int64)[indexes]

    def test(self, predicates: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """As ValueAttribute.test."""
        return np.asarray(self._table[codes, predicates])

    def _learn(self) -> None:
        words: dict[str, list[Atom]] = defaultdict(list)
        for number, (predicate, _) in enumerate(self._keys):
            # One clause with a positive atom has to be true: the shortest one leads here.
            clause = min((atoms for atoms, positive in predicate.clauses if positive), key=len)
            for atom in clause:
                self._keys_by_atom[atom].append(number)
            for atom in predicate.atoms - clause:
                self._keys_by_atom.setdefault(atom, [])
        for number, predicate in enumerate(self._residuals, start=1):
            for atom in predicate.atoms:
                self._residuals_by_atom[atom].append(number)
        for atom in {**self._keys_by_atom, **self._residuals_by_atom}:
            (self._exact if atom.kind == "is" else words)[atom.word].append(atom)
        for word, atoms in words.items():
            self._inside.add_word(word, atoms)
        if words:
            self._inside.make_automaton()
        self._search = bool(words)

    def _class_of(self, text: str) -> int:
        found = self._known.get(text)
        if found is not None:
            return found
        normal = normal_text(text)
        true = set(self._exact.get(normal, ()))
        if self._search:
            for _, atoms in self._inside.iter(normal):
                true.update(atom for atom in atoms if atom.true_of(normal))
        if len(self._known) >= _TEXTS:
            self._known.clear()
        found = self._known[text] = self._class(frozenset(true))
        return found

    def _class(self, true: frozenset[Atom] | None) -> int:
        found = self._classes.get(true)
        if found is not None:
            return found
        number = self._classes[true] = len(self._classes)
        if number >= len(self.starts):
            self.starts, self.counts = _doubled(self.starts), _doubled(self.counts)
            self._table = _doubled(self._table)
        atoms = true or frozenset()
        hits = {key for atom in atoms for key in self._keys_by_atom.get(atom, ())}
        conjuncts = [self._keys[key][1] for key in sorted(hits) if self._keys[key][0].holds(true)]
        while self._end + len(conjuncts) > len(self.items):
            self.items = _doubled(self.items)
        self.items[self._end : self._end + len(conjuncts)] = conjuncts
        self.starts[number], self.counts[number] = self._end, len(conjuncts)
        self._end += len(conjuncts)
        row = self._plain.copy()
        changed: Iterable[int] = {key for atom in atoms for key in self._residuals_by_atom.get(atom, ())}
        for key in changed if true is not None else range(1, len(row)):
            row[key] = self._residuals[key - 1].holds(true)
        self._table[number] = row
        return number


def _doubled(values: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([values, np.zeros_like(values)])
