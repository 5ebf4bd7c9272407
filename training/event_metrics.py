"""Event scores, which live in the package: `wat_cli.training.event_metrics`."""

from wat_cli.training.event_metrics import NOTHING, Event, EventScores, event_scores, scores_by_name

__all__ = ["NOTHING", "Event", "EventScores", "event_scores", "scores_by_name"]
