"""The guide. Pages are Markdown, read from the repository; ``commands.md`` is made by `docs.reference`."""
