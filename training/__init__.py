"""How the model that ships with ``wat`` is made: text, voices, sounds, scenes, ASR and head training.

Outside the wheel: nothing in ``wat_cli`` imports it. ``make mini`` runs the whole recipe; ``training/README.md``
says what each stage does and costs.
"""
