"""The event log: durable appends, histories, and streams for training, on SQLite or PostgreSQL."""

from recae.data.eventlog.events import Appended, Event, Recent, Rejected, StoredEvent
from recae.data.eventlog.log import EventLog, Page, Tidied
from recae.data.eventlog.stats import Stats

__all__ = ["Appended", "Event", "EventLog", "Page", "Recent", "Rejected", "Stats", "StoredEvent", "Tidied"]
