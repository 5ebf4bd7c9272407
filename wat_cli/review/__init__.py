"""The review page: an HTML page that opens from disk, with what was heard in each file, its player and its doubts.

::

    paths -> collect.find -> Found -> views.file_view -> FileView -> page.Page -> page.html [and page_files/]

Nothing in a sidecar is trusted: every text goes into the page as JSON without ``<``, ``>`` or ``&``, and the page's own
script puts it on the screen as text. The page loads nothing but the media and the data beside it, and connects to
nothing.
"""

from wat_cli.review.build import Summary, write_page
from wat_cli.review.collect import Found, find
from wat_cli.review.failed import place, read_failures

__all__ = ["Found", "Summary", "find", "place", "read_failures", "write_page"]
