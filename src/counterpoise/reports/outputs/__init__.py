"""A report written down: JSON, Markdown, HTML, CSV, LaTeX, a picture."""
