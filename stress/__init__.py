"""Long proofs that ``wat`` loses nothing: kills, broken media, runs that meet, long files, many files, many machines.

``make stress`` runs them all, ``python -m stress NAME`` one; each writes what it found into ``RESULTS.md`` beside this
file. The tests run a small version of each: the same code with a fake engine. Outside the wheel: nothing in ``wat_cli``
imports it. Apart from ``benchmarks``, which measures and compares: a proof here holds or fails.
"""
