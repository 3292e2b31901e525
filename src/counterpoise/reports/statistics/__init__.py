"""The statistics of a report: NumPy and ``scipy.special`` alone, for ``scipy.stats`` takes most of a second to load."""
